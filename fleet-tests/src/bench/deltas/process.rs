//! What a process costs, as the kernel counts it while it runs.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bench::machine;

/// Time between two looks. What is between the last one and the end is not counted.
const LOOK: Duration = Duration::from_millis(1);

/// Cost of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Processor time in seconds.
    pub(super) cpu: f64,
    /// Largest resident memory in MiB.
    pub(super) resident: f64,
    /// Largest anonymous memory that was seen, in MiB.
    pub(super) anonymous: f64,
}

/// Runs a program to its end. `None`: there is no such program, or it failed.
pub(super) fn run(command: &mut Command) -> Option<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = command.spawn().ok()?;
    let (pid, mut cost) = (child.id(), Cost::default());
    loop {
        look(pid, &mut cost);
        if let Some(status) = child.try_wait().ok()? {
            return status.success().then_some(cost);
        }
        std::thread::sleep(LOOK);
    }
}

fn look(pid: u32, cost: &mut Cost) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib: Option<f64> = line.and_then(|it| it.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    cost.resident = cost.resident.max(mib("VmHWM:"));
    cost.anonymous = cost.anonymous.max(mib("RssAnon:"));
    cost.cpu = cost.cpu.max(machine::cpu_ms(pid) / 1_000.0);
}
