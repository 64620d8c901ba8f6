//! JSON documents of the HTTPS API, as the server writes them and the command line reads them.
//! Their shapes are a promise to scripts: fields may be added, but no field changes its meaning.
//!
//! Times are RFC 3339 in UTC with seconds (`2026-11-23T21:00:00Z`). Digests are `sha256:` and 64
//! hexadecimal digits.
//!
//! See decision 0134.

mod absence;
mod access;
mod alarms;
mod answer;
mod apply;
pub mod audit;
mod backup;
pub mod chain;
mod code;
pub mod count;
mod data;
mod device;
mod document;
mod fleet;
mod groups;
mod image;
mod jobs;
pub mod kinds;
pub mod link;
pub mod log;
mod master_key;
pub mod path;
mod people;
mod providers;
mod query;
mod role;
mod secrets;
pub mod selector;
pub mod strict;
mod tenant;
pub mod time;
mod timeline;
mod token;
pub mod units;
mod volume;
pub mod words;
mod workload;

pub use absence::{Absence, AbsenceStatus, PolicyAbsence};
pub use access::{
    About, Access, AccessMetadata, Authority, CreatedAccess, Decision, Granted, Licence, Licences,
    Login, NewAccess, RotateAccess, Session, WhoAmI,
};
pub use alarms::{Alarm, AlarmState, Delivery, Muting, NewSilence, Silence, Tested};
pub use answer::{ErrorDocument, Event, Explanation, StoredArtifact};
pub use apply::{Applied, AppliedAction, AppliedDocument, Apply, ChangedDevices};
pub use audit::{
    AUDIT_FORMAT, AuditCheckpoint, AuditFault, AuditHead, AuditRecord, AuditResult, Verification,
    WholeCounts, Witness, WitnessCounts,
};
pub use backup::{
    BACKUP_HEAD, BACKUP_KEY, BACKUP_MANIFEST, BACKUP_PASSPHRASE, BackupRequest, ENCRYPTED_BACKUP,
    Restored, SHORTEST_PASSPHRASE, begins_like_a_backup,
};
pub use code::ApiCode;
pub use data::{
    DataMeta, DataRecord, DataRecords, DeviceStreams, Fits, Ledger, Link, LinkClass, LinkWait,
    MissingRange, Point, Policy, PolicyDevice, PolicyStatus, PolicyStream, PolicyValue,
    PolicyValues, Series, Sparkline, Sparklines, StreamItem, StreamLast,
};
pub use device::{
    Connection, ContainerStatus, DesiredRevision, Device, DeviceStatus, Download, Engine,
    Generations, Health, HealthState, LabelPatch, NeighbourList, NeighbourOfSite, Ping, Problem,
    ProblemArea, WorkloadStatus,
};
pub use document::{API_VERSION, List, ListMeta, Metadata};
pub use fleet::{
    AttentionItem, DeviceCounts, Difference, Differences, Fleet, LabelKey, LabelValue,
    Labels as LabelsInUse, Severity, Site, WorkloadCounts,
};
pub use groups::{DeviceGroup, DeviceGroups, Trend, TrendPoint};
pub use image::{
    CopyImage, CopyLine, CopyProgress, DeletedImage, Image, ImageLayer, ImagePlatform,
    ImageSummary, PushedImage, PushedPlatform, TagImage,
};
pub use jobs::{
    NotRestarted, OnDevices, PauseResult, Paused, PausedOn, RestartLine, RestartProgress,
    RestartResult, Rollback, RolledBack, WorkloadPauses,
};
pub use master_key::{MASTER_KEY_PREFIX, MasterKey, RotateMasterKey};
pub use people::{
    ChangePassword, ChangeUser, Code, NewUser, OpenSession, SecondFactor, SetPassword, User,
    UserPassword, WithPassword,
};
pub use providers::{
    AskDeviceLogin, DeviceLogin, DeviceLoginState, LoginProvider, LoginProviders, NewDeviceLogin,
};
pub use query::{
    FETCH_BYTES, FetchStarted, NewFetch, NewQuery, QueryBytes, QueryLine, QueryProgress,
    QueryRecords, QueryResult, QueryRow,
};
pub use role::{NotARole, Role};
pub use secrets::{RotateSecret, SecretValue};
pub use tenant::{
    ArtifactOfTenant, CreatedTenant, NewTenant, QuotaUnit, QuotaUse, Tenant, TenantDeletion,
};
pub use timeline::{Activity, ActivityObject, Category, EventKind, TimelineEvent};
pub use token::{Approve, CreatedToken, NewToken, Token, TokenDevice, TokenUse};
pub use volume::{RestoreVolume, Volume};
pub use workload::{Revision, State, Workload, WorkloadState, WorkloadSummary};
