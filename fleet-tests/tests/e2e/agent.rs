//! The agent itself: one per data folder, its protocol with systemd, its handling of damaged files,
//! its own status, and its idle use of the processor.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for, processes};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{QUICK, assert_says, await_copies, marker, script, sleeper};

/// Returns a device that runs one sleeper and is settled, and the sleeper's process id.
fn settled(plane: &Plane, marker: &str) -> (Device, u32) {
    let device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&sleeper("w", "a", marker)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");
    (device, pid)
}

/// Runs an agent's command to its end: exit code, standard output, standard error.
fn run(device: &Device, arguments: &[&str]) -> (i32, String, String) {
    let output = device.command(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn damage(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len().clamp(64, 100_000);
    let garbage: Vec<u8> = (0..length).map(|at| (at * 167 % 251) as u8).collect();
    std::fs::write(path, garbage).unwrap();
}

#[test]
fn a_second_agent_on_the_same_folder_is_refused_and_disturbs_nothing() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    for _ in 0..3 {
        let (code, _, said) = run(&device, &["run"]);
        assert_eq!(code, 1, "{said}");
        let folder = device.data().display().to_string();
        assert_says(&said, &["another agent runs", &folder]);
    }
    assert!(device.is_up());
    let status = device.status().unwrap();
    assert_eq!(status["link"], "up", "{status}");
    assert_eq!(device.await_phase("w", "running"), pid);
    assert_eq!(await_copies(&marker, 1), [pid]);
    // The lock ends with the agent, however that ends.
    device.restart();
    assert_eq!(device.await_phase("w", "running"), pid);
}

#[test]
fn systemd_is_told_when_it_is_ready_alive_and_stopping() {
    let plane = Plane::start();
    let path = plane.scratch.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut device = plane.bare_device("d-1");
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.env.insert("NOTIFY_SOCKET".into(), path.display().to_string());
    device.env.insert("WATCHDOG_USEC".into(), "300000".into());
    device.up();
    let mut said: Vec<String> = Vec::new();
    let mut await_said = |what: &str, count: usize| {
        let mut buffer = [0; 4096];
        eventually(DEADLINE, &format!("{what} is said {count} times"), || {
            loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => said.push(String::from_utf8_lossy(&buffer[..length]).into()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let found = said.iter().filter(|line| line.starts_with(what)).count();
            if found >= count { Ok(()) } else { Err(format!("{said:?}")) }
        });
        said.clone()
    };
    await_said("READY=1", 1);
    await_said("STATUS=connected", 1);
    // The watchdog is notified three times as often as required, while nothing else happens.
    await_said("WATCHDOG=1", 5);
    assert_eq!(device.stop_agent(), Some(0));
    let said = await_said("STOPPING=1", 1);
    assert_eq!(said.iter().filter(|line| *line == "READY=1").count(), 1, "{said:?}");
    assert_eq!(said.last().unwrap(), "STOPPING=1", "{said:?}");

    // A watchdog interval of 0 switches it off.
    device.env.insert("WATCHDOG_USEC".into(), "0".into());
    device.up();
    device.await_link("up");
}

#[test]
fn sigterm_ends_the_agent_alone_and_cleanly() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    assert_eq!(device.stop_agent(), Some(0));
    assert!(processes::alive(pid), "workloads go on");
    plane.await_connection("d-1", "offline");
    assert!(!device.data().join("agent.sock").exists(), "nothing to ask is left");
    let (code, _, said) = run(&device, &["status"]);
    assert_eq!(code, 1);
    assert_says(&said, &["no agent answers", "holdfast-agent run"]);
    device.up();
    assert_eq!(device.await_phase("w", "running"), pid);
    assert_eq!(await_copies(&marker, 1), [pid]);
}

#[test]
fn a_damaged_store_is_set_aside_and_everything_that_runs_is_adopted() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    device.kill_agent();
    damage(&device.data().join("store.redb"));
    device.link.cut();
    device.up();
    let said = device.await_problem("store-recovered");
    assert_says(&said, &["damaged", "set aside", "store.damaged"]);
    assert_eq!(device.await_phase("w", "running"), pid);
    device.link.heal();
    plane.await_settled("d-1");
    eventually(DEADLINE, "the control plane is told", || {
        let view = plane.view("d-1")["status"].to_string();
        if view.contains("store-recovered") { Ok(()) } else { Err(view) }
    });
    assert_eq!(await_copies(&marker, 1), [pid]);

    // The new store is complete: the running workload is in it again, and no problem is left.
    device.restart();
    device.await_healed("store-recovered");
    assert_eq!(device.await_phase("w", "running"), pid);
    processes::kill(pid);
    device.await_status("it is restarted", |status| status["workloads"]["w"]["restarts"] == 1);
    await_copies(&marker, 1);
}

