//! Life of a workload as its device reports it: restarts and back-off, probes, stops, and the
//! return to the last revision that worked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for, loopback, processes};
use serde_json::Value;

use crate::{QUICK, assert_says, await_copies, marker, script};

fn own(device: &Device, workload: &str) -> PathBuf {
    device.data().join("workloads").join(workload).join("files")
}

fn lines(device: &Device, workload: &str, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(own(device, workload).join(file)).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

fn restart(policy: &str) -> String {
    format!("  restart: {{ policy: {policy}, backoff: {{ initial: 200ms, max: 800ms }} }}\n")
}

fn reason(seen: &Value) -> &str {
    seen["reason"].as_str().unwrap_or_default()
}

#[test]
fn each_policy_does_what_it_says_with_each_ending() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    for (name, policy, ending, phase, said) in [
        ("never-0", "never", "exit 0", "stopped", "ended with code 0"),
        ("never-3", "never", "exit 3", "failed", "ended with code 3"),
        ("never-9", "never", "kill -KILL $$", "failed", "signal 9"),
        ("failure-0", "on-failure", "exit 0", "stopped", "ended with code 0"),
        ("failure-7", "on-failure", "exit 7", "backoff", "ended with code 7"),
        ("always-0", "always", "exit 0", "backoff", "ended with code 0"),
    ] {
        let text = format!("echo start >> starts; {ending}");
        plane.cli().apply(&script(name, "a", &text, &restart(policy))).ok();
        let status = device.await_status(&format!("{name} is {phase}"), |status| {
            let it = &status["workloads"][name];
            it["phase"] == phase && reason(it).contains(said)
        });
        assert!(status["workloads"][name]["pid"].is_null(), "{status}");
    }
    for name in ["failure-7", "always-0"] {
        let status = device.await_status(&format!("{name} is started again"), |status| {
            let it = &status["workloads"][name];
            // The restart is counted before the gate opens, so its output exists once it has ended
            // again.
            it["restarts"].as_u64() >= Some(2) && it["phase"] == "backoff"
        });
        assert!(lines(&device, name, "starts").len() >= 3, "{status}");
    }
    for name in ["never-0", "never-3", "never-9", "failure-0"] {
        assert_eq!(lines(&device, name, "starts").len(), 1, "{name} is not started again");
    }
    let seen = plane.await_phase("d-1", "never-3", "failed");
    assert_says(reason(&seen), &["code 3"]);
    assert_says(&plane.cli().run(&["describe", "workload", "never-3"]).ok(), &["code 3"]);
}

#[test]
fn a_job_that_ended_is_not_run_again_by_a_restart_or_a_reboot_but_by_a_new_revision() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let job = |say: &str| script("job", "a", &format!("echo {say} >> runs"), &restart("never"));
    plane.cli().apply(&job("one")).ok();
    plane.await_phase("d-1", "job", "stopped");
    device.restart();
    device.await_phase("job", "stopped");
    device.power_off();
    device.up();
    device.await_phase("job", "stopped");
    device.await_link("up");
    plane.await_settled("d-1");
    assert_eq!(lines(&device, "job", "runs"), ["one"]);
    plane.cli().apply(&job("two")).ok();
    eventually(DEADLINE, "the next revision runs once", || {
        let runs = lines(&device, "job", "runs");
        if runs == ["one", "two"] { Ok(()) } else { Err(format!("{runs:?}")) }
    });
    plane.await_phase("d-1", "job", "stopped");
}

