//! Types from which the JSON Schema of documents is generated. Their doc comments become the
//! descriptions that editors show to the author of a document. `workload.rs` and the files beside
//! it decide what is admitted; a test compares their fields with the ones here.

#![allow(dead_code, reason = "nothing is ever of these types: only their schema is used")]

use std::collections::BTreeMap;

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;

const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$";
const DURATION: &str = r"^[0-9]+(\.[0-9]{1,3})?(ms|s|m|h|d)$";
const PATTERN: &str = r"^(\*|[^$+#*\u0000-\u001f\u007f][^+#*\u0000-\u001f\u007f]*\*?)$";
const DAY_WINDOW: &str = "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$";
const PERCENT: &str = "^(100|[0-9]{1,2})%$";
const AGGREGATE: &str = r"^(count|min|max|mean|last|p[0-9]{1,3}(\.[0-9])?)$";
const CPU: &str = r"^[0-9]+(\.[0-9]{1,3})?m?$";
const MEMORY: &str = r"^[0-9]+(\.[0-9]{1,3})?(Ki|Mi|Gi|k|M|G)?$";

/// Returns the JSON Schema (draft 2020-12) of all documents that can be applied, for editors and
/// for programs that check documents before they send them.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().with_transform(no_nulls).into_generator();
    let mut schema = generator.into_root_schema_for::<AnyDocument>();
    schema.insert("title".into(), "Holdfast document".into());
    schema.to_value()
}

/// Removes null from a schema and everything below it. A null value is refused, so editors must not
/// offer it for an optional field.
fn no_nulls(schema: &mut Schema) {
    transform_subschemas(&mut no_nulls, schema);
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|one| one.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = any.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

/// Any document that can be applied.
#[derive(JsonSchema)]
#[serde(untagged)]
enum AnyDocument {
    Workload(Box<WorkloadDocument>),
    Stream(Box<StreamDocument>),
    LinkBudget(Box<LinkBudgetDocument>),
    DevicePolicy(Box<DevicePolicyDocument>),
    Notification(Box<NotificationDocument>),
}

/// Sends messages about alarms to one receiver.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationDocument {
    api_version: ApiVersion,
    kind: NotificationKind,
    metadata: MetadataDocument,
    spec: NotificationSpec,
}

/// Kind of this document.
#[derive(JsonSchema)]
enum NotificationKind {
    Notification,
}

/// Choice of alarms, times of the messages, and their receiver.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationSpec {
    /// Devices whose alarms are sent: `all`, or a selector of labels. An empty selector is refused.
    devices: ChosenDocument,
    /// Least severity of the alarms: `critical`, `warning` or `info`. `warning` includes critical
    /// alarms, `info` includes all. Default: `warning`.
    severity: Option<SeverityDocument>,
    /// Kinds of the alarms: `lost`, `never-seen`, `certificate`, `failing`, `problem`, `waiting`.
    /// Default: all kinds.
    #[schemars(length(min = 1, max = 20), inner(regex(pattern = "^[a-z][a-z-]*$")))]
    kinds: Option<Vec<String>>,
    /// Properties that the alarms of one message have in common: `kind`, `code`, `severity`,
    /// `device`, `workload`, or the key of a label. Default: `[site, kind]`.
    #[schemars(length(min = 1, max = 20))]
    group_by: Option<Vec<String>>,
    /// Time that an alarm must last before it is sent, and that it must be gone before it is
    /// resolved. At most `1d`. Default: `2m`.
    #[schemars(regex(pattern = DURATION))]
    delay: Option<String>,
    /// Time that the first message of a group waits for further alarms. At most `1h`. Default:
    /// `30s`, for an Alertmanager `5s`.
    #[schemars(regex(pattern = DURATION))]
    group_wait: Option<String>,
    /// Time from a message of a group to the next one about other alarms of the group, `1s` to
    /// `1d`. Default: `5m`.
    #[schemars(regex(pattern = DURATION))]
    group_interval: Option<String>,
    /// Time from a message of a group to its repetition while the alarms last, `10s` to `30d`.
    /// Default: `4h`, for an Alertmanager `1m`.
    #[schemars(regex(pattern = DURATION))]
    repeat: Option<String>,
    /// True to send a message when the last alarm of a group has ended. Default: `true`.
    send_resolved: Option<bool>,
    /// Address of the dashboard for a link in each message, such as `https://holdfast.example.com`.
    #[schemars(regex(pattern = "^https?://"))]
    link: Option<String>,
    /// Receiver of the messages: `webhook`, `email` or `alertmanager`.
    to: ReceiverDocument,
}

