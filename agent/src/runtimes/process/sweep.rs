//! Sweeps: what is left of workloads among all processes, and how it is ended.
//!
//! See decision 0036.

use std::io;
use std::sync::Arc;

use super::{Context, census, ending};
use crate::adapters::crash;
use crate::core::process::ProcessId;
use crate::runtimes::common::procfs;
use crate::runtimes::{Remains, Sweep};

/// Takes one census for all sweeps, and answers for each in their order.
///
/// # Errors
/// When a process could not be examined.
pub(super) fn all(context: &Arc<Context>, sweeps: &[Sweep]) -> io::Result<Vec<Option<Remains>>> {
    let processes = census::take(context)?;
    let mut swept = Vec::new();
    for sweep in sweeps {
        let last = sweep.last.as_ref().and_then(ProcessId::of);
        let spare = sweep.spare.as_ref().and_then(|it| Some((ProcessId::of(it)?, it)));
        let spare = spare.as_ref().map(|(process, instance)| (process, *instance));
        // The spared instance has ended, so what was seen may belong to a newer one. The exit of
        // the spared one leads to a sweep of its own.
        if let Some((process, _)) = spare
            && !procfs::lives(process, &context.boot)?
        {
            swept.push(None);
            continue;
        }
        let cgroups = context.cgroups.as_ref().ok();
        let group = cgroups.map(|it| it.members(&sweep.name)).transpose()?.unwrap_or_default();
        let left = processes.remains(&sweep.name, last.as_ref(), spare, &group);
        if sweep.kill {
            if let (Some(cgroups), None) = (cgroups, spare) {
                cgroups.kill(&sweep.name);
            }
            for &(pid, start) in &left {
                ending::kill_exactly(pid, start);
            }
        }
        if left.is_empty() {
            crash::point("swept");
        }
        let is_behind = |&&(pid, _): &&(u32, u64)| sweep.kill && !processes.is_of_probe(pid);
        let behind = left.iter().filter(is_behind).count();
        swept.push(Some(Remains { behind, left: left.len() }));
    }
    Ok(swept)
}
