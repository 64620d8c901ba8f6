//! Tests of the shipped systemd units: systemd accepts them, and they contain the settings that the
//! agent's promises depend on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, read files and run systemd's own checks"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn path(unit: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/systemd").join(unit)
}

fn read(unit: &str) -> String {
    fs::read_to_string(path(unit)).unwrap_or_else(|error| panic!("{unit}: {error}"))
}

/// Returns every value of a key, in order, with comments and continued lines as in systemd.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = read(unit).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.filter(|(known, _)| *known == key).map(|(_, value)| value.trim().to_owned()).collect()
}

fn assert_has(unit: &str, wanted: &[(&str, &str)]) {
    for (key, value) in wanted {
        assert_eq!(values(unit, key), [*value], "{unit}: {key}=");
    }
}

const AGENT: &str = "holdfast-agent.service";
const CONTROL: &str = "holdfast.service";

#[test]
fn a_restart_of_the_agent_leaves_its_workloads() {
    assert_has(
        AGENT,
        &[
            ("KillMode", "process"),
            ("Delegate", "cpu memory pids"),
            ("DelegateSubgroup", "agent"),
            ("OOMPolicy", "continue"),
            ("TasksMax", "infinity"),
        ],
    );
}

#[test]
fn the_agent_is_always_there() {
    assert_has(
        AGENT,
        &[
            ("Type", "notify"),
            ("WatchdogSec", "60"),
            ("Restart", "always"),
            ("StartLimitIntervalSec", "0"),
            ("LimitNOFILE", "4096:524288"),
            ("StateDirectory", "holdfast-agent"),
            ("ExecStart", "/usr/bin/holdfast-agent run --data /var/lib/holdfast-agent"),
            ("WantedBy", "multi-user.target"),
        ],
    );
    let waits_for: Vec<String> =
        ["After", "Wants", "Requires"].iter().flat_map(|key| values(AGENT, key)).collect();
    assert!(!waits_for.join(" ").contains("network-online"), "it boots without a link");
}

/// The unit has no setting that workloads would inherit, or that would separate old workloads from
/// new ones.
#[test]
fn nothing_in_the_agents_unit_reaches_into_workloads() {
    for key in [
        "User",
        "DynamicUser",
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "PrivateNetwork",
        "ProtectSystem",
        "ProtectHome",
        "ProtectKernelTunables",
        "ReadWritePaths",
        "InaccessiblePaths",
        "RootDirectory",
        "SystemCallFilter",
        "RestrictNamespaces",
        "RestrictAddressFamilies",
        "MemoryDenyWriteExecute",
        "MemoryMax",
        "CPUQuota",
        "OOMScoreAdjust",
        "UMask",
        "Nice",
        "RemoveIPC",
    ] {
        assert_eq!(values(AGENT, key), [""; 0], "{key}= in the agent's unit");
    }
}

#[test]
fn the_control_plane_is_locked_in() {
    assert_has(
        CONTROL,
        &[
            ("DynamicUser", "yes"),
            ("StateDirectory", "holdfast"),
            ("StateDirectoryMode", "0700"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("PrivateDevices", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("Restart", "always"),
            ("LimitNOFILE", "131072"),
        ],
    );
}

/// The line for old versions of systemd is a program that a shell can parse.
#[test]
fn the_agents_stop_line_is_a_shell_program() {
    let [line] = &values(AGENT, "ExecStopPost")[..] else { panic!("one ExecStopPost") };
    let program = line.strip_prefix("-/bin/sh -c '").and_then(|rest| rest.strip_suffix('\''));
    let program = program.expect("a shell program").replace("$$", "$").replace("%%", "%");
    assert!(program.contains("\"${2%%[!0-9]*}\" -ge 254"), "{program}");
    assert!(program.contains("\"/sys/fs/cgroup${own%%/.control}/cgroup.subtree_control\""));
    let checked = Command::new("/bin/sh").args(["-n", "-c", &program]).output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

/// systemd's own checks pass, where it is installed; the programs need not be.
#[test]
fn systemd_understands_them() {
    let there = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if there.is_err() {
        eprintln!("NOT CHECKED: systemd-analyze is not on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for unit in [AGENT, CONTROL] {
        let text = read(unit);
        let started = &values(unit, "ExecStart")[0];
        let program = started.split(' ').next().unwrap();
        let copy = folder.path().join(unit);
        fs::write(&copy, text.replace(&format!("={program} "), "=/bin/true ")).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr);
        // `DelegateSubgroup` needs systemd 254; older versions ignore it, as the unit says.
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(unit) && !line.contains("'DelegateSubgroup'"))
            .collect();
        assert!(verified.status.success() && complaints.is_empty(), "{unit}: {said}");
    }
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
        .arg(folder.path().join(CONTROL))
        .output()
        .unwrap();
    assert!(security.status.success(), "exposure above 2.0: {security:?}");
}
