//! Command line of the agent.
//!
//! See decision 0025.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads the files and the environment that it is told to"
)]

mod access;
mod status_text;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use holdfast_base::ids::{Labels, Name, check_label_key, check_label_value};
use holdfast_protocol::enrol::EnrolToken;
use serde_json::Value;

use crate::adapters::clock::Time;
use crate::adapters::https::{HttpsError, Url};
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::{crash, files, kernel, status};
use crate::config::Config;
use crate::driver::Driver;

use access::LocalAccess;

/// Runs the workloads of this device, through every outage
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrol this device with a control plane
    #[command(
        after_help = "Examples:\n  holdfast-agent enroll --url https://control:8443 --token-file /run/token\n  HOLDFAST_TOKEN=hf1... holdfast-agent enroll --url https://10.0.0.5:8443 --name pump-7 --label site=berlin\n\nThe token comes from `holdfast token create`. Repeating an enrolment gives the same device; with another --name it is refused.\nExit codes: 0 done (also: waits for approval), 1 failed, 2 bad usage, 4 refused."
    )]
    Enroll(Enroll),
    /// Run the agent: a system service calls this
    #[command(
        after_help = "Examples:\n  holdfast-agent run\n  holdfast-agent run --data /srv/holdfast --config /etc/holdfast/agent.toml\n\nWorkloads outlive the agent: stopping or restarting it stops none of them."
    )]
    Run {
        /// Configuration in TOML: [link] keep_alive_seconds, [logs] bytes_per_workload, [storage]
        /// quota_bytes, reserve_bytes, endurance_bytes, [bus] port
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        data: Data,
    },
    /// Show workloads, problems, data and the link of this device; works without any link
    #[command(
        after_help = "Examples:\n  holdfast-agent status\n  holdfast-agent status -o json | jq '.problems'"
    )]
    Status {
        /// Format of the output
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
        #[command(flatten)]
        data: Data,
    },
    /// Let programs that the agent does not run put data in: MQTT and HTTP, like a workload
    #[command(
        subcommand,
        after_help = "Examples:\n  holdfast-agent local-access create plc-reader\n  holdfast-agent local-access create plc-reader -o json | jq -r .password\n  holdfast-agent local-access create viewer --subscribe 'sensors/+' -o env > viewer.env\n  holdfast-agent local-access list\n\nIt works beside a running agent, which needs no restart, and before its first start. Creating one that is there gives it again, with the rights that it has."
    )]
    LocalAccess(LocalAccess),
    /// Launcher that becomes a workload; started by the agent
    #[command(hide = true)]
    Launch,
    /// Show the names of the places where a debug build can be made to crash
    #[command(hide = true)]
    CrashPoints,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
struct Data {
    /// Folder of everything that the agent stores
    #[arg(long = "data", value_name = "DIR", env = "HOLDFAST_AGENT_DATA")]
    path: Option<PathBuf>,
}

impl Data {
    fn folder(&self) -> PathBuf {
        if let Some(path) = &self.path {
            return path.clone();
        }
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/holdfast-agent");
        }
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
        Path::new(&home).join(".local/state/holdfast-agent")
    }
}

#[derive(Debug, clap::Args)]
struct Enroll {
    /// URL of the control plane, https://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: String,
    /// Enrolment token; better: --token-file or HOLDFAST_TOKEN, which the process list does not show
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// File that holds the token; it goes before HOLDFAST_TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Name to ask for; without it, the control plane makes one
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Label to claim, key=value; repeatable. It counts if the token allows it or a person approves;
    /// the token's own labels win
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    data: Data,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    check_label_key(key).map_err(|error| error.to_string())?;
    check_label_value(value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Exit codes of all commands, as the help lists them.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 4;

impl Cli {
    /// Runs the command and returns its exit code.
    pub fn run(self) -> i32 {
        match self.command {
            Command::Launch => crate::adapters::launcher::main(),
            Command::CrashPoints => say(&(crash::POINTS.join("\n") + "\n")),
            Command::Status { output, data } => show_status(&data.folder(), output),
            Command::LocalAccess(command) => command.run(),
            Command::Enroll(enroll) => {
                log_to_stderr();
                in_runtime(enrol(enroll))
            }
            Command::Run { config, data } => {
                kernel::reset_inherited();
                log_to_stderr();
                in_runtime(serve(config, data.folder()))
            }
        }
    }
}

fn complain(text: &str) {
    // Standard error may be closed; the exit code says it too.
    let _unread = writeln!(std::io::stderr(), "holdfast-agent: {text}");
}

fn say(text: &str) -> i32 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => DONE,
        Err(error) => write_failed(&error),
    }
}

/// Exit code after a failed write to standard output. A closed pipe is a success: its reader may
/// end early, as `head` does.
fn write_failed(error: &std::io::Error) -> i32 {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return DONE;
    }
    complain(&format!("cannot write to standard output: {error}"));
    FAILED
}

/// Prints the help, or the fault of the arguments, and returns the exit code.
pub fn report_usage(error: &clap::Error) -> i32 {
    match error.print() {
        Err(why) if !error.use_stderr() => write_failed(&why),
        _ => error.exit_code(),
    }
}

