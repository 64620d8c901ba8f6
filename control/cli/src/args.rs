//! The command line's words, fixed: others script against them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

mod jobs;

use jobs::{HISTORY_HELP, PAUSE_HELP, RESTART_HELP, RESUME_HELP, ROLLBACK_HELP};
pub(crate) use jobs::{History, Pause, Restart, Rollback, Where};

use super::{activity, moment};
use crate::serve_args::ServeArgs;
use holdfast_api::selector;

/// Runs workloads on machines at the edge, from one place, over links that come and go.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Environment:
  HOLDFAST_URL    address of the control plane, https://HOST:PORT
  HOLDFAST_TOKEN  access token
  HOLDFAST_CA     sha256 of the control plane's CA (64 hexadecimal digits), or its PEM file
  NO_COLOR        no colours, also on a terminal
  HTTPS_PROXY     proxy, unless NO_PROXY excepts the address; never for loopback

Exit codes: 0 done, 1 failed, 2 bad usage, 3 not found, 4 refused; 10 to 13 of `status --check`.")]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane: API, device gateway, store and certificate authority.
    #[command(after_help = "Examples:
  holdfast serve                                   # every address, ports 8443 and 8883
  holdfast serve --data ./plane --api 127.0.0.1:0 --mqtt 127.0.0.1:0
  holdfast serve --data ./plane --restore monday.tar   # its store was lost; then start as before

The first start makes the CA and prints an admin token, once. Logs go to standard error.")]
    Serve(ServeArgs),
    /// Check an access token and store it for the commands that follow.
    #[command(after_help = "Examples:
  holdfast login https://10.0.0.5:8443 --token hfa1.… --ca-sha256 4f0c…
  HOLDFAST_TOKEN=hfa1.… holdfast login 10.0.0.5:8443 --ca-sha256 4f0c…   # not in the process list

`holdfast serve` prints the address, ca-sha256 and, at its first start, admin-token.")]
    Login(Login),
    /// Tokens with which devices enrol.
    #[command(subcommand)]
    Token(Token),
    /// Access tokens: who may use the API, and for what.
    #[command(subcommand)]
    Access(Access),
    /// Apply documents: all of them or, when one is faulty, none.
    #[command(after_help = "Examples:
  holdfast apply -f hello.yaml
  holdfast apply -f workloads/ -f extra.json
  generate | holdfast apply -f - --dry-run     # says what would change, changes nothing

Of a folder the files that end in .yaml, .yml or .json are taken, in whatever case; what is skipped
(hidden files, other names, folders in it) is said on standard error. `devices: all` in a document
chooses every device.")]
    Apply(Apply),
    /// Show what applying documents would change, as a unified diff.
    #[command(after_help = "Examples:
  holdfast diff -f hello.yaml

The exit code is 0 whether or not there is a difference; the output is empty when there is none.")]
    Diff(Files),
    /// Delete a workload, a document about data, a device or an enrolment token.
    #[command(after_help = "Examples:
  holdfast delete workload hello     # it ends on every device, and its folder goes
  holdfast delete stream pumps       # its streams go on with the defaults
  holdfast delete silence 1f0c…      # its alarms are told again
  holdfast delete devicepolicy ships # being offline is an alarm after 5 minutes again
  holdfast delete -f documents/      # what these documents describe
  holdfast delete device gw-1        # forgotten; it may enrol again")]
    Delete(Delete),
    /// Show whether the fleet, a device or a workload is as it should be, and what needs a person.
    #[command(after_help = "Examples:
  holdfast status                          # counts, and what needs attention, since when
  holdfast status device gw-1
  holdfast status workload hello --check   # for scripts: the exit code says it