#[test]
fn a_job_that_ended_while_nobody_looked_is_not_run_again_and_says_so() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    let job = |say: &str| {
        let text = format!("echo {say} >> runs; exec sleep {marker}");
        script("job", "a", &text, &restart("never"))
    };
    plane.cli().apply(&job("one")).ok();
    plane.await_phase("d-1", "job", "running");
    // The workload ends while the agent is down.
    device.kill_agent();
    processes::kill(await_copies(&marker, 1)[0]);
    device.up();
    let status = device.await_status("its end is judged", |status| {
        status["workloads"]["job"]["phase"] == "failed"
    });
    assert_says(reason(&status["workloads"]["job"]), &["ended while the agent was away"]);
    plane.await_phase("d-1", "job", "failed");
    assert_eq!(lines(&device, "job", "runs"), ["one"]);

    // The workload ends with its machine.
    plane.cli().apply(&job("two")).ok();
    plane.await_phase("d-1", "job", "running");
    await_copies(&marker, 1);
    device.power_off();
    device.up();
    device.await_status("its end is judged", |status| {
        status["workloads"]["job"]["phase"] == "failed"
    });
    device.restart();
    plane.await_settled("d-1");
    holds_for(Duration::from_secs(2), "it is not run again", || {
        let runs = lines(&device, "job", "runs");
        if runs == ["one", "two"] { Ok(()) } else { Err(format!("{runs:?}")) }
    });
}

#[test]
fn the_wait_before_a_restart_doubles_up_to_its_cap() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let text = "date +%s%3N >> starts; exit 1";
    plane.cli().apply(&script("w", "a", text, &restart("always"))).ok();
    let starts = eventually(DEADLINE, "it is started eight times", || {
        let starts = lines(&device, "w", "starts");
        if starts.len() >= 8 { Ok(starts) } else { Err(format!("{starts:?}")) }
    });
    let times: Vec<u64> = starts.iter().map(|time| time.parse().unwrap()).collect();
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (nth, &wait) in waits.iter().enumerate() {
        let full = (200 << nth.min(8)).min(800);
        assert!(wait >= full * 3 / 4, "wait {nth} was shorter than its band: {waits:?}");
        assert!(wait < full + 3_000, "wait {nth} was longer than its cap: {waits:?}");
    }
    let status = device.status().unwrap();
    assert!(status["workloads"]["w"]["restarts"].as_u64() >= Some(7), "{status}");
}

/// Server of this test that a workload's probe asks.
struct Probed {
    address: SocketAddr,
    answer: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Probed {
    fn start(answer: u16) -> Self {
        let listener = TcpListener::bind((loopback(), 0)).unwrap();
        let probed = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(AtomicU16::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&probed.answer), Arc::clone(&probed.asked));
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                asked.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 512];
                let length = socket.read(&mut request).unwrap_or(0);
                let right = request[..length].starts_with(b"GET /health?deep=1 HTTP/1.1\r\n");
                let status = if right { answer.load(Ordering::Relaxed) } else { 400 };
                let _gone = write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            }
        });
        probed
    }

    fn http(&self, more: &str) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        format!(
            "  health: {{ http: {{ host: {host}, port: {port}, path: '/health?deep=1' }}, {more} }}\n"
        )
    }
}

#[test]
fn an_http_probe_tells_starting_running_and_unhealthy_apart_and_restarts() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let server = Probed::start(503);
    let marker = marker();
    let health = server.http("startPeriod: 1h, interval: 300ms, failures: 6");
    let text = format!("exec sleep {marker}");
    plane.cli().apply(&script("w", "a", &text, &format!("{health}{QUICK}"))).ok();
    plane.await_phase("d-1", "w", "starting");
    let pid = await_copies(&marker, 1)[0];
    eventually(DEADLINE, "it is asked again and again", || {
        let asked = server.asked.load(Ordering::Relaxed);
        if asked >= 6 { Ok(()) } else { Err(asked.to_string()) }
    });
    let status = device.status().unwrap();
    assert_eq!(status["workloads"]["w"]["phase"], "starting", "the start period holds: {status}");

    server.answer.store(302, Ordering::Relaxed);
    assert_eq!(device.await_phase("w", "running"), pid);
    plane.await_phase("d-1", "w", "running");

    server.answer.store(500, Ordering::Relaxed);
    device.await_status("it is unhealthy before it is restarted", |status| {
        let it = &status["workloads"]["w"];
        it["phase"] == "running" && it["pid"] == pid && reason(it).contains("answered 500")
            || it["phase"] == "unhealthy" && reason(it).contains("answered 500")
    });
    eventually(DEADLINE, "it is restarted", || {
        let found = processes::with_argument(&marker);
        if found.len() == 1 && found[0] != pid { Ok(()) } else { Err(format!("{found:?}")) }
    });
    server.answer.store(200, Ordering::Relaxed);
    let seen = plane.await_phase("d-1", "w", "running");
    assert_eq!((seen["restarts"].as_u64(), reason(&seen)), (Some(1), ""), "{seen}");
    await_copies(&marker, 1);
}

