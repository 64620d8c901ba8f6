//! Embeds the pages: every file of `dashboard/dist`, which `make dashboard` builds. Without them
//! the program answers at `/` how to build them, and all else works, so Node is not needed.
#![allow(clippy::disallowed_methods, reason = "a build script's trade is files and environment")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let dashboard = variable("CARGO_MANIFEST_DIR")?.join("dashboard");
    let dist = dashboard.join("dist");
    // cargo takes a folder that is not there for one that changes all the time, and would build
    // everything anew at every call: an empty one waits for the pages. It is ignored by git.
    if dashboard.is_dir() && !dist.exists() && fs::create_dir(&dist).is_err() {
        println!("cargo::warning=dashboard/dist cannot be made: pages built later are not noticed");
    }
    let mut files = Vec::new();
    if dist.is_dir() {
        println!("cargo::rerun-if-changed={}", dist.display());
        if dist.join("index.html").is_file() {
            collect(&dist, &mut files)?;
        }
    }
    files.sort();
    let mut text = String::from("static FILES: &[Embedded] = &[\n");
    for file in &files {
        add(&mut text, &dist, file).map_err(io::Error::other)?;
    }
    text.push_str("];\n");
    fs::write(variable("OUT_DIR")?.join("pages.rs"), text)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn ending(file: &Path) -> &str {
    file.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// Writes one entry of the table. A compressed file (`.br`, `.gz`) belongs to the entry of the file
/// beside it.
fn add(
    text: &mut String,
    dist: &Path,
    file: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let beside = |ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    };
    if matches!(ending(file), "br" | "gz") && file.with_extension("").is_file() {
        return Ok(());
    }
    let path = file.strip_prefix(dist)?.to_str().ok_or("a name that is not UTF-8")?;
    let kind = match ending(file) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        _ => "application/octet-stream",
    };
    let bytes = |path: Option<PathBuf>| match path {
        Some(path) => format!("Some(include_bytes!({:?}))", path.display().to_string()),
        None => "None".to_owned(),
    };
    writeln!(
        text,
        "Embedded {{ path: {:?}, kind: {kind:?}, plain: include_bytes!({:?}), brotli: {}, gzip: {} }},",
        format!("/{path}"),
        file.display().to_string(),
        bytes(beside(".br")),
        bytes(beside(".gz")),
    )?;
    Ok(())
}
