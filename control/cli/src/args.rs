//! Arguments of the command line. Their names are fixed, because scripts use them. The doc comments
//! are the texts of `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

mod activity;
mod audit;
mod compose;
mod format;
mod images;
mod jobs;
mod kinds;
mod secrets;
mod volumes;

pub(crate) use activity::{ActivityArgs, ActivityFormat, TimelineArgs};
pub(crate) use audit::{Audit, ExportAudit, VerifyAudit, VerifyFormat};
pub(crate) use compose::{Apply, Compose, ComposeFormat};
use format::checked_selector;
pub(crate) use format::{Format, LedgerFormat};
pub(crate) use images::{CopyImageArgs, ImageCommand, PushImage};
use jobs::{HISTORY_HELP, PAUSE_HELP, RESTART_HELP, RESUME_HELP, ROLLBACK_HELP};
pub(crate) use jobs::{History, Pause, Restart, Rollback, Where};
pub(crate) use kinds::Kind;
pub(crate) use secrets::{Create, Rotate, SecretCommand, Values, divided, generated, path};
pub(crate) use volumes::{Volume, Which};

use super::moment;
use crate::serve_args::{ResetArgs, ServeArgs};
use holdfast_api::Role;

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
    /// Command that is run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every subcommand of `holdfast`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane: API, device gateway, store and certificate authority.
    #[command(after_help = "Examples:
  holdfast serve                                   # every address, ports 8443 and 8883
  holdfast serve --data ./plane --api 127.0.0.1:0 --mqtt 127.0.0.1:0
  holdfast serve --data ./plane --restore monday.tar.age --identity id.txt   # its store was lost

The first start makes the CA and prints an admin token, once. Logs go to standard error.")]
    Serve(ServeArgs),
    /// Log in: check an access token, or log in by an identity provider, and store the login for
    /// the commands that follow.
    #[command(after_help = "Examples:
  holdfast login https://10.0.0.5:8443 --token hfa1.… --ca-sha256 4f0c…
  HOLDFAST_TOKEN=hfa1.… holdfast login 10.0.0.5:8443 --ca-sha256 4f0c…   # not in the process list
  holdfast login https://10.0.0.5:8443 --provider corp --ca-sha256 4f0c…
  holdfast login --provider corp        # again, where the last login was

With --provider it prints a code and an address: log in there, in any browser. That login ends after
8 hours.

`holdfast serve` prints the address, ca-sha256 and, at its first start, admin-token.")]
    Login(Login),
    /// Manage enrolment tokens, with which devices enrol.
    #[command(subcommand)]
    Token(Token),
    /// Show who you are to the control plane, and what you may do.
    #[command(subcommand)]
    Auth(Auth),
    /// Manage local users, who log in with a name and a password.
    #[command(subcommand)]
    User(User),
    /// Manage open sessions.
    #[command(subcommand)]
    Session(Session),
    /// Let an admin in again, on the machine of the control plane itself.
    #[command(subcommand)]
    Admin(Admin),
    /// Manage access tokens: who may use the API, and for what.
    #[command(subcommand)]
    Access(Access),
    /// Manage tenants and their quotas, as an admin of the first tenant.
    #[command(subcommand)]
    Tenant(Tenant),
    /// Apply documents: all of them or, when one is faulty, none.
    #[command(after_help = compose::APPLY_HELP)]
    Apply(Apply),
    /// Show what applying documents would change, as a unified diff.
    #[command(after_help = "Examples:
  holdfast diff -f hello.yaml