#[test]
fn a_tcp_probe_notices_a_port_that_closes() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let listener = TcpListener::bind((loopback(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let health = format!(
        "  health: {{ tcp: {{ host: {}, port: {} }}, interval: 200ms, failures: 2 }}\n",
        address.ip(),
        address.port()
    );
    // The workload takes its whole grace period, so that it can be seen unhealthy.
    let text = "trap '' TERM; while :; do sleep 0.1; done";
    plane.cli().apply(&script("w", "a", text, &format!("{health}{QUICK}"))).ok();
    let pid = device.await_phase("w", "running");
    drop(listener);
    assert!(TcpStream::connect(address).is_err());
    let status = device.await_status("it is unhealthy, and says why", |status| {
        status["workloads"]["w"]["phase"] == "unhealthy"
    });
    assert_says(reason(&status["workloads"]["w"]), &["probe failed 2 times", "refused"]);
    device.await_status("it is restarted", |status| {
        status["workloads"]["w"]["restarts"].as_u64() >= Some(1)
    });
    let _again = TcpListener::bind(address).unwrap();
    assert_ne!(device.await_phase("w", "running"), pid);
    assert!(!processes::alive(pid));
}

#[test]
fn an_exec_probe_runs_in_the_workloads_place_and_leaves_nothing_behind() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let hang = marker();
    let command = format!(
        "id -u > probe-uid; pwd > probe-pwd; echo $GREETING > probe-env; \
         test -e hang && exec sleep {hang}; test -e ok"
    );
    let command = serde_json::to_string(&command).unwrap();
    let health = format!(
        "  health: {{ exec: {{ command: [/bin/sh, -c, {command}] }}, startPeriod: 1h, \
         interval: 200ms, timeout: 700ms, failures: 3 }}\n"
    );
    let document = script("w", "a", "exec sleep 1000", &format!("{health}{QUICK}"))
        .replace("path: /bin/sh,", "path: /bin/sh, env: { GREETING: hello },");
    plane.cli().apply(&document).ok();
    plane.await_phase("d-1", "w", "starting");
    let folder = own(&device, "w");
    std::fs::write(folder.join("ok"), "").unwrap();
    let pid = device.await_phase("w", "running");
    let said = |file: &str| lines(&device, "w", file).join("\n");
    assert_eq!(said("probe-uid"), processes::uids(pid)[0].to_string());
    assert_eq!(said("probe-pwd"), folder.canonicalize().unwrap().display().to_string());
    assert_eq!(said("probe-env"), "hello");

    // A probe that hangs has failed, and is killed with its children.
    std::fs::write(folder.join("hang"), "").unwrap();
    device.await_status("the probe is late", |status| {
        reason(&status["workloads"]["w"]).contains("within 700 ms")
    });
    eventually(DEADLINE, "the workload is restarted", || {
        if processes::alive(pid) { Err(format!("{pid} is there")) } else { Ok(()) }
    });
    std::fs::remove_file(folder.join("hang")).unwrap();
    device.await_phase("w", "running");
    await_copies(&hang, 0);
}

#[test]
fn failures_before_the_start_period_is_over_do_not_count_and_later_ones_do() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let health = |period: &str| {
        format!(
            "  health: {{ exec: {{ command: [/bin/false] }}, startPeriod: {period}, \
             interval: 100ms, failures: 2 }}\n{QUICK}"
        )
    };
    plane.cli().apply(&script("patient", "a", "exec sleep 1000", &health("1h"))).ok();
    plane.cli().apply(&script("strict", "a", "exec sleep 1000", &health("0s"))).ok();
    plane.await_phase("d-1", "patient", "starting");
    device.await_status("the strict one is restarted", |status| {
        status["workloads"]["strict"]["restarts"].as_u64() >= Some(2)
    });
    let status = device.status().unwrap();
    let patient = &status["workloads"]["patient"];
    assert_eq!((&patient["phase"], &patient["restarts"]), (&"starting".into(), &0.into()));
}

