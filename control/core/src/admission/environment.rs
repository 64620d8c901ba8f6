//! Form of environment variables in `Workload` documents.
//!
//! See decisions 0147 and 0163.

use std::collections::BTreeMap;

use super::at::At;
use super::command::{MAX_WORDS, fits};
use super::references;
use crate::secrets::references::Source;

/// Prefix of reserved environment variables. By these the agent tells workloads about themselves
/// and recognizes their processes.
const OWN_ENV: &str = "HOLDFAST_";

/// Variables that refer to something. In a group `CONTAINER/NAME` is the variable of one container.
pub(super) type Env = BTreeMap<String, Source>;

/// Characters in names of variables beside letters and digits.
#[derive(Clone, Copy)]
pub(super) enum Names {
    /// `_`, as shells have it.
    OfShells,
    /// `_`, `.` and `-`: programs in containers read names such as `discovery.type`.
    OfContainers,
}

/// Decodes variables: those with a text, and those that refer to something. Faulty ones are noted and
/// left out.
pub(super) fn env(at: &At<'_>, names: Names) -> (BTreeMap<String, String>, Env) {
    enum Variable {
        Text(String),
        Source(Source),
    }
    let all = at.map(|key, at| {
        if at.node().is_none() {
            check_variable(key, names, at);
        }
        let text = |at: &At<'_>| {
            let value = at.text_without_nul()?;
            fits(at, key.len() + 1, value);
            Some(Variable::Text(value.to_owned()))
        };
        let source = |at: &At<'_>| references::source(at).map(Variable::Source);
        at.either(|value| !value.is_object(), text, source)
    });
    let (mut env, mut references) = (BTreeMap::new(), BTreeMap::new());
    if all.len() > MAX_WORDS {
        at.fault(format!("{} variables, at most {MAX_WORDS}", all.len()));
        return (env, references);
    }
    for (key, variable) in all {
        match variable {
            Some(Variable::Text(text)) => drop(env.insert(key.to_owned(), text)),
            Some(Variable::Source(source)) => drop(references.insert(key.to_owned(), source)),
            None => {}
        }
    }
    (env, references)
}

/// Notes a fault unless a text can be the name of a variable of a workload.
fn check_variable(key: &str, names: Names, at: &At<'_>) {
    let (more, said) = match names {
        Names::OfShells => (&b"_"[..], "'_'"),
        Names::OfContainers => (&b"_.-"[..], "'_', '.' and '-'"),
    };
    let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !key.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b)) {
        at.fault(format!("not a variable's name: use letters, digits and {said}, no digit first"));
    } else if key.starts_with(OWN_ENV) {
        at.fault("variables that begin with HOLDFAST_ are the agent's own");
    }
}