#[test]
fn a_damaged_desired_state_stops_nothing_and_heals_on_connect() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    device.kill_agent();
    device.link.cut();
    for name in ["desired.cose", "desired.previous.cose"] {
        let path = device.data().join(name);
        if path.exists() || name == "desired.cose" {
            damage(&path);
        }
    }
    device.up();
    let said = device.await_problem("desired-untrusted");
    assert_says(&said, &["desired", "goes on"]);
    assert_eq!(device.await_phase("w", "running"), pid);
    // The workload is even restarted, from its record.
    processes::kill(pid);
    let again = eventually(DEADLINE, "it is restarted", || {
        let found = processes::with_argument(&marker);
        if found.len() == 1 && found[0] != pid { Ok(found[0]) } else { Err(format!("{found:?}")) }
    });
    device.link.heal();
    device.await_link("up");
    device.await_healed("desired-untrusted");
    let status = device.await_status("it follows again", |status| {
        status["generation"]["desired"] == status["generation"]["applied"]
            && status["generation"]["applied"].as_u64() >= Some(1)
    });
    assert_eq!(status["workloads"]["w"]["pid"], again, "{status}");
    plane.cli().run(&["delete", "workload", "w"]).ok();
    await_copies(&marker, 0);
}

#[test]
fn a_damaged_desired_state_is_not_mistaken_for_the_one_before() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    let second = crate::marker();
    plane.cli().apply(&sleeper("second", "a", &second)).ok();
    let second_pid = device.await_phase("second", "running");
    plane.await_settled("d-1");
    device.kill_agent();
    device.link.cut();
    damage(&device.data().join("desired.cose"));
    assert!(device.data().join("desired.previous.cose").exists(), "the one before is kept");
    device.up();
    device.await_problem("desired-untrusted");
    // The former desired state does not contain the second workload, which goes on all the same.
    assert_eq!(device.await_phase("w", "running"), pid);
    assert_eq!(device.await_phase("second", "running"), second_pid);

    // If the records are lost too, the former desired state is used; workloads that it does not
    // contain are left alone.
    device.kill_agent();
    damage(&device.data().join("store.redb"));
    device.up();
    device.await_problem("store-recovered");
    assert_eq!(device.await_phase("w", "running"), pid);
    assert_eq!(device.await_phase("second", "running"), second_pid);
    device.link.heal();
    device.await_healed("desired-untrusted");
    plane.await_settled("d-1");
    assert_eq!(await_copies(&marker, 1), [pid]);
    assert_eq!(await_copies(&second, 1), [second_pid]);
}

#[test]
fn what_nothing_on_the_device_tells_of_is_left_alone_until_the_control_plane_does() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    let gone = crate::marker();
    plane.cli().apply(&sleeper("gone", "a", &gone)).ok();
    let gone_pid = device.await_phase("gone", "running");
    plane.await_settled("d-1");
    device.kill_agent();
    device.link.cut();
    for name in ["desired.cose", "desired.previous.cose", "store.redb"] {
        damage(&device.data().join(name));
    }
    plane.cli().run(&["delete", "workload", "gone"]).ok();
    device.up();
    device.await_problem("store-recovered");
    let status = device.await_status("it is said what runs", |status| {
        status["workloads"]["w"]["pid"] == pid && status["workloads"]["gone"]["pid"] == gone_pid
    });
    let reason = status["workloads"]["w"]["reason"].as_str().unwrap_or_default();
    assert_says(reason, &["left alone", "control plane"]);
    holds_for(Duration::from_secs(2), "both go on", || {
        let alive = processes::alive(pid) && processes::alive(gone_pid);
        if alive { Ok(()) } else { Err("one was ended on a guess".into()) }
    });

    device.link.heal();
    device.await_healed("desired-untrusted");
    plane.await_settled("d-1");
    assert_eq!(await_copies(&marker, 1), [pid]);
    await_copies(&gone, 0);
    assert_eq!(device.await_phase("w", "running"), pid);
    // The adopted workload is watched like any other.
    processes::kill(pid);
    device.await_status("it is restarted", |status| status["workloads"]["w"]["restarts"] == 1);
    await_copies(&marker, 1);
}

