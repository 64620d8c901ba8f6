//! Start and end of programs: exactly the given file is executed, it inherits nothing, and nothing
//! of it is left behind.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for, processes};
use serde_json::Value;

use crate::{QUICK, assert_says, await_copies, marker, script};

fn own(device: &Device, workload: &str) -> PathBuf {
    device.data().join("workloads").join(workload).join("files")
}

fn reason(seen: &Value) -> &str {
    seen["reason"].as_str().unwrap_or_default()
}

/// Returns a workload that runs this file.
fn runs(name: &str, path: &Path, more: &str) -> String {
    let path = path.display();
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run: {{ process: {{ path: {path} }} }}\n{more}"
    )
}

/// Starts the device's agent through a line of shell, in which `"$@"` is the agent.
fn started_by(device: &mut Device, line: &str) {
    let mut program: Vec<OsString> = ["/bin/sh", "-c", line, "sh"].map(Into::into).into();
    program.append(&mut device.program);
    device.program = program;
}

/// Returns the numbers of a process' descriptors, sorted.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut all: Vec<String> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// Returns the beginning of an ELF file for another processor.
fn foreign() -> Vec<u8> {
    let mut head = std::fs::read("/proc/self/exe").unwrap();
    head.truncate(64);
    head[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    head
}

#[test]
fn what_is_no_program_here_is_never_handed_to_a_shell_and_each_cause_is_said() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let scratch = fleet_tests::harness::Scratch::new();
    let sign = scratch.join("executed");
    let shell = format!("\ntouch {}\nexit 0\n", sign.display());
    let foreign = [&foreign()[..], shell.as_bytes()].concat();
    let cases: [(&str, &[u8], u32, &[&str]); 8] = [
        ("foreign", &foreign, 0o755, &["cannot be executed: it is for ", "this device is "]),
        ("text", shell.as_bytes(), 0o755, &["names no interpreter"]),
        ("empty", b"", 0o755, &["it is empty"]),
        ("zeros", &[0; 300], 0o755, &["nothing but zeros"]),
        ("windows", b"#!/bin/sh\r\nexit 0\r\n", 0o755, &["carriage return"]),
        ("option", b"#!/bin/sh -e\r\nexit 0\r\n", 0o755, &["carriage return"]),
        ("python", b"#!/usr/bin/python9\n", 0o755, &["interpreter /usr/bin/python9 is not there"]),
        ("mode", b"#!/bin/sh\nexit 0\n", 0o644, &["no execute permission", "mode 0644"]),
    ];
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (name, content, mode, _) in cases {
        let path = scratch.write(name, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        // A job that "ended well" would be stopped and never tried again.
        plane.cli().apply(&runs(name, &path, "  restart: { policy: never }\n")).ok();
    }
    let probe = format!(
        "  health: {{ exec: {{ command: [{}] }}, interval: 100ms, failures: 1000 }}\n",
        scratch.join("foreign").display()
    );
    plane.cli().apply(&script("probed", "a", "exec sleep 1000", &probe)).ok();
    for (name, _, _, said) in cases {
        let seen = plane.await_phase("d-1", name, "failed");
        assert_says(reason(&seen), said);
        assert_says(reason(&seen), &[&scratch.join(name).display().to_string()]);
    }
    let status = device.await_status("the probe cannot be executed either", |status| {
        reason(&status["workloads"]["probed"]).contains("it is for ")
    });
    assert!(!sign.exists(), "a shell obeyed what is no program: {status}");
}

#[test]
fn a_workload_inherits_nothing_from_whoever_started_the_agent() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let scratch = fleet_tests::harness::Scratch::new();
    // A file of groups in which the user `nobody` has one (7777), mounted for this agent alone.
    let groups = scratch.write("group", "root:x:0:\nhf-ports:x:7777:games,nobody\nhf-none:x:7778:");
    let open = scratch.write("open", "");
    let line = format!(
        "mount --bind {} /etc/group; umask 0; exec 7>>{}; \
         exec nice -n 5 env --ignore-signal=HUP,INT,QUIT,USR1,CHLD,SEGV \
         --block-signal=TERM,USR2 \"$@\"",
        groups.display(),
        open.display(),
    );
    let line = format!("exec unshare -m /bin/sh -c '{line}' sh \"$@\"");
    started_by(&mut device, &line);
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    let more = format!(
        "  health: {{ exec: {{ command: [/bin/sh, -c, cat /proc/self/status > probe] }}, interval: 100ms }}\n{QUICK}"
    );
    plane.cli().apply(&script("w", "a", "exec sleep 1000", &more)).ok();
    plane
        .cli()
        .apply(
            &script("named", "a", "exec sleep 1000", QUICK)
                .replace("path: /bin/sh,", "path: /bin/sh, user: nobody,"),
        )
        .ok();
    let pid = device.await_phase("w", "running");
    let line = |key: &str| processes::status_line(pid, key);
    for (key, value) in [
        ("SigIgn:", "0000000000000000"),
        ("SigBlk:", "0000000000000000"),
        ("Umask:", "0022"),
        ("Groups:", ""),
    ] {
        assert_eq!(line(key), value, "{key}");
    }
    let probe = std::fs::read_to_string(own(&device, "w").join("probe")).unwrap();
    for value in ["SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000", "Umask:\t0022"] {
        assert!(probe.contains(value), "{value} of the probe: {probe}");
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned();
    assert_eq!(nice, "0");
    assert_eq!(descriptors(pid), ["0", "1", "2"]);
    let folder = own(&device, "w").canonicalize().unwrap();
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), folder);
    let named = device.await_phase("named", "running");
    let groups = processes::status_line(named, "Groups:");
    assert!(groups.split(' ').any(|group| group == "7777"), "{groups}");
    assert!(!groups.contains("7778"), "{groups}");
    // The agent closes inherited descriptors, sees how its children end, and ends when asked.
    let agent = device.pid().unwrap();
    let given: Vec<PathBuf> = descriptors(agent)
        .iter()
        .filter_map(|fd| std::fs::read_link(format!("/proc/{agent}/fd/{fd}")).ok())
        .filter(|file| *file == open.canonicalize().unwrap())
        .collect();
    assert!(given.is_empty(), "{given:?}");
    plane.cli().apply(&script("job", "a", "exit 3", "  restart: { policy: never }\n")).ok();
    assert_says(reason(&plane.await_phase("d-1", "job", "failed")), &["ended with code 3"]);
    assert_eq!(device.stop_agent(), Some(0));
}

