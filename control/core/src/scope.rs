//! Scopes of access tokens: three levels, each including the one before.
//!
//! See decision 0097.

use holdfast_api::Scope;

/// Scope that each route for operators needs. A test compares it with the API's description.
/// Fetching artifacts takes `operate`, because artifacts may contain secrets.
const ROUTES: &[(&str, &str, Scope)] = &[
    ("GET", "/api/v1/about", Scope::Read),
    ("GET", "/api/v1/access", Scope::Admin),
    ("POST", "/api/v1/access", Scope::Admin),
    ("DELETE", "/api/v1/access/{id}", Scope::Admin),
    ("GET", "/api/v1/alarms", Scope::Read),
    ("POST", "/api/v1/alarms/acknowledge", Scope::Operate),
    ("POST", "/api/v1/alarms/silence", Scope::Operate),
    ("POST", "/api/v1/apply", Scope::Operate),
    ("PUT", "/api/v1/artifacts", Scope::Operate),
    ("GET", "/api/v1/artifacts/{digest}", Scope::Operate),
    ("GET", "/api/v1/activity", Scope::Read),
    ("GET", "/api/v1/audit", Scope::Read),
    ("GET", "/api/v1/backup", Scope::Admin),
    ("GET", "/api/v1/devices", Scope::Read),
    ("GET", "/api/v1/devices/{name}", Scope::Read),
    ("DELETE", "/api/v1/devices/{name}", Scope::Operate),
    ("PATCH", "/api/v1/devices/{name}", Scope::Operate),
    ("POST", "/api/v1/devices/{name}/approve", Scope::Operate),
    ("GET", "/api/v1/devices/{name}/differences", Scope::Read),
    ("GET", "/api/v1/devices/{name}/history", Scope::Read),
    ("GET", "/api/v1/devices/{name}/ping", Scope::Read),
    ("POST", "/api/v1/devices/{name}/revoke", Scope::Operate),
    ("GET", "/api/v1/devices/{name}/sparklines", Scope::Read),
    ("GET", "/api/v1/devices/{name}/streams", Scope::Read),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/export.parquet", Scope::Read),
    ("POST", "/api/v1/devices/{name}/streams/{stream}/fetch", Scope::Operate),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/ledger", Scope::Read),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/records", Scope::Read),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/series", Scope::Read),
    ("GET", "/api/v1/devices/{name}/workloads/{workload}/logs", Scope::Read),
    ("GET", "/api/v1/events", Scope::Read),
    ("GET", "/api/v1/explain/{kind}/{name}", Scope::Read),
    ("GET", "/api/v1/fleet", Scope::Read),
    ("GET", "/api/v1/fleet/trend", Scope::Read),
    ("GET", "/api/v1/groups", Scope::Read),
    ("GET", "/api/v1/labels", Scope::Read),
    ("GET", "/api/v1/licences", Scope::Read),
    ("GET", "/api/v1/metrics/streams", Scope::Read),
    ("POST", "/api/v1/notifications/{name}/test", Scope::Operate),
    ("GET", "/api/v1/policies/{kind}", Scope::Read),
    ("GET", "/api/v1/policies/{kind}/{name}", Scope::Read),
    ("DELETE", "/api/v1/policies/{kind}/{name}", Scope::Operate),
    ("GET", "/api/v1/policies/{kind}/{name}/devices", Scope::Read),
    ("POST", "/api/v1/query", Scope::Operate),
    ("POST", "/api/v1/query/{id}/end", Scope::Operate),
    ("POST", "/api/v1/restore", Scope::Admin),
    ("GET", "/api/v1/revisions", Scope::Read),
    ("GET", "/api/v1/silences", Scope::Read),
    ("DELETE", "/api/v1/silences/{id}", Scope::Operate),
    ("GET", "/api/v1/streams", Scope::Read),
    ("GET", "/api/v1/streams/{stream}/export.parquet", Scope::Read),
    ("GET", "/api/v1/tokens", Scope::Read),
    ("POST", "/api/v1/tokens", Scope::Operate),
    ("GET", "/api/v1/tokens/{id}", Scope::Read),
    ("DELETE", "/api/v1/tokens/{id}", Scope::Operate),
    ("GET", "/api/v1/workloads", Scope::Read),
    ("GET", "/api/v1/workloads/{name}", Scope::Read),
    ("DELETE", "/api/v1/workloads/{name}", Scope::Operate),
    ("POST", "/api/v1/workloads/{name}/pause", Scope::Operate),
    ("POST", "/api/v1/workloads/{name}/restart", Scope::Operate),
    ("POST", "/api/v1/workloads/{name}/resume", Scope::Operate),
    ("POST", "/api/v1/workloads/{name}/rollback", Scope::Operate),
];

/// Returns the scope that a request of an operator needs. None: the route is not listed, and only
/// `admin` may use it.
pub fn needed(method: &str, route: &str) -> Option<Scope> {
    let mut known = ROUTES.iter();
    known.find(|(known, path, _)| *known == method && *path == route).map(|(_, _, scope)| *scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_holds_the_one_before() {
        assert!(Scope::Read < Scope::Operate && Scope::Operate < Scope::Admin);
        assert_eq!(Scope::default(), Scope::Read, "least privilege unless told otherwise");
        assert_eq!(needed("GET", "/api/v1/backup"), Some(Scope::Admin));
        assert_eq!(needed("POST", "/api/v1/backup"), None);
    }
}