#[test]
fn an_agent_that_lost_its_id_knows_its_workloads_by_their_records() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    device.kill_agent();
    std::fs::remove_file(device.data().join("agent-id")).unwrap();
    device.up();
    assert_eq!(device.await_phase("w", "running"), pid);
    device.await_link("up");
    assert_eq!(await_copies(&marker, 1), [pid]);
    plane.cli().run(&["delete", "workload", "w"]).ok();
    await_copies(&marker, 0);
}

#[test]
fn an_identity_that_cannot_be_read_stops_nothing_is_said_and_heals() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    device.kill_agent();
    let path = device.data().join("identity.json");
    let good = std::fs::read(&path).unwrap();
    damage(&path);
    device.up();
    let said = device.await_problem("not-enrolled");
    assert_says(&said, &["identity.json", "damaged"]);
    assert_eq!(device.await_phase("w", "running"), pid);
    // The file is restored from a copy: no restart is needed.
    std::fs::write(&path, &good).unwrap();
    device.await_link("up");
    device.await_healed("not-enrolled");
    plane.await_settled("d-1");
    assert_eq!(await_copies(&marker, 1), [pid]);

    // Without a copy the device can be enrolled again, under another name, as the message says.
    device.kill_agent();
    damage(&path);
    device.up();
    device.await_problem("not-enrolled");
    device.name = "d-2".into();
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.await_link("up");
    device.await_healed("not-enrolled");
    plane.await_phase("d-2", "w", "running");
    plane.await_settled("d-2");
    assert_eq!(await_copies(&marker, 1), [pid], "the same thing is wanted of it");
}

#[test]
fn an_enrolment_beside_a_running_agent_is_taken_over() {
    let plane = Plane::start();
    let marker = marker();
    let (mut device, pid) = settled(&plane, &marker);
    // The former device's desired state is many versions ahead, which must not affect the next
    // one's.
    for number in 0..4 {
        let document = sleeper("w", "a", &marker).replace("1s }", &format!("{}s }}", number + 2));
        plane.cli().apply(&document.replace("role: a", "role: b")).ok();
        plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    }
    plane.await_settled("d-1");
    let pid = if processes::alive(pid) { pid } else { await_copies(&marker, 1)[0] };
    let agent = device.pid();
    // Another device enrols here: the former key goes, and with it the name.
    std::fs::rename(device.data().join("identity.json"), plane.scratch.join("former")).unwrap();
    device.name = "d-2".into();
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.await_status("it is the other device", |status| {
        status["device"].as_str().is_some_and(|device| device.ends_with("d-2"))
    });
    device.await_link("up");
    plane.await_connection("d-2", "online");
    plane.await_settled("d-2");
    let fresh = crate::marker();
    plane.cli().apply(&sleeper("fresh", "a", &fresh)).ok();
    plane.await_phase("d-2", "fresh", "running");
    assert_eq!(await_copies(&marker, 1), [pid], "the same thing is wanted of it");
    assert!(device.is_up() && device.pid() == agent, "it was not restarted for it");
}

#[test]
fn children_that_hide_from_their_marker_are_swept_too() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (main, hidden, away) = (marker(), marker(), marker());
    // Children forked twice, without environment: one in the same session, and one that forges a
    // marker in a session of its own.
    let text = format!(
        "(env -i /bin/sh -c '/bin/sleep {hidden} & exit 0' &); \
         (env -i HOLDFAST_INSTANCE=0/x/1/0 setsid /bin/sh -c '/bin/sleep {away} & exit 0' &); \
         exec sleep {main}"
    );
    plane.cli().apply(&script("w", "a", &text, QUICK)).ok();
    device.await_phase("w", "running");
    let first = await_copies(&main, 1)[0];
    let orphans = || [await_copies(&hidden, 1)[0], await_copies(&away, 1)[0]];
    let left = orphans();
    for orphan in left {
        let environment = std::fs::read(format!("/proc/{orphan}/environ")).unwrap();
        assert!(!environment.windows(15).any(|part| part == b"HOLDFAST_FOLDER"), "the child hides");
    }
    let await_another = |former: u32| {
        eventually(DEADLINE, "it starts anew", || {
            let found = processes::with_argument(&main);
            if found.len() == 1 && found[0] != former { Ok(()) } else { Err(format!("{found:?}")) }
        });
    };

    // The main process dies: its remaining children are killed before the next start.
    processes::kill(first);
    await_another(first);
    assert!(left.into_iter().all(|orphan| !processes::alive(orphan)), "the orphans are gone");
    let left = orphans();

    // The same, while no agent runs.
    let main_pid = await_copies(&main, 1)[0];
    device.kill_agent();
    processes::kill(main_pid);
    device.up();
    await_another(main_pid);
    assert!(left.into_iter().all(|orphan| !processes::alive(orphan)), "the orphans are gone");
    orphans();
    plane.cli().run(&["delete", "workload", "w"]).ok();
    for marker in [&main, &hidden, &away] {
        await_copies(marker, 0);
    }
}

