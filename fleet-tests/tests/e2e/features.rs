//! Environment, descriptors, configuration, logs and limits of a workload's process.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, processes};

use crate::{QUICK, assert_says, await_copies, marker, script};

/// Returns the workload's own folder.
fn own(device: &Device, workload: &str) -> PathBuf {
    device.data().join("workloads").join(workload).join("files")
}

fn log_of(device: &Device, workload: &str) -> PathBuf {
    device.data().join("workloads").join(workload).join("log")
}

/// Waits for a file with content, and returns it.
fn await_file(path: &Path) -> String {
    eventually(
        DEADLINE,
        &format!("{} is written", path.display()),
        || match std::fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => Ok(text),
            other => Err(format!("{other:?}")),
        },
    )
}

/// Returns process group and session from `/proc/PID/stat`.
fn group_and_session(pid: u32) -> (u32, u32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

#[test]
fn a_process_has_a_session_a_user_and_a_folder_of_its_own_and_nothing_else() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    let text = format!(
        "umask 022; echo mine > secret; cat > stdin; id -G > groups; env > environment; \
         echo said; exec sleep {marker}"
    );
    plane.cli().apply(&script("w", "a", &text, QUICK)).ok();
    device.await_phase("w", "running");
    let pid = await_copies(&marker, 1)[0];
    assert_eq!(device.await_phase("w", "running"), pid, "what is reported is what runs");

    assert_eq!(group_and_session(pid), (pid, pid), "leads its own group and session");
    let uids = processes::uids(pid);
    assert_eq!(uids.len(), 4);
    assert!(uids.iter().all(|uid| (61_184..65_520).contains(uid) && *uid == uids[0]), "{uids:?}");
    let gids = processes::status_line(pid, "Gid:");
    assert!(gids.split_whitespace().all(|gid| gid == uids[0].to_string()), "{gids}");
    assert_eq!(processes::status_line(pid, "Groups:"), "", "no supplementary groups");
    assert_eq!(processes::status_line(pid, "NoNewPrivs:"), "1");
    assert_eq!(processes::status_line(pid, "CapEff:"), "0000000000000000");
    assert_eq!(processes::status_line(pid, "SigBlk:"), "0000000000000000");
    let ignored = u64::from_str_radix(&processes::status_line(pid, "SigIgn:"), 16).unwrap();
    assert_eq!(ignored & (1 << 12), 0, "SIGPIPE is as programs expect it");

    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
    let folder = own(&device, "w");
    assert_eq!(link("cwd"), folder.canonicalize().unwrap());
    assert_eq!(link("fd/0"), Path::new("/dev/null"));
    for fd in ["fd/1", "fd/2"] {
        assert_eq!(link(fd), log_of(&device, "w").canonicalize().unwrap());
    }
    // Descriptors of this test itself are inherited by all; none of the agent's is.
    let open = |pid: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect()
    };
    let inherited = open("self");
    let foreign: Vec<PathBuf> = open(&pid.to_string())
        .into_iter()
        .filter(|file| !inherited.contains(file) && *file != link("fd/1"))
        .collect();
    assert!(foreign.is_empty(), "nothing of the agent is left open: {foreign:?}");

    let meta = std::fs::metadata(&folder).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid()), (0o700, uids[0]));
    assert_eq!(await_file(&folder.join("groups")).trim(), uids[0].to_string());
    assert_eq!(std::fs::read_to_string(folder.join("stdin")).unwrap(), "");
    let environment = await_file(&folder.join("environment"));
    let folder_line = format!("HOLDFAST_FOLDER={}", folder.canonicalize().unwrap().display());
    assert_says(
        &environment,
        &["HOLDFAST_WORKLOAD=w", "HOLDFAST_DEVICE=", "HOLDFAST_REVISION=1", &folder_line, "PATH="],
    );
    assert_says(
        &environment,
        &[
            "HOLDFAST_MQTT_HOST=127.0.0.1",
            "HOLDFAST_MQTT_PORT=",
            "HOLDFAST_MQTT_USERNAME=w",
            "HOLDFAST_MQTT_PASSWORD=",
            "HOLDFAST_SOCKET=/",
        ],
    );
    for foreign in ["HOLDFAST_TOKEN", "HOLDFAST_TEST", "NOTIFY_SOCKET", "CARGO"] {
        assert!(!environment.contains(foreign), "{foreign} leaked: {environment}");
    }
}

