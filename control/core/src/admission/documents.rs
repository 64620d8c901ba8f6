//! The shape of documents, for editors: the types that the JSON Schema is generated from.
//! `workload.rs` and `data.rs` decide what is let in; a test holds the fields of both together.

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

/// JSON Schema (draft 2020-12) of the documents that can be applied, for editors and for
/// whoever checks documents before they are sent.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().with_transform(no_nulls).into_generator();
    let mut schema = generator.into_root_schema_for::<AnyDocument>();
    schema.insert("title".into(), "Holdfast document".into());
    schema.to_value()
}

/// An absent field is absent: null is refused, so editors must not offer it.
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

/// A document.
#[derive(JsonSchema)]
#[serde(untagged)]
enum AnyDocument {
    Workload(Box<WorkloadDocument>),
    Stream(Box<StreamDocument>),
    LinkBudget(Box<LinkBudgetDocument>),
    DevicePolicy(Box<DevicePolicyDocument>),
    Notification(Box<NotificationDocument>),
}

/// Who is told of alarms, and how.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationDocument {
    api_version: ApiVersion,
    kind: NotificationKind,
    metadata: MetadataDocument,
    spec: NotificationSpec,
}

/// What the document describes.
#[derive(JsonSchema)]
enum NotificationKind {
    Notification,
}

/// Of which alarms, when, and where to.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationSpec {
    /// Alarms of which devices: `all`, or those with these labels. An empty selector is refused.
    devices: ChosenDocument,
    /// Alarms that are at least so urgent; default warning, which holds critical ones too.
    severity: Option<SeverityDocument>,
    /// Alarms of these kinds, such as lost, failing, problem, certificate, waiting; absent: every
    /// kind.
    #[schemars(length(min = 1, max = 20), inner(regex(pattern = "^[a-z][a-z-]*$")))]
    kinds: Option<Vec<String>>,
    /// Alarms that have these in common make one message: kind, code, severity, device, workload or
    /// the key of a label; default site, kind.
    #[schemars(length(min = 1, max = 20))]
    group_by: Option<Vec<String>>,
    /// How long an alarm must last before anybody is told, and be gone before it is resolved, at
    /// most 1d; default 2m.
    #[schemars(regex(pattern = DURATION))]
    delay: Option<String>,
    /// How long the first message of a group waits for further alarms, at most 1h; default 30s, for
    /// an Alertmanager 5s.
    #[schemars(regex(pattern = DURATION))]
    group_wait: Option<String>,
    /// From a group's message to its next one about other alarms, 1s to 1d; default 5m.
    #[schemars(regex(pattern = DURATION))]
    group_interval: Option<String>,
    /// From a group's message to its repetition, 10s to 30d; default 4h, for an Alertmanager 1m.
    #[schemars(regex(pattern = DURATION))]
    repeat: Option<String>,
    /// Whether the end of the last alarm of a group is told too; default true.
    send_resolved: Option<bool>,
    /// Address of these pages, such as `https://holdfast.example.com`, for a link in each message.
    #[schemars(regex(pattern = "^https?://"))]
    link: Option<String>,
    /// The receiver.
    to: ReceiverDocument,
}

/// How urgent an alarm is at least.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SeverityDocument {
    /// Something does not work.
    Critical,
    /// Something will not work.
    Warning,
    /// Somebody waits.
    Info,
}

/// One receiver.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["webhook"] }, { "required": ["email"] }, { "required": ["alertmanager"] }]))]
struct ReceiverDocument {
    /// A `POST` with a JSON body.
    webhook: Option<WebhookDocument>,
    /// Mail by SMTP.
    email: Option<EmailDocument>,
    /// An Alertmanager (API v2).
    alertmanager: Option<AlertmanagerDocument>,
}

/// An address that takes a `POST`. Redirects are not followed; 2xx is success.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["url"] }, { "required": ["secretUrl"] }]))]
struct WebhookDocument {
    /// Its address.
    #[schemars(regex(pattern = "^https?://"))]
    url: Option<String>,
    /// Its address, where whoever knows it may send: it is never shown again.
    secret_url: Option<String>,
    /// Key of the signature in `X-Holdfast-Signature`, at least 8 characters; never shown again.
    #[schemars(length(min = 8))]
    secret: Option<String>,
    /// Further headers, such as Authorization; their values are never shown again.
    headers: Option<BTreeMap<String, String>>,
    /// Certificates of authorities in PEM, in the place of the system's.
    ca: Option<String>,
}