#[test]
fn a_lost_record_of_a_workload_without_environment_makes_no_second_copy() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    let text = format!("exec env -i /bin/sleep {marker}");
    plane.cli().apply(&script("w", "a", &text, QUICK)).ok();
    device.await_phase("w", "running");
    let first = await_copies(&marker, 1)[0];
    plane.await_settled("d-1");

    // With its record the process is adopted.
    device.restart();
    assert_eq!(device.await_phase("w", "running"), first);

    // Without a record the process is unidentified: it is killed, and another one is started.
    device.kill_agent();
    std::fs::remove_file(device.data().join("store.redb")).unwrap();
    device.up();
    let second = device.await_phase("w", "running");
    assert_ne!(second, first);
    assert_eq!(await_copies(&marker, 1), [second]);
}

#[test]
fn a_lost_record_is_made_up_for_by_the_main_process_whatever_else_there_is() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (main, child) = (marker(), marker());
    // A child with a session of its own, and an argument that launchers have too.
    let text = format!("setsid /bin/sleep {child} & /bin/sleep {main} & wait");
    let more = format!(
        "{QUICK}  health: {{ exec: {{ command: [/bin/sleep, '1'] }}, interval: 100ms, timeout: 5s }}\n"
    );
    let document = script("w", "a", &text, &more).replacen("] } }", ", launch] } }", 1);
    assert!(document.contains("launch"), "{document}");
    plane.cli().apply(&document).ok();
    let pid = device.await_phase("w", "running");
    let copies = [await_copies(&main, 1), await_copies(&child, 1)];
    plane.await_settled("d-1");
    for _ in 0..2 {
        device.kill_agent();
        std::fs::remove_file(device.data().join("store.redb")).unwrap();
        device.up();
        assert_eq!(device.await_phase("w", "running"), pid);
        assert_eq!([await_copies(&main, 1), await_copies(&child, 1)], copies);
    }
}

#[test]
fn a_workload_that_forges_another_ones_marker_is_not_taken_for_it() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (victim, liar, forged) = (marker(), marker(), marker());
    plane.cli().apply(&sleeper("victim", "a", &victim)).ok();
    let first = device.await_phase("victim", "running");
    let text = format!(
        "HOLDFAST_INSTANCE=${{HOLDFAST_INSTANCE%%/*}}/victim/1/0 setsid /bin/sleep {forged} & \
         exec sleep {liar}"
    );
    plane.cli().apply(&script("liar", "a", &text, QUICK)).ok();
    let lying = device.await_phase("liar", "running");
    let copy = await_copies(&forged, 1);
    plane.await_settled("d-1");

    // The forged process does not end with the victim, and does not delay the victim's restart.
    processes::kill(first);
    device.await_status("the victim is restarted", |status| {
        let victim = &status["workloads"]["victim"];
        victim["restarts"] == 1 && victim["phase"] == "running"
    });
    assert_eq!(await_copies(&forged, 1), copy);
    let second = await_copies(&victim, 1)[0];
    device.kill_agent();
    std::fs::remove_file(device.data().join("store.redb")).unwrap();
    device.up();
    assert_eq!(device.await_phase("victim", "running"), second);
    assert_eq!(device.await_phase("liar", "running"), lying);

    // The forged process ends with the workload that started it.
    plane.cli().run(&["delete", "workload", "liar"]).ok();
    await_copies(&liar, 0);
    await_copies(&forged, 0);
    assert_eq!(await_copies(&victim, 1), [second]);
}

