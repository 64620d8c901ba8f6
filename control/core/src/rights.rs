//! Rights: the one decision about who may do what to which object, and the table of all actions,
//! one for each route of the HTTPS API. Adding a route means adding a row.
//!
//! See decisions 0097 and 0148.

use holdfast_api::Scope;
use holdfast_base::ids::Name;

/// What an action needs of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// An access token of this scope or a higher one.
    Scope(Scope),
    /// No access token: the route is open to anyone, or it checks a proof of its own (a password, a
    /// key, the cookie of a login) before there is an actor.
    Own,
}

/// Row of the table of actions.
struct Row {
    word: &'static str,
    method: &'static str,
    route: &'static str,
    need: Need,
}

/// Defines [`Action`] and its table from rows `variant: word, method, route, need`.
macro_rules! actions {
    ($($name:ident: $word:literal, $method:literal, $route:literal, $need:expr;)*) => {
        /// Action of the HTTPS API. Each belongs to exactly one route and method, which its
        /// documentation names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $(#[doc = concat!("Action of the route `", $method, " ", $route, "`.")] $name,)*
        }

        impl Action {
            /// Every action, in the order of the routes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => {
                        Row { word: $word, method: $method, route: $route, need: $need }
                    })*
                }
            }
        }
    };
}

actions! {
    DescribeControlPlane: "about.get", "GET", "/api/v1/about", Need::Scope(Scope::Read);
    ListAccess: "access.list", "GET", "/api/v1/access", Need::Scope(Scope::Admin);
    CreateAccess: "access.create", "POST", "/api/v1/access", Need::Scope(Scope::Admin);
    DeleteAccess: "access.delete", "DELETE", "/api/v1/access/{id}", Need::Scope(Scope::Admin);
    ListActivity: "activity.list", "GET", "/api/v1/activity", Need::Scope(Scope::Read);
    ListAlarms: "alarm.list", "GET", "/api/v1/alarms", Need::Scope(Scope::Read);
    AcknowledgeAlarms: "alarm.acknowledge", "POST", "/api/v1/alarms/acknowledge", Need::Scope(Scope::Operate);
    SilenceAlarms: "alarm.silence", "POST", "/api/v1/alarms/silence", Need::Scope(Scope::Operate);
    Apply: "document.apply", "POST", "/api/v1/apply", Need::Scope(Scope::Operate);
    ListArtifacts: "artifact.list", "GET", "/api/v1/artifacts", Need::Scope(Scope::Read);
    PutArtifact: "artifact.put", "PUT", "/api/v1/artifacts", Need::Scope(Scope::Operate);
    GetArtifact: "artifact.get", "GET", "/api/v1/artifacts/{digest}", Need::Scope(Scope::Operate);
    DeleteArtifact: "artifact.delete", "DELETE", "/api/v1/artifacts/{digest}", Need::Scope(Scope::Operate);
    ListAudit: "audit.list", "GET", "/api/v1/audit", Need::Scope(Scope::Read);
    ReadBackup: "backup.read", "GET", "/api/v1/backup", Need::Scope(Scope::Admin);
    GetCa: "ca.get", "GET", "/api/v1/ca", Need::Own;
    ListDevices: "device.list", "GET", "/api/v1/devices", Need::Scope(Scope::Read);
    GetDevice: "device.get", "GET", "/api/v1/devices/{name}", Need::Scope(Scope::Read);
    DeleteDevice: "device.delete", "DELETE", "/api/v1/devices/{name}", Need::Scope(Scope::Operate);
    LabelDevice: "device.label", "PATCH", "/api/v1/devices/{name}", Need::Scope(Scope::Operate);
    ApproveDevice: "device.approve", "POST", "/api/v1/devices/{name}/approve", Need::Scope(Scope::Operate);
    GetDifferences: "device.differences", "GET", "/api/v1/devices/{name}/differences", Need::Scope(Scope::Read);
    GetHistory: "device.history", "GET", "/api/v1/devices/{name}/history", Need::Scope(Scope::Read);
    PingDevice: "device.ping", "GET", "/api/v1/devices/{name}/ping", Need::Scope(Scope::Read);
    RevokeDevice: "device.revoke", "POST", "/api/v1/devices/{name}/revoke", Need::Scope(Scope::Operate);
    GetSparklines: "device.sparklines", "GET", "/api/v1/devices/{name}/sparklines", Need::Scope(Scope::Read);
    ListDeviceStreams: "device.streams", "GET", "/api/v1/devices/{name}/streams", Need::Scope(Scope::Read);
    ExportStream: "stream.export", "GET", "/api/v1/devices/{name}/streams/{stream}/export.parquet", Need::Scope(Scope::Read);
    FetchRecords: "stream.fetch", "POST", "/api/v1/devices/{name}/streams/{stream}/fetch", Need::Scope(Scope::Operate);
    GetLedger: "stream.ledger", "GET", "/api/v1/devices/{name}/streams/{stream}/ledger", Need::Scope(Scope::Read);
    ListRecords: "stream.records", "GET", "/api/v1/devices/{name}/streams/{stream}/records", Need::Scope(Scope::Read);
    GetSeries: "stream.series", "GET", "/api/v1/devices/{name}/streams/{stream}/series", Need::Scope(Scope::Read);
    ReadLog: "device.log", "GET", "/api/v1/devices/{name}/workloads/{workload}/logs", Need::Scope(Scope::Read);
    EnrolDevice: "device.enrol", "POST", "/api/v1/enrol", Need::Own;
    WatchEvents: "event.watch", "GET", "/api/v1/events", Need::Scope(Scope::Read);
    Explain: "document.explain", "GET", "/api/v1/explain/{kind}/{name}", Need::Scope(Scope::Read);
    GetFleet: "fleet.get", "GET", "/api/v1/fleet", Need::Scope(Scope::Read);
    GetTrend: "fleet.trend", "GET", "/api/v1/fleet/trend", Need::Scope(Scope::Read);
    GroupDevices: "device.groups", "GET", "/api/v1/groups", Need::Scope(Scope::Read);
    ListLabels: "device.labels", "GET", "/api/v1/labels", Need::Scope(Scope::Read);
    ListLicences: "about.licences", "GET", "/api/v1/licences", Need::Scope(Scope::Read);
    ReadStreamMetrics: "metrics.streams", "GET", "/api/v1/metrics/streams", Need::Scope(Scope::Read);
    TestNotification: "notification.test", "POST", "/api/v1/notifications/{name}/test", Need::Scope(Scope::Operate);
    GetOpenapi: "about.openapi", "GET", "/api/v1/openapi.json", Need::Own;
    ListPolicies: "policy.list", "GET", "/api/v1/policies/{kind}", Need::Scope(Scope::Read);
    GetPolicy: "policy.get", "GET", "/api/v1/policies/{kind}/{name}", Need::Scope(Scope::Read);
    DeletePolicy: "policy.delete", "DELETE", "/api/v1/policies/{kind}/{name}", Need::Scope(Scope::Operate);
    ListPolicyDevices: "policy.devices", "GET", "/api/v1/policies/{kind}/{name}/devices", Need::Scope(Scope::Read);
    Ask: "query.ask", "POST", "/api/v1/query", Need::Scope(Scope::Operate);
    EndQuery: "query.end", "POST", "/api/v1/query/{id}/end", Need::Scope(Scope::Operate);
    RenewCertificate: "device.renew", "POST", "/api/v1/renew", Need::Own;
    Restore: "backup.restore", "POST", "/api/v1/restore", Need::Scope(Scope::Admin);
    ListRevisions: "workload.revisions", "GET", "/api/v1/revisions", Need::Scope(Scope::Read);
    GetSchema: "about.schema", "GET", "/api/v1/schema.json", Need::Own;
    GetSession: "session.get", "GET", "/api/v1/session", Need::Own;
    BeginSession: "session.begin", "POST", "/api/v1/session", Need::Own;
    EndSession: "session.end", "DELETE", "/api/v1/session", Need::Own;
    ListSilences: "silence.list", "GET", "/api/v1/silences", Need::Scope(Scope::Read);
    EndSilence: "silence.end", "DELETE", "/api/v1/silences/{id}", Need::Scope(Scope::Operate);
    ListStreams: "stream.list", "GET", "/api/v1/streams", Need::Scope(Scope::Read);
    ExportStreams: "stream.export-all", "GET", "/api/v1/streams/{stream}/export.parquet", Need::Scope(Scope::Read);
    ListTenants: "tenant.list", "GET", "/api/v1/tenants", Need::Scope(Scope::Read);
    CreateTenant: "tenant.create", "POST", "/api/v1/tenants", Need::Scope(Scope::Admin);
    DeleteTenant: "tenant.delete", "DELETE", "/api/v1/tenants/{name}", Need::Scope(Scope::Admin);
    ListTokens: "token.list", "GET", "/api/v1/tokens", Need::Scope(Scope::Read);
    CreateToken: "token.create", "POST", "/api/v1/tokens", Need::Scope(Scope::Operate);
    GetToken: "token.get", "GET", "/api/v1/tokens/{id}", Need::Scope(Scope::Read);
    RevokeToken: "token.revoke", "DELETE", "/api/v1/tokens/{id}", Need::Scope(Scope::Operate);
    ListWorkloads: "workload.list", "GET", "/api/v1/workloads", Need::Scope(Scope::Read);
    GetWorkload: "workload.get", "GET", "/api/v1/workloads/{name}", Need::Scope(Scope::Read);
    DeleteWorkload: "workload.delete", "DELETE", "/api/v1/workloads/{name}", Need::Scope(Scope::Operate);
    PauseWorkload: "workload.pause", "POST", "/api/v1/workloads/{name}/pause", Need::Scope(Scope::Operate);
    RestartWorkload: "workload.restart", "POST", "/api/v1/workloads/{name}/restart", Need::Scope(Scope::Operate);
    ResumeWorkload: "workload.resume", "POST", "/api/v1/workloads/{name}/resume", Need::Scope(Scope::Operate);
    RollBackWorkload: "workload.rollback", "POST", "/api/v1/workloads/{name}/rollback", Need::Scope(Scope::Operate);
    GetHealth: "about.health", "GET", "/healthz", Need::Own;
    ReadMetrics: "metrics.read", "GET", "/metrics", Need::Scope(Scope::Read);
    GetReady: "about.ready", "GET", "/readyz", Need::Own;
}