/// A mail server and who gets mail.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct EmailDocument {
    /// The server: `smtp://HOST:PORT` or `smtps://HOST:PORT`.
    #[schemars(regex(pattern = "^smtps?://"))]
    smtp: String,
    /// How the connection is protected; default starttls, with smtps tls.
    tls: Option<MailTlsDocument>,
    /// Who logs in.
    username: Option<String>,
    /// With what; never shown again.
    password: Option<String>,
    /// The sender.
    from: String,
    /// Who gets it.
    #[schemars(length(min = 1, max = 20))]
    to: Vec<String>,
    /// Certificates of authorities in PEM, in the place of the system's.
    ca: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MailTlsDocument {
    /// It begins in the clear and must change to TLS.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all; a login is refused then.
    None,
}

/// An Alertmanager. Alerts are grouped by kind and severity as well.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct AlertmanagerDocument {
    /// Its address, such as `http://alertmanager:9093`.
    #[schemars(regex(pattern = "^https?://"))]
    url: String,
    /// Labels that every alert has.
    labels: Option<BTreeMap<String, String>>,
    /// Further headers, such as Authorization; their values are never shown again.
    headers: Option<BTreeMap<String, String>>,
    /// Certificates of authorities in PEM, in the place of the system's.
    ca: Option<String>,
}

/// Whether devices may be away.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DevicePolicyDocument {
    api_version: ApiVersion,
    kind: DevicePolicyKind,
    metadata: MetadataDocument,
    spec: DevicePolicySpec,
}

/// What the document describes.
#[derive(JsonSchema)]
enum DevicePolicyKind {
    DevicePolicy,
}

/// What is expected of which devices.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DevicePolicySpec {
    /// On which devices: `all`, or those with these labels. An empty selector is refused. Of several
    /// documents that choose a device the one with the most conditions holds, of equals the first by
    /// name.
    devices: ChosenDocument,
    /// What it means that one of them is offline, or has never connected.
    when_offline: WhenOfflineDocument,
}

/// What an absence means.
#[derive(JsonSchema)]
#[serde(untagged)]
enum WhenOfflineDocument {
    Word(WhenOfflineWord),
    After(AlarmAfterDocument),
}

/// An absence that is no alarm, however long it lasts.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WhenOfflineWord {
    /// It is counted apart, and what was wrong on the device when it was last heard is no alarm while
    /// it is away.
    Expected,
    /// The same, and its certificate raises no alarm either.
    Ignore,
}

/// An absence that is an alarm when it lasts.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AlarmAfterDocument {
    /// After how long it is an alarm, 10s to 366d; until then it is as expected. In the place of the 5
    /// minutes of a device that was connected, and of the 15 of one that never was.
    #[schemars(regex(pattern = DURATION))]
    alarm_after: String,
}

/// What becomes of streams of records, on which devices.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StreamDocument {
    api_version: ApiVersion,
    kind: StreamKind,
    metadata: MetadataDocument,
    spec: StreamSpec,
}

/// What the document describes.
#[derive(JsonSchema)]
enum StreamKind {
    Stream,
}

/// Which streams, and what of them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StreamSpec {
    /// On which devices: `all`, or those with these labels. An empty selector is refused.
    devices: ChosenDocument,
    /// Which streams: names, or beginnings of names and a final `*`. Of several documents that
    /// choose a stream the narrowest holds.
    #[schemars(length(min = 1, max = 64), inner(regex(pattern = PATTERN)))]
    streams: Vec<String>,
    /// The agent itself fills the stream; absent: workloads do.
    source: Option<SourceDocument>,
    /// 0 (shipped last) to 9 (first; 8 and 9 may borrow from the budget); default 5.
    #[schemars(range(min = 0, max = 9))]
    priority: Option<u8>,
    /// Records older than this are dropped, shipped or not; absent: when room is needed.
    #[schemars(regex(pattern = DURATION))]
    ttl: Option<String>,
    /// Bytes on the device's disk, at least 128Ki; absent: what the whole buffer has.
    quota: Option<Memory>,
    /// What goes when the quota is used up and nothing shipped is left to drop; default
    /// drop-oldest.
    overflow: Option<OverflowDocument>,
    /// What is shipped; default always.
    ship: Option<ShipDocument>,
    /// Which batches go first; default oldest-first.
    order: Option<OrderDocument>,
    /// Whether batches are compressed; default true.
    compress: Option<bool>,
    /// How long records may wait to be stored together, at most 60s; default 0s. Who publishes is
    /// told when they are stored, either way.
    #[schemars(regex(pattern = DURATION))]
    durability: Option<String>,
    /// Times of the day, UTC, at which it is shipped, such as `01:00-04:00`; absent: always.
    #[schemars(length(min = 1, max = 24), inner(regex(pattern = DAY_WINDOW)))]
    windows: Option<Vec<String>>,
    /// What is kept at the control plane; absent: everything.
    retention: Option<RetentionDocument>,
}