Exit codes with --check: 0 all as it should be, 10 something fails or is critical, 11 a problem,
12 progressing, 13 unknown (a device is offline: what it does is not known).")]
    Status(Status),
    /// List resources, or show one.
    #[command(after_help = "Examples:
  holdfast get devices
  holdfast get devices -l role=gateway,site!=north,!retired -o wide
  holdfast get devices --group-by site
  holdfast get devices -l 'role in (gateway,camera),site notin (north)'
  holdfast get devices --absence unexpected   # who is away and should not be
  holdfast get devicepolicies              # who may be away; dp for short
  holdfast get devices gw-1 -o json        # the one object alone
  holdfast get workloads -o json           # {\"items\":[...]}, the whole list
  holdfast get streams                     # the documents; their records: holdfast data get
  holdfast get revisions hello             # those of one workload
  holdfast get alarms                      # what needs a person, the most urgent first
  holdfast get silences                    # what is acknowledged or silenced, by whom, until when
  holdfast get workload hello -o yaml > hello.yaml   # can be applied again")]
    Get(Get),
    /// Show one resource in words: what is desired, what is reported, and why they differ.
    ///
    /// A device that is connected is asked whether it answers, which takes up to 15 seconds when it
    /// does not.
    #[command(after_help = "Examples:
  holdfast describe device gw-1
  holdfast describe workload hello
  holdfast describe notification night
  holdfast describe devicepolicy ships     # who of them is away now, as expected and against it")]
    Describe(Named),
    /// Apply a former revision of a workload again.
    #[command(after_help = ROLLBACK_HELP)]
    Rollback(Rollback),
    /// List the revisions of a workload, or show the document of one.
    #[command(after_help = HISTORY_HELP)]
    History(History),
    /// Restart a workload on devices.
    #[command(after_help = RESTART_HELP)]
    Restart(Restart),
    /// Stop a workload on devices until it is resumed.
    #[command(after_help = PAUSE_HELP)]
    Pause(Pause),
    /// Start a workload again that was paused.
    #[command(after_help = RESUME_HELP)]
    Resume(Pause),
    /// Show what happened to a device: connections, phases, restarts, revisions, problems.
    #[command(after_help = activity::TIMELINE_HELP)]
    Timeline(activity::TimelineArgs),
    /// Show what people did, and what devices did beside it.
    #[command(after_help = activity::ACTIVITY_HELP)]
    Activity(activity::ActivityArgs),
    /// Approve, label and revoke devices.
    #[command(subcommand)]
    Device(Device),
    /// Acknowledge alarms: somebody looks after them, and nobody is told again until they end.
    #[command(after_help = "Examples:
  holdfast ack --device gw-1 --note 'Kim drives there'
  holdfast ack --kind failing --code hello          # workload hello, wherever it fails now
  holdfast ack --kind lost -l site=kiel --note 'power cut, back at 6'

An alarm that begins later is told: holdfast silence keeps those quiet too. holdfast get silences
lists acknowledgements and who made them.")]
    Ack(Mute),
    /// Silence alarms until a time: those that there are and those that come.
    #[command(after_help = "Examples:
  holdfast silence -l site=kiel --for 4h --note 'new switch'
  holdfast silence --device gw-1 --until 2026-11-30T06:00:00Z
  holdfast silence --kind problem --code clock --for 2d

They are counted apart and stay visible. holdfast delete silence ID ends it early.")]
    Silence(Quiet),
    /// Try the ways by which people are told of alarms.
    #[command(subcommand)]
    Notification(NotificationCommand),
    /// Show what a workload wrote on a device.
    #[command(after_help = "Examples:
  holdfast logs gw-1 hello
  holdfast logs gw-1 hello --tail 1000 | grep error
  holdfast logs gw-1 hello -f
  holdfast logs gw-1 hello --since 10m --timestamps
  holdfast logs gw-1 hello --previous        # of the run before, as after a crash

Times are those of the device's first look at the log after a line was written: within a second,
for older lines within a tenth of their age. After an outage of the agent they are those of the
log's last change; `unknown` stands for a wrong clock. What was cut off a log before it was read is
said on standard error.")]
    Logs(Logs),
    /// Records of streams, and what of them is missing.
    #[command(subcommand)]
    Data(Data),
    /// Ask devices about the records that they hold, shipped or not.
    #[command(after_help = QUERY_HELP)]
    Query(QueryArgs),
    /// Files that workloads execute.
    #[command(subcommand)]
    Artifact(Artifact),
    /// Print the certificate of the control plane's CA as PEM, for programs that read its data.
    #[command(after_help = "Examples:
  holdfast ca > ca.pem
  mosquitto_sub --cafile ca.pem -h HOST -p 8883 -u any -P hfa1.… -t 'data/#'