impl Action {
    /// Returns the word of the action: what it is done to, and what is done. The OpenAPI document
    /// has it as `x-holdfast-action`.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// Returns the method and the route of the action.
    pub const fn route(self) -> (&'static str, &'static str) {
        let row = self.row();
        (row.method, row.route)
    }

    /// Returns what the action needs of its actor.
    pub const fn need(self) -> Need {
        self.row().need
    }

    /// Returns the action of a route. None: the route has none, and nobody may use it.
    pub fn of_route(method: &str, route: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.route() == (method, route))
    }
}

/// Whoever asks for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Person or program with an access token.
    Operator {
        /// Id of the access token.
        access: Box<str>,
        /// Scope of the access token.
        scope: Scope,
    },
    /// Device, known by its certificate.
    Device(Name),
}

/// Caller of the service: who asks, and in which tenant. It may end while a long response is being
/// sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Whoever asks.
    pub who: Who,
    /// Tenant that the caller belongs to. All objects that it can name are of this tenant.
    pub tenant: Name,
    /// Digest of the login's secret, when the request came with a login's cookie.
    pub session: Option<[u8; 32]>,
}

impl Actor {
    /// Makes the actor of an access token.
    pub fn operator(tenant: Name, access: impl Into<Box<str>>, scope: Scope) -> Self {
        Self { who: Who::Operator { access: access.into(), scope }, tenant, session: None }
    }

