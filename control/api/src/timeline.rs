//! History: the timeline of one device, and the activity of people and devices in the fleet.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::AuditResult;

/// Subject of an event in a device's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A connection began or ended.
    Connection,
    /// A workload changed its phase.
    Phase,
    /// A workload was restarted.
    Restart,
    /// A workload changed to another revision.
    Revision,
    /// The device applied another desired state.
    Generation,
    /// A problem began or ended.
    Problem,
    /// Further events happened that are counted but not kept one by one.
    More,
}

impl EventKind {
    /// Every kind, each once.
    pub const ALL: [Self; 7] = [
        Self::Connection,
        Self::Phase,
        Self::Restart,
        Self::Revision,
        Self::Generation,
        Self::Problem,
        Self::More,
    ];

    /// Returns the kind's word in the API, such as `restart`.
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

/// One event in a device's timeline.
///
/// Times are those of the control plane's clock when it learned of the event. The beginning of a
/// connection is recorded with the device's first report. A beginning that follows another without
/// an end between them means that the control plane itself had stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEvent {
    /// Number of the event among those of the device.
    pub number: u64,
    /// Time of the event, or of the first one when it stands for several.
    pub at: String,
    /// Time of the last event when this one stands for several. Absent: it is one event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Number of events that this one stands for. In a loop the first 12 events within an hour are
    /// kept one by one, and the rest of the hour is one event that counts them.
    pub count: u32,
    /// Subject of the event.
    pub kind: EventKind,
    /// Event: `connected`, `disconnected`, `began` or `ended` (a problem), `gone` (a workload) or
    /// `changed`. For several events, the last one.
    pub event: String,
    /// Description of the event, in words.
    pub message: String,
    /// Name of the workload. Absent: the event concerns none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Code of the problem. Absent: the event concerns none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Phase, revision or generation before the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Phase, revision or generation after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Revision of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Number of times that the workload was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Reason, in the device's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Address from which the connection came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// True when the event happened at some time while the device was away, and was learned when it
    /// came back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub while_away: bool,
}

/// Category of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// An operator changed something.
    Change,
    /// A login to the pages or a logout.
    Login,
    /// An operator read something whose reading is recorded.
    Read,
    /// A device connected or disconnected, or a workload or a problem on it changed.
    Device,
}

impl Category {
    /// Every category, each once.
    pub const ALL: [Self; 4] = [Self::Change, Self::Login, Self::Read, Self::Device];

    /// Returns the category's word in the API, such as `login`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Login => "login",
            Self::Read => "read",
            Self::Device => "device",
        }
    }
}

/// Object of an activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityObject {
    /// Kind of the object: `workload`, `device`, `stream`, `linkbudget`, `token`, `access` and so
    /// on.
    pub kind: String,
    /// Name or id of the object.
    pub name: String,
    /// Comment of an access token, given when that is the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// One activity of a person or a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Time of the activity, or of the first one when it stands for several.
    pub at: String,
    /// Time of the last activity when this one stands for several. Absent: it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Number of activities that this one stands for.
    pub count: u32,
    /// Category of the activity.
    pub category: Category,
    /// Author: the id of an access token, `token ID` (an enrolment token), `device NAME`, or
    /// `holdfast`. For the category `device`: the device's name.
    pub by: String,
    /// Comment of the author's access token at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// Action, such as `workload.apply`; for the category `device` such as `device.phase`.
    pub action: String,
    /// Object of the action. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ActivityObject>,
    /// Revision of a workload that the action created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Address that a person's request came from. Absent: not known, or it is of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Id of the request, as in the header `X-Request-Id` of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Result of the action.
    #[serde(default, skip_serializing_if = "AuditResult::is_done")]
    pub result: AuditResult,
    /// Description of the activity, in words.
    pub message: String,
}
