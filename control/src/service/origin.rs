//! The request that is being answered, for the audit log: where it came from, and who made it. It is
//! set once for each request, and read where an entry is made. Work that no request asked for has
//! none.
//!
//! See decision 0168.

use std::sync::OnceLock;

use holdfast_base::ids::Name;

use crate::core::rights::{Actor, Origin, Who};

/// Request that the present task answers.
struct Answering {
    origin: Origin,
    caller: OnceLock<Caller>,
}

/// Caller of a request, once it is known.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Tenant of the caller.
    pub tenant: Name,
    /// Caller as the audit log has it.
    pub by: Box<str>,
}

tokio::task_local! {
    static ANSWERING: Answering;
}

/// Origin of the request that the present task answers; empty where it answers none.
pub(in crate::service) fn present() -> Origin {
    ANSWERING.try_with(|answering| answering.origin.clone()).unwrap_or_default()
}

/// Notes who makes the request, also when it is refused afterwards.
pub fn acts(actor: &Actor) {
    let by = match &actor.who {
        Who::Device(name) => format!("device {name}").into(),
        Who::Token(id) | Who::Person(id) => id.clone(),
    };
    let caller = Caller { tenant: actor.tenant.clone(), by };
    // Outside of a request, or a second time, there is nothing to note.
    let _outside = ANSWERING.try_with(|answering| answering.caller.set(caller).is_ok());
}

/// Answers a request whose origin is this. Also returns who made it, as far as it is known.
pub async fn within<T>(origin: Origin, answer: impl Future<Output = T>) -> (T, Option<Caller>) {
    let answering = Answering { origin, caller: OnceLock::new() };
    ANSWERING
        .scope(answering, async {
            let answered = answer.await;
            let caller = ANSWERING.try_with(|answering| answering.caller.get().cloned());
            (answered, caller.ok().flatten())
        })
        .await
}