The exit code is 0 whether or not there is a difference; the output is empty when there is none.")]
    Diff(Files),
    /// Delete workloads, documents about data, devices or tokens.
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
  holdfast get tenants                     # their quotas; the use of each: holdfast tenant list
  holdfast get revisions hello             # those of one workload
  holdfast get alarms                      # what needs a person, the most urgent first
  holdfast get images                      # what containers run; image list is the same
  holdfast get silences                    # what is acknowledged or silenced, by whom, until when
  holdfast get workload hello -o yaml > hello.yaml   # can be applied again")]
    Get(Get),
    /// Describe one resource in words: what is desired, what is reported, and why they differ.
    ///
    /// A connected device is asked for a sign of life, which takes up to 15 seconds when it does
    /// not answer.
    #[command(after_help = "Examples:
  holdfast describe device gw-1
  holdfast describe workload hello
  holdfast describe notification night
  holdfast describe image shop/till:1.4    # its layers, what shares them, who uses it
  holdfast describe tenant acme            # its quotas, and how much of each is used
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
    /// Show the history of a device: connections, phases, restarts, revisions, problems.
    #[command(after_help = activity::TIMELINE_HELP)]
    Timeline(TimelineArgs),
    /// Show what people changed in the fleet and, on request, what devices did.
    #[command(after_help = activity::ACTIVITY_HELP)]
    Activity(ActivityArgs),
    /// Check and export the audit log: who did what, from where, with what result.
    #[command(subcommand)]
    Audit(Audit),
    /// Approve, label and revoke devices.
    #[command(subcommand)]
    Device(Device),
    /// Acknowledge alarms: somebody looks after them, and they are not notified again until they
    /// end.
    #[command(after_help = "Examples:
  holdfast ack --device gw-1 --note 'Kim drives there'
  holdfast ack --kind failing --code hello          # workload hello, wherever it fails now
  holdfast ack --kind lost -l site=kiel --note 'power cut, back at 6'

An alarm that begins later is told: holdfast silence keeps those quiet too. holdfast get silences
lists acknowledgements and who made them.")]
    Ack(Mute),
    /// Silence alarms until a set time: present ones and those that begin meanwhile.
    #[command(after_help = "Examples:
  holdfast silence -l site=kiel --for 4h --note 'new switch'
  holdfast silence --device gw-1 --until 2026-11-30T06:00:00Z
  holdfast silence --kind problem --code clock --for 2d

They are counted apart and stay visible. holdfast delete silence ID ends it early.")]
    Silence(Quiet),
    /// Create, rotate and list secrets. Their values are never shown.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Test notifications, which tell people of alarms.
    #[command(subcommand)]
    Notification(NotificationCommand),
    /// Show the log of a workload on a device.
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
    /// Read, export and fetch records of streams, and show what is missing.
    #[command(subcommand)]
    Data(Data),
    /// Query the records that devices hold, shipped or not.
    #[command(after_help = QUERY_HELP)]
    Query(QueryArgs),
    /// Store files that workloads execute.
    #[command(subcommand)]
    Artifact(Artifact),
    /// List, delete, back up and restore volumes of a device's containers.
    #[command(subcommand)]
    Volume(Volume),
    /// Push, copy, tag and delete images of containers.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Print the certificate of the control plane's CA as PEM, for programs that read its data.
    #[command(after_help = "Examples:
  holdfast ca > ca.pem
  mosquitto_sub --cafile ca.pem -h HOST -p 8883 -u any -P hfa1.… -t 'data/#'

It comes over a connection that is checked against the CA that you logged in with.")]
    Ca,
    /// Write a backup of the running control plane to a file, encrypted.
    #[command(after_help = "Examples:
  holdfast backup /var/backups/holdfast-$(date +%F).tar.age --recipient age1ql3z7hjy54pw3…
  holdfast backup monday.tar.age --passphrase-file /root/backup.passphrase
  holdfast backup monday.tar --unencrypted     # needs the same master key to be restored

The file is in the format of age: `age-keygen -o identity.txt` makes a recipient and its identity.
An encrypted backup holds the CA's key and every data key: whoever opens it can act as the control
plane. In an unencrypted one they stay sealed under the master key; documents, names and labels can
be read. The file gets mode 0600. It takes its place once it is whole; an older file of that name is
replaced then.")]
    Backup(Backup),
    /// Put a backup in the place of the control plane's state.
    #[command(after_help = "Examples:
  holdfast restore monday.tar.age --identity identity.txt
  holdfast restore monday.tar.age --passphrase-file /root/backup.passphrase --yes
  holdfast restore monday.tar        # not encrypted: on a control plane with the same master key

