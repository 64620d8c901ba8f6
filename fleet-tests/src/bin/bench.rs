//! Program of `make bench`: measures size, memory, wire and speed of the released programs, and
//! writes the results to `fleet-tests/BENCHMARKS.md`. `bench PART...` runs parts: agent, change,
//! boot, latency, fleet, memory, fanout. `bench deltas [NAME]` compares deltas.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool for people: it measures, prints and fails loudly"
)]

use fleet_tests::bench::data::{self, Sizes};
use fleet_tests::bench::table::{Row, markdown};
use fleet_tests::bench::{agent, deltas, fanout, fleet, latency, machine};
use fleet_tests::harness::{Binaries, Plane};

const PARTS: [&str; 7] = ["agent", "change", "boot", "latency", "memory", "fanout", "fleet"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, folder, devices] = arguments.as_slice()
        && first == "gateway"
    {
        return fanout::gateway_process(folder.as_ref(), devices.parse().unwrap());
    }
    if arguments.first().is_some_and(|first| first == "data") {
        return data(&arguments[1..]);
    }
    if let [first, rest @ ..] = arguments.as_slice()
        && first == "deltas"
    {
        let only = rest.first().map_or("", String::as_str);
        let table = deltas::table(only);
        println!("{table}");
        if only.is_empty() {
            write_by("deltas", "HFD1 for 24 MiB of memory", &table);
        }
        return;
    }
    let wanted = |part: &str| arguments.is_empty() || arguments.iter().any(|it| it == part);
    let mut rows: Vec<Row> = Vec::new();
    for part in PARTS.into_iter().filter(|part| wanted(part)) {
        eprintln!("==> {part}");
        // Each part has a control plane of its own, so that none affects another's figures.
        let new = match part {
            "agent" => agent::idle(&Plane::start(), 60),
            "change" => agent::change(&Plane::start()),
            "boot" => agent::boot(&Plane::start()),
            "latency" => latency::apply_to_running(&Plane::start()),
            "memory" => fleet::memory(&Plane::start(), 1_000),
            "fanout" => fanout::compare(1_000, 20),
            _ => fleet::real(&Plane::start(), 500),
        };
        new.iter().for_each(|row| eprintln!("{}", row.line()));
        rows.extend(new);
    }
    let table = markdown(&rows);
    println!("{table}");
    if arguments.is_empty() {
        write("measured", &table);
    }
}

/// Runs `bench data [--quick] [--peers] [--no-query]`.
fn data(arguments: &[String]) {
    let has = |flag: &str| arguments.iter().any(|it| it == flag);
    let sizes = if has("--quick") { Sizes::QUICK } else { Sizes::FULL };
    eprintln!("==> mosquitto, three ways");
    let mut all = data::peers(sizes);
    println!("{}", data::beside(&all));
    if has("--peers") {
        return;
    }
    eprintln!("==> Holdfast");
    let ours = data::ours::measure(sizes);
    println!("{ours:#?}");
    let asked = (!has("--no-query")).then(data::ours::ask);
    let table = markdown(&data::rows(&all, &ours, asked));
    all.insert(0, ours.buffered);
    let text = format!("{table}\n{}", data::beside(&all));
    println!("{text}");
    if !has("--quick") {
        write("data", &text);
    }
}

/// Replaces the text between the marks in BENCHMARKS.md.
fn write(mark: &str, table: &str) {
    let version = machine::output(Binaries::find().agent.to_str().unwrap(), &["--version"]);
    write_by(mark, &version, table);
}

/// Replaces the text between the marks, as measured on something.
fn write_by(mark: &str, version: &str, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/BENCHMARKS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mark = format!("<!-- {mark} -->\n");
    let (head, rest) = text.split_once(&mark).expect("the mark stands there");
    let (_, tail) = rest.split_once("<!-- end -->\n").expect("the mark stands there");
    let said = format!("{}, {}, {version}\n\n{table}", machine::date(), machine::describe());
    std::fs::write(path, format!("{head}{mark}{said}<!-- end -->\n{tail}")).unwrap();
}