#[test]
fn a_probe_ends_with_everything_that_it_started_and_its_last_line_is_said() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let health = |text: &str| {
        let text = serde_json::to_string(&format!("echo x >> tries; {text}")).unwrap();
        format!(
            "  health: {{ exec: {{ command: [/bin/sh, -c, {text}] }}, interval: 100ms, \
             timeout: 400ms, failures: 1000 }}\n{QUICK}"
        )
    };
    // Also children without a marker, with the output kept open, or printing without end.
    let markers: Vec<String> = (0..6).map(|_| marker()).collect();
    let [background, session, hidden, late, deep, loud] = &markers[..] else { panic!() };
    let cases = [
        ("background", format!("sleep {background} & exit 0")),
        ("session", format!("setsid sleep {session} & echo one; echo two no; exit 3")),
        ("hidden", format!("setsid env -i /bin/sleep {hidden} & exit 0")),
        ("late", format!("setsid sleep {late} & echo waits >&2; wait")),
        ("deep", format!("setsid sh -c 'setsid sleep {deep} & sleep {deep}' & exit 1")),
        ("loud", format!("sleep {loud} & head -c 3000000 /dev/zero; printf 'end\\033'; exit 4")),
    ];
    for (name, text) in &cases {
        plane.cli().apply(&script(name, "a", "exec sleep 1000", &health(text))).ok();
    }
    for (name, _) in &cases {
        eventually(DEADLINE, &format!("{name} was probed often"), || {
            let tries = std::fs::read_to_string(own(&device, name).join("tries"));
            let tries = tries.unwrap_or_default().lines().count();
            if tries >= 8 { Ok(()) } else { Err(format!("{tries} tries")) }
        });
    }
    for (marker, (name, _)) in markers.iter().zip(&cases) {
        let left = processes::with_argument(marker).len();
        assert!(left <= 3, "{left} processes of the probes of {name}");
    }
    for (name, said) in [
        ("session", "/bin/sh ended with code 3: two no"),
        ("late", "no answer within 400 ms: waits"),
        ("deep", "/bin/sh ended with code 1"),
        ("loud", "/bin/sh ended with code 4: "),
    ] {
        device.await_status(&format!("{name} says {said}"), |status| {
            reason(&status["workloads"][name]).contains(said)
        });
    }
    // The keeper ends with the agent, and its probe with it.
    let mut device = device;
    device.kill_agent();
    for marker in [background, session, hidden, late, deep, loud] {
        await_copies(marker, 0);
    }
}