It comes over a connection that is checked against the CA that you logged in with.")]
    Ca,
    /// Write a backup of the running control plane to a file.
    #[command(after_help = "Examples:
  holdfast backup /var/backups/holdfast-$(date +%F).tar

The file holds the CA's key and every secret: it gets mode 0600. It takes its place once it is
whole; an older file of that name is replaced then.")]
    Backup(File),
    /// Put a backup in the place of the control plane's state.
    #[command(after_help = "Examples:
  holdfast restore /var/backups/holdfast-2026-11-23.tar
  holdfast restore backup.tar --yes

The epoch rises, so that devices follow the restored state even when theirs is newer. On a
terminal it asks first.")]
    Restore(Restore),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:
  holdfast completions bash > /usr/share/bash-completion/completions/holdfast
  source <(holdfast completions zsh)")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual's pages into a folder.
    #[command(after_help = "Examples:
  holdfast man /usr/local/share/man/man1")]
    Man {
        /// The folder; it is made when it is not there.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Address of the control plane: https://HOST:PORT.
    #[arg(env = "HOLDFAST_URL")]
    pub(crate) url: String,
    /// Access token.
    #[arg(long, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    pub(crate) token: String,
    /// sha256 of the control plane's CA in hexadecimal, or its PEM file.
    #[arg(long, value_name = "HEX", env = "HOLDFAST_CA")]
    pub(crate) ca_sha256: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it, alone: nobody can read it again.
    #[command(after_help = "Examples:
  holdfast token create
  holdfast token create --ttl 30d --uses 200 --label site=north
  holdfast token create --allow-label site         # devices say themselves where they are
  TOKEN=$(holdfast token create --approve manual)")]
    Create(CreateToken),
    /// List the tokens, without their secrets.
    #[command(after_help = "Examples:
  holdfast token list
  holdfast token list -o json")]
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show a token, and which devices enrolled with it.
    #[command(after_help = "Examples:
  holdfast token show 0011223344556677
  holdfast token show 0011223344556677 -o json")]
    Show {
        /// The token's id: the part after `hf1.`.
        id: String,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Make a token useless; devices that enrolled with it stay.
    #[command(after_help = "Examples:
  holdfast token revoke 0011223344556677")]
    Revoke {
        /// The token's id: the part after `hf1.`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// How long it may be used: a number with s, m, h or d.
    #[arg(long, default_value = "24h", value_parser = moment::ttl)]
    pub(crate) ttl: u64,
    /// How many devices may enrol with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: u32,
    /// Label that its devices get; may be repeated.
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Key of a label that its devices may give themselves (`holdfast-agent enroll --label`); may be
    /// repeated, and in the environment separated by commas; '*' is every key.
    #[arg(
        long = "allow-label",
        value_name = "KEY",
        env = "HOLDFAST_ALLOW_LABEL",
        value_delimiter = ','
    )]
    pub(crate) allow_labels: Vec<String>,
    /// Whether its devices are accepted at once or wait for `holdfast device approve`.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) approve: Approve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Make an access token and print it, alone: nobody can read it again.
    #[command(after_help = "Examples:
  holdfast access create --comment prometheus            # it may read, and no more
  holdfast access create --scope operate --ttl 90d --comment 'night duty'
  holdfast access create --scope admin")]
    Create(CreateAccess),
    /// List the access tokens, without their secrets.
    #[command(after_help = "Examples:
  holdfast access list
  holdfast access list -o json")]
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// End an access token, and the sessions that were begun with it.
    #[command(after_help = "Examples:
  holdfast access revoke 0011223344556677")]
    Revoke {
        /// The token's id: the part after `hfa1.`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateAccess {
    /// What it may do.
    #[arg(long, value_enum, default_value = "read")]
    pub(crate) scope: AccessScope,
    /// How long it counts: a number with s, m, h or d [default: until it is revoked].
    #[arg(long, value_parser = moment::ttl)]
    pub(crate) ttl: Option<u64>,
    /// What it is for, in words.
    #[arg(long, default_value = "")]
    pub(crate) comment: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum AccessScope {
    /// Read everything but secrets: monitoring, MQTT readers, a screen on the wall.
    Read,
    /// Also change workloads, streams, devices and enrolment tokens, and ask devices.
    Operate,
    /// Everything: also backups, restores and access tokens.
    Admin,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Approve {
    /// Accepted at once.
    Auto,
    /// They wait for a person.
    Manual,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// A file (YAML with one or more documents, or JSON), a folder of them, or - for standard
    /// input; may be repeated.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Machines with an agent.
    #[value(name = "devices", alias = "device")]
    Device,
    /// What runs on them.
    #[value(name = "workloads", alias = "workload")]
    Workload,
    /// Every state that a workload ever had.
    #[value(name = "revisions", alias = "revision")]
    Revision,
    /// Enrolment tokens.
    #[value(name = "tokens", alias = "token")]
    Token,
    /// Access tokens: who may use the API.
    #[value(name = "access")]
    Access,
    /// What becomes of streams of records.
    #[value(name = "streams", alias = "stream")]
    Stream,
    /// What links may carry.
    #[value(name = "linkbudgets", alias = "linkbudget")]
    LinkBudget,
    /// Who is told of alarms.
    #[value(name = "notifications", alias = "notification")]
    Notification,
    /// What needs a person now.
    #[value(name = "alarms", alias = "alarm")]
    Alarm,
    /// Acknowledgements and silences.
    #[value(name = "silences", alias = "silence")]
    Silence,
    /// Whether devices may be away.
    #[value(name = "devicepolicies", aliases = ["devicepolicy", "dp"])]
    DevicePolicy,
}

impl Kind {
    /// As paths of the API say it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::Workload => "workloads",
            Self::Revision => "revisions",
            Self::Token => "tokens",
            Self::Access => "access",
            Self::Stream => "streams",
            Self::LinkBudget => "linkbudgets",
            Self::Notification => "notifications",
            Self::Alarm => "alarms",
            Self::Silence => "silences",
            Self::DevicePolicy => "devicepolicies",
        }
    }

    /// Where it is in the API.
    pub(crate) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Device => &["devices"],
            Self::Workload => &["workloads"],
            Self::Revision => &["revisions"],
            Self::Token => &["tokens"],
            Self::Access => &["access"],
            Self::Stream => &["policies", "streams"],
            Self::LinkBudget => &["policies", "linkbudgets"],
            Self::Notification => &["policies", "notifications"],
            Self::Alarm => &["alarms"],
            Self::Silence => &["silences"],
            Self::DevicePolicy => &["policies", "devicepolicies"],
        }
    }

    /// Of a document.
    pub(crate) fn of_document(kind: &str) -> Option<Self> {
        match kind {
            "Workload" => Some(Self::Workload),
            "Stream" => Some(Self::Stream),
            "LinkBudget" => Some(Self::LinkBudget),
            "Notification" => Some(Self::Notification),
            "DevicePolicy" => Some(Self::DevicePolicy),
            _ => None,
        }
    }

    /// As people say it of one.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Workload => "workload",
            Self::Revision => "revision",
            Self::Token => "token",
            Self::Access => "access token",
            Self::Stream => "stream",
            Self::LinkBudget => "linkbudget",
            Self::Notification => "notification",
            Self::Alarm => "alarm",
            Self::Silence => "silence",
            Self::DevicePolicy => "devicepolicy",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// device, workload, stream, linkbudget, notification, devicepolicy, silence, token or access.
    #[arg(value_enum, ignore_case = true, required_unless_present = "files")]
    pub(crate) kind: Option<Kind>,
    /// Its name; several may be given.
    #[arg(required_unless_present = "files", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// What the documents of this file, folder or - (standard input) describe; may be repeated.
    #[arg(short = 'f', long = "filename", conflicts_with_all = ["kind", "names"], value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

