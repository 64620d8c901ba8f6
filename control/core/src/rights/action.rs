//! Table of all actions: one for each route of the HTTPS API, with the roles that may do it and what
//! it reaches. Adding a route means adding a row.
//!
//! See decisions 0148 and 0157.

use holdfast_api::Role::{self, Admin, Auditor, DeviceProvisioner, Metrics, Operator, Viewer};

/// What an action needs of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// One of these roles.
    Role(&'static [Role]),
    /// No role: the route is open to anyone, or it checks a proof of its own (a password, a key, the
    /// cookie of a login) before there is an actor.
    Own,
}

/// What an action reaches. It decides what a role with a label selector is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The tenant as a whole: a role with a selector does not suffice.
    Whole,
    /// Devices, or what is of devices: a role with a selector reaches those that it selects. A
    /// service method of such an action filters by `Permit::sight`.
    Device,
    /// Nothing of a device: a selector plays no part.
    Anything,
}

use Reach::{Anything, Device, Whole};

const OWN: Need = Need::Own;
const ANYONE: Need = Need::Role(&Role::ALL);
const READERS: Need = Need::Role(&[Viewer, Operator, Admin, Auditor]);
const VIEWERS: Need = Need::Role(&[Viewer, Operator, Admin]);
const OPERATORS: Need = Need::Role(&[Operator, Admin]);
const ADMINS: Need = Need::Role(&[Admin]);
const AUDITORS: Need = Need::Role(&[Auditor, Admin]);
const PROVISIONERS: Need = Need::Role(&[DeviceProvisioner, Operator, Admin]);
const PROVISIONERS_READ: Need = Need::Role(&[DeviceProvisioner, Viewer, Operator, Admin, Auditor]);
const SCRAPERS: Need = Need::Role(&[Metrics, Admin]);
const METERS: Need = Need::Role(&[Metrics, Viewer, Operator, Admin]);

/// Row of the table of actions.
struct Row {
    word: &'static str,
    method: &'static str,
    route: &'static str,
    need: Need,
    reach: Reach,
}

/// Defines [`Action`] and its table from rows `variant: word, method, route, need, reach`.
macro_rules! actions {
    ($($name:ident: $word:literal, $method:literal, $route:literal, $need:expr, $reach:expr;)*) => {
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
                    $(Self::$name => Row {
                        word: $word,
                        method: $method,
                        route: $route,
                        need: $need,
                        reach: $reach,
                    },)*
                }
            }
        }
    };
}