#[test]
fn whoever_does_not_end_when_asked_is_killed_after_his_grace_and_not_before() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    let stubborn = format!("trap '' TERM; echo ready > ready; while :; do sleep {marker}; done");
    let stop = "  stop: { grace: 1500ms }\n";
    plane.cli().apply(&script("w", "a", &stubborn, stop)).ok();
    let pid = device.await_phase("w", "running");
    eventually(DEADLINE, "its trap is set", || {
        let ready = lines(&device, "w", "ready");
        if ready == ["ready"] { Ok(()) } else { Err(format!("{ready:?}")) }
    });
    let began = Instant::now();
    plane.cli().run(&["delete", "workload", "w"]).ok();
    eventually(DEADLINE, "it is killed", || {
        if processes::alive(pid) { Err(format!("{pid} is there")) } else { Ok(()) }
    });
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_500), "killed after {took:?}, before its grace");
    assert!(took < Duration::from_secs(20), "killed only after {took:?}");
    await_copies(&marker, 0);
    eventually(DEADLINE, "its folder is gone", || {
        if own(&device, "w").exists() { Err("it is there".into()) } else { Ok(()) }
    });
}

#[test]
fn whoever_ends_when_asked_is_not_waited_for_and_gets_the_signal_he_asked_for() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let text = |revision: u32, signal: &str| {
        format!(
            "trap 'echo {revision} got {signal} >> said; exit 0' {signal}; echo {revision} ready \
             >> said; while :; do sleep 0.05; done"
        )
    };
    let stop = |signal: &str| format!("  stop: {{ signal: {signal}, grace: 10m }}\n");
    plane.cli().apply(&script("w", "a", &text(1, "USR1"), &stop("SIGUSR1"))).ok();
    let await_said = |wanted: &[&str]| {
        eventually(DEADLINE, &format!("it said {wanted:?}"), || {
            let said = lines(&device, "w", "said");
            if said == wanted { Ok(()) } else { Err(format!("{said:?}")) }
        });
    };
    await_said(&["1 ready"]);
    plane.cli().apply(&script("w", "a", &text(2, "TERM"), "  stop: { grace: 10m }\n")).ok();
    await_said(&["1 ready", "1 got USR1", "2 ready"]);
    plane.cli().apply(&script("w", "a", &text(3, "HUP"), &stop("1"))).ok();
    await_said(&["1 ready", "1 got USR1", "2 ready", "2 got TERM", "3 ready"]);
    plane.await_settled("d-1");
}