/// Which alarms, and why.
#[derive(Debug, Args)]
pub(crate) struct Mute {
    /// Alarms of this kind: lost, never-seen, certificate, failing, problem, waiting.
    #[arg(long, required_unless_present_any = ["code", "device", "selector"])]
    pub(crate) kind: Option<String>,
    /// Alarms with this code: of a problem, or a workload's name.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Alarms of this device.
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Alarms of devices with these labels: k=v, k!=v, k (it is there), !k (it is not), with commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// Why, for the next shift.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// Which alarms, why and until when.
#[derive(Debug, Args)]
pub(crate) struct Quiet {
    #[command(flatten)]
    pub(crate) mute: Mute,
    /// How long: a number with s, m, h or d.
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::ttl, required_unless_present = "until")]
    pub(crate) length: Option<u64>,
    /// Until when: RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationCommand {
    /// Send a test message to its receiver now, and print what that answered.
    #[command(after_help = "Examples:
  holdfast notification test night

The exit code is 0 when the receiver took it, and 1 when it did not.")]
    Test {
        /// The notification.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// device, workload, revision, token, access, stream, linkbudget, notification or devicepolicy.
    #[arg(value_enum, ignore_case = true)]
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
}

/// Of what the status is shown.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// device or workload [default: the whole fleet].
    #[arg(value_enum, ignore_case = true, requires = "name")]
    pub(crate) kind: Option<Kind>,
    /// Its name.
    pub(crate) name: Option<String>,
    /// Say it by the exit code, too.
    #[arg(long)]
    pub(crate) check: bool,
    /// The API's document instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// devices, workloads, revisions, tokens, access, streams, linkbudgets, notifications,
    /// devicepolicies (dp), alarms or silences; the singular does as well.
    #[arg(value_enum, ignore_case = true)]
    pub(crate) kind: Kind,
    /// Only this one. Of revisions: WORKLOAD.NUMBER is one, WORKLOAD all of its. Of alarms: those of
    /// this device.
    pub(crate) name: Option<String>,
    /// Only those with these labels: k=v, k!=v, k (it is there), !k (it is not), with commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// Of devices: only those that are offline or were never connected, and for which that is
    /// against expectation, as a device policy expects, or ignored.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) absence: Vec<AbsenceKind>,
    /// Of devices: how many there are with each value of this label, by state.
    #[arg(long, value_name = "LABEL")]
    pub(crate) group_by: Option<String>,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// What is to be thought of a device that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AbsenceKind {
    /// Nothing says that it may be away, or it is away for longer than it may.
    Unexpected,
    /// A device policy says that it may be away.
    Expected,
    /// A device policy says that it is left out while it is away.
    Ignored,
}