#[test]
fn a_workload_cannot_read_another_ones_folder_log_or_the_devices_secrets() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let secret = "echo mine > secret; chmod 644 secret; echo said; exec sleep 1000";
    plane.cli().apply(&script("w", "a", secret, QUICK)).ok();
    device.await_phase("w", "running");
    await_file(&own(&device, "w").join("secret"));
    await_file(&log_of(&device, "w"));
    let data = device.data().display();
    let spy = format!(
        "for file in {data}/workloads/w/files/secret {data}/workloads/w/log {data}/identity.json \
         {data}/key.pem {data}/desired.cose {data}/store.redb {data}/agent-id; do \
         if cat $file > copy 2>> refusals; then echo \"read $file\" >> leaked; fi; done; \
         ls {data} > list 2>> refusals; echo over >> refusals; exec sleep 1000"
    );
    plane.cli().apply(&script("spy", "a", &spy, QUICK)).ok();
    device.await_phase("spy", "running");
    let spied = own(&device, "spy");
    let refusals = eventually(DEADLINE, "the spy is done", || {
        let text = std::fs::read_to_string(spied.join("refusals")).unwrap_or_default();
        if text.ends_with("over\n") { Ok(text) } else { Err(text) }
    });
    assert_says(&refusals, &["files/secret: Permission denied", "w/log: Permission denied"]);
    let leaked = std::fs::read_to_string(spied.join("leaked")).unwrap_or_default();
    assert_eq!(leaked, "", "a workload read what is not its own");
    assert_eq!(std::fs::read_to_string(spied.join("list")).unwrap(), "", "nor may it look around");
    let owner = |name| std::fs::metadata(own(&device, name)).unwrap().uid();
    assert_ne!(owner("w"), owner("spy"), "each has a user of its own");
}

fn with_user(name: &str, user: &str, marker: &str) -> String {
    crate::sleeper(name, "a", marker).replace("args:", &format!("user: {user}, args:"))
}

#[test]
fn a_user_that_is_asked_for_is_honoured_and_an_unknown_one_is_said() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (nobody, number) = (marker(), marker());
    plane.cli().apply(&with_user("named", "nobody", &nobody)).ok();
    plane.cli().apply(&with_user("numbered", "4242", &number)).ok();
    plane.cli().apply(&with_user("unknown", "no-such-user", &marker())).ok();
    let named = device.await_phase("named", "running");
    assert_eq!(processes::uids(named), [65_534; 4]);
    assert_eq!(std::fs::metadata(own(&device, "named")).unwrap().uid(), 65_534);
    let numbered = device.await_phase("numbered", "running");
    assert_eq!(processes::uids(numbered), [4_242; 4]);
    let seen = plane.await_phase("d-1", "unknown", "failed");
    assert_says(seen["reason"].as_str().unwrap(), &["no-such-user", "/etc/passwd"]);
    // The document is corrected, and the workload runs.
    plane.cli().apply(&with_user("unknown", "nobody", &marker())).ok();
    let seen = plane.await_phase("d-1", "unknown", "running");
    assert_eq!(seen["reason"], "", "{seen}");
}

#[test]
fn another_user_goes_on_with_what_the_former_one_left() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let text = "mkdir -p d && echo line >> d/data && cat d/data > said; exec sleep 1000";
    let document = script("w", "a", text, &format!("  config: {{ d/a.conf: text }}\n{QUICK}"));
    // A user by name, one by number, and at last the workload's own user.
    for (lines, user) in [(1, "user: nobody, "), (2, "user: '4242', "), (3, "")] {
        plane.cli().apply(&document.replace("args:", &format!("{user}args:"))).ok();
        device.await_status("the revision runs", |status| {
            let it = &status["workloads"]["w"];
            it["revision"] == lines && it["phase"] == "running"
        });
        let said = own(&device, "w").join("said");
        eventually(DEADLINE, "it wrote where the former one wrote", || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            let found = text.lines().count();
            if found == lines { Ok(()) } else { Err(format!("{found} lines")) }
        });
    }
}