The identity or passphrase opens the key of this one file, and that alone is sent. The epoch rises,
so that devices follow the restored state even when theirs is newer. On a terminal it asks first.")]
    Restore(Restore),
    /// Show, rotate or make the master key, under which the CA's key and all secrets lie.
    #[command(subcommand)]
    MasterKey(MasterKey),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:
  holdfast completions bash > /usr/share/bash-completion/completions/holdfast
  source <(holdfast completions zsh)")]
    Completions {
        /// Shell to write the script for.
        shell: Shell,
    },
    /// Write the manual's pages into a folder.
    #[command(after_help = "Examples:
  holdfast man /usr/local/share/man/man1")]
    Man {
        /// Folder for the pages; it is created if needed.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Address of the control plane: https://HOST:PORT.
    #[arg(env = "HOLDFAST_URL", required_unless_present = "provider")]
    pub(crate) url: Option<String>,
    /// Access token, hfa1.….
    #[arg(
        long,
        env = "HOLDFAST_TOKEN",
        hide_env_values = true,
        required_unless_present = "provider"
    )]
    pub(crate) token: Option<String>,
    /// Identity provider to log in by; the pages list them.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Tenant of the identity provider. Default: the one that the control plane began with.
    #[arg(long, requires = "provider")]
    pub(crate) tenant: Option<String>,
    /// SHA-256 of the control plane's CA (64 hexadecimal digits), or the path of its PEM file.
    #[arg(long, value_name = "HEX", env = "HOLDFAST_CA", required_unless_present = "provider")]
    pub(crate) ca_sha256: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Create an enrolment token and print it alone. It cannot be shown again.
    #[command(after_help = "Examples:
  holdfast token create
  holdfast token create --ttl 30d --uses 200 --label site=north
  holdfast token create --allow-label site         # devices say themselves where they are
  TOKEN=$(holdfast token create --approve manual)")]
    Create(CreateToken),
    /// List the enrolment tokens, without their secrets.
    #[command(after_help = "Examples:
  holdfast token list
  holdfast token list -o json")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show an enrolment token and the devices that enrolled with it.
    #[command(after_help = "Examples:
  holdfast token show 0011223344556677
  holdfast token show 0011223344556677 -o json")]
    Show {
        /// Id of the token: the part after `hf1.`.
        id: String,
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Revoke an enrolment token. Devices that enrolled with it stay.
    #[command(after_help = "Examples:
  holdfast token revoke 0011223344556677")]
    Revoke {
        /// Id of the token: the part after `hf1.`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// Life of the token: a number with s, m, h or d.
    #[arg(long, default_value = "24h", value_parser = moment::ttl)]
    pub(crate) ttl: u64,
    /// Number of devices that may enrol with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: u32,
    /// Label that its devices get; may be repeated.
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Key of a label that its devices may choose themselves (`holdfast-agent enroll --label`); '*'
    /// for every key. May be repeated; in the environment separated by commas.
    #[arg(
        long = "allow-label",
        value_name = "KEY",
        env = "HOLDFAST_ALLOW_LABEL",
        value_delimiter = ','
    )]
    pub(crate) allow_labels: Vec<String>,
    /// Approval of its devices.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) approve: Approve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Create an access token and print it alone. It cannot be shown again.
    #[command(after_help = "Examples:
  holdfast access create --name prometheus --role metrics
  holdfast access create --name 'night duty' --role operator --ttl 30d
  holdfast access create --name kiel --role operator --selector site=kiel
  holdfast access create --name pipeline --role operator --ttl never")]
    Create(CreateAccess),
    /// Give an access token a new secret and print it. The former one counts for a while longer.
    #[command(after_help = "Examples:
  holdfast access rotate 0011223344556677                # the former secret counts for a day
  holdfast access rotate prometheus --overlap 7d
  holdfast access rotate stolen-laptop --overlap 0s      # the former secret ends at once")]
    Rotate(RotateAccess),
    /// List the access tokens, without their secrets.
    #[command(after_help = "Examples:
  holdfast access list
  holdfast access list -o json")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Revoke an access token, and end the sessions that were begun with it.
    #[command(after_help = "Examples:
  holdfast access revoke 0011223344556677
  holdfast access revoke prometheus")]
    Revoke {
        /// Id of the token (the part after `hfa1.`), or its name.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Create a tenant and print its first access token alone. It cannot be shown again.
    #[command(after_help = "Examples:
  holdfast tenant create acme
  holdfast tenant create acme --devices 500 --artifacts 20Gi --data-per-day 5Gi
  holdfast tenant create acme --requests-per-second 50 --cpu 200 --memory 64Gi

The token may everything in the tenant: `holdfast login … --token` with it. Quotas are changed later
by applying the tenant's document: `holdfast get tenant acme -o yaml`.")]
    Create(CreateTenant),
    /// List the tenants with the use of each quota; anybody else sees the own tenant.
    #[command(after_help = "Examples:
  holdfast tenant list
  holdfast tenant list -o json")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Delete a tenant that has no devices, documents or records, or all of it with --cascade.
    #[command(after_help = "Examples:
  holdfast tenant delete acme
  holdfast tenant delete acme --cascade --dry-run     # says what would go
  holdfast tenant delete acme --cascade")]
    Delete {
        /// Name of the tenant.
        name: String,
        /// Delete its devices, documents, tokens, artifacts and records with it.
        #[arg(long)]
        cascade: bool,
        /// Print what would go, and delete nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateTenant {
    /// Name of the tenant.
    pub(crate) name: String,
    /// Most devices [default: no limit].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) devices: Option<u64>,
    /// Most bytes of artifacts, such as 20Gi [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) artifacts: Option<String>,
    /// Most bytes of records that are taken in a day, such as 5Gi [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) data_per_day: Option<String>,
    /// Most requests of the API in a second [default: no limit].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) requests_per_second: Option<u64>,
    /// Most processor time of all workloads on all devices: cores, or 500m [default: no limit].
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Most memory of all workloads on all devices, such as 64Gi [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateAccess {
    /// Name of the token; it is shown beside what its holder does.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Role of the token: viewer, operator, admin, device-provisioner, auditor or metrics.
    #[arg(long, default_value = "viewer")]
    pub(crate) role: Role,
    /// Devices that the token reaches, such as site=kiel [default: all].
    #[arg(long)]
    pub(crate) selector: Option<String>,
    /// Life of the token: a number with s, m, h or d, or never [default: 90d].
    #[arg(long, value_parser = moment::ttl_or_never)]
    pub(crate) ttl: Option<moment::Ttl>,
}

#[derive(Debug, Args)]
pub(crate) struct RotateAccess {
    /// Id of the token (the part after `hfa1.`), or its name.
    pub(crate) id: String,
    /// Time for which the former secret counts too: a number with s, m, h or d.
    #[arg(long, value_parser = moment::ttl_or_none, default_value = "1d")]
    pub(crate) overlap: u64,
    /// Life of the token from now: a number with s, m, h or d [default: as long as at first].
    #[arg(long, value_parser = moment::ttl)]
    pub(crate) ttl: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user, and print a password that the user must change.
    #[command(after_help = "Examples:
  holdfast user create anna --full-name 'Anna Berg'
  holdfast user create anna --password-file secret.txt     # - for standard input

A user may do nothing before a RoleBinding document names it:
  kind: RoleBinding
  spec: { role: operator, subjects: [anna], devices: all }")]
    Create {
        /// Name that the user logs in with.
        name: String,
        /// Name of the person.
        #[arg(long, default_value = "")]
        full_name: String,
        /// File with the password, or - for standard input [default: one is made and printed].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        password_file: Option<PathBuf>,
    },
    /// List the users, with their roles and last logins.
    #[command(after_help = "Examples:
  holdfast user list
  holdfast user list -o json")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Set a user's password, print it if it was made, and end the user's sessions.
    #[command(after_help = "Examples:
  holdfast user password anna")]
    Password {
        /// Name of the user.
        name: String,
        /// File with the password, or - for standard input [default: one is made and printed].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        password_file: Option<PathBuf>,
    },
    /// Keep a user from logging in, and end its sessions.
    #[command(after_help = "Examples:
  holdfast user disable anna")]
    Disable {
        /// Name of the user.
        name: String,
    },
    /// Let a disabled user log in again.
    #[command(after_help = "Examples:
  holdfast user enable anna")]
    Enable {
        /// Name of the user.
        name: String,
    },
    /// Take away a user's second factor, for somebody who has lost it.
    #[command(after_help = "Examples:
  holdfast user remove-second-factor anna")]
    RemoveSecondFactor {
        /// Name of the user.
        name: String,
    },
    /// Delete a user, and end its sessions.
    #[command(after_help = "Examples:
  holdfast user delete anna")]
    Delete {
        /// Name of the user.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List the open sessions.
    #[command(after_help = "Examples:
  holdfast session list
  holdfast session list -o json")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// End a session.
    #[command(after_help = "Examples:
  holdfast session end 00112233445566778899aabbccddeeff")]
    End {
        /// Id of the session, as `holdfast session list` shows it.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make a local user an admin with a new password, and print the password.
    #[command(after_help = "Examples:
  holdfast admin reset --data /var/lib/holdfast
  holdfast admin reset --data ./plane --user anna

The control plane of this data folder must be stopped. The user is made if there is none, loses its
second factor, and must change the password at the next login.")]
    Reset(ResetArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Show who you are to the control plane, and with which roles.
    #[command(after_help = "Examples:
  holdfast auth whoami
  holdfast auth whoami -v            # each action, and what gives it or what is missing
  holdfast auth whoami -o json")]
    Whoami {
        /// Show every action, with what gives it or what is missing.
        #[arg(short, long)]
        verbose: bool,
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Ask whether you may do an action. Exit status 0: yes, 1: no.
    #[command(after_help = "Examples:
  holdfast auth can document.apply
  holdfast auth can device.revoke gw-kiel-1")]
    Can {
        /// Action, as `holdfast auth whoami -v` lists them.
        action: String,
        /// Name of the device, for an action about one.
        object: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Approve {
    /// Devices are accepted at once.
    Auto,
    /// Devices wait for `holdfast device approve`.
    Manual,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// File (YAML with one or more documents, or JSON), folder of such files, or - for standard
    /// input; may be repeated.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kind: a kind of documents, device, silence, token or access; singular or plural.
    #[arg(value_enum, ignore_case = true, required_unless_present = "files")]
    pub(crate) kind: Option<Kind>,
    /// Name of the resource; several may be given.
    #[arg(required_unless_present = "files", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// File or folder of documents whose resources are deleted, or - for standard input; may be
    /// repeated.
    #[arg(short = 'f', long = "filename", conflicts_with_all = ["kind", "names"], value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

/// Choice of alarms, with a note.
#[derive(Debug, Args)]
pub(crate) struct Mute {
    /// Kind of alarm: lost, never-seen, certificate, failing, problem or waiting.
    #[arg(long, required_unless_present_any = ["code", "device", "selector"])]
    pub(crate) kind: Option<String>,
    /// Code of the alarm: that of a problem, or the name of a failing workload.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Device whose alarms are chosen.
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Labels of the devices whose alarms are chosen: k=v, k!=v, k (present), !k (absent),
    /// separated by commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// Note on the reason, for the next shift.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// Choice of alarms, with a note and an end.
#[derive(Debug, Args)]
pub(crate) struct Quiet {
    #[command(flatten)]
    pub(crate) mute: Mute,
    /// Length of the silence: a number with s, m, h or d.
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::ttl, required_unless_present = "until")]
    pub(crate) length: Option<u64>,
    /// End of the silence: RFC 3339, such as 2026-11-30T06:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationCommand {
    /// Send a test message to the receiver now, and print its reply.
    #[command(after_help = "Examples:
  holdfast notification test night

The exit code is 0 when the receiver took it, and 1 when it did not.")]
    Test {
        /// Name of the notification.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Kind: a kind of documents, device, revision, token or access; singular or plural.
    #[arg(value_enum, ignore_case = true)]
    pub(crate) kind: Kind,
    /// Name of the resource.
    pub(crate) name: String,
}

/// Resource whose status is shown.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Kind: device or workload [default: the whole fleet].
    #[arg(value_enum, ignore_case = true, requires = "name")]
    pub(crate) kind: Option<Kind>,
    /// Name of the device or workload.
    pub(crate) name: Option<String>,
    /// Tell the state by the exit code, too.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the API's JSON document instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Kind, in the plural or the singular; `dp` is short for `devicepolicies`.
    #[arg(value_enum, ignore_case = true)]
    pub(crate) kind: Kind,
    /// Name of one resource. For revisions WORKLOAD.NUMBER shows one and WORKLOAD lists all of it;
    /// for alarms the name is a device's.
    pub(crate) name: Option<String>,
    /// Labels of the resources: k=v, k!=v, k (present), !k (absent), separated by commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// For devices: show only those that are offline or were never connected, by whether that is
    /// allowed.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) absence: Vec<AbsenceKind>,
    /// For devices: count them by state for each value of this label.
    #[arg(long, value_name = "LABEL")]
    pub(crate) group_by: Option<String>,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Assessment of a device that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AbsenceKind {
    /// No device policy allows it to be away, or it is away for longer than allowed.
    Unexpected,
    /// A device policy allows it to be away.
    Expected,
    /// A device policy leaves it out while it is away.
    Ignored,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Approve devices that wait for it.
    #[command(after_help = "Examples:
  holdfast device approve gw-1 gw-2")]
    Approve(Names),
    /// Set or remove labels of a device.
    #[command(after_help = "Examples:
  holdfast device label gw-1 role=gateway site=north
  holdfast device label gw-1 retired-         # removes it")]
    Label {
        /// Name of the device.
        name: String,
        /// Change of a label: `k=v` sets it, `k-` removes it.
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
    /// Names of the devices.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the device.
    pub(crate) device: String,
    /// Name of the workload.
    pub(crate) workload: String,
    /// Number of lines, the last ones [default: 100, or all with --since, --until or --previous].
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Continue with new lines until Ctrl-C.
    #[arg(short, long, conflicts_with_all = ["until", "previous"])]
    pub(crate) follow: bool,
    /// Show only lines written at this time or later: RFC 3339, or a length of time before now such
    /// as 10m.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show only lines written at this time or before: RFC 3339, or a length of time before now.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show what the workload wrote in the run before the present one; with =N, N runs before (the
    /// starts of the last 10 runs are kept).
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

/// A query over the records of a stream.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Name of the stream.
    pub(crate) stream: String,
    /// Functions to compute for each group, such as 'count, mean(temp), p95(temp)'.
    #[arg(long, value_name = "FUNCTIONS")]
    pub(crate) select: String,
    /// Condition that records must meet, such as 'temp > 30' [default: all records].
    #[arg(long = "where", value_name = "CONDITION", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// Keys to group by, separated by commas, such as 'device, site' [default: one group].
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true)]
    pub(crate) by: String,
    /// Length of a window: 30s, 5m, 1h, 1d [default: one window].
    #[arg(long, value_name = "SPAN", default_value = "", hide_default_value = true)]
    pub(crate) every: String,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h [default: the oldest
    /// record].
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) since: String,
    /// Time before which to end: RFC 3339, or a length of time before now [default: now].
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) until: String,
    /// Labels of the devices to ask: k=v, k!=v, k (present), !k (absent), separated by commas
    /// [default: all devices].
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// Time to wait for devices that cannot be asked now: 15m, 1h, at most 7d [default: none].
    #[arg(long, value_name = "SPAN", default_value = "", hide_default_value = true)]
    pub(crate) wait: String,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: QueryFormat,
}

/// Output format of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// A table for people.
    #[default]
    Table,
    /// Stable JSON for programs.
    Json,
    /// Comma-separated values with a heading.
    Csv,
}

/// Records that a device should ship.
#[derive(Debug, Args)]
pub(crate) struct DataFetch {
    #[command(flatten)]
    pub(crate) of: OfStream,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h [default: the oldest
    /// record].
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) since: String,
    /// Time before which to end: RFC 3339, or a length of time before now [default: now].
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) until: String,
    /// Bound on the records' size on the device's disk in bytes; the oldest are taken first.
    #[arg(long, value_name = "N", default_value_t = holdfast_api::FETCH_BYTES)]
    pub(crate) bytes: u64,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LedgerFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// List streams: what was received of each, and what its device holds.
    #[command(after_help = "Examples:
  holdfast data list                 # of every device
  holdfast data list gw-1
  holdfast data list gw-1 -o json

KEPT is what the control plane keeps; WAITING and HELD are what the device said last: records that
are to be shipped, and bytes on its disk.")]
    List {
        /// Device whose streams are listed [default: all devices].
        device: Option<String>,
        /// Format of the output.
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
    /// Ask a device to ship records unreduced that its policy reduced or withheld.
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
        /// Format of the output.
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
    /// Device and stream; with --all only the stream.
    #[arg(required = true, num_args = 1..=2, value_names = ["DEVICE", "STREAM"])]
    pub(crate) of: Vec<String>,
    /// Export the stream from every device that has it.
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: labels of the devices: key=value,key2!=value,key3,!key4.
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "all")]
    pub(crate) selector: Option<String>,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Time before which to end: RFC 3339, or a length of time before now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Path of the Parquet file to write.
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

/// One stream of one device.
#[derive(Debug, Args)]
pub(crate) struct OfStream {
    /// Name of the device.
    pub(crate) device: String,
    /// Name of the stream, such as pump/temperature.
    pub(crate) stream: String,
}

#[derive(Debug, Args)]
pub(crate) struct DataGet {
    #[command(flatten)]
    pub(crate) of: OfStream,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Time before which to end: RFC 3339, or a length of time before now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Number of records at most: the first ones, or with --newest the last.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Print the newest records first.
    #[arg(long)]
    pub(crate) newest: bool,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: DataFormat,
}

/// Output format of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataFormat {
    /// One JSON object on each line.
    #[default]
    Ndjson,
    /// Comma-separated values with a heading.
    Csv,
    /// A table for people.
    Table,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// Store a file in the control plane and print its digest, by which documents name it.
    #[command(after_help = "Examples:
  holdfast artifact push ./sensor-reader      # prints sha256:…")]
    Push(File),
    /// List the artifacts that the tenant has pushed.
    #[command(after_help = "Examples:
  holdfast artifact list")]
    List,
    /// Delete an artifact that no revision of a workload names any more.
    #[command(after_help = "Examples:
  holdfast artifact delete sha256:…")]
    Delete {
        /// Digest, as `holdfast artifact push` printed it.
        digest: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// Path of the file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
#[group(id = "to", required = true, multiple = true, args = ["recipient", "passphrase_file", "unencrypted"])]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) file: File,
    /// Recipient who can open the backup, age1…; may be repeated.
    #[arg(long, value_name = "AGE1…", conflicts_with_all = ["passphrase_file", "unencrypted"])]
    pub(crate) recipient: Vec<String>,
    /// File whose first line is the passphrase of the backup: at least 12 characters.
    #[arg(long, value_name = "FILE", conflicts_with = "unencrypted")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Write it unencrypted: keys and secrets stay sealed under the master key, everything else can
    /// be read.
    #[arg(long)]
    pub(crate) unencrypted: bool,
}

/// Commands about the master key.
#[derive(Debug, Subcommand)]
pub(crate) enum MasterKey {
    /// Show which master key the control plane has: its id and place, never the key.
    #[command(after_help = "Examples:
  holdfast master-key show")]
    Show,
    /// Put a new master key in the place of the present one, while everything runs.
    #[command(after_help = "Examples:
  holdfast master-key rotate                    # a new key replaces the present file
  holdfast master-key rotate --data-keys        # and everything sealed is sealed again
  holdfast master-key rotate --file /etc/holdfast/master-2027.key   # on the control plane's machine

Copy the new key to where you keep the former one: without it the data folder opens no more.")]
    Rotate {
        /// File on the control plane's machine that holds the new key. Where the key comes from
        /// systemd credentials this is the only way.
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
        /// Make a new data key, too, and seal everything again.
        #[arg(long)]
        data_keys: bool,
    },
    /// Make a new master key in a file that does not exist yet, without a control plane.
    #[command(after_help = "Examples:
  holdfast master-key generate /etc/holdfast/master.key")]
    Generate(File),
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) file: File,
    /// File with the identity that opens the backup (AGE-SECRET-KEY-1…).
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub(crate) identity: Option<PathBuf>,
    /// File whose first line is the passphrase that opens the backup.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Restore without asking for confirmation.
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