/// How resources are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: a line each.
    #[default]
    Table,
    /// For people with a wide terminal.
    Wide,
    /// For programs: stable.
    Json,
    /// The same as YAML.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Accept devices that wait for approval.
    #[command(after_help = "Examples:
  holdfast device approve gw-1 gw-2")]
    Approve(Names),
    /// Set and remove a device's labels.
    #[command(after_help = "Examples:
  holdfast device label gw-1 role=gateway site=north
  holdfast device label gw-1 retired-         # removes it")]
    Label {
        /// The device.
        name: String,
        /// `k=v` sets a label, `k-` removes it.
        #[arg(required = true, value_name = "K=V|K-", value_parser = label_change)]
        changes: Vec<(String, Option<String>)>,
    },
    /// Cut devices off for good: their certificates are refused from now on.
    #[command(after_help = "Examples:
  holdfast device revoke stolen-1")]
    Revoke(Names),
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// The devices.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The device.
    pub(crate) device: String,
    /// The workload.
    pub(crate) workload: String,
    /// How many of the last lines [default: 100, or all with --since, --until or --previous].
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Go on with what is written from now on, until Ctrl-C.
    #[arg(short, long, conflicts_with_all = ["until", "previous"])]
    pub(crate) follow: bool,
    /// Only lines written at this time or later: RFC 3339, or a length of time before now (10m).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines written at this time or before: likewise.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only what the workload wrote in the run before the present one; with =N, N runs before
    /// (the starts of the last 10 are kept).
    #[arg(short, long, value_name = "N", num_args = 0..=1, require_equals = true,
        default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) previous: Option<u32>,
    /// Begin each line with the time at which it was written, in UTC.
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

