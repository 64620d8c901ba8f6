//! Program `manuals DIR`: writes manual pages and completion scripts of both programs, for a
//! release.
#![allow(clippy::disallowed_methods, reason = "a tool for people: it reads its arguments")]

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let dir = std::env::args_os().nth(1).context("usage: manuals DIR")?;
    fleet_tests::manuals::write(dir.as_ref())
        .with_context(|| format!("cannot write into {}", dir.display()))
}