/// Least severity of the alarms that are sent.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SeverityDocument {
    /// Alarms about something that does not work.
    Critical,
    /// Alarms about something that will stop working, and critical ones.
    Warning,
    /// All alarms, including those about something that waits for a person.
    Info,
}

/// Receiver of messages: exactly one of `webhook`, `email` and `alertmanager`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["webhook"] }, { "required": ["email"] }, { "required": ["alertmanager"] }]))]
struct ReceiverDocument {
    /// HTTP address that gets a `POST` with a JSON body.
    webhook: Option<WebhookDocument>,
    /// Mail server (SMTP) and addresses that get a mail.
    email: Option<EmailDocument>,
    /// Alertmanager that gets the alarms by its API v2.
    alertmanager: Option<AlertmanagerDocument>,
}

/// HTTP address that gets a `POST`. A status of 2xx is success; redirects are not followed.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["url"] }, { "required": ["secretUrl"] }]))]
struct WebhookDocument {
    /// Address of the receiver, such as `https://example.com/hook`.
    #[schemars(regex(pattern = "^https?://"))]
    url: Option<String>,
    /// Address of the receiver, if knowing it is enough to send to it. It is never shown again.
    secret_url: Option<String>,
    /// Key of the signature in the header `X-Holdfast-Signature`, at least 8 characters. It is
    /// never shown again.
    #[schemars(length(min = 8))]
    secret: Option<String>,
    /// Additional headers, such as `Authorization`. Their values are never shown again.
    headers: Option<BTreeMap<String, String>>,
    /// Certificates of the authorities to trust, in PEM. Default: those of the system.
    ca: Option<String>,
}

/// Mail server and the addresses that get a mail.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct EmailDocument {
    /// Address of the mail server: `smtp://HOST:PORT` or `smtps://HOST:PORT`.
    #[schemars(regex(pattern = "^smtps?://"))]
    smtp: String,
    /// Protection of the connection. Default: `starttls`, with `smtps://` `tls`.
    tls: Option<MailTlsDocument>,
    /// User name for the login at the mail server. Requires `password`.
    username: Option<String>,
    /// Password for the login at the mail server. It is never shown again.
    password: Option<String>,
    /// Address of the sender, such as `Holdfast <holdfast@example.com>`.
    from: String,
    /// Addresses that get the mail, such as `[duty@example.com]`.
    #[schemars(length(min = 1, max = 20))]
    to: Vec<String>,
    /// Certificates of the authorities to trust, in PEM. Default: those of the system.
    ca: Option<String>,
}

/// Protection of the connection to a mail server.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MailTlsDocument {
    /// The connection begins unencrypted and must change to TLS.
    Starttls,
    /// The connection uses TLS from the first byte.
    Tls,
    /// The connection is never encrypted. A user name and password are refused.
    None,
}

/// Alertmanager that gets alarms. `kind` and `severity` are always part of `groupBy` for it.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct AlertmanagerDocument {
    /// Address of the Alertmanager, such as `http://alertmanager:9093`.
    #[schemars(regex(pattern = "^https?://"))]
    url: String,
    /// Labels that are added to every alert.
    labels: Option<BTreeMap<String, String>>,
    /// Additional headers, such as `Authorization`. Their values are never shown again.
    headers: Option<BTreeMap<String, String>>,
    /// Certificates of the authorities to trust, in PEM. Default: those of the system.
    ca: Option<String>,
}

/// States whether devices may be away (offline), and for how long.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DevicePolicyDocument {
    api_version: ApiVersion,
    kind: DevicePolicyKind,
    metadata: MetadataDocument,
    spec: DevicePolicySpec,
}

/// Kind of this document.
#[derive(JsonSchema)]
enum DevicePolicyKind {
    DevicePolicy,
}

/// Choice of devices, and meaning of their absence.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DevicePolicySpec {
    /// Devices that the policy applies to: `all`, or a selector of labels. An empty selector is
    /// refused. If several policies select a device, the one with the most conditions takes effect,
    /// of those with equally many the first by name.
    devices: ChosenDocument,
    /// Meaning of a device that is offline or has never connected: `expected`, `ignore`, or `{
    /// alarmAfter: 12h }`.
    when_offline: WhenOfflineDocument,
}

/// Meaning of an absence.
#[derive(JsonSchema)]
#[serde(untagged)]
enum WhenOfflineDocument {
    Word(WhenOfflineWord),
    After(AlarmAfterDocument),
}

