//! Makes and applies one delta between two files, for benchmarks and for trying a pair:
//! `delta make OLD|- NEW OUT MEMORY` and `delta apply DELTA OLD OUT`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "an example for people: it fails loudly"
)]

use std::fs::{File, read, write};
use std::io::BufWriter;

use holdfast_delta::{Header, Limits, apply};
use holdfast_delta_maker::make;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", old, new, out, memory] => {
            let old = (*old != "-").then(|| read(old).unwrap());
            let made = make(old.as_deref(), &read(new).unwrap(), memory.parse().unwrap()).unwrap();
            write(out, made.bytes).unwrap();
        }
        ["apply", delta, old, out] => {
            let header = Header::read(&mut File::open(delta).unwrap()).unwrap();
            let limits = Limits {
                memory: header.memory,
                size: header.new_size,
                new: header.new,
                old: Some(header.old),
            };
            let mut made = BufWriter::new(File::create(out).unwrap());
            apply(&mut File::open(delta).unwrap(), &File::open(old).unwrap(), &limits, &mut made)
                .unwrap();
        }
        _ => panic!("make OLD|- NEW OUT MEMORY, or apply DELTA OLD OUT"),
    }
}
