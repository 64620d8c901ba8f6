//! Round trips over random edits and random executables, and damage to what is made.

use holdfast_delta::{Header, Limits, Method, apply};
use proptest::prelude::*;

use crate::align::{Copied, align, steps};
use crate::coarse::align_any;
use crate::{MakeError, make};

const MEMORY: u64 = 24 << 20;

fn applied(delta: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    let limits =
        Limits { memory: MEMORY, size: new.len() as u64, new: digest(new), old: Some(digest(old)) };
    apply(&mut &*delta, &old, &limits, &mut made).ok()?;
    Some(made)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// A stream of numbers that a seed gives.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// Bytes with some order in them.
fn text(luck: &mut Luck, length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> =
        (0..60).map(|_| (0..1 + luck.below(12)).map(|_| luck.next() as u8).collect()).collect();
    let mut out = Vec::new();
    while out.len() < length {
        out.extend_from_slice(&words[luck.below(words.len())]);
    }
    out.truncate(length);
    out
}

/// Random edits: changed, inserted, removed and moved pieces.
fn edited(luck: &mut Luck, old: &[u8], edits: usize) -> Vec<u8> {
    let mut new = old.to_vec();
    for _ in 0..edits {
        let at = luck.below(new.len() + 1);
        let length = luck.below(200).min(new.len() - at);
        match luck.below(4) {
            0 => new[at..at + length].iter_mut().step_by(3).for_each(|it| *it ^= 5),
            1 => {
                let fresh: Vec<u8> = (0..length).map(|_| luck.next() as u8).collect();
                new.splice(at..at, fresh);
            }
            2 => drop(new.drain(at..at + length)),
            _ => {
                let moved: Vec<u8> = new.drain(at..at + length).collect();
                let to = luck.below(new.len() + 1);
                new.splice(to..to, moved);
            }
        }
    }
    new
}

/// Something like a program for x86-64 (machine 62) or aarch64 (183): functions that call each
/// other, load addresses and jump through tables, with records of relocations and an index.
fn program(luck: &mut Luck, machine: u16, functions: &[u64]) -> Vec<u8> {
    let base: u64 = 0x1000;
    let (mut starts, mut at) = (Vec::new(), base);
    for function in functions {
        starts.push(at);
        at += 64 + (function % 8) * 16;
    }
    let data = at.next_multiple_of(4_096);
    let mut code = Vec::new();
    for (number, function) in functions.iter().enumerate() {
        let mut inside = Luck(function | 1);
        let end = starts.get(number + 1).copied().unwrap_or(at);
        while base + (code.len() as u64) < end - 16 {
            let here = base + code.len() as u64;
            let callee = starts[inside.below(starts.len())];
            let table = data + 4 * inside.below(64) as u64;
            match (machine, inside.below(3)) {
                (62, 0) => {
                    code.push(0xe8);
                    code.extend(((callee as i64 - here as i64 - 5) as i32).to_le_bytes());
                }
                (62, 1) => {
                    code.extend([0x48, 0x8d, 0x05]);
                    code.extend(((table as i64 - here as i64 - 7) as i32).to_le_bytes());
                }
                (183, 0) => {
                    let words = (callee as i64 - here as i64) >> 2;
                    code.extend((0x9400_0000 | (words as u32 & 0x03ff_ffff)).to_le_bytes());
                }
                (183, 1) => {
                    let pages = ((table >> 12) as i64 - (here >> 12) as i64) as u32;
                    let page = 0x9000_0001 | (pages & 3) << 29 | ((pages >> 2) & 0x7_ffff) << 5;
                    code.extend(page.to_le_bytes());
                    let low = (table & 0xfff) as u32;
                    code.extend((0x9100_0021 | low << 10).to_le_bytes());
                }
                _ => code.extend((inside.next() as u32).to_le_bytes()),
            }
        }
        code.resize((end - base) as usize, 0x90);
    }
    let jumps: Vec<u8> = (0..64)
        .flat_map(|_| {
            let to = starts[luck.below(starts.len())] as i64 - data as i64;
            (to as i32).to_le_bytes()
        })
        .collect();
    let relocations: Vec<u8> =
        starts.iter().flat_map(|start| [data + 8, 8, *start]).flat_map(u64::to_le_bytes).collect();
    let sections = [
        (".text", base, code),
        (".rodata", data, jumps),
        (".rela.dyn", data + 0x1000, relocations),
    ];
    elf(machine, &sections)
}

fn elf(machine: u16, parts: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0; 4_096];
    out[..6].copy_from_slice(b"\x7fELF\x02\x01");
    out[16..20].copy_from_slice(&[3, 0, machine.to_le_bytes()[0], 0]);
    let mut names = vec![0];
    let mut headers = vec![0; 64];
    for (name, address, bytes) in parts {
        out.resize(*address as usize, 0);
        out.extend_from_slice(bytes);
        let mut header = [0; 64];
        header[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        header[4] = 1;
        for at in [16, 24] {
            header[at..at + 8].copy_from_slice(&address.to_le_bytes());
        }
        header[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        headers.extend(header);
        names.extend(name.bytes().chain([0]));
    }
    let size = out.len() as u64;
    let mut header = [0; 64];
    header[24..32].copy_from_slice(&size.to_le_bytes());
    headers.extend(header);
    out.extend_from_slice(&names);
    let at = out.len() as u64;
    let count = headers.len() as u16 / 64;
    out.extend_from_slice(&headers);
    // One segment over all, where the file is as the memory.
    out[32..40].copy_from_slice(&64_u64.to_le_bytes());
    out[56..58].copy_from_slice(&1_u16.to_le_bytes());
    out[64..68].copy_from_slice(&1_u32.to_le_bytes());
    for place in [96, 104] {
        out[place..place + 8].copy_from_slice(&size.to_le_bytes());
    }
    out[40..48].copy_from_slice(&at.to_le_bytes());
    out[60..62].copy_from_slice(&count.to_le_bytes());
    out[62..64].copy_from_slice(&(count - 1).to_le_bytes());
    out
}

/// Two versions of a program: some functions are new, some are gone.
fn versions(seed: u64, machine: u16, count: usize) -> (Vec<u8>, Vec<u8>) {
    let mut luck = Luck(seed | 1);
    let old: Vec<u64> = (0..count).map(|_| luck.next()).collect();
    let mut new = old.clone();
    for _ in 0..1 + count / 40 {
        let at = luck.below(new.len());
        let fresh = luck.next();
        if luck.below(2) == 0 {
            new.insert(at, fresh);
        } else {
            new.remove(at);
        }
    }
    (program(&mut Luck(7), machine, &old), program(&mut Luck(7), machine, &new))
}

#[test]
fn references_are_followed_in_programs() {
    for machine in [62, 183] {
        let (old, new) = versions(3, machine, 400);
        let delta = make(Some(&old), &new, MEMORY).expect("made");
        assert_eq!(applied(&delta.bytes, &old, &new).as_deref(), Some(new.as_slice()));
        // The same bytes with a machine that is not known have no references to follow.
        let (mut plain_old, mut plain_new) = (old.clone(), new.clone());
        (plain_old[18], plain_new[18]) = (1, 1);
        let plain = make(Some(&plain_old), &plain_new, MEMORY).expect("made");
        let (aware, plain) = (delta.bytes.len(), plain.bytes.len());
        assert!(
            aware * 3 < plain * 2,
            "machine {machine}: {aware} bytes, {plain} without references"
        );
    }
}

#[test]
fn without_a_base_it_is_the_file_compressed() {
    let new = text(&mut Luck(5), 100_000);
    let delta = make(None, &new, 2 << 20).expect("made");
    assert_eq!(delta.method, Method::Whole);
    assert!(delta.bytes.len() < new.len());
    assert!(matches!(make(None, &new, 1_000), Err(MakeError::NoMethod(1_000))));
}

#[test]
fn files_without_bytes_and_files_that_are_the_same() {
    let some = text(&mut Luck(9), 5_000);
    for (old, new) in [(&some[..], &[][..]), (&[], &some), (&some, &some), (&some[..100], &some)] {
        let delta = make(Some(old), new, MEMORY).expect("made");
        assert_eq!(applied(&delta.bytes, old, new).as_deref(), Some(new));
    }
    assert!(make(Some(&some), &some, MEMORY).expect("made").bytes.len() < 200);
}

#[test]
fn a_delta_keeps_to_the_memory_it_is_made_for() {
    let (old, new) = versions(11, 62, 3_000);
    let mut sizes = Vec::new();
    for memory in [4 << 20, 8 << 20, 24 << 20, 256 << 20] {
        let delta = make(Some(&old), &new, memory).expect("made");
        let header = Header::read(&mut delta.bytes.as_slice()).expect("a header");
        assert!(header.memory <= memory, "{} of {memory}", header.memory);
        sizes.push(delta.bytes.len());
    }
    assert!(sizes[2] <= sizes[0], "{sizes:?}");
}

#[test]
fn what_is_too_large_to_sort_is_aligned_by_its_runs() {
    let mut luck = Luck(21);
    let old: Vec<u8> = (0..250_000).flat_map(|_| luck.next().to_le_bytes()).collect();
    let mut new = old.clone();
    new.splice(1_000_000..1_000_100, b"something new".repeat(50));
    new[1_900_000..1_900_900].iter_mut().step_by(90).for_each(|byte| *byte ^= 1);
    let copies = align_any(&old, &new, 1_000_000).expect("aligned");
    let copied: usize = copies.iter().map(|it| it.length).sum();
    assert!(new.len() - copied < 1_000, "{} bytes are not copied", new.len() - copied);
    let steps = steps(&copies, new.len()).expect("steps");
    assert!(steps.len() < 40, "{} steps", steps.len());
}

#[test]
fn steps_begin_anywhere_in_the_old_file() {
    let copies = [Copied { new: 0, old: 500, length: 40 }, Copied { new: 60, old: 0, length: 30 }];
    let steps = steps(&copies, 100).expect("steps");
    let (mut new, mut old) = (0_i64, 0_i64);
    let mut found = Vec::new();
    for step in steps {
        found.push((new, old, i64::from(step.copy)));
        new += i64::from(step.copy) + i64::from(step.extra);
        old += i64::from(step.copy) + i64::from(step.seek);
    }
    assert_eq!(new, 100);
    found.retain(|it| it.2 > 0);
    assert_eq!(found, [(1, 501, 39), (60, 0, 30)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_edits_come_back(seed in 1_u64.., length in 0_usize..20_000, edits in 0_usize..30) {
        let mut luck = Luck(seed);
        let old = text(&mut luck, length);
        let new = edited(&mut luck, &old, edits);
        let copies = align(&old, &new).expect("aligned");
        let mut at = 0;
        for copy in &copies {
            prop_assert!(copy.new >= at && copy.old + copy.length <= old.len());
            at = copy.new + copy.length;
        }
        prop_assert!(at <= new.len());
        let delta = make(Some(&old), &new, MEMORY).expect("made");
        prop_assert_eq!(applied(&delta.bytes, &old, &new), Some(new));
    }

    #[test]
    fn random_programs_come_back(seed in 1_u64.., arm: bool, count in 20_usize..200) {
        let (old, new) = versions(seed, if arm { 183 } else { 62 }, count);
        let delta = make(Some(&old), &new, MEMORY).expect("made");
        prop_assert_eq!(applied(&delta.bytes, &old, &new), Some(new));
    }

    #[test]
    fn damage_never_gives_other_bytes(
        seed in 1_u64..,
        cut: bool,
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let (old, new) = versions(seed, 62, 60);
        let mut delta = make(Some(&old), &new, MEMORY).expect("made").bytes;
        let place = place.index(delta.len());
        if cut { delta.truncate(place) } else { delta[place] ^= 1 << bit }
        if let Some(made) = applied(&delta, &old, &new) {
            // The last bytes of the stream may carry nothing.
            prop_assert_eq!(made, new);
        }
    }

    #[test]
    fn a_damaged_base_never_gives_other_bytes(seed in 1_u64.., place in any::<prop::sample::Index>()) {
        let (old, new) = versions(seed, 183, 60);
        let delta = make(Some(&old), &new, MEMORY).expect("made").bytes;
        let mut damaged = old.clone();
        damaged[place.index(old.len())] ^= 0x10;
        let limits = Limits {
            memory: MEMORY,
            size: new.len() as u64,
            new: digest(&new),
            old: Some(digest(&old)),
        };
        let mut made = Vec::new();
        if apply(&mut delta.as_slice(), &damaged.as_slice(), &limits, &mut made).is_ok() {
            prop_assert_eq!(made, new);
        }
    }
}
