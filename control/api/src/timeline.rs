//! What happened: to one device, and in the fleet beside what people did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an event of a device's timeline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A connection began or ended.
    Connection,
    /// A workload went to another phase.
    Phase,
    /// A workload was started again.
    Restart,
    /// A workload is in another revision.
    Revision,
    /// The device carries out another desired state.
    Generation,
    /// A problem began or ended.
    Problem,
    /// More happened than is kept one by one.
    More,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Connection,
        Self::Phase,
        Self::Restart,
        Self::Revision,
        Self::Generation,
        Self::Problem,
        Self::More,
    ];

    /// As the API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Phase => "phase",
            Self::Restart => "restart",
            Self::Revision => "revision",
            Self::Generation => "generation",
            Self::Problem => "problem",
            Self::More => "more",
        }
    }
}

/// An event of a device's timeline. Times are those of the control plane's clock when it learned of
/// it. A beginning of a connection is written with the device's first report; without an end before
/// the next beginning it was the control plane that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEvent {
    /// Number among the device's events.
    pub number: u64,
    /// When; of several, the first.
    pub at: String,
    /// When the last of several happened; absent: it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many events it stands for: of a loop the first are kept one by one, the rest of an hour
    /// is counted.
    pub count: u32,
    /// What it is about.
    pub kind: EventKind,
    /// `connected`, `disconnected`, `began` or `ended` (a problem), `gone` (a workload), `changed`;
    /// of several, the last.
    pub event: String,
    /// In words.
    pub message: String,
    /// Which workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Code of the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Phase, revision or generation before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Phase, revision or generation afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Revision of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How often the workload was started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Why, in the device's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From where the connection began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// It happened at some time while the device was away, and was learned when it came back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub while_away: bool,
}

/// What sort of activity it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Somebody changed something.
    Change,
    /// A session of the pages began or ended.
    Login,
    /// Somebody read something of which that is written down.
    Read,
    /// A device: it came or went, a workload or a problem of it changed.
    Device,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 4] = [Self::Change, Self::Login, Self::Read, Self::Device];

    /// As the API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Login => "login",
            Self::Read => "read",
            Self::Device => "device",
        }
    }
}

/// To what something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityObject {
    /// `workload`, `device`, `stream`, `linkbudget`, `token`, `access` and so on.
    pub kind: String,
    /// Its name, or its id.
    pub name: String,
    /// Of an access token: what it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What somebody or a device did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// When; of several, the first.
    pub at: String,
    /// When the last of several happened; absent: it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many events it stands for.
    pub count: u32,
    /// What sort it is.
    pub category: Category,
    /// Id of the access token, `token ID` (an enrolment token), `device NAME`, `holdfast`; of
    /// category `device` the device's name.
    pub by: String,
    /// What the access token was for when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// What was done, such as `workload.apply`; of a device `device.phase` and the like.
    pub action: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ActivityObject>,
    /// Of a workload: the revision that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// In words.
    pub message: String,
}
