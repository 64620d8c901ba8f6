//! Artifacts on real devices: run by digest, downloads continued after a torn transfer, checked,
//! kept while referred to, and reported while they are being fetched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for, loopback, processes};

use crate::{QUICK, assert_says, await_copies, marker};

const MIB: u64 = 1024 * 1024;
/// Size in bytes, large enough to be torn in the middle of a download.
const LARGE: u64 = 8 * MIB;
/// Upper bound on other bytes down a link meanwhile: handshakes, desired states, keep-alives.
const BESIDE: u64 = MIB / 2;

/// Pushes a program that sleeps for `marker` and is `size` bytes long; returns its digest.
fn push(plane: &Plane, marker: &str, size: u64) -> String {
    // The bytes after the exec are never read, and cannot be compressed.
    let mut program = format!("#!/bin/sh\nexec sleep {marker}\n").into_bytes();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while (program.len() as u64) < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        program.extend(state.to_be_bytes());
    }
    let file = plane.scratch.write(&format!("program-{marker}"), program);
    let digest = plane.cli().run(&["artifact", "push", file.to_str().unwrap()]).ok();
    assert!(digest.starts_with("sha256:"), "{digest}");
    digest
}

/// Returns a workload that runs an artifact on devices with `role: a`; its probe succeeds at once,
/// so that its revision counts as proven.
fn workload(name: &str, digest: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run: {{ process: {{ artifact: \"{digest}\" }} }}\n\
         \x20 health: {{ exec: {{ command: [/bin/true] }}, interval: 200ms }}\n{QUICK}"
    )
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap()
}

fn partial(device: &Device, digest: &str) -> PathBuf {
    device.data().join("artifacts/partial").join(hex(digest))
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

fn kept(device: &Device) -> Vec<String> {
    let entries = std::fs::read_dir(device.data().join("artifacts/sha256")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn await_kept(device: &Device, digests: &[&str]) {
    let mut wanted: Vec<String> = digests.iter().map(|digest| hex(digest).to_owned()).collect();
    wanted.sort();
    eventually(DEADLINE, "exactly the referenced artifacts are on the device", || {
        let kept = kept(device);
        if kept == wanted { Ok(()) } else { Err(format!("{kept:?}, not {wanted:?}")) }
    });
}

/// Starts a download, and tears the link when about 3 MiB have come; returns how much is on disk.
fn torn_download(plane: &Plane, device: &Device, document: &str, digest: &str) -> u64 {
    device.link.cut_after_down(3 * MIB);
    plane.cli().apply(document).ok();
    eventually(DEADLINE, "the link is torn in the middle", || {
        let down = device.link.down();
        if device.link.is_cut() { Ok(()) } else { Err(format!("{down} bytes came down")) }
    });
    let partial = partial(device, digest);
    device.await_status("the torn transfer is said", |status| {
        let reason = status["workloads"]["w"]["reason"].as_str().unwrap_or_default();
        reason.contains(digest)
    });
    let have = size(&partial);
    assert!((MIB..LARGE).contains(&have), "{have} bytes of the artifact were kept");
    have
}

#[test]
fn a_pushed_artifact_runs_by_its_digest_on_every_device() {
    let plane = Plane::start();
    let devices = [plane.device("d-1", &["role=a"]), plane.device("d-2", &["role=a"])];
    let marker = marker();
    let digest = push(&plane, &marker, 100_000);
    plane.cli().apply(&workload("w", &digest)).ok();
    for device in &devices {
        plane.await_phase(&device.name, "w", "running");
        await_kept(device, &[&digest]);
        assert_eq!(size(&partial(device, &digest)), 0, "nothing half is left");
    }
    await_copies(&marker, 2);
}

#[test]
fn a_torn_download_goes_on_where_it_ended() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, LARGE);
    let have = torn_download(&plane, &device, &workload("w", &digest), &digest);
    let status = device.status().unwrap();
    assert_eq!(status["workloads"]["w"]["phase"], "fetching", "{status}");
    assert!(processes::with_argument(&marker).is_empty(), "half a program does not run");

    let before = device.link.down();
    device.link.heal();
    device.await_phase("w", "running");
    let came = device.link.down() - before;
    assert!(came >= LARGE - have, "{came} bytes cannot be the rest");
    assert!(came < LARGE - have + BESIDE, "{came} bytes came though {have} of {LARGE} were there");
    plane.await_phase("d-1", "w", "running");
}

#[test]
fn an_agent_that_is_killed_in_a_download_goes_on_where_it_was() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, LARGE);
    // Some 16 KiB each 10 ms: slow enough to be observed.
    device.link.delay(Duration::from_millis(10));
    plane.cli().apply(&workload("w", &digest)).ok();
    let partial = partial(&device, &digest);
    eventually(DEADLINE, "the download is under way", || {
        let have = size(&partial);
        if have > 2 * MIB { Ok(()) } else { Err(format!("{have} bytes")) }
    });
    device.kill_agent();
    let have = size(&partial);
    assert!(have < LARGE, "the download was over before the kill");
    device.link.delay(Duration::ZERO);
    device.link.cut();
    device.link.heal();

    let before = device.link.down();
    device.up();
    device.await_phase("w", "running");
    let came = device.link.down() - before;
    assert!(came < LARGE - have + BESIDE, "{came} bytes came though {have} of {LARGE} were there");
    await_copies(&marker, 1);
}

#[test]
fn a_reboot_while_a_revision_is_fetched_starts_the_one_before() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (old, new) = (marker(), marker());
    let first = push(&plane, &old, 50_000);
    plane.cli().apply(&workload("w", &first)).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");

    let second = push(&plane, &new, LARGE);
    torn_download(&plane, &device, &workload("w", &second), &second);
    device.power_off();
    await_copies(&old, 0);
    device.up();
    device.await_status("the revision before runs without a link", |status| {
        let it = &status["workloads"]["w"];
        it["phase"] == "running" && it["revision"] == 1
    });
    let pid = await_copies(&old, 1)[0];
    // A crash of its own changes nothing about that.
    processes::kill(pid);
    eventually(DEADLINE, "it is started again", || {
        let now = processes::with_argument(&old);
        if now.len() == 1 && now[0] != pid { Ok(()) } else { Err(format!("{now:?}")) }
    });

    device.link.heal();
    await_copies(&new, 1);
    await_copies(&old, 0);
    plane.await_settled("d-1");
}

#[test]
fn the_old_revision_runs_until_the_new_artifact_is_whole_and_then_goes() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (old, new) = (marker(), marker());
    let first = push(&plane, &old, 50_000);
    plane.cli().apply(&workload("w", &first)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");

    let second = push(&plane, &new, LARGE);
    torn_download(&plane, &device, &workload("w", &second), &second);
    holds_for(Duration::from_secs(2), "the old revision runs on", || {
        let status = device.status()?;
        let it = &status["workloads"]["w"];
        let same = it["phase"] == "running" && it["pid"] == pid && it["revision"] == 1;
        if same && processes::alive(pid) { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(kept(&device), [hex(&first)]);

    device.link.heal();
    await_copies(&new, 1);
    await_copies(&old, 0);
    plane.await_settled("d-1");
    // The new revision is proven, so nothing needs the old artifact any more.
    await_kept(&device, &[&second]);

    plane.cli().run(&["delete", "workload", "w"]).ok();
    await_copies(&new, 0);
    await_kept(&device, &[]);
    let left = std::fs::read_dir(device.data().join("artifacts/partial")).unwrap().count();
    assert_eq!(left, 0, "partial downloads are collected too");
}

#[test]
fn a_download_that_is_cut_again_and_again_costs_its_bytes_once() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, LARGE);
    let before = device.link.down();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    device.link.cut_after_down(MIB);
    plane.cli().apply(&workload("w", &digest)).ok();
    let mut cuts = 0;
    while !device.data().join("artifacts/sha256").join(hex(&digest)).exists() {
        eventually(DEADLINE, "the link is torn again, or the file is whole", || {
            let whole = device.data().join("artifacts/sha256").join(hex(&digest)).exists();
            let down = device.link.down();
            if device.link.is_cut() || whole { Ok(()) } else { Err(format!("{down} bytes")) }
        });
        cuts += u32::from(device.link.is_cut());
        // Anywhere in the next 1.5 MiB, each time elsewhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        device.link.heal();
        device.link.cut_after_down(200_000 + state % (MIB + MIB / 2));
    }
    device.link.heal();
    device.await_phase("w", "running");
    let used = device.link.down() - before;
    assert!(cuts >= 4, "{cuts} cuts");
    assert!(used <= LARGE + BESIDE, "{used} bytes came in {cuts} pieces for a file of {LARGE}");
}

#[test]
fn progress_of_a_long_download_is_told() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let digest = push(&plane, &marker(), LARGE);
    // Half a minute.
    device.link.rate(Some(LARGE / 30));
    plane.cli().apply(&workload("w", &digest)).ok();
    let download = eventually(DEADLINE, "a figure is reported", || {
        let view = plane.view("d-1");
        let download = view["status"]["workloads"]["w"]["download"].clone();
        if download.is_object() { Ok(download) } else { Err(view.to_string()) }
    });
    let size = size(&plane.data().join("artifacts/sha256").join(hex(&digest)));
    assert_eq!(download["total"], size, "{download}");
    assert_eq!(download["from"], "whole");
    let done = download["done"].as_u64().unwrap();
    assert!((size / 20..size).contains(&done), "{download}");
    assert!(download["secondsLeft"].as_u64().unwrap() < 120, "{download}");
    let text = plane.cli().run(&["describe", "workload", "w"]).ok();
    assert_says(&text, &["% of 8", "left"]);
    device.link.rate(None);
    device.await_phase("w", "running");
    let is = plane.await_phase("d-1", "w", "running");
    assert!(is["download"].is_null(), "{is}");
}

#[test]
fn a_damaged_partial_file_is_thrown_away_and_fetched_anew() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, LARGE);
    torn_download(&plane, &device, &workload("w", &digest), &digest);
    device.kill_agent();
    let partial = partial(&device, &digest);
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[MIB as usize / 2] ^= 1;
    std::fs::write(&partial, bytes).unwrap();
    device.link.heal();
    let before = device.link.down();
    device.up();
    device.await_phase("w", "running");
    assert!(device.link.down() - before > LARGE, "it came once more from its beginning");
    assert_says(&device.log(), &["thrown away"]);
    await_kept(&device, &[&digest]);
    await_copies(&marker, 1);
}