#[test]
fn arguments_environment_and_workdir_arrive_as_they_were_written() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let document = "apiVersion: holdfast/v1\nkind: Workload\nmetadata: { name: w }\nspec:\n\
        \x20 devices: { matchLabels: { role: a } }\n\
        \x20 config: { sub/dir/keep: kept }\n\
        \x20 run:\n    process:\n      path: /bin/sh\n      workdir: sub/dir\n\
        \x20     args: [\"-c\", 'printf \"%s|\" \"$@\" \"$PLAIN\" \"$ODD\" \"$PATH\" > said; pwd >> said; exec sleep 1000', sh, 'two words', '', '$HOME *', 'žluť']\n\
        \x20     env: { PLAIN: value, ODD: 'a=b \"c\"', PATH: /bin:/usr/bin }\n";
    plane.cli().apply(document).ok();
    device.await_phase("w", "running");
    let folder = own(&device, "w").canonicalize().unwrap().join("sub/dir");
    let said = eventually(DEADLINE, "it has said what it was given", || {
        let text = std::fs::read_to_string(folder.join("said")).unwrap_or_default();
        if text.ends_with('\n') { Ok(text) } else { Err(text) }
    });
    let wanted = "two words||$HOME *|žluť|value|a=b \"c\"|/bin:/usr/bin|";
    assert_eq!(said, format!("{wanted}{}\n", folder.display()));
}

#[test]
fn what_cannot_be_executed_is_failed_with_the_reason_why() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let document = |name: &str, process: &str| {
        format!(
            "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n\
             \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
             \x20 run: {{ process: {{ {process} }} }}\n"
        )
    };
    for (name, process, said) in [
        ("absent", "path: /no/such/program", &["/no/such/program", "there is no such file"][..]),
        ("forbidden", "path: /etc/passwd", &["/etc/passwd", "no execute permission"]),
        ("homeless", "path: /bin/sleep, args: ['9'], workdir: nowhere", &["folder", "nowhere"]),
    ] {
        plane.cli().apply(&document(name, process)).ok();
        let seen = plane.await_phase("d-1", name, "failed");
        assert_says(seen["reason"].as_str().unwrap(), said);
        assert_eq!(device.await_phase(name, "failed"), 0, "no process of {name}");
    }
}

#[test]
fn configuration_is_laid_and_what_the_next_revision_lacks_is_removed() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let document = |config: &str| script("w", "a", "exec sleep 1000", &format!("{config}{QUICK}"));
    plane
        .cli()
        .apply(&document(
            "  config:\n    etc/a.conf: |\n      one\n      žluť\n    b.conf: two\n    etc/deep/c: three\n",
        ))
        .ok();
    let pid = device.await_phase("w", "running");
    let folder = own(&device, "w");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    assert_eq!(read("etc/a.conf").unwrap(), "one\nžluť\n");
    assert_eq!(read("b.conf").unwrap(), "two");
    let uid = processes::uids(pid)[0];
    for name in ["etc", "etc/a.conf", "etc/deep/c", "b.conf"] {
        let meta = std::fs::metadata(folder.join(name)).unwrap();
        assert_eq!(meta.uid(), uid, "{name} is the workload's own");
        assert_eq!(meta.permissions().mode() & 0o007, 0, "{name} is nobody else's");
    }
    std::fs::write(folder.join("data"), "the workload's own").unwrap();

    plane.cli().apply(&document("  config: { etc/a.conf: changed }\n")).ok();
    device.await_status("the second revision runs", |status| {
        let it = &status["workloads"]["w"];
        it["revision"] == 2 && it["phase"] == "running"
    });
    assert_eq!(read("etc/a.conf").unwrap(), "changed");
    assert!(read("b.conf").is_err() && read("etc/deep/c").is_err(), "stale files are gone");
    assert_eq!(read("data").unwrap(), "the workload's own", "its data stays");

    plane.cli().apply(&document("")).ok();
    device.await_status("the third revision runs", |status| {
        let it = &status["workloads"]["w"];
        it["revision"] == 3 && it["phase"] == "running"
    });
    assert!(read("etc/a.conf").is_err());
    assert_eq!(read("data").unwrap(), "the workload's own");
}

