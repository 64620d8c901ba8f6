//! The program that makes one delta, in a process of its own: `holdfast make-delta OLD NEW OUT
//! MEMORY`. It is nice, and bounds its own memory, so that neither a large pair nor a fault of it
//! harms the control plane.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use holdfast_delta_maker::make;
use rustix::process::{Resource, Rlimit, nice, setrlimit};

/// Hidden subcommand that runs this.
pub const NAME: &str = "make-delta";
/// Word for no old file.
pub const NO_BASE: &str = "-";
/// Address space of the process. A pair of 64 MiB takes 0.7 GiB; larger ones are aligned coarsely
/// and take their own size three times beside that.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Largest artifact that a delta is made of, in bytes.
const LARGEST: u64 = 1 << 30;
/// Niceness: everything else on the machine comes first.
const NICE: i32 = 15;

/// Makes a delta as the arguments behind the subcommand say.
pub fn run(arguments: &[OsString]) -> ExitCode {
    match make_one(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let said = writeln!(std::io::stderr(), "make-delta: {error:#}");
            said.map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE)
        }
    }
}

fn make_one(arguments: &[OsString]) -> anyhow::Result<()> {
    let [old, new, out, memory] = arguments else {
        anyhow::bail!("takes OLD NEW OUT MEMORY; the control plane calls it itself");
    };
    let memory = memory.to_str().and_then(|text| text.parse().ok()).context("MEMORY")?;
    nice(NICE).context("cannot become nice")?;
    let limit = Rlimit { current: Some(ADDRESS_SPACE), maximum: Some(ADDRESS_SPACE) };
    setrlimit(Resource::As, limit).context("cannot bound the memory")?;
    let old = if old == NO_BASE { None } else { Some(read(Path::new(old))?) };
    let new = read(Path::new(new))?;
    let made = make(old.as_deref(), &new, memory)?;
    std::fs::write(out, made.bytes).context("cannot write the delta")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    anyhow::ensure!(size <= LARGEST, "{} is too large: {size} bytes", path.display());
    std::fs::read(path).with_context(|| path.display().to_string())
}
