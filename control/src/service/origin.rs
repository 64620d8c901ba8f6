//! The request that is being answered, for the audit log: where it came from, and who made it. It is
//! set once for each request, and read where an entry is made. Work that no request asked for has
//! none.
//!
//! See decision 0169.

use std::sync::OnceLock;

use holdfast_base::ids::Name;

use crate::core::rights::{Actor, Origin, Who};

/// Request that the present task answers.
struct Answering {
    origin: Origin,
    caller: OnceLock<Caller>,
    refusal: OnceLock<String>,
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

/// Notes who tries to log in with the present request, as far as it is known.
pub(in crate::service) fn tries(tenant: &Name, by: &str) {
    let caller = Caller { tenant: tenant.clone(), by: by.into() };
    // Outside of a request, or a second time, there is nothing to note.
    let _outside = ANSWERING.try_with(|answering| answering.caller.set(caller).is_ok());
}

/// Notes that the present request is refused, although its response does not say so by its status:
/// a browser that comes back from an identity provider is sent to the login page.
pub fn refuses(why: String) {
    // Outside of a request, or a second time, there is nothing to note.
    let _outside = ANSWERING.try_with(|answering| answering.refusal.set(why).is_ok());
}

/// What is known of a request after its answer.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// Caller, if it is known.
    pub caller: Option<Caller>,
    /// Reason of a refusal that the status does not show. None: there is none.
    pub refusal: Option<String>,
}

/// Answers a request whose origin is this. Also returns what became known of it.
pub async fn within<T>(origin: Origin, answer: impl Future<Output = T>) -> (T, Answered) {
    let answering = Answering { origin, caller: OnceLock::new(), refusal: OnceLock::new() };
    ANSWERING
        .scope(answering, async {
            let answered = answer.await;
            let known = ANSWERING.try_with(|answering| Answered {
                caller: answering.caller.get().cloned(),
                refusal: answering.refusal.get().cloned(),
            });
            (answered, known.unwrap_or_default())
        })
        .await
}
