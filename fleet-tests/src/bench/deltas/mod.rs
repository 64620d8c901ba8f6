//! Deltas between versions of public programs, beside bsdiff, zstd, xdelta3 and HDiffPatch: bytes,
//! time and memory to make and to apply. What is compared is fetched once, by the package managers
//! of Python and Node, into a folder below `target/`.

mod pairs;
mod process;
mod tools;

use std::fmt::Write as _;
use std::path::Path;

use self::pairs::Pair;
use self::process::Cost;
use self::tools::{TOOLS, Tool};

/// Memory that our deltas are made for, in bytes.
const MEMORY: u64 = 24 << 20;

/// Outcome of one tool on one pair.
struct Outcome {
    tool: &'static str,
    bytes: u64,
    make: Cost,
    apply: Cost,
}

/// Runs every tool on every pair whose name holds `only`; returns the table as Markdown.
///
/// # Panics
/// When a pair cannot be fetched, or a tool gives other bytes than the new file has.
pub fn table(only: &str) -> String {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/delta-pairs"));
    std::fs::create_dir_all(folder).expect("the folder of the pairs");
    let ours = tools::build();
    let mut text = String::from(
        "| pair | tool | bytes | of min(bsdiff, zstd) | make | memory | apply | of bspatch | anonymous |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for pair in pairs::fetch(folder).iter().filter(|pair| pair.name.contains(only)) {
        eprintln!("==> {}", pair.name);
        let outcomes: Vec<Outcome> = TOOLS
            .into_iter()
            .filter_map(|tool| outcome(tool, pair, folder, &ours))
            .inspect(|it| {
                eprintln!("{}: {} bytes, applied in {:.2} s", it.tool, it.bytes, it.apply.cpu)
            })
            .collect();
        rows(&mut text, pair, &outcomes);
    }
    text
}

/// Lets a tool make and apply a delta. `None`: it is not installed.
fn outcome(tool: Tool, pair: &Pair, folder: &Path, ours: &Path) -> Option<Outcome> {
    let (delta, made) = (folder.join("delta"), folder.join("made"));
    for file in [&delta, &made] {
        let _there_or_not = std::fs::remove_file(file);
    }
    let make = process::run(&mut tool.make(pair, &delta, ours, MEMORY))?;
    let bytes = std::fs::metadata(&delta).ok()?.len();
    // The least of three: the machine does other things as well.
    let mut apply = process::run(&mut tool.apply(pair, &delta, &made, ours))?;
    for _ in 0..2 {
        let again = process::run(&mut tool.apply(pair, &delta, &made, ours))?;
        apply = if again.cpu < apply.cpu { again } else { apply };
    }
    let same = std::fs::read(&made).ok() == std::fs::read(&pair.new).ok();
    assert!(same, "{} gives other bytes than {}", tool.name(), pair.new.display());
    Some(Outcome { tool: tool.name(), bytes, make, apply })
}

fn rows(text: &mut String, pair: &Pair, outcomes: &[Outcome]) {
    let of = |name: &str| outcomes.iter().find(|it| it.tool == name);
    let least = [of("bsdiff"), of("zstd -19")].into_iter().flatten().map(|it| it.bytes).min();
    let bspatch = of("bsdiff").map(|it| it.apply.cpu);
    let ratio = |value: f64, of: Option<f64>| match of {
        Some(of) if of > 0.0 => format!("{:.2}", value / of),
        _ => "–".to_owned(),
    };
    for it in outcomes {
        let Outcome { tool, bytes, make, apply } = it;
        let of_least = ratio(*bytes as f64, least.map(|least| least as f64));
        let of_bspatch = ratio(apply.cpu, bspatch);
        let _ = writeln!(
            text,
            "| {} | {tool} | {bytes} | {of_least} | {:.1} s | {:.0} MiB | {:.2} s | {of_bspatch} | {:.1} MiB |",
            pair.name, make.cpu, make.resident, apply.cpu, apply.anonymous
        );
    }
}