/// Waits until the first revision runs again and the device reports that revision `number` was
/// given up.
fn await_given_up(plane: &Plane, device: &Device, number: u64, said: &[&str]) -> Value {
    let status = device.await_status("the last good revision runs again", |status| {
        let it = &status["workloads"]["w"];
        let why = reason(it);
        // A revision that was given up earlier is said until the next one is known.
        it["phase"] == "running"
            && it["revision"] == 1
            && why.contains("given up")
            && why.contains(&format!("revision {number} failed"))
    });
    let it = status["workloads"]["w"].clone();
    assert_says(reason(&it), said);
    eventually(DEADLINE, "the control plane is told", || {
        let seen = plane.view("d-1")["status"]["workloads"]["w"].clone();
        if seen["revision"] == 1 && reason(&seen).contains(&format!("revision {number} failed")) {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    });
    it
}

const WORKS: &str = "  health: { exec: { command: [/bin/true] }, interval: 200ms }\n";

#[test]
fn a_revision_that_never_works_is_given_up_for_the_last_good_one() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let good = marker();
    let document = |text: &str| script("w", "a", text, &format!("{WORKS}{QUICK}"));
    plane.cli().apply(&document(&format!("exec sleep {good}"))).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");

    // This revision crashes at once, so its probe never succeeds.
    let failing = "  health: { exec: { command: [/bin/false] }, interval: 200ms }\n";
    let crash = script("w", "a", "echo try >> tries; exit 5", &format!("{failing}{QUICK}"));
    plane.cli().apply(&crash).ok();
    await_given_up(&plane, &device, 2, &["code 5"]);
    assert_eq!(lines(&device, "w", "tries").len(), 3, "it had its three tries");
    let pid = await_copies(&good, 1)[0];
    assert_says(&plane.cli().run(&["describe", "workload", "w"]).ok(), &["given up"]);

    // The revision stays given up, also for a restarted agent and after a reboot.
    device.restart();
    await_given_up(&plane, &device, 2, &["code 5"]);
    assert_eq!(await_copies(&good, 1), [pid]);
    device.power_off();
    device.up();
    await_given_up(&plane, &device, 2, &["code 5"]);
    assert_eq!(lines(&device, "w", "tries").len(), 3, "it is not tried again by itself");

    // The next revision is tried.
    let mended = marker();
    plane.cli().apply(&document(&format!("exec sleep {mended}"))).ok();
    await_copies(&mended, 1);
    await_copies(&good, 0);
    let seen = plane.await_phase("d-1", "w", "running");
    assert_eq!((seen["revision"].as_u64(), reason(&seen)), (Some(3), ""));
}

#[test]
fn a_revision_that_cannot_even_start_or_whose_probe_never_answers_is_given_up_too() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let good = marker();
    let document = format!("exec sleep {good}");
    let document = script("w", "a", &document, &format!("{WORKS}{QUICK}"));
    plane.cli().apply(&document).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");

    plane.cli().apply(&document.replace("/bin/sh,", "/no/such/program,")).ok();
    await_given_up(&plane, &device, 2, &["/no/such/program"]);
    plane.cli().apply(&document.replace("/bin/sh,", "/bin/sh, user: no-such-user,")).ok();
    await_given_up(&plane, &device, 3, &["no-such-user"]);
    let sick = document.replace("[/bin/true]", "[/bin/false], ").replace(", ]", "]");
    plane.cli().apply(&sick.replace("interval: 200ms", "interval: 50ms, failures: 1")).ok();
    await_given_up(&plane, &device, 4, &["probe failed"]);
    await_copies(&good, 1);
}

#[test]
fn a_first_revision_that_fails_is_tried_for_ever_there_is_no_way_back() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&script("w", "a", "echo try >> tries; exit 5", QUICK)).ok();
    eventually(DEADLINE, "it is tried more than three times", || {
        let tries = lines(&device, "w", "tries").len();
        if tries >= 6 { Ok(()) } else { Err(tries.to_string()) }
    });
    // A start that fails is repeated with a back-off, not in a storm.
    let document = script("x", "a", "true", "").replace("/bin/sh,", "/no/such/program,");
    plane.cli().apply(&document).ok();
    device.await_phase("x", "failed");
    let before = device.log().matches("starting workload=x").count();
    let began = Instant::now();
    holds_for(Duration::from_secs(3), "its tries are spaced", || {
        let tries = device.log().matches("starting workload=x").count() - before;
        let most = 2 + usize::try_from(began.elapsed().as_millis() / 750).unwrap();
        if tries <= most { Ok(()) } else { Err(format!("{tries} tries in {:?}", began.elapsed())) }
    });
}