/// Absence that never becomes an alarm.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WhenOfflineWord {
    /// A device may be away for any time. It is counted separately, and what failed on it when it
    /// was last heard raises no alarm while it is away. Its certificate still does.
    Expected,
    /// A device may be away for any time, is counted as ignored, and not even its certificate
    /// raises an alarm while it is away.
    Ignore,
}

/// Absence that becomes an alarm after some time.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AlarmAfterDocument {
    /// Time after which an absence is an alarm, `10s` to `366d`; until then it is expected. Without
    /// a policy it is 5 minutes for a device that was connected before, and 15 minutes for one that
    /// never was.
    #[schemars(regex(pattern = DURATION))]
    alarm_after: String,
}

/// States how devices store and ship streams of records.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StreamDocument {
    api_version: ApiVersion,
    kind: StreamKind,
    metadata: MetadataDocument,
    spec: StreamSpec,
}

/// Kind of this document.
#[derive(JsonSchema)]
enum StreamKind {
    Stream,
}

/// Choice of devices and streams, and rules for them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StreamSpec {
    /// Devices that the policy applies to: `all`, or a selector of labels. An empty selector is
    /// refused.
    devices: ChosenDocument,
    /// Streams that the policy applies to: names, or beginnings of names with a final `*`, such as
    /// `pump/*`. If several policies match a stream, the one with the narrowest pattern takes
    /// effect.
    #[schemars(length(min = 1, max = 64), inner(regex(pattern = PATTERN)))]
    streams: Vec<String>,
    /// Data with which the agent itself fills the stream. Default: workloads publish to it.
    source: Option<SourceDocument>,
    /// Priority of shipping, from 0 (last) to 9 (first). 8 and 9 are urgent and may borrow from the
    /// link budget. Default: 5.
    #[schemars(range(min = 0, max = 9))]
    priority: Option<u8>,
    /// Age at which records are deleted on the device, shipped or not, such as `30d`. Default: they
    /// are deleted only when space is needed.
    #[schemars(regex(pattern = DURATION))]
    ttl: Option<String>,
    /// Space on the device's disk in bytes, such as `100Mi`, at least `128Ki`. Default: the space
    /// of the device's whole buffer.
    quota: Option<Memory>,
    /// Records that are dropped when the quota is used up and no shipped records are left to
    /// delete. Default: `drop-oldest`.
    overflow: Option<OverflowDocument>,
    /// Records that are shipped to the control plane. Default: `always`.
    ship: Option<ShipDocument>,
    /// Order in which batches are shipped. Default: `oldest-first`.
    order: Option<OrderDocument>,
    /// True to compress records on disk and on the link. Default: `true`.
    compress: Option<bool>,
    /// Time for which records may wait in order to be written to disk together, at most `60s`.
    /// Saves writes to flash. Publishers get their acknowledgement when the record is on disk in
    /// any case. Default: `0s`.
    #[schemars(regex(pattern = DURATION))]
    durability: Option<String>,
    /// Times of the day in UTC at which the stream is shipped, such as `01:00-04:00`. Default: at
    /// any time.
    #[schemars(length(min = 1, max = 24), inner(regex(pattern = DAY_WINDOW)))]
    windows: Option<Vec<String>>,
    /// Limits on what the control plane keeps of each stream. Default: everything is kept.
    retention: Option<RetentionDocument>,
}

/// Data with which the agent fills a stream: exactly one of `metrics` and `logs`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["metrics"] }, { "required": ["logs"] }]))]
struct SourceDocument {
    /// Metrics of the device: CPU, memory, disk, network, temperature.
    metrics: Option<MetricsDocument>,
    /// Lines of a workload's log.
    logs: Option<LogsDocument>,
}

/// Metrics of the device as a stream.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct MetricsDocument {
    /// Time from one record to the next, `1s` to `1d`.
    #[schemars(regex(pattern = DURATION))]
    every: String,
}

/// Log of a workload as a stream: one record for each line.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogsDocument {
    /// Name of the workload whose log it is.
    #[schemars(regex(pattern = NAME))]
    workload: String,
}

/// Records that are dropped when a quota is used up.
#[derive(JsonSchema)]
#[serde(untagged)]
enum OverflowDocument {
    Word(OverflowWord),
    Thin(OverflowThin),
}

/// Records that are dropped when a quota is used up.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OverflowWord {
    /// The oldest records are dropped.
    DropOldest,
    /// New records are refused, and their publishers get an error.
    DropNewest,
}