/// What the agent fills a stream with.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["metrics"] }, { "required": ["logs"] }]))]
struct SourceDocument {
    /// The device's own figures: cpu, memory, disk, network, temperature.
    metrics: Option<MetricsDocument>,
    /// The lines of a workload's log.
    logs: Option<LogsDocument>,
}

/// The device's own figures.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct MetricsDocument {
    /// From one record to the next, 1s to 1d.
    #[schemars(regex(pattern = DURATION))]
    every: String,
}

/// A workload's log.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogsDocument {
    /// Whose.
    #[schemars(regex(pattern = NAME))]
    workload: String,
}

/// What goes when a quota is used up.
#[derive(JsonSchema)]
#[serde(untagged)]
enum OverflowDocument {
    Word(OverflowWord),
    Thin(OverflowThin),
}

/// What goes.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OverflowWord {
    /// The oldest records.
    DropOldest,
    /// What comes.
    DropNewest,
}

/// Of the older records, all but every nth go.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct OverflowThin {
    /// How many stay.
    thin: ThinDocument,
}

/// How many of the older records stay.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinDocument {
    /// Every how many-th stays.
    #[schemars(range(min = 2, max = 1_000_000))]
    keep_every: u32,
}

/// What of a stream is shipped.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ShipDocument {
    Word(ShipWord),
    Reduced(ShipReduced),
}

/// What is shipped.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ShipWord {
    /// Every record.
    Always,
    /// Nothing: records stay on the device, can be queried and fetched.
    Never,
}

/// Less than every record; the others stay on the device, can be queried and fetched.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["onChange"] }, { "required": ["window"] }]))]
struct ShipReduced {
    /// Records in which a number has changed.
    on_change: Option<OnChangeDocument>,
    /// One record for each window of time.
    window: Option<WindowDocument>,
}

/// Records of which the field has moved away from the last one shipped by more than the deadband.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct OnChangeDocument {
    /// Path of a number in JSON or CBOR records, as in questions: parts divided by `.`, a part with
    /// other letters in back quotes; absent: the record itself.
    field: Option<String>,
    /// In the field's unit; default 0: any change.
    deadband: Option<Deadband>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Deadband {
    Text(String),
    Number(f64),
}

/// Tumbling windows: each gives the count of its records and aggregates of their fields.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct WindowDocument {
    /// How long a window is, 1s to 31d.
    #[schemars(regex(pattern = DURATION))]
    every: String,
    /// Paths of numbers in records, as in `onChange.field`.
    #[schemars(length(min = 1, max = 64))]
    fields: Vec<String>,
    /// What is said of each: count, min, max, mean, last, or quantiles such as p50 and p99.9.
    #[schemars(length(min = 1, max = 64), inner(regex(pattern = AGGREGATE)))]
    aggregates: Vec<String>,
}

/// Which batches go first.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OrderDocument {
    /// As they came.
    OldestFirst,
    /// What is new first, the backlog after it.
    NewestFirst,
}

/// What is kept at the control plane; the oldest goes first.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetentionDocument {
    /// How long after a record came, at least 1m.
    #[schemars(regex(pattern = DURATION))]
    age: Option<String>,
    /// How many bytes of each stream, compressed; at least 128Ki.
    bytes: Option<Memory>,
}

/// What the links of devices may carry.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkBudgetDocument {
    api_version: ApiVersion,
    kind: LinkBudgetKind,
    metadata: MetadataDocument,
    spec: LinkBudgetSpec,
}

/// What the document describes.
#[derive(JsonSchema)]
enum LinkBudgetKind {
    LinkBudget,
}

