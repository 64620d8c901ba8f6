//! Decisions of the container runtime, as pure functions over what an engine says: which containers
//! an instance consists of, what is written on them, what an engine is asked for, how its answers are
//! read, and what becomes of its images.
//!
//! The lifecycle knows none of this: for it an instance is a [`Handle`].
//!
//! See decisions 0175 and 0176.

pub mod create;
pub mod dialect;
pub mod frames;
pub mod group;
pub mod images;
pub mod marks;
pub mod ports;
pub mod seen;

use super::runtime::{Handle, RuntimeKind};

/// One container of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name within its group. Empty: the instance is one container.
    pub name: String,
    /// Id at the engine.
    pub id: String,
}

/// Makes the handle of an instance of these containers, in the order of their starts.
pub fn handle(parts: &[Part], nonce: u64) -> Handle {
    let word = |part: &Part| match part.name.as_str() {
        "" => part.id.clone(),
        name => format!("{name}={}", part.id),
    };
    let id = parts.iter().map(word).collect::<Vec<_>>().join(" ");
    Handle { runtime: RuntimeKind::CONTAINER, id, nonce }
}

/// Containers of an instance, in the order of their starts; empty for one of another runtime.
pub fn parts(handle: &Handle) -> Vec<Part> {
    if handle.runtime != RuntimeKind::CONTAINER {
        return Vec::new();
    }
    let part = |word: &str| match word.split_once('=') {
        Some((name, id)) => Part { name: name.to_owned(), id: id.to_owned() },
        None => Part { name: String::new(), id: word.to_owned() },
    };
    handle.id.split(' ').filter(|word| !word.is_empty()).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_again_by_its_handle_and_no_other_runtimes() {
        let part = |name: &str, id: &str| Part { name: name.into(), id: id.into() };
        for list in [vec![part("", "4f00")], vec![part("db", "4f00"), part("web", "4f01")], vec![]]
        {
            let handle = handle(&list, 5);
            assert_eq!(parts(&handle), list);
            assert!(parts(&Handle { runtime: RuntimeKind::PROCESS, ..handle }).is_empty());
        }
    }
}