#[test]
fn limits_that_cannot_be_enforced_are_said_once_they_are_asked_for() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&script("free", "a", "exec sleep 1000", QUICK)).ok();
    device.await_phase("free", "running");
    let status = device.status().unwrap();
    assert!(!status.to_string().contains("limits-not-enforced"), "{status}");

    let limits = "  resources: { memory: 64Mi, cpu: 500m, pids: 32 }\n";
    plane.cli().apply(&script("limited", "a", "exec sleep 1000", limits)).ok();
    let pid = device.await_phase("limited", "running");
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    if cgroup.lines().any(|line| line.starts_with("0::") && line.contains("workload-limited")) {
        let status = device.status().unwrap();
        assert!(!status.to_string().contains("limits-not-enforced"), "{status}");
        return;
    }
    let why = device.await_problem("limits-not-enforced");
    assert_says(&why, &["cgroup", "cpu is not enforced", "RLIMIT_DATA", "RLIMIT_NPROC"]);
    assert!(!why.contains("shared"), "{why}");
    // Limits of a process in place of a cgroup: twice 64 MiB and 128 processes, and 4 GiB more of
    // address space.
    let bounds = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let bound = |what: &str| -> Vec<u64> {
        let line = bounds.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.split_whitespace().take(2).map(|number| number.parse().unwrap_or(u64::MAX)).collect()
    };
    assert_eq!(bound("Max processes"), [32; 2]);
    assert_eq!(bound("Max data size"), [256 << 20; 2]);
    assert_eq!(bound("Max address space"), [(256 << 20) + (4 << 30); 2]);
    let forks = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; exec sleep 1000";
    plane.cli().apply(&script("forks", "a", forks, limits)).ok();
    let status = device.await_status("it runs into its limit", |status| {
        status["workloads"]["forks"]["reason"].as_str().is_some_and(|why| why.contains("behind"))
    });
    let why = status["workloads"]["forks"]["reason"].as_str().unwrap();
    let left = why.split(' ').filter_map(|word| word.parse::<u32>().ok()).next_back().unwrap();
    assert!((20..=32).contains(&left), "{why}");
    plane.cli().run(&["delete", "workload", "forks"]).ok();
    eventually(DEADLINE, "the control plane is told", || {
        let view = plane.view("d-1")["status"].to_string();
        if view.contains("limits-not-enforced") { Ok(()) } else { Err(view) }
    });
    assert_says(&plane.cli().run(&["describe", "device", "d-1"]).ok(), &["not enforced"]);
    plane.cli().run(&["delete", "workload", "limited"]).ok();
    device.await_healed("limits-not-enforced");
}

#[test]
fn a_flooded_log_stays_bounded_and_its_end_can_be_read() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    device.config = Some("[logs]\nbytes_per_workload = 131072\n".to_owned());
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    // 64 KiB each 100 ms: many times the bound between two regular looks.
    let flood = "i=0; while :; do i=$((i+1)); \
         head -c 65536 /dev/zero | tr '\\0' 'x'; echo; echo \"line $i\"; sleep 0.1; done";
    plane.cli().apply(&script("flood", "a", flood, QUICK)).ok();
    // A workload that floods its log and ends at once is never seen running.
    let burst = "head -c 3000000 /dev/zero | tr '\\0' 'y'; echo; echo the end; exit 0";
    let once = "  restart: { policy: never }\n";
    plane.cli().apply(&script("burst", "a", burst, once)).ok();
    let pid = device.await_phase("flood", "running");
    device.await_phase("burst", "stopped");
    let size = |name| std::fs::metadata(log_of(&device, name)).map_or(0, |meta| meta.len());
    eventually(DEADLINE, "the log of what has ended is bounded", || {
        let size = size("burst");
        if size <= 131_072 { Ok(()) } else { Err(format!("{size} bytes")) }
    });
    let (mut largest, mut cuts, mut last) = (0, 0, 0);
    eventually(DEADLINE, "the flooded log is cut again and again", || {
        let now = size("flood");
        largest = largest.max(now);
        cuts += u32::from(now < last);
        last = now;
        if cuts >= 5 { Ok(()) } else { Err(format!("{now} bytes, cut {cuts} times")) }
    });
    assert!(largest < 2 * 1024 * 1024, "it grew to {largest} bytes");
    assert!(processes::alive(pid), "nobody is stopped for his log");
    let tail = plane.cli().run(&["logs", "d-1", "flood", "--tail", "1"]).ok();
    assert!(tail.starts_with("line ") || tail.contains("xxx"), "{tail:.80}");
    assert_eq!(plane.cli().run(&["logs", "d-1", "burst", "--tail", "1"]).ok(), "the end");
}