/// How much, for what, and over which interfaces.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkBudgetSpec {
    /// On which devices: `all`, or those with these labels. An empty selector is refused. Of several
    /// budgets that choose a device the first by name holds.
    devices: ChosenDocument,
    /// How often it begins anew, UTC.
    per: PerDocument,
    /// Bytes of both directions together, headers estimated; at least 16Ki.
    bytes: Memory,
    /// Parts of it, such as `60%`; a class that is absent shares what the others leave.
    shares: Option<SharesDocument>,
    /// Network interfaces that differ; others count once and carry everything.
    #[schemars(length(min = 1, max = 16))]
    interfaces: Option<Vec<InterfaceDocument>>,
}

/// How often a budget begins anew.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PerDocument {
    Day,
    Month,
}

/// Parts of a budget, together at most 100%.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SharesDocument {
    /// Desired states, calls, reports, keep-alive, enrolment: never held back.
    #[schemars(regex(pattern = PERCENT))]
    control: Option<String>,
    /// Streams of priority 8 and 9.
    #[schemars(regex(pattern = PERCENT))]
    events: Option<String>,
    /// Other streams.
    #[schemars(regex(pattern = PERCENT))]
    data: Option<String>,
    /// Logs.
    #[schemars(regex(pattern = PERCENT))]
    logs: Option<String>,
    /// Artifacts.
    #[schemars(regex(pattern = PERCENT))]
    artifacts: Option<String>,
}

/// A network interface that is not like the others.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct InterfaceDocument {
    /// Its name, or the beginning of names and a final `*` (`wwan*`).
    name: String,
    /// The budget holds on metered interfaces alone, if any is said to be metered; default false.
    metered: Option<bool>,
    /// What a byte counts, 0.01 to 1000; default 1.
    cost: Option<Cost>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Cost {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]{1,2})?$"))] String),
    Number(f64),
}

/// A workload: what to run, and which devices run it.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkloadDocument {
    api_version: ApiVersion,
    kind: Kind,
    metadata: MetadataDocument,
    spec: SpecDocument,
}

/// The version of the document's shape.
#[derive(JsonSchema)]
enum ApiVersion {
    #[serde(rename = "holdfast/v1")]
    V1,
}

/// What the document describes.
#[derive(JsonSchema)]
enum Kind {
    Workload,
}

/// Name and labels.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct MetadataDocument {
    /// 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.
    #[schemars(regex(pattern = NAME))]
    name: String,
    /// Labels of the document itself; for people and for `-l`.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    labels: Option<BTreeMap<String, String>>,
    /// The resource version that was edited: when it is another one by now, nothing is
    /// applied. Absent: whatever is there is replaced.
    #[serde(rename = "resourceVersion")]
    resource_version: Option<u64>,
}

/// What to run and where.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SpecDocument {
    /// Which devices run it: `all`, or those with these labels. An empty selector is refused.
    devices: ChosenDocument,
    /// What they run.
    run: RunDocument,
    /// Files laid into the workload's folder before it starts: relative path to text, at most
    /// 128 KiB in all. A changed file is a new revision.
    config: Option<BTreeMap<String, String>>,
    /// Upper bounds on what it may use; absent: unlimited.
    resources: Option<ResourcesDocument>,
    /// What happens when it ends.
    restart: Option<RestartDocument>,
    /// How to tell that it works; absent: it works while it runs.
    health: Option<HealthDocument>,
    /// How it is asked to end.
    stop: Option<StopDocument>,
    /// What it may do on its device's local bus beyond its own topics; absent: nothing.
    bus: Option<BusDocument>,
}

/// Permissions on the local bus: MQTT filters over `NAME/TOPIC`, the topic of another workload
/// behind that one's name.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct BusDocument {
    /// It may subscribe to these, as `workloads/NAME/TOPIC` (`pump/#`, `+/alarm`).
    #[schemars(length(max = 64))]
    subscribe: Option<Vec<String>>,
    /// It may publish to these, as `workloads/NAME/TOPIC`: delivered, never stored.
    #[schemars(length(max = 64))]
    publish: Option<Vec<String>>,
}

/// Which devices.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ChosenDocument {
    Word(AllDevices),
    Labels(DevicesDocument),
}

/// A word instead of a selector.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AllDevices {
    /// Every device, whatever its labels, also those that enrol later.
    All,
}