fn log_to_stderr() {
    let level = match std::env::var("HOLDFAST_LOG").as_deref() {
        Ok("debug") => tracing::Level::DEBUG,
        Ok("warn") => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // A log that cannot be written (a full disk, a closed pipe) must not end the agent: the
        // library would report it on the same standard error, and panic.
        .log_internal_errors(false)
        .init();
}

fn in_runtime(work: impl Future<Output = i32>) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Folders are removed and artifacts written in these threads; an idle agent has none.
        .max_blocking_threads(2)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            FAILED
        }
    }
}

/// Reads the configuration. None: its faults were printed.
fn configuration(path: Option<PathBuf>) -> Option<Config> {
    let Some(path) = path else { return Some(Config::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{}: {error}", path.display()));
            return None;
        }
    };
    match Config::parse(&text) {
        Ok(config) => Some(config),
        Err(faults) => {
            faults.iter().for_each(|fault| complain(&format!("{}: {fault}", path.display())));
            None
        }
    }
}

async fn serve(config: Option<PathBuf>, data: PathBuf) -> i32 {
    let Some(config) = configuration(config) else { return USAGE };
    let driver = match Driver::start(&data, config) {
        Ok(driver) => driver,
        Err(error) => {
            complain(&error.to_string());
            return FAILED;
        }
    };
    match Box::pin(driver.run()).await {
        Ok(()) => DONE,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

/// Returns the enrolment token, or the exit code after the fault was printed.
fn given_token(enroll: &Enroll) -> Result<String, i32> {
    // The environment may hold a token for something else: an option is preferred to it.
    let said = std::env::var("HOLDFAST_TOKEN").ok().filter(|token| !token.is_empty());
    let said = said.filter(|_| enroll.token_file.is_none());
    match (enroll.token.clone().or(said), &enroll.token_file) {
        (Some(token), _) => Ok(token),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| {
            complain(&format!("{}: {error}", path.display()));
            USAGE
        }),
        (None, None) => {
            complain(
                "no token: give --token-file, HOLDFAST_TOKEN or --token; `holdfast token create` makes one",
            );
            Err(USAGE)
        }
    }
}

async fn enrol(enroll: Enroll) -> i32 {
    let token = match given_token(&enroll) {
        Ok(token) => token,
        Err(code) => return code,
    };
    let (token, url) = match (
        token.trim_start_matches('\u{feff}').parse::<EnrolToken>(),
        enroll.url.parse::<Url>(),
    ) {
        (Ok(token), Ok(url)) => (token, url),
        (token, url) => {
            token.err().into_iter().for_each(|error| complain(&error.to_string()));
            url.err().into_iter().for_each(|error| complain(&error.to_string()));
            return USAGE;
        }
    };
    let data = enroll.data.folder();
    if let Err(error) = files::folder(&data, 0o711) {
        complain(&format!("{}: {error}; use --data DIR or run as root", data.display()));
        return FAILED;
    }
    if let Some(why) = data.canonicalize().ok().and_then(|data| files::closed_to_others(&data)) {
        complain(&format!("warning: {why}"));
    }
    let labels: Labels = enroll.labels.into_iter().collect();
    let result = async {
        let mut identity = Identity::prepare(&data, &url, &token)?;
        let approved = identity.enrol(&url, &token, enroll.name, labels, &Time::default()).await?;
        Ok((identity, approved))
    };
    match result.await {
        Ok((identity, true)) => {
            let device = identity.device().map(|it| it.to_string()).unwrap_or_default();
            for key in identity.enrolment().into_iter().flat_map(|it| &it.held_labels) {
                complain(&format!(
                    "label {key} is left as it is: the token does not let devices give it to themselves; `holdfast device label` sets it, and `holdfast token create --allow-label {key}` makes a token that lets them"
                ));
            }
            say(&format!(
                "enrolled as {device}; start it with `holdfast-agent run` (a service does)\n"
            ))
        }
        Ok((identity, false)) => {
            let name = identity.name().map(ToString::to_string).unwrap_or_default();
            say(&format!(
                "{name} waits for approval: `holdfast device approve {name}`; `holdfast-agent run` may be started now\n"
            ))
        }
        Err(error) => {
            complain(&format!("not enrolled: {error}"));
            match error {
                IdentityError::Https(HttpsError::Refused { .. } | HttpsError::Untrusted { .. }) => {
                    REFUSED
                }
                _ => FAILED,
            }
        }
    }
}

fn show_status(data: &Path, output: Output) -> i32 {
    let text = match status::ask(data) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!(
                "no agent answers at {}: {error}; is `holdfast-agent run` running with this --data?",
                status::path(data).display()
            ));
            return FAILED;
        }
    };
    match (output, serde_json::from_str::<Value>(&text)) {
        (Output::Json, Ok(status)) => {
            say(&(serde_json::to_string_pretty(&status).unwrap_or(text) + "\n"))
        }
        (Output::Text, Ok(status)) => say(&status_text::describe(&status)),
        (_, Err(error)) => {
            complain(&format!("the agent's answer cannot be read: {error}"));
            FAILED
        }
    }
}