#[test]
fn an_agent_with_few_descriptors_takes_nobody_for_dead() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let markers: Vec<String> = (0..40).map(|_| marker()).collect();
    let name = |at: usize| format!("w-{at}");
    let documents: Vec<String> =
        markers.iter().enumerate().map(|(at, it)| sleeper(&name(at), "a", it)).collect();
    plane.cli().apply(&documents.join("---\n")).ok();
    let pids: Vec<u32> = (0..40).map(|at| device.await_phase(&name(at), "running")).collect();
    plane.await_settled("d-1");

    // Too few descriptors for a pidfd each, at the next start.
    let program = std::mem::take(&mut device.program);
    let few = ["/bin/sh", "-c", "ulimit -n 50; exec \"$@\"", "sh"];
    device.program = few.into_iter().map(Into::into).chain(program).collect();
    device.restart();
    device.await_link("up");
    let as_before = |status: &serde_json::Value| {
        (0..40).all(|at| {
            let workload = &status["workloads"][name(at)];
            workload["pid"] == pids[at] && workload["restarts"] == 0
        })
    };
    device.await_status("all are adopted", as_before);
    holds_for(Duration::from_secs(3), "all go on", || {
        let status = device.status()?;
        let alive = pids.iter().all(|&pid| processes::alive(pid));
        if alive && as_before(&status) { Ok(()) } else { Err(status.to_string()) }
    });
    // An end of a process is noticed all the same, and it is restarted.
    for at in [0, 20, 39] {
        processes::kill(pids[at]);
        device.await_status("it is restarted", |status| {
            let workload = &status["workloads"][name(at)];
            workload["restarts"] == 1 && workload["phase"] == "running"
        });
        let copies = await_copies(&markers[at], 1);
        assert_ne!(copies, [pids[at]]);
    }
}

#[test]
fn a_sweep_that_cannot_look_does_not_say_that_nothing_is_left() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (main, child) = (marker(), marker());
    let text = format!("(setsid /bin/sleep {child} &); exec sleep {main}");
    plane.cli().apply(&script("w", "a", &text, QUICK)).ok();
    let first = device.await_phase("w", "running");
    let orphan = await_copies(&child, 1)[0];
    plane.await_settled("d-1");

    // From now on the agent cannot open any file.
    let agent = Pid::from_raw(device.pid().unwrap().cast_signed());
    let none = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let before = prlimit(agent, Resource::Nofile, none).unwrap();
    processes::kill(first);
    await_copies(&main, 0);
    holds_for(Duration::from_secs(3), "nothing starts beside what is left", || {
        let found = processes::with_argument(&main);
        if found.is_empty() && processes::alive(orphan) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    prlimit(agent, Resource::Nofile, before).unwrap();
    let second = await_copies(&main, 1)[0];
    assert!(!processes::alive(orphan), "it went before the next one came");
    assert_eq!(device.await_phase("w", "running"), second);
    await_copies(&child, 1);
}

#[test]
fn an_agent_takes_all_the_descriptors_it_may_and_workloads_get_what_it_got() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let program = std::mem::take(&mut device.program);
    let some = ["/bin/sh", "-c", "ulimit -Sn 600; ulimit -Hn 700; exec \"$@\"", "sh"];
    device.program = some.into_iter().map(Into::into).chain(program).collect();
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    let limit = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().skip(3).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit(device.pid().unwrap()), ["700", "700"]);
    assert_eq!(limit(pid), ["600", "700"]);
}