actions! {
    DescribeControlPlane: "about.get", "GET", "/api/v1/about", ANYONE, Anything;
    ListAccess: "access.list", "GET", "/api/v1/access", AUDITORS, Whole;
    CreateAccess: "access.create", "POST", "/api/v1/access", ADMINS, Whole;
    RotateAccess: "access.rotate", "POST", "/api/v1/access/{id}/rotate", ADMINS, Whole;
    DeleteAccess: "access.delete", "DELETE", "/api/v1/access/{id}", ADMINS, Whole;
    ListActivity: "activity.list", "GET", "/api/v1/activity", READERS, Device;
    ListAlarms: "alarm.list", "GET", "/api/v1/alarms", READERS, Device;
    AcknowledgeAlarms: "alarm.acknowledge", "POST", "/api/v1/alarms/acknowledge", OPERATORS, Device;
    SilenceAlarms: "alarm.silence", "POST", "/api/v1/alarms/silence", OPERATORS, Device;
    Apply: "document.apply", "POST", "/api/v1/apply", OPERATORS, Device;
    ListArtifacts: "artifact.list", "GET", "/api/v1/artifacts", READERS, Whole;
    PutArtifact: "artifact.put", "PUT", "/api/v1/artifacts", OPERATORS, Anything;
    GetArtifact: "artifact.get", "GET", "/api/v1/artifacts/{digest}", OPERATORS, Anything;
    DeleteArtifact: "artifact.delete", "DELETE", "/api/v1/artifacts/{digest}", OPERATORS, Whole;
    ListAudit: "audit.list", "GET", "/api/v1/audit", AUDITORS, Whole;
    ExportAudit: "audit.export", "GET", "/api/v1/audit/export", AUDITORS, Whole;
    VerifyAudit: "audit.verify", "GET", "/api/v1/audit/verification", AUDITORS, Whole;
    ReadBackup: "backup.read", "POST", "/api/v1/backup", ADMINS, Whole;
    ReadUnencryptedBackup: "backup.read-unencrypted", "POST", "/api/v1/backup/unencrypted", ADMINS, Whole;
    GetCa: "ca.get", "GET", "/api/v1/ca", OWN, Anything;
    ListNeighbours: "device.neighbours", "GET", "/api/v1/neighbours", OPERATORS, Anything;
    ListDevices: "device.list", "GET", "/api/v1/devices", PROVISIONERS_READ, Device;
    GetDevice: "device.get", "GET", "/api/v1/devices/{name}", PROVISIONERS_READ, Device;
    DeleteDevice: "device.delete", "DELETE", "/api/v1/devices/{name}", OPERATORS, Device;
    LabelDevice: "device.label", "PATCH", "/api/v1/devices/{name}", OPERATORS, Device;
    ApproveDevice: "device.approve", "POST", "/api/v1/devices/{name}/approve", PROVISIONERS, Device;
    GetDifferences: "device.differences", "GET", "/api/v1/devices/{name}/differences", READERS, Device;
    GetHistory: "device.history", "GET", "/api/v1/devices/{name}/history", READERS, Device;
    PingDevice: "device.ping", "GET", "/api/v1/devices/{name}/ping", READERS, Device;
    RevokeDevice: "device.revoke", "POST", "/api/v1/devices/{name}/revoke", OPERATORS, Device;
    GetSparklines: "device.sparklines", "GET", "/api/v1/devices/{name}/sparklines", VIEWERS, Device;
    ListDeviceStreams: "device.streams", "GET", "/api/v1/devices/{name}/streams", READERS, Device;
    ExportStream: "stream.export", "GET", "/api/v1/devices/{name}/streams/{stream}/export.parquet", VIEWERS, Device;
    FetchRecords: "stream.fetch", "POST", "/api/v1/devices/{name}/streams/{stream}/fetch", OPERATORS, Device;
    GetLedger: "stream.ledger", "GET", "/api/v1/devices/{name}/streams/{stream}/ledger", READERS, Device;
    ListRecords: "stream.records", "GET", "/api/v1/devices/{name}/streams/{stream}/records", VIEWERS, Device;
    GetSeries: "stream.series", "GET", "/api/v1/devices/{name}/streams/{stream}/series", VIEWERS, Device;
    ListVolumes: "volume.list", "GET", "/api/v1/devices/{name}/volumes", READERS, Device;
    DeleteVolume: "volume.delete", "DELETE", "/api/v1/devices/{name}/volumes/{workload}/{volume}", OPERATORS, Device;
    BackVolumeUp: "volume.backup", "POST", "/api/v1/devices/{name}/volumes/{workload}/{volume}/backup", OPERATORS, Device;
    RestoreVolume: "volume.restore", "POST", "/api/v1/devices/{name}/volumes/{workload}/{volume}/restore", OPERATORS, Device;
    ReadLog: "device.log", "GET", "/api/v1/devices/{name}/workloads/{workload}/logs", VIEWERS, Device;
    EnrolDevice: "device.enrol", "POST", "/api/v1/enrol", OWN, Anything;
    WatchEvents: "event.watch", "GET", "/api/v1/events", PROVISIONERS_READ, Device;
    Explain: "document.explain", "GET", "/api/v1/explain/{kind}/{name}", READERS, Device;
    GetFleet: "fleet.get", "GET", "/api/v1/fleet", PROVISIONERS_READ, Device;
    GetTrend: "fleet.trend", "GET", "/api/v1/fleet/trend", READERS, Whole;
    GroupDevices: "device.groups", "GET", "/api/v1/groups", READERS, Device;
    ListImages: "image.list", "GET", "/api/v1/images", READERS, Whole;
    PutImage: "image.put", "PUT", "/api/v1/images", OPERATORS, Anything;
    CopyImage: "image.copy", "POST", "/api/v1/images/copy", OPERATORS, Whole;
    GetImage: "image.get", "GET", "/api/v1/images/{reference}", READERS, Whole;
    DeleteImage: "image.delete", "DELETE", "/api/v1/images/{reference}", OPERATORS, Whole;
    TagImage: "image.tag", "POST", "/api/v1/images/{reference}/tag", OPERATORS, Anything;
    ListLabels: "device.labels", "GET", "/api/v1/labels", PROVISIONERS_READ, Device;
    ListLicences: "about.licences", "GET", "/api/v1/licences", ANYONE, Anything;
    GetMasterKey: "master-key.get", "GET", "/api/v1/master-key", ADMINS, Whole;
    RotateMasterKey: "master-key.rotate", "POST", "/api/v1/master-key/rotate", ADMINS, Whole;
    ReadStreamMetrics: "metrics.streams", "GET", "/api/v1/metrics/streams", METERS, Device;
    TestNotification: "notification.test", "POST", "/api/v1/notifications/{name}/test", OPERATORS, Whole;
    GetOpenapi: "about.openapi", "GET", "/api/v1/openapi.json", OWN, Anything;
    ListPolicies: "policy.list", "GET", "/api/v1/policies/{kind}", READERS, Device;
    GetPolicy: "policy.get", "GET", "/api/v1/policies/{kind}/{name}", READERS, Device;
    DeletePolicy: "policy.delete", "DELETE", "/api/v1/policies/{kind}/{name}", OPERATORS, Device;
    ListPolicyDevices: "policy.devices", "GET", "/api/v1/policies/{kind}/{name}/devices", READERS, Device;
    Ask: "query.ask", "POST", "/api/v1/query", OPERATORS, Device;
    EndQuery: "query.end", "POST", "/api/v1/query/{id}/end", OPERATORS, Device;
    RenewCertificate: "device.renew", "POST", "/api/v1/renew", OWN, Anything;
    DrawNonce: "device.nonce", "POST", "/api/v1/renew/nonce", OWN, Anything;
    Restore: "backup.restore", "POST", "/api/v1/restore", ADMINS, Whole;
    ListRevisions: "workload.revisions", "GET", "/api/v1/revisions", READERS, Device;
    GetSchema: "about.schema", "GET", "/api/v1/schema.json", OWN, Anything;
    RotateSecret: "secret.rotate", "POST", "/api/v1/secrets/{name}/rotate", OPERATORS, Whole;
    GetSession: "session.get", "GET", "/api/v1/session", OWN, Anything;
    BeginSession: "session.begin", "POST", "/api/v1/session", OWN, Anything;
    EndSession: "session.end", "DELETE", "/api/v1/session", OWN, Anything;
    ListSilences: "silence.list", "GET", "/api/v1/silences", READERS, Device;
    EndSilence: "silence.end", "DELETE", "/api/v1/silences/{id}", OPERATORS, Device;
    ListStreams: "stream.list", "GET", "/api/v1/streams", READERS, Device;
    ExportStreams: "stream.export-all", "GET", "/api/v1/streams/{stream}/export.parquet", VIEWERS, Device;
    ListTenants: "tenant.list", "GET", "/api/v1/tenants", READERS, Whole;
    CreateTenant: "tenant.create", "POST", "/api/v1/tenants", ADMINS, Whole;
    DeleteTenant: "tenant.delete", "DELETE", "/api/v1/tenants/{name}", ADMINS, Whole;
    ListTokens: "token.list", "GET", "/api/v1/tokens", PROVISIONERS_READ, Device;
    CreateToken: "token.create", "POST", "/api/v1/tokens", PROVISIONERS, Device;
    GetToken: "token.get", "GET", "/api/v1/tokens/{id}", PROVISIONERS_READ, Device;
    RevokeToken: "token.revoke", "DELETE", "/api/v1/tokens/{id}", PROVISIONERS, Device;
    ListWorkloads: "workload.list", "GET", "/api/v1/workloads", READERS, Device;
    GetWorkload: "workload.get", "GET", "/api/v1/workloads/{name}", READERS, Device;
    DeleteWorkload: "workload.delete", "DELETE", "/api/v1/workloads/{name}", OPERATORS, Device;
    PauseWorkload: "workload.pause", "POST", "/api/v1/workloads/{name}/pause", OPERATORS, Device;
    RestartWorkload: "workload.restart", "POST", "/api/v1/workloads/{name}/restart", OPERATORS, Device;
    ResumeWorkload: "workload.resume", "POST", "/api/v1/workloads/{name}/resume", OPERATORS, Device;
    RollBackWorkload: "workload.rollback", "POST", "/api/v1/workloads/{name}/rollback", OPERATORS, Device;
    ListUsers: "user.list", "GET", "/api/v1/users", AUDITORS, Whole;
    CreateUser: "user.create", "POST", "/api/v1/users", ADMINS, Whole;
    ChangeUser: "user.change", "PATCH", "/api/v1/users/{name}", ADMINS, Whole;
    DeleteUser: "user.delete", "DELETE", "/api/v1/users/{name}", ADMINS, Whole;
    SetPassword: "user.password", "POST", "/api/v1/users/{name}/password", ADMINS, Whole;
    RemoveSecondFactor: "user.second-factor", "DELETE", "/api/v1/users/{name}/second-factor", ADMINS, Whole;
    ListSessions: "session.list", "GET", "/api/v1/sessions", AUDITORS, Whole;
    EndOtherSession: "session.end-other", "DELETE", "/api/v1/sessions/{id}", ADMINS, Whole;
    ChangeOwnPassword: "me.password", "POST", "/api/v1/me/password", ANYONE, Anything;
    BeginSecondFactor: "me.second-factor", "POST", "/api/v1/me/second-factor", ANYONE, Anything;
    ConfirmSecondFactor: "me.second-factor-confirm", "POST", "/api/v1/me/second-factor/confirm", ANYONE, Anything;
    EndSecondFactor: "me.second-factor-end", "POST", "/api/v1/me/second-factor/end", ANYONE, Anything;
    WhoAmI: "auth.whoami", "GET", "/api/v1/whoami", ANYONE, Anything;
    CanI: "auth.can", "GET", "/api/v1/can", ANYONE, Anything;
    ListProviders: "provider.list", "GET", "/api/v1/providers", OWN, Anything;
    BeginProviderLogin: "login.begin", "GET", "/api/v1/login/{provider}", OWN, Anything;
    FinishProviderLogin: "login.finish", "GET", "/api/v1/login/{provider}/callback", OWN, Anything;
    BeginDeviceLogin: "login.device", "POST", "/api/v1/login/{provider}/device", OWN, Anything;
    AskDeviceLogin: "login.device-ask", "POST", "/api/v1/login/{provider}/device/ask", OWN, Anything;
    ProbeRegistry: "image.probe", "GET", "/v2/", ANYONE, Anything;
    PullImage: "image.pull", "GET", "/v2/{*path}", VIEWERS, Anything;
    GetHealth: "about.health", "GET", "/healthz", OWN, Anything;
    ReadMetrics: "metrics.read", "GET", "/metrics", SCRAPERS, Whole;
    GetReady: "about.ready", "GET", "/readyz", OWN, Anything;
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

    /// Returns what the action reaches.
    pub const fn reach(self) -> Reach {
        self.row().reach
    }

    /// Returns the roles that may do the action. Empty: it needs none.
    pub const fn roles(self) -> &'static [Role] {
        match self.need() {
            Need::Role(roles) => roles,
            Need::Own => &[],
        }
    }

    /// True if doing the action is an entry of the audit log although it changes nothing: what is
    /// read may be secret, or is taken out of the control plane. A backup makes its own entry.
    pub const fn is_noted(self) -> bool {
        matches!(
            self,
            Self::ReadLog
                | Self::ExportStream
                | Self::ExportStreams
                | Self::ListAudit
                | Self::ExportAudit
        )
    }

    /// Returns the action of a route. None: the route has none, and nobody may use it.
    pub fn of_route(method: &str, route: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.route() == (method, route))
    }

    /// Returns the action with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.word() == word)
    }
}