    /// Makes the actor of a device.
    pub fn device(tenant: Name, device: Name) -> Self {
        Self { who: Who::Device(device), tenant, session: None }
    }

    /// Returns the id of the access token or the name of the device, as the audit log has it.
    pub fn id(&self) -> &str {
        match &self.who {
            Who::Operator { access, .. } => access,
            Who::Device(name) => name.as_str(),
        }
    }
}

/// Object of an action. Its kind is in the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// Tenant that the object belongs to.
    pub tenant: &'a Name,
    /// Name or id of the object. Empty: all objects of the action's kind that the tenant has.
    pub name: &'a str,
}

/// Proof that an actor may do an action. Only [`may`] makes one, so whatever takes a permit was
/// allowed.
#[derive(Debug, Clone, Copy)]
pub struct Permit<'a> {
    actor: &'a Actor,
    action: Action,
}

impl<'a> Permit<'a> {
    /// Id of the caller, for the audit log.
    pub fn by(&self) -> &'a str {
        self.actor.id()
    }

    /// Tenant whose objects the action is about.
    pub fn tenant(&self) -> &'a Name {
        &self.actor.tenant
    }

    /// Action that is allowed.
    pub fn action(&self) -> Action {
        self.action
    }
}

/// Reason why an action is not allowed. Its text is shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The access token's scope does not suffice.
    #[error(
        "this needs an access token of scope {needed}, and {access} has scope {has}: whoever has one of scope admin makes another, under Settings, Access tokens"
    )]
    Scope {
        /// Scope that the action needs.
        needed: Scope,
        /// Id of the caller's access token.
        access: Box<str>,
        /// Scope of that token.
        has: Scope,
    },
    /// A device asks for what only operators may do.
    #[error("device {device} may not do {}: it needs an access token of scope {needed}", .action.word())]
    Device {
        /// Name of the device.
        device: Name,
        /// Action that was asked for.
        action: Action,
        /// Scope that the action needs.
        needed: Scope,
    },
    /// The object belongs to another tenant. The caller is told that there is none.
    #[error("there is no {name:?} here")]
    Elsewhere {
        /// Name that was asked for.
        name: String,
    },
}