/// Chooses devices by their labels: all that is said must hold.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct DevicesDocument {
    /// Labels with exactly these values.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    match_labels: Option<BTreeMap<String, String>>,
    /// Further conditions.
    match_expressions: Option<Vec<ExpressionDocument>>,
}

/// A condition on one label.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpressionDocument {
    /// The label's key.
    key: String,
    /// How its value is compared.
    operator: OperatorDocument,
    /// What with; for In and NotIn alone.
    #[schemars(inner(regex(pattern = LABEL_VALUE)))]
    values: Option<Vec<String>>,
}

/// How a label is compared.
#[derive(JsonSchema)]
enum OperatorDocument {
    /// Its value is one of these.
    In,
    /// Its value is none of these, or it is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// How it runs.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunDocument {
    /// A process of the device's own system.
    process: ProcessDocument,
}

/// A process. It executes either an artifact or a path.
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
    /// Arguments after the program's name.
    args: Option<Vec<String>>,
    /// Environment variables.
    env: Option<BTreeMap<String, String>>,
    /// User name or number; absent: an unprivileged user of the workload's own.
    user: Option<TextOrNumber>,
    /// Working folder: an absolute path, or one below the workload's folder, which is the
    /// default.
    workdir: Option<String>,
}

/// Text or a number.
#[derive(JsonSchema)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(u32),
}

/// Upper bounds on what a workload may use.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResourcesDocument {
    /// Processor time: cores (`1.5`) or thousandths of one (`500m`).
    cpu: Option<Cpu>,
    /// Memory: bytes, or with Ki, Mi, Gi, k, M, G (`64Mi`).
    memory: Option<Memory>,
    /// Number of processes and threads.
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

/// What happens when the workload ends.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestartDocument {
    /// When it is started again; default always.
    policy: Option<PolicyDocument>,
    /// How long it waits before that.
    backoff: Option<BackoffDocument>,
}

/// When a workload that ended is started again.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PolicyDocument {
    /// Whenever it ended.
    Always,
    /// When it ended with a non-zero code or by a signal.
    OnFailure,
    /// Never.
    Never,
}

/// Waits before a restart; the wait doubles from `initial` up to `max`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct BackoffDocument {
    /// First wait, at least 10ms; default 1s.
    #[schemars(regex(pattern = DURATION))]
    initial: Option<String>,
    /// Longest wait, at most 24h; default 1m.
    #[schemars(regex(pattern = DURATION))]
    max: Option<String>,
}

/// How to tell that a workload works: one probe, and its times.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }, { "required": ["exec"] }]))]
struct HealthDocument {
    /// `GET` answers with a status of 200 to 399.
    http: Option<HttpDocument>,
    /// A TCP connection opens.
    tcp: Option<TcpDocument>,
    /// A command, in the workload's folder and as its user, ends with code 0.
    exec: Option<ExecDocument>,
    /// Failures within this time of the start do not count; default 0s.
    #[schemars(regex(pattern = DURATION))]
    start_period: Option<String>,
    /// From the end of a probe to the next; default 10s.
    #[schemars(regex(pattern = DURATION))]
    interval: Option<String>,
    /// A probe that takes longer has failed; default 3s.
    #[schemars(regex(pattern = DURATION))]
    timeout: Option<String>,
    /// After so many failures in a row it is restarted; default 3.
    #[schemars(range(min = 1, max = 1_000))]
    failures: Option<u32>,
}

/// A probe over HTTP.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpDocument {
    /// Host or address; default 127.0.0.1.
    host: Option<String>,
    /// TCP port.
    #[schemars(range(min = 1))]
    port: u16,
    /// Path with query; default `/`.
    #[schemars(regex(pattern = "^/"))]
    path: Option<String>,
}

/// A probe over TCP.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct TcpDocument {
    /// Host or address; default 127.0.0.1.
    host: Option<String>,
    /// TCP port.
    #[schemars(range(min = 1))]
    port: u16,
}

/// A probe by a command.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecDocument {
    /// Program and arguments.
    #[schemars(length(min = 1))]
    command: Vec<String>,
}

/// How a workload is asked to end.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopDocument {
    /// Signal by name (`SIGTERM`) or number, sent to the process group; default SIGTERM.
    signal: Option<TextOrNumber>,
    /// Time until whoever is left is killed, at most 1h; default 10s.
    #[schemars(regex(pattern = DURATION))]
    grace: Option<String>,
}