const QUERY_HELP: &str = "Examples:
  holdfast query pump/temperature --select 'count, mean(temp), p95(temp)' --since 24h
  holdfast query press --select 'count, max(oil.temp)' --where 'oil.temp > 60 and state = \"run\"' --by site
  holdfast query press --select 'mean(rpm)' --every 5m --since -24h -l site=berlin -o csv
  holdfast query web/log --select count --where \". contains 'error'\" --by device --wait 1h

--select takes count, sum, mean, min, max, last, stddev, median and quantiles (p50, p95, p99.9), each
of the number at a path: mean(motor.temp); of the record itself: mean(.). A quantile is within 1% of
a record's own value.
--where compares with = != < <= > >=, in (…), contains and exists(PATH), joined by and, or, not and
parentheses. What is not there is null.
--by takes device, labels of devices and paths in the records (label:KEY and record:PATH where both
have the name).

Nothing is shipped: each device looks through its own records at low priority and answers with what
it counted. The last line says how many bytes that took, and how many shipping would have cost.";

/// A question.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The stream.
    pub(crate) stream: String,
    /// What to say of each group.
    #[arg(long, value_name = "FUNCTIONS")]
    pub(crate) select: String,
    /// Which records count.
    #[arg(long = "where", value_name = "CONDITION", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// What groups them.
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true)]
    pub(crate) by: String,
    /// Length of a window: 30s, 5m, 1h, 1d.
    #[arg(long, value_name = "SPAN", default_value = "", hide_default_value = true)]
    pub(crate) every: String,
    /// Not before: RFC 3339, or a length of time before now such as 2h.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) since: String,
    /// Before: likewise.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) until: String,
    /// Only devices with these labels: k=v, k!=v, k (it is there), !k (it is not), with commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// How long to wait for devices that cannot be asked now: 15m, 1h.
    #[arg(long, value_name = "SPAN", default_value = "", hide_default_value = true)]
    pub(crate) wait: String,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: QueryFormat,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: stable.
    Json,
    /// Comma-separated values with a heading.
    Csv,
}

/// Which records are to be shipped.
#[derive(Debug, Args)]
pub(crate) struct DataFetch {
    #[command(flatten)]
    pub(crate) of: OfStream,
    /// Not before: RFC 3339, or a length of time before now such as 2h.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) since: String,
    /// Before: likewise.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) until: String,
    /// At most so many bytes on the device's disk, the oldest records first.
    #[arg(long, value_name = "N", default_value_t = holdfast_api::FETCH_BYTES)]
    pub(crate) bytes: u64,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LedgerFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// List streams: what has come of each, and what its device holds.
    #[command(after_help = "Examples:
  holdfast data list                 # of every device
  holdfast data list gw-1
  holdfast data list gw-1 -o json

KEPT is what the control plane keeps; WAITING and HELD are what the device said last: records that
are to be shipped, and bytes on its disk.")]
    List {
        /// Only this device's.
        device: Option<String>,
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: LedgerFormat,
    },
    /// Print records of a stream.
    #[command(after_help = "Examples:
  holdfast data get gw-1 pump/temperature --since 2h
  holdfast data get gw-1 pump/temperature --since 2026-11-23T00:00:00Z --until 2026-11-24T00:00:00Z -o csv
  holdfast data get gw-1 pump/temperature --newest --limit 20 -o table

A line each: {\"seq\",\"time\",\"value\"}, the value as it was published (text as a string, CBOR as
JSON, other bytes as {\"base64\":…}).")]
    Get(DataGet),
    /// Have a device ship records as they are, though its policy reduced or withheld them.
    #[command(after_help = "Examples:
  holdfast data fetch gw-1 pump/temperature --since 2026-11-23T10:00:00Z --until 2026-11-23T10:15:00Z
  holdfast data fetch gw-1 camera/raw --since 1h --bytes 10000000

They come like other records, in whole blocks, in the windows of their policy and under the link
budget: holdfast data get shows them. Where there are more than --bytes, ask again from where they
end.")]
    Fetch(DataFetch),
    /// Show what of a stream was received, and what is missing and why.
    #[command(after_help = "Examples:
  holdfast data ledger gw-1 pump/temperature
  holdfast data ledger gw-1 pump/temperature -o json")]
    Ledger {
        #[command(flatten)]
        of: OfStream,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: LedgerFormat,
    },
    /// Write records to a Parquet file.
    #[command(after_help = "Examples:
  holdfast data export gw-1 pump/temperature -o pump.parquet
  holdfast data export gw-1 pump/temperature --since 7d -o week.parquet
  holdfast data export --all pump/temperature -l site=berlin -o berlin.parquet

Columns: device, stream, seq, time, value (as JSON text), and one for each field that the first
records have: numbers, truth values and text, nested fields by their path (a.b); of records that are
bare numbers, number.")]
    Export(DataExport),
}