#[test]
fn a_log_that_floods_after_a_silence_is_bounded_at_once() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    // As fast as it can while nobody looks: the next regular look may be seconds away.
    plane.cli().apply(&script("w", "a", "echo begins; sleep 3; exec yes", QUICK)).ok();
    let pid = device.await_phase("w", "running");
    let log = log_of(&device, "w");
    let size = || std::fs::metadata(&log).map_or(0, |meta| meta.len());
    eventually(DEADLINE, "it floods", || {
        if size() > 1024 { Ok(()) } else { Err(format!("{} bytes", size())) }
    });
    let mut sizes: Vec<u64> = (0..3_000)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            size()
        })
        .collect();
    assert!(processes::alive(pid), "nobody is stopped for his log");
    plane.cli().run(&["delete", "workload", "w"]).ok();
    sizes.sort_unstable();
    let (middle, largest) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    // The bound is 1 MiB. The machine may be busy with other tests when the agent wants to look.
    assert!(middle < 16 << 20, "it mostly has {middle} bytes, and {largest} at most");
    assert!(largest < 64 << 20, "it grew to {largest} bytes, and mostly has {middle}");
}

#[test]
fn a_log_survives_the_agents_restart_and_a_restart_of_its_workload() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let text = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; echo start $n; \
         while [ ! -e go ]; do sleep 0.05; done; rm go; echo end $n";
    plane.cli().apply(&script("w", "a", text, QUICK)).ok();
    let logs = || plane.cli().run(&["logs", "d-1", "w"]).ok();
    let await_log = |wanted: &str| {
        eventually(DEADLINE, &format!("the log is {wanted:?}"), || {
            let log = logs();
            if log == wanted { Ok(()) } else { Err(log) }
        });
    };
    device.await_phase("w", "running");
    await_log("start 1");
    device.kill_agent();
    // The workload writes on while no agent runs.
    std::fs::write(own(&device, "w").join("go"), "").unwrap();
    eventually(DEADLINE, "it wrote without an agent", || {
        let log = std::fs::read_to_string(log_of(&device, "w")).unwrap();
        if log == "start 1\nend 1\n" { Ok(()) } else { Err(log) }
    });
    device.up();
    device.await_link("up");
    device.await_phase("w", "running");
    await_log("start 1\nend 1\nstart 2");
    std::fs::write(own(&device, "w").join("go"), "").unwrap();
    await_log("start 1\nend 1\nstart 2\nend 2\nstart 3");
    assert_eq!(plane.cli().run(&["logs", "d-1", "w", "--tail", "2"]).ok(), "end 2\nstart 3");
    let part = |args: &[&str]| plane.cli().run(&[&["logs", "d-1", "w"], args].concat()).ok();
    assert_eq!(part(&["--previous"]), "start 2\nend 2");
    assert_eq!(part(&["--previous=2"]), "start 1\nend 1", "also over the agent's restart");
    assert_eq!(part(&["--since", "1h"]), "start 1\nend 1\nstart 2\nend 2\nstart 3");
    assert_eq!(part(&["--until", "1h"]), "");
    let timed = part(&["--timestamps"]);
    let today = timed.lines().all(|line| {
        let (time, line) = line.split_once(' ').unwrap();
        time.starts_with("20") && time.ends_with('Z') && !line.is_empty()
    });
    assert!(today && timed.lines().count() == 5, "{timed}");
    let none = plane.cli().run(&["logs", "d-1", "w", "--previous=9"]).fails(1);
    assert_says(&none, &["no such run"]);
    let mode = std::fs::metadata(log_of(&device, "w")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