#[test]
fn a_partial_file_that_is_too_long_is_begun_anew() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, LARGE);
    torn_download(&plane, &device, &workload("w", &digest), &digest);
    device.kill_agent();
    std::fs::write(partial(&device, &digest), vec![7; LARGE as usize + 1]).unwrap();
    device.link.heal();
    device.up();
    device.await_phase("w", "running");
    await_kept(&device, &[&digest]);
}

#[test]
fn an_artifact_that_cannot_be_reached_is_said_and_comes_when_it_can() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    let digest = push(&plane, &marker, 50_000);
    // The gateway can be reached, the API cannot.
    device.link.divert(plane.api.port(), (loopback(), 9).into());
    device.await_link("up");
    plane.cli().apply(&workload("w", &digest)).ok();
    let status = device.await_status("it is fetching, and says why it takes so long", |status| {
        let it = &status["workloads"]["w"];
        it["phase"] == "fetching" && it["reason"].as_str().is_some_and(|why| !why.is_empty())
    });
    let reason = status["workloads"]["w"]["reason"].as_str().unwrap();
    assert_says(reason, &[&digest, "tried again"]);
    eventually(DEADLINE, "the control plane knows why", || {
        let seen = plane.await_phase("d-1", "w", "fetching");
        let reason = seen["reason"].as_str().unwrap_or_default().to_owned();
        if reason.contains(&digest) { Ok(()) } else { Err(reason) }
    });
    assert_says(&plane.cli().run(&["describe", "workload", "w"]).ok(), &["downloading"]);

    device.link.divert_no_more();
    let seen = plane.await_phase("d-1", "w", "running");
    assert_eq!(seen["reason"], "", "{seen}");
    await_copies(&marker, 1);
}