#[derive(Debug, Args)]
pub(crate) struct DataExport {
    /// The device and the stream; with --all the stream alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["DEVICE", "STREAM"])]
    pub(crate) of: Vec<String>,
    /// The stream of every device that has it.
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: only of devices with these labels: key=value,key2!=value,key3,!key4.
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "all")]
    pub(crate) selector: Option<String>,
    /// Not before: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Before: likewise.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// The file.
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

/// Which stream.
#[derive(Debug, Args)]
pub(crate) struct OfStream {
    /// The device.
    pub(crate) device: String,
    /// The stream.
    pub(crate) stream: String,
}

#[derive(Debug, Args)]
pub(crate) struct DataGet {
    #[command(flatten)]
    pub(crate) of: OfStream,
    /// Not before: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Before: likewise.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// At most so many records: the first ones, or with --newest the last.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// The newest first.
    #[arg(long)]
    pub(crate) newest: bool,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: DataFormat,
}

/// How records are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataFormat {
    /// A JSON object each, on a line.
    #[default]
    Ndjson,
    /// Comma-separated values with a heading.
    Csv,
    /// For people.
    Table,
}

/// How a ledger is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LedgerFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: stable.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// Store a file in the control plane and print its digest, by which documents name it.
    #[command(after_help = "Examples:
  holdfast artifact push ./sensor-reader      # prints sha256:…")]
    Push(File),
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// The file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) file: File,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    use holdfast_base::ids::{check_label_key, check_label_value};
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is no label: it is KEY=VALUE"))?;
    check_label_key(key).and_then(|()| check_label_value(value)).map_err(|why| why.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    match (text.contains('='), text.strip_suffix('-')) {
        (false, Some(key)) => {
            holdfast_base::ids::check_label_key(key).map_err(|why| why.to_string())?;
            Ok((key.to_owned(), None))
        }
        (false, None) => Err(format!("{text:?}: KEY=VALUE sets a label, KEY- removes it")),
        (true, _) => label(text).map(|(key, value)| (key, Some(value))),
    }
}

fn checked_selector(text: &str) -> Result<String, String> {
    selector::parse(text).map(|_| text.to_owned()).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn where_something_is_restarted_or_paused_is_said_once() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for verb in ["restart", "pause", "resume"] {
            for (options, good) in [
                ("--device a", true),
                ("--device a --device b", true),
                ("-l site=north", true),
                ("--all", true),
                ("-o json", false),
                ("--all --device a", false),
                ("--device a -l site=north", false),
            ] {
                let line = format!("holdfast {verb} w {options}");
                assert_eq!(parses(&line), good, "{line}");
            }
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let mut below = command.get_subcommands().peekable();
            if below.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                if !help.contains(path.trim()) {
                    found.push(path);
                }
            } else {
                below.for_each(|command| leaves(command, &path, found));
            }
        }
        let mut without = Vec::new();
        leaves(&Arguments::command(), "", &mut without);
        assert_eq!(without, Vec::<String>::new());
    }

    #[test]
    fn labels_are_set_and_removed() {
        assert_eq!(label_change("a=b"), Ok(("a".into(), Some("b".into()))));
        assert_eq!(label_change("a="), Ok(("a".into(), Some(String::new()))));
        assert_eq!(label_change("a-"), Ok(("a".into(), None)));
        for wrong in ["a", "-", "=b", "a=b c", "a=b-"] {
            assert!(label_change(wrong).is_err(), "{wrong}");
        }
    }
}
