//! Decisions of the process runtime, as pure functions over what it sees: which process an instance
//! is, whose a process is, and whose fault it is that a process cannot be prepared.
//!
//! The lifecycle knows none of this: for it an instance is a [`Handle`].

pub mod fault;
pub mod ownership;

use super::runtime::{Handle, RuntimeKind};

/// Process, told apart from every other that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessId {
    /// Number of the process, which is also that of its group and session.
    pub pid: u32,
    /// Start time in clock ticks since the boot, as the kernel gives it.
    pub start: u64,
    /// Random id of the boot during which the process was started.
    pub boot: String,
}

impl ProcessId {
    /// Handle of the instance whose main process this is.
    pub fn handle(&self, nonce: u64) -> Handle {
        let id = format!("{} {} {}", self.pid, self.start, self.boot);
        Handle { runtime: RuntimeKind::PROCESS, id, nonce }
    }

    /// Main process of an instance; `None` for an instance of another runtime.
    pub fn of(handle: &Handle) -> Option<Self> {
        if handle.runtime != RuntimeKind::PROCESS {
            return None;
        }
        let mut words = handle.id.splitn(3, ' ');
        let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { pid, start, boot: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_by_its_handle_and_no_other_runtimes() {
        for boot in ["6f1c-33", "", "with a space"] {
            let process = ProcessId { pid: 7, start: u64::MAX, boot: boot.into() };
            let handle = process.handle(5);
            assert_eq!(ProcessId::of(&handle), Some(process));
            assert_eq!(
                ProcessId::of(&Handle { runtime: RuntimeKind::new("other"), ..handle }),
                None
            );
        }
        for id in ["", "7", "7 8", "x 8 b", "7 -8 b", "4294967296 8 b"] {
            let handle = Handle { runtime: RuntimeKind::PROCESS, id: id.into(), nonce: 0 };
            assert_eq!(ProcessId::of(&handle), None, "{id}");
        }
    }
}