#[test]
fn an_artifact_removed_behind_the_agents_back_is_fetched_again() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    let digest = push(&plane, &marker, 1_000);
    plane.cli().apply(&workload("w", &digest)).ok();
    device.await_phase("w", "running");
    let pid = await_copies(&marker, 1)[0];
    let file = device.data().join("artifacts/sha256").join(hex(&digest));
    std::fs::remove_file(&file).unwrap();
    processes::kill(pid);
    eventually(DEADLINE, "it is fetched and started again", || {
        let found = processes::with_argument(&marker);
        let again = found.len() == 1 && found[0] != pid && file.exists();
        if again { Ok(()) } else { Err(format!("{found:?}")) }
    });
    device.await_phase("w", "running");
}

#[test]
fn a_revision_that_was_given_up_while_it_was_fetched_is_fetched_when_it_is_wanted_again() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (old, new) = (marker(), marker());
    let (first, second) = (push(&plane, &old, 1_000), push(&plane, &new, 1_000));
    plane.cli().apply(&workload("w", &first)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");
    // The control plane cannot serve the artifact for now.
    let file = plane.data().join("artifacts/sha256").join(hex(&second));
    let aside = plane.scratch.join("aside");
    std::fs::rename(&file, &aside).unwrap();
    plane.cli().apply(&workload("w", &second)).ok();
    device.await_status("it is being fetched", |status| {
        let reason = status["workloads"]["w"]["reason"].as_str().unwrap_or_default();
        reason.contains(&second)
    });
    plane.cli().apply(&workload("w", &first)).ok();
    plane.await_settled("d-1");
    assert_eq!(device.await_phase("w", "running"), pid);
    std::fs::rename(&aside, &file).unwrap();
    plane.cli().apply(&workload("w", &second)).ok();
    await_copies(&new, 1);
    await_copies(&old, 0);
    plane.await_phase("d-1", "w", "running");
}
