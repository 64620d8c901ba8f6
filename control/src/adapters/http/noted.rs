//! Entries of the audit log that follow from a response: refusals, and readings of what may be
//! secret. Changes make their own entries, in the same transaction.
//!
//! See decision 0169.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::app::{App, RequestId};
use super::auth::PeerAddress;
use crate::core::rights::{Action, Origin};
use crate::service::{Seen, origin};

/// Text of the error of a response.
#[derive(Debug, Clone)]
pub(super) struct Said(pub(super) String);

/// Returns the values of a route's parameters in a path, separated by slashes.
fn object(route: &str, path: &str) -> String {
    let parts = route.split('/').zip(path.split('/'));
    let values = parts.filter(|(part, _)| part.starts_with('{')).map(|(_, value)| value);
    values.collect::<Vec<_>>().join("/")
}

/// Caller of a request that showed nothing valid.
const UNKNOWN: &str = "unknown";

/// Middleware that notes where a request comes from, and what the audit log says of its response.
pub(super) async fn noted(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let action = route.as_deref().and_then(|route| Action::of_route(method.as_str(), route));
    let path = request.uri().path().to_owned();
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let from = Origin { address, request: id };
    let is_file = asks_for_file(request.uri().query().unwrap_or_default());
    let (response, known) = origin::within(from.clone(), next.run(request)).await;
    let Some(action) = action else { return response };
    let caller = known.caller;
    let refused = known.refusal.is_some() || is_refusal(action, response.status());
    let subject = object(route.as_deref().unwrap_or_default(), &path);
    if refused || (response.status().is_success() && is_noted(action, &subject, is_file)) {
        let said = response.extensions().get::<Said>().filter(|_| refused);
        let said = said.map(|said| said.0.as_str()).or(known.refusal.as_deref());
        let seen = Seen {
            tenant: caller.as_ref().map(|caller| &caller.tenant),
            by: caller.as_ref().map_or(UNKNOWN, |caller| &caller.by),
            action: if refused && is_login(action) { REFUSED_LOGIN } else { action.word() },
            subject: &subject,
            refused,
            message: said.unwrap_or_default(),
        };
        app.service.audit().saw(&seen, &from);
    }
    response
}

/// Action of a login that was refused, whatever its way.
const REFUSED_LOGIN: &str = "session.refused";

/// True if the query of a request asks for the activity as a file: then it is an export.
fn asks_for_file(query: &str) -> bool {
    query.split('&').any(|part| matches!(part, "format=csv" | "format=ndjson"))
}

/// True if a reading is an entry: what is read may be secret, or is taken out of the control plane.
fn is_noted(action: Action, subject: &str, is_file: bool) -> bool {
    match action {
        Action::ListActivity => is_file,
        Action::ListPolicies | Action::GetPolicy | Action::ListPolicyDevices => {
            subject == "secrets" || subject.starts_with("secrets/")
        }
        _ => action.is_noted(),
    }
}

/// True if an action logs somebody in.
fn is_login(action: Action) -> bool {
    matches!(
        action,
        Action::BeginSession
            | Action::FinishProviderLogin
            | Action::BeginDeviceLogin
            | Action::AskDeviceLogin
    )
}

/// True if a response refuses its caller. Whether there is a login, the pages ask before anybody
/// logs in: no is no refusal.
fn is_refusal(action: Action, status: StatusCode) -> bool {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => action != Action::GetSession,
        StatusCode::TOO_MANY_REQUESTS => is_login(action),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_what_the_route_leaves_open() {
        for (route, path, expected) in [
            ("/api/v1/devices/{name}", "/api/v1/devices/gw-1", "gw-1"),
            (
                "/api/v1/devices/{name}/workloads/{workload}/logs",
                "/api/v1/devices/gw-1/workloads/w/logs",
                "gw-1/w",
            ),
            ("/api/v1/audit", "/api/v1/audit", ""),
            ("/api/v1/policies/{kind}/{name}", "/api/v1/policies/secrets/db", "secrets/db"),
        ] {
            assert_eq!(object(route, path), expected);
        }
    }

    #[test]
    fn readings_of_secrets_and_exports_are_entries() {
        for (action, subject, is_file, expected) in [
            (Action::GetPolicy, "secrets/db", false, true),
            (Action::ListPolicies, "secrets", false, true),
            (Action::GetPolicy, "configs/db", false, false),
            (Action::ListPolicies, "secretsx", false, false),
            (Action::ListActivity, "", false, false),
            (Action::ListActivity, "", true, true),
            (Action::ReadLog, "d/w", false, true),
            (Action::ExportAudit, "", false, true),
            (Action::GetFleet, "", false, false),
        ] {
            assert_eq!(is_noted(action, subject, is_file), expected, "{action:?} {subject}");
        }
        assert!(asks_for_file("a=b&format=csv") && !asks_for_file("q=format=csvx"));
    }
}