/// Keeps every nth of the older records, such as `{ thin: { keepEvery: 10 } }`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct OverflowThin {
    /// Part of the older records that is kept.
    thin: ThinDocument,
}

/// Part of the older records that is kept.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinDocument {
    /// Interval of the records that are kept: 10 keeps every tenth record. At least 2.
    #[schemars(range(min = 2, max = 1_000_000))]
    keep_every: u32,
}

/// Records that are shipped to the control plane.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ShipDocument {
    Word(ShipWord),
    Reduced(ShipReduced),
}

/// Records that are shipped to the control plane.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ShipWord {
    /// Every record is shipped.
    Always,
    /// No record is shipped. Records stay on the device and can be queried and fetched.
    Never,
}

/// Reduced shipping: exactly one of `onChange` and `window`. Other records stay on the device and
/// can be queried and fetched.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["onChange"] }, { "required": ["window"] }]))]
struct ShipReduced {
    /// Ships records in which a number has changed.
    on_change: Option<OnChangeDocument>,
    /// Ships one record with aggregates for each window of time.
    window: Option<WindowDocument>,
}

/// Ships a record if its field differs from the last shipped one by more than the deadband.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct OnChangeDocument {
    /// Path of a number in JSON or CBOR records, such as `pump.temp`; names with other characters
    /// stand in back quotes. Default: the record itself is the number.
    field: Option<String>,
    /// Largest change that is not shipped, in the unit of the field, such as `0.5`. Default: 0, so
    /// that any change is shipped.
    deadband: Option<Deadband>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Deadband {
    Text(String),
    Number(f64),
}

/// Ships one record for each window of time: the number of its records and aggregates of their
/// fields.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct WindowDocument {
    /// Length of a window, `1s` to `31d`.
    #[schemars(regex(pattern = DURATION))]
    every: String,
    /// Paths of numbers in the records, such as `[temp]`.
    #[schemars(length(min = 1, max = 64))]
    fields: Vec<String>,
    /// Aggregates of each field: `count`, `min`, `max`, `mean`, `last`, or quantiles such as `p50`
    /// and `p99.9`. The count is always included.
    #[schemars(length(min = 1, max = 64), inner(regex(pattern = AGGREGATE)))]
    aggregates: Vec<String>,
}

/// Order in which batches are shipped.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OrderDocument {
    /// Batches are shipped in the order of their records.
    OldestFirst,
    /// New records are shipped first, the backlog after them.
    NewestFirst,
}

/// Limits on what the control plane keeps of each stream. The oldest records are deleted first.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetentionDocument {
    /// Time for which a record is kept after its arrival, such as `90d`, at least `1m`.
    #[schemars(regex(pattern = DURATION))]
    age: Option<String>,
    /// Compressed bytes that are kept of each stream of each device, such as `10Gi`, at least
    /// `128Ki`.
    bytes: Option<Memory>,
}

/// Limits the bytes that devices send and receive over their links.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkBudgetDocument {
    api_version: ApiVersion,
    kind: LinkBudgetKind,
    metadata: MetadataDocument,
    spec: LinkBudgetSpec,
}

/// Kind of this document.
#[derive(JsonSchema)]
enum LinkBudgetKind {
    LinkBudget,
}

/// Choice of devices, and the amount of bytes with its parts.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkBudgetSpec {
    /// Devices that the budget applies to: `all`, or a selector of labels. An empty selector is
    /// refused. If several budgets select a device, the first by name takes effect.
    devices: ChosenDocument,
    /// Period of the budget; a new one begins at midnight UTC.
    per: PerDocument,
    /// Bytes of one period, sent and received together, with headers estimated. At least `16Ki`.
    bytes: Memory,
    /// Parts of the budget by class of traffic, such as `{ data: 60% }`. Classes that are left out
    /// share what the others leave.
    shares: Option<SharesDocument>,
    /// Network interfaces that are metered or have another cost. Traffic of all others counts once.
    #[schemars(length(min = 1, max = 16))]
    interfaces: Option<Vec<InterfaceDocument>>,
}

/// Period of a budget.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PerDocument {
    Day,
    Month,
}

/// Parts of a budget by class of traffic, together at most `100%`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SharesDocument {
    /// Desired states, calls, reports, keep-alive and enrolment. They are counted, but never held
    /// back.
    #[schemars(regex(pattern = PERCENT))]
    control: Option<String>,
    /// Streams of priority 8 and 9.
    #[schemars(regex(pattern = PERCENT))]
    events: Option<String>,
    /// Streams of priority 0 to 7.
    #[schemars(regex(pattern = PERCENT))]
    data: Option<String>,
    /// Logs that people read, and replies to queries.
    #[schemars(regex(pattern = PERCENT))]
    logs: Option<String>,
    /// Artifacts, which are the programs of workloads.
    #[schemars(regex(pattern = PERCENT))]
    artifacts: Option<String>,
}

