//! Text about limits that control groups do not enforce.
//!
//! See decision 0073.

use holdfast_base::ids::Name;
use holdfast_protocol::workload::{Run, WorkloadSpec};

use super::cgroup::NoCgroups;
use super::plan::counts_alone;

/// Maximum number of workloads that a problem names.
const NAMED: usize = 3;

/// Text about limits that are asked for and not enforced by control groups, and how they are
/// enforced instead.
pub(super) fn problem(why: &NoCgroups, wanted: &[(&Name, &WorkloadSpec)]) -> Option<String> {
    let (mut cpu, mut memory, mut pids) = (false, false, false);
    let mut uncounted: Vec<&str> = Vec::new();
    for (name, spec) in wanted {
        let Run::Process(process) = &spec.run else { continue };
        cpu |= spec.resources.cpu_millis.is_some();
        memory |= spec.resources.memory_bytes.is_some();
        if spec.resources.pids.is_some() {
            if counts_alone(process) { pids = true } else { uncounted.push(name.as_str()) }
        }
    }
    let mut parts = Vec::new();
    if cpu {
        parts.push("cpu is not enforced".to_owned());
    }
    if memory {
        parts.push("memory is enforced for each process alone, with twice the limit and 128 MiB of private memory (RLIMIT_DATA, RLIMIT_AS)".into());
    }
    if pids {
        parts.push("pids by the workload's own user (RLIMIT_NPROC)".into());
    }
    if !uncounted.is_empty() {
        let more = if uncounted.len() > NAMED { ", …" } else { "" };
        uncounted.truncate(NAMED);
        let names = uncounted.join(", ");
        parts.push(format!("pids is not enforced where the user is shared ({names}{more})"));
    }
    let how = parts.join("; ");
    (!parts.is_empty())
        .then(|| format!("limits of workloads are not enforced by control groups: {how}. {why}"))
}