#[test]
fn the_status_is_told_without_a_link_and_reads_well() {
    let plane = Plane::start();
    let marker = marker();
    let (device, pid) = settled(&plane, &marker);
    plane.cli().apply(&script("bad", "a", "exit 3", "  restart: { policy: never }\n")).ok();
    device.await_phase("bad", "failed");
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    let (code, text, _) = run(&device, &["status"]);
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    let pid = pid.to_string();
    let find = |first: &str| {
        lines.iter().find(|line| line.first() == Some(&first)).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(find("device")[1].ends_with("_d-1"), "{text}");
    assert_eq!(find("link")[1], "down", "{text}");
    assert!(find("link").len() > 2, "it says why: {text}");
    assert_eq!(find("generation")[1..5], ["2", "applied,", "2", "desired"], "{text}");
    assert_eq!(*find("WORKLOAD"), ["WORKLOAD", "PHASE", "REVISION", "PID", "RESTARTS"]);
    assert_eq!(*find("w"), ["w", "running", "1", &pid, "0"], "{text}");
    assert_eq!(find("bad")[..5], ["bad", "failed", "1", "-", "0"], "{text}");
    assert_says(&text, &["ended with code 3"]);
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
    // A device without streams has a horizon too, in its status and at the control plane.
    assert_eq!(find("horizon")[1], "in", "{text}");
    let told = &plane.view("d-1")["status"]["data"]["horizon"];
    assert!(told["until"].is_u64() && told["cause"].is_string(), "{told}");

    let json = device.status().unwrap();
    for key in ["device", "link", "epoch", "generation", "workloads", "problems"] {
        assert!(json.get(key).is_some(), "{key} is promised: {json}");
    }
    let keys = ["revision", "phase", "pid", "restarts", "reason"];
    assert!(keys.iter().all(|key| json["workloads"]["w"].get(key).is_some()), "{json}");
}

#[test]
fn an_agent_may_run_before_it_is_enrolled() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    device.up();
    assert_says(&device.await_problem("not-enrolled"), &["holdfast-agent enroll"]);
    let agent = device.pid();
    let (_, text, _) = run(&device, &["status"]);
    assert_says(&text, &["link        down", "not-enrolled"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.await_link("up");
    device.await_healed("not-enrolled");
    plane.await_phase("d-1", "w", "running");
    assert!(device.is_up() && device.pid() == agent, "it was not restarted for it");
    await_copies(&marker, 1);
}

#[test]
fn a_token_file_goes_before_the_environment() {
    let plane = Plane::start();
    let device = plane.bare_device("d-1");
    let path = plane.scratch.write("token", plane.token(&[]));
    let file = path.to_str().unwrap();
    let enrol = |more: &[&str]| {
        let mut command = device.command(&["enroll", "--url", device.url(), "--name", "d-1"]);
        let output = command.args(more).env("HOLDFAST_TOKEN", "of something else").output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = enrol(&["--token-file", file, "--token", "another"]);
    assert_eq!(code, Some(2), "two are said, and it cannot be both: {said}");
    let (code, said) = enrol(&[]);
    assert_eq!(code, Some(2), "the environment's is tried, and is none: {said}");
    let (code, said) = enrol(&["--token-file", file]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn every_fault_of_a_configuration_is_said_at_once() {
    let plane = Plane::start();
    let device = plane.bare_device("d-1");
    let bad = "speed = 1\n[link]\nkeep_alive_seconds = 1\n[logs]\nbytes_per_workload = 'many'\n";
    let path = plane.scratch.write("agent.toml", bad);
    let (code, _, said) = run(&device, &["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 2, "{said}");
    assert_says(
        &said,
        &[
            "agent.toml",
            "speed",
            "link.keep_alive_seconds: 1",
            "5 to 3600",
            "logs.bytes_per_workload",
        ],
    );
    assert!(!device.data().exists(), "nothing was begun");
    let path = plane.scratch.write("broken.toml", "[link\n");
    let (code, _, said) = run(&device, &["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 2, "{said}");
    assert_says(&said, &["broken.toml", "line 1"]);
    let (code, _, said) = run(&device, &["run", "--config", "/no/such.toml"]);
    assert_eq!(code, 2, "{said}");
    assert_says(&said, &["/no/such.toml", "No such file"]);
}

/// Returns the processor time in clock ticks (10 ms), and the number of voluntary context switches.
fn effort(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let field = |nth: usize| rest.split_whitespace().nth(nth).unwrap().parse::<u64>().unwrap();
    let switches = processes::status_line(pid, "voluntary_ctxt_switches:").parse().unwrap();
    (field(11) + field(12), switches)
}

#[test]
fn an_idle_agent_is_idle() {
    let plane = Plane::start();
    let (device, _) = settled(&plane, &marker());
    plane.cli().apply(&script("done", "a", "true", "  restart: { policy: never }\n")).ok();
    device.await_phase("done", "stopped");
    plane.await_settled("d-1");
    let agent = device.pid().unwrap();
    // Once nothing changes, the last acknowledgements and the first look at the logs are over.
    let mut last = effort(agent);
    eventually(DEADLINE, "the agent comes to rest", || {
        let now = effort(agent);
        let quiet = now == last;
        last = now;
        if quiet { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let before = effort(agent);
    holds_for(Duration::from_secs(5), "the agent uses next to nothing", || {
        let now = effort(agent);
        let (ticks, wakes) = (now.0 - before.0, now.1 - before.1);
        if ticks < 5 && wakes < 25 { Ok(()) } else { Err(format!("{ticks} ticks, {wakes} wakes")) }
    });
    let threads = processes::status_line(agent, "Threads:");
    assert_eq!(threads, "1", "one thread is enough for nothing");
}