#[test]
fn a_program_that_goes_to_the_background_is_told_to_stay() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let left = marker();
    let text = format!("setsid sleep {left} </dev/null >/dev/null 2>&1 & exit 0");
    plane.cli().apply(&script("w", "a", &text, QUICK)).ok();
    device.await_status("it says what was left and what to do", |status| {
        reason(&status["workloads"]["w"])
            == "ended with code 0 and left 1 process behind, which was ended: a program must stay in the foreground"
    });
}

#[test]
fn a_frozen_workload_ends_by_its_own_handler() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let text = "trap 'exit 0' TERM; echo > ready; while :; do sleep 0.1; done";
    plane.cli().apply(&script("w", "a", text, "  stop: { grace: 60s }\n")).ok();
    let pid = device.await_phase("w", "running");
    let ready = own(&device, "w").join("ready");
    eventually(DEADLINE, "its trap is set", || {
        if ready.exists() { Ok(()) } else { Err("it is not".into()) }
    });
    processes::send(pid, rustix::process::Signal::STOP);
    let began = Instant::now();
    plane.cli().run(&["delete", "workload", "w"]).ok();
    eventually(DEADLINE, "it ends", || {
        if processes::alive(pid) { Err(format!("{pid} is there")) } else { Ok(()) }
    });
    assert!(began.elapsed() < Duration::from_secs(50), "by SIGKILL only");
}

#[test]
fn an_agent_that_is_the_first_process_reaps_orphans_and_sees_how_its_own_children_end() {
    let plane = Plane::start();
    let device = plane.bare_device("d-1");
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    let run = device.command(&["run"]);
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child"]).arg(run.get_program());
    command.args(run.get_args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (key, value) in run.get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    let mut outer = command.spawn().unwrap();
    let orphans = "while :; do (sleep 0.01 &); echo x >> made; sleep 0.02; done";
    plane.cli().apply(&script("orphans", "a", orphans, QUICK)).ok();
    for code in 1..6 {
        let job = script(
            &format!("job-{code}"),
            "a",
            &format!("sleep 0.2; exit {code}"),
            "  restart: { policy: never }\n",
        );
        plane.cli().apply(&job).ok();
    }
    eventually(DEADLINE, "many orphans were made", || {
        let made =
            std::fs::read_to_string(own(&device, "orphans").join("made")).unwrap_or_default();
        if made.lines().count() > 100 { Ok(()) } else { Err(format!("{} orphans", made.len())) }
    });
    let parent = |pid: u32| processes::status_line(pid, "PPid:").parse::<u32>().unwrap_or(0);
    let agent = processes::all().into_iter().find(|&pid| parent(pid) == outer.id()).unwrap();
    holds_for(Duration::from_millis(500), "no heap of zombies", || {
        let children = processes::all().into_iter().filter(|&pid| parent(pid) == agent);
        let dead = children.filter(|&pid| !processes::alive(pid)).count();
        if dead < 20 { Ok(()) } else { Err(format!("{dead} zombies")) }
    });
    for code in 1..6 {
        let seen = plane.await_phase("d-1", &format!("job-{code}"), "failed");
        assert_says(reason(&seen), &[&format!("ended with code {code}")]);
    }
    outer.kill().unwrap();
    outer.wait().unwrap();
}

#[test]
fn a_data_folder_that_workloads_cannot_reach_is_said_at_once_with_what_helps() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let home = plane.data().with_file_name("home");
    std::fs::create_dir(&home).unwrap();
    let mode = |mode| std::fs::set_permissions(&home, std::fs::Permissions::from_mode(mode));
    mode(0o700).unwrap();
    device.set_data(home.join("agent"));
    let enrolled = device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]);
    let shown = home.canonicalize().unwrap().display().to_string();
    assert_says(&enrolled.err, &["may not enter", &shown, "o+x", "--data"]);
    enrolled.ok();
    device.up();
    assert_says(&device.await_problem("data-folder-closed"), &[&shown, "o+x"]);
    plane.cli().apply(&script("w", "a", "exec sleep 1000", QUICK)).ok();
    let seen = plane.await_phase("d-1", "w", "failed");
    assert_says(reason(&seen), &["may not enter", &shown, "the right x"]);
    mode(0o711).unwrap();
    device.await_phase("w", "running");
    device.await_healed("data-folder-closed");
}
