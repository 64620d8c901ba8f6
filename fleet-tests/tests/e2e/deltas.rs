//! Deltas on real devices: a new revision of a program crosses the link as what differs, goes on
//! where a torn link left it, and comes whole when a delta is no use.

use std::path::PathBuf;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};

use crate::{QUICK, await_copies, marker};

const MIB: u64 = 1024 * 1024;
/// Size of the program in bytes.
const LARGE: usize = 6 * 1024 * 1024;
/// Upper bound on other bytes down a link meanwhile: handshakes, desired states, keep-alives.
const BESIDE: u64 = MIB / 2;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Program that sleeps for `marker`; the bytes after the exec are never read. `fresh` of them, in
/// the middle, are this version's own.
fn program(marker: &str, fresh: usize) -> Vec<u8> {
    let mut program = format!("#!/bin/sh\nexec sleep {marker}\n").into_bytes();
    program.extend(noise(0x2545_f491_4f6c_dd1d, LARGE));
    program.splice(LARGE / 2..LARGE / 2, noise(u64::from(marker.len() as u32) + 77, fresh));
    program
}

fn push(plane: &Plane, marker: &str, fresh: usize) -> String {
    let file = plane.scratch.write(&format!("program-{marker}"), program(marker, fresh));
    plane.cli().run(&["artifact", "push", file.to_str().unwrap()]).ok()
}

fn workload(digest: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: w }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run: {{ process: {{ artifact: \"{digest}\" }} }}\n\
         \x20 health: {{ exec: {{ command: [/bin/true] }}, interval: 200ms }}\n{QUICK}"
    )
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap()
}

fn file(device: &Device, folder: &str, name: &str) -> PathBuf {
    device.data().join("artifacts").join(folder).join(name)
}

/// A device that runs the first version of the program; returns it with the digest.
fn running(plane: &Plane) -> (Device, String) {
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let first = marker();
    let digest = push(plane, &first, 0);
    plane.cli().apply(&workload(&digest)).ok();
    plane.await_phase("d-1", "w", "running");
    await_copies(&first, 1);
    (device, digest)
}

/// Waits until the device runs the second version, and has nothing half of it.
fn await_second(device: &Device, marker: &str, digest: &str) {
    await_copies(marker, 1);
    let whole = file(device, "sha256", hex(digest));
    let size = std::fs::metadata(&whole).map_or(0, |meta| meta.len());
    assert!(size >= LARGE as u64, "{size} bytes are there");
    for name in ["", ".delta", ".tag", ".made"] {
        let half = file(device, "partial", &format!("{}{name}", hex(digest)));
        assert!(!half.exists(), "{} is left", half.display());
    }
}

#[test]
fn a_new_revision_crosses_the_link_as_what_differs() {
    let plane = Plane::start();
    let (device, _) = running(&plane);
    let second = marker();
    let digest = push(&plane, &second, 1_000);
    let before = device.link.down();
    plane.cli().apply(&workload(&digest)).ok();
    await_second(&device, &second, &digest);
    let came = device.link.down() - before;
    assert!(came < BESIDE, "{came} bytes came for a change of some thousand in {LARGE}");
}

#[test]
fn a_torn_delta_goes_on_where_it_ended() {
    let plane = Plane::start();
    let (device, _) = running(&plane);
    let second = marker();
    let fresh = 3 * MIB / 2;
    let digest = push(&plane, &second, usize::try_from(fresh).unwrap());
    device.link.cut_after_down(MIB);
    plane.cli().apply(&workload(&digest)).ok();
    eventually(DEADLINE, "the link is torn in the middle", || {
        if device.link.is_cut() { Ok(()) } else { Err(device.link.down().to_string()) }
    });
    let delta = file(&device, "partial", &format!("{}.delta", hex(&digest)));
    eventually(DEADLINE, "a part of the delta is kept", || {
        let have = std::fs::metadata(&delta).map_or(0, |meta| meta.len());
        if have > MIB / 4 { Ok(()) } else { Err(format!("{have} bytes")) }
    });
    let have = std::fs::metadata(&delta).unwrap().len();
    let before = device.link.down();
    device.link.heal();
    await_second(&device, &second, &digest);
    let came = device.link.down() - before;
    assert!(came < fresh - have + BESIDE, "{came} bytes came though {have} were there");
}

#[test]
fn a_damaged_base_means_the_whole_once() {
    let plane = Plane::start();
    let (device, first) = running(&plane);
    // The digest of what is here is not looked at again; the delta's result tells.
    let base = file(&device, "sha256", hex(&first));
    let mut bytes = std::fs::read(&base).unwrap();
    bytes[LARGE / 3] ^= 0xff;
    std::fs::write(&base, bytes).unwrap();
    let second = marker();
    let digest = push(&plane, &second, 1_000);
    let before = device.link.down();
    plane.cli().apply(&workload(&digest)).ok();
    await_second(&device, &second, &digest);
    let came = device.link.down() - before;
    assert!(came >= LARGE as u64, "{came} bytes cannot be the whole");
    assert!(came < LARGE as u64 + BESIDE, "{came} bytes are more than the whole and the delta");
}