/// Actions that a device may do over HTTPS with its certificate.
const OF_DEVICES: &[Action] = &[Action::GetArtifact];

/// Decides whether an actor may do an action to an object.
///
/// # Errors
/// [`Denied`], whose text names what was missing.
pub fn may<'a>(
    actor: &'a Actor,
    action: Action,
    object: &Object<'_>,
) -> Result<Permit<'a>, Denied> {
    if *object.tenant != actor.tenant {
        return Err(Denied::Elsewhere { name: object.name.chars().take(80).collect() });
    }
    let allowed = Ok(Permit { actor, action });
    let needed = match action.need() {
        Need::Own => return allowed,
        Need::Scope(needed) => needed,
    };
    match &actor.who {
        Who::Operator { scope, .. } if *scope >= needed => allowed,
        Who::Operator { access, scope } => {
            Err(Denied::Scope { needed, access: access.clone(), has: *scope })
        }
        Who::Device(_) if OF_DEVICES.contains(&action) => allowed,
        Who::Device(device) => Err(Denied::Device { device: device.clone(), action, needed }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn each_action_has_a_word_and_a_route_of_its_own() {
        let words: BTreeSet<_> = Action::ALL.iter().map(|action| action.word()).collect();
        let routes: BTreeSet<_> = Action::ALL.iter().map(|action| action.route()).collect();
        assert_eq!((words.len(), routes.len()), (Action::ALL.len(), Action::ALL.len()));
        for action in Action::ALL {
            let (method, route) = action.route();
            assert_eq!(Action::of_route(method, route), Some(*action));
            let (of, what) = action.word().split_once('.').unwrap();
            assert!(!of.is_empty() && !what.is_empty() && !what.contains('.'), "{action:?}");
        }
        assert_eq!(Action::of_route("POST", "/api/v1/backup"), None);
    }

    #[test]
    fn each_scope_holds_the_one_before() {
        assert!(Scope::Read < Scope::Operate && Scope::Operate < Scope::Admin);
        assert_eq!(Scope::default(), Scope::Read, "least privilege unless told otherwise");
    }

    #[test]
    fn an_operator_may_what_the_scope_holds_and_a_device_fetches_artifacts() {
        let tenant = name("acme");
        let object = Object { tenant: &tenant, name: "x" };
        let device = Actor::device(tenant.clone(), name("pump-1"));
        for action in Action::ALL {
            for scope in [Scope::Read, Scope::Operate, Scope::Admin] {
                let actor = Actor::operator(tenant.clone(), "a1", scope);
                let answer = may(&actor, *action, &object);
                match action.need() {
                    Need::Scope(needed) if needed > scope => {
                        let why = answer.unwrap_err();
                        assert_eq!(why, Denied::Scope { needed, access: "a1".into(), has: scope });
                        assert!(why.to_string().contains(needed.as_str()), "{why}");
                    }
                    _ => assert_eq!(answer.unwrap().action(), *action),
                }
            }
            let open = action.need() == Need::Own || *action == Action::GetArtifact;
            assert_eq!(may(&device, *action, &object).is_ok(), open, "{action:?}");
        }
    }

    #[test]
    fn an_object_of_another_tenant_is_not_there_for_anybody() {
        let (own, other) = (name("acme"), name("zeta"));
        let actor = Actor::operator(own, "a1", Scope::Admin);
        for action in Action::ALL {
            let denied = may(&actor, *action, &Object { tenant: &other, name: "pump-1" });
            assert!(matches!(denied, Err(Denied::Elsewhere { .. })), "{action:?}");
        }
    }
}