/// Network interface that is metered or has another cost.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct InterfaceDocument {
    /// Name of the interface, or beginning of names with a final `*`, such as `wwan*`.
    name: String,
    /// True if the interface is metered. If any interface is, the budget applies to metered ones
    /// only. Default: `false`.
    metered: Option<bool>,
    /// Bytes that are counted for each byte, 0.01 to 1000. Default: 1.
    cost: Option<Cost>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Cost {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]{1,2})?$"))] String),
    Number(f64),
}

/// Program to run, and the devices that run it.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkloadDocument {
    api_version: ApiVersion,
    kind: Kind,
    metadata: MetadataDocument,
    spec: SpecDocument,
}

/// Version of the format of documents.
#[derive(JsonSchema)]
enum ApiVersion {
    #[serde(rename = "holdfast/v1")]
    V1,
}

/// Kind of this document.
#[derive(JsonSchema)]
enum Kind {
    Workload,
}

/// Name and labels of a document.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct MetadataDocument {
    /// Name of the document: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or
    /// digit.
    #[schemars(regex(pattern = NAME))]
    name: String,
    /// Labels of the document, for people and for `holdfast get -l`. They do not select devices.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    labels: Option<BTreeMap<String, String>>,
    /// Resource version of the document that was edited, which guards against overwriting another
    /// change: nothing is applied if the stored version differs. Default: the stored document is
    /// replaced.
    #[serde(rename = "resourceVersion")]
    resource_version: Option<u64>,
}

/// Program of the workload, and choice of its devices.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SpecDocument {
    /// Devices that run the workload: `all`, or a selector of labels. An empty selector is refused.
    devices: ChosenDocument,
    /// Program that the devices run.
    run: RunDocument,
    /// Files to write into the workload's folder before it starts: relative path to text, at most
    /// 128 KiB in total. A changed file makes a new revision.
    config: Option<BTreeMap<String, String>>,
    /// Limits on CPU, memory and processes. Default: unlimited.
    resources: Option<ResourcesDocument>,
    /// Restart of the workload after it has ended.
    restart: Option<RestartDocument>,
    /// Health probe of the workload. Default: it counts as healthy while it runs.
    health: Option<HealthDocument>,
    /// Way in which the workload is stopped.
    stop: Option<StopDocument>,
    /// Permissions on the device's local bus beyond the workload's own topics. Default: none.
    bus: Option<BusDocument>,
}

/// Permissions on the local bus, as MQTT filters over `NAME/TOPIC`: name of another workload, and a
/// topic of it.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct BusDocument {
    /// Filters that the workload may subscribe to, as topics `workloads/NAME/TOPIC`: `pump/#`,
    /// `+/alarm`.
    #[schemars(length(max = 64))]
    subscribe: Option<Vec<String>>,
    /// Filters that the workload may publish to, as topics `workloads/NAME/TOPIC`. Such messages
    /// are delivered and never stored.
    #[schemars(length(max = 64))]
    publish: Option<Vec<String>>,
}

/// Choice of devices: `all`, or a selector of labels.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ChosenDocument {
    Word(AllDevices),
    Labels(DevicesDocument),
}

/// Word in the place of a selector.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AllDevices {
    /// Every device, whatever its labels, and those that enrol later.
    All,
}

/// Selector of devices by their labels. All of its conditions must hold.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct DevicesDocument {
    /// Labels that a device must have, with exactly these values.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    match_labels: Option<BTreeMap<String, String>>,
    /// Further conditions on labels, all of which must hold.
    match_expressions: Option<Vec<ExpressionDocument>>,
}

/// Condition on one label of a device.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpressionDocument {
    /// Key of the device's label.
    key: String,
    /// Comparison of the label with `values`.
    operator: OperatorDocument,
    /// Values to compare with, for `In` and `NotIn` only.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    values: Option<Vec<String>>,
}

/// Comparison of a label.
#[derive(JsonSchema)]
enum OperatorDocument {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is absent.
    NotIn,
    /// The label is present with any value.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// Type of the program.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunDocument {
    /// Process of the device's operating system.
    process: ProcessDocument,
}

/// Process that executes either an artifact or a path, without a shell.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["artifact"] }, { "required": ["path"] }]))]
struct ProcessDocument {
    /// Digest of an artifact, as `holdfast artifact push FILE` prints it.
    #[schemars(regex(pattern = "^sha256:[0-9a-fA-F]{64}$"))]
    artifact: Option<String>,
    /// Absolute path of a program on the device.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
    /// Arguments after the name of the program.
    args: Option<Vec<String>>,
    /// Environment variables. Names that begin with `HOLDFAST_` are reserved.
    env: Option<BTreeMap<String, String>>,
    /// User name or number that the process runs as. Default: an unprivileged user of the
    /// workload's own.
    user: Option<TextOrNumber>,
    /// Working folder: an absolute path, or one below the workload's folder. Default: the
    /// workload's folder.
    workdir: Option<String>,
}

/// Name or number of a user, or name or number of a signal.
#[derive(JsonSchema)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(u32),
}

/// Limits on what a workload may use.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResourcesDocument {
    /// Limit of CPU time: cores (`1.5`) or thousandths of one (`500m`).
    cpu: Option<Cpu>,
    /// Limit of memory: bytes, or a number with `Ki`, `Mi`, `Gi`, `k`, `M` or `G` (`64Mi`).
    memory: Option<Memory>,
    /// Limit on the number of processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    pids: Option<u32>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Cpu {
    Text(#[schemars(regex(pattern = CPU))] String),
    Number(f64),
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Memory {
    Text(#[schemars(regex(pattern = MEMORY))] String),
    Number(u64),
}

/// Restart of a workload after it has ended.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestartDocument {
    /// Condition of a restart. Default: `always`.
    policy: Option<PolicyDocument>,
    /// Waiting time before a restart.
    backoff: Option<BackoffDocument>,
}

/// Condition of a restart after the workload has ended.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PolicyDocument {
    /// The workload is always started again.
    Always,
    /// The workload is started again if it ended with a non-zero code or by a signal.
    OnFailure,
    /// The workload is never started again.
    Never,
}

/// Waiting time before a restart. It doubles from `initial` up to `max`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct BackoffDocument {
    /// First waiting time, at least `10ms`. Default: `1s`.
    #[schemars(regex(pattern = DURATION))]
    initial: Option<String>,
    /// Longest waiting time, at most `24h`. Default: `1m`.
    #[schemars(regex(pattern = DURATION))]
    max: Option<String>,
}

/// Health probe: exactly one of `http`, `tcp` and `exec`, and its times.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }, { "required": ["exec"] }]))]
struct HealthDocument {
    /// Sends a `GET`; a status of 200 to 399 is success.
    http: Option<HttpDocument>,
    /// Opens a TCP connection; success if it opens.
    tcp: Option<TcpDocument>,
    /// Runs a command in the workload's folder and as its user; exit code 0 is success.
    exec: Option<ExecDocument>,
    /// Time after the start in which failures do not count. Default: `0s`.
    #[schemars(regex(pattern = DURATION))]
    start_period: Option<String>,
    /// Time from the end of a probe to the next one. Default: `10s`.
    #[schemars(regex(pattern = DURATION))]
    interval: Option<String>,
    /// Time after which a probe has failed. Default: `3s`.
    #[schemars(regex(pattern = DURATION))]
    timeout: Option<String>,
    /// Failures in a row after which the workload is restarted. Default: 3.
    #[schemars(range(min = 1, max = 1_000))]
    failures: Option<u32>,
}

/// Probe by HTTP `GET`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpDocument {
    /// Host name or address. Default: `127.0.0.1`.
    host: Option<String>,
    /// TCP port, 1 to 65535.
    #[schemars(range(min = 1))]
    port: u16,
    /// Path with query. Default: `/`.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
}

/// Probe by a TCP connection.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct TcpDocument {
    /// Host name or address. Default: `127.0.0.1`.
    host: Option<String>,
    /// TCP port, 1 to 65535.
    #[schemars(range(min = 1))]
    port: u16,
}

/// Probe by a command.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecDocument {
    /// Program and its arguments, such as `["/bin/true"]`.
    #[schemars(length(min = 1))]
    command: Vec<String>,
}

/// Way in which a workload is stopped.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopDocument {
    /// Signal that is sent to the process group, by name or number. Default: `SIGTERM`.
    signal: Option<TextOrNumber>,
    /// Time after the signal until remaining processes are killed, at most `1h`. Default: `10s`.
    #[schemars(regex(pattern = DURATION))]
    grace: Option<String>,
}
