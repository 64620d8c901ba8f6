//! Command line of the agent.
//!
//! See decisions 0025 and 0141.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads the files and the environment that it is told to"
)]

mod access;
mod arguments;
pub mod commands;
mod help;
mod output;
mod status_text;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use holdfast_base::collect;
use holdfast_base::ids::{Labels, Name, check_label_key, check_label_value};
use holdfast_protocol::enrol::EnrolToken;
use serde_json::Value;

use crate::adapters::clock::Time;
use crate::adapters::https::{HttpsError, Url};
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::{crash, files, log_lines, status};
use crate::driver::Driver;
use crate::runtimes::process::{kernel, launcher};

use access::LocalAccess;
use arguments::{Asked, Call, Unfit};
use commands::PROGRAM;
use output::{
    DONE, FAILED, Output, REFUSED, USAGE, complain, configuration, data_folder, print_error, say,
};

/// Values of `enroll`.
#[derive(Debug)]
struct Enroll {
    url: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
    name: Option<Name>,
    labels: Vec<(String, String)>,
    data: PathBuf,
}

impl Enroll {
    fn of(call: &mut Call) -> Result<Self, Unfit> {
        let name = call
            .text("name")?
            .map(|name| name.parse().map_err(|error| format!("--name '{name}': {error}")));
        Ok(Self {
            url: call.text("url")?.unwrap_or_default(),
            token: call.text("token")?,
            token_file: call.path("token-file"),
            name: name.transpose()?,
            labels: call.each("label", label)?,
            data: data_folder(call),
        })
    }
}

fn label(text: &str) -> Result<(String, String), Unfit> {
    let (key, value) = text.split_once('=').ok_or_else(|| "a label is KEY=VALUE".to_owned())?;
    check_label_key(key).map_err(|error| error.to_string())?;
    check_label_value(value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command that the words ask for, without the program's name, and returns its exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> i32 {
    match arguments::read(&PROGRAM, words) {
        Ok(Asked::Version) => say(concat!("holdfast-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Help(path, false)) => say(&help::help(&path)),
        // No command was given: the help tells which there are.
        Ok(Asked::Help(path, true)) => {
            print_error(&help::help(&path));
            USAGE
        }
        Ok(Asked::Call(call)) => {
            let path = call.path.clone();
            carry_out(call)
                .unwrap_or_else(|why| bad_usage(&why.to_string(), &commands::path(&path)))
        }
        Err(fault) => bad_usage(&fault.to_string(), &fault.at),
    }
}

fn carry_out(mut call: Call) -> Result<i32, Unfit> {
    Ok(match *call.path.as_slice() {
        ["launch"] => launcher::main(),
        ["crash-points"] => say(&(crash::POINTS.join("\n") + "\n")),
        ["status"] => {
            let output = Output::of(&mut call);
            show_status(&data_folder(&mut call), output)
        }
        ["local-access", command] => LocalAccess::of(command, &mut call)?.run(),
        ["enroll"] => {
            let enroll = Enroll::of(&mut call)?;
            log_to_stderr();
            in_runtime(enrol(enroll))
        }
        _ => {
            kernel::reset_inherited();
            log_to_stderr();
            let config = call.path("config");
            in_runtime(serve(config, data_folder(&mut call)))
        }
    })
}

fn bad_usage(why: &str, at: &[&'static commands::Command]) -> i32 {
    print_error(&format!(
        "error: {why}\n\n{}\n\nFor more information, try '--help'.\n",
        help::usage(at)
    ));
    USAGE
}

fn log_to_stderr() {
    let level = match std::env::var("HOLDFAST_LOG").as_deref() {
        Ok("debug") => tracing::Level::DEBUG,
        Ok("warn") => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    };
    log_lines::to_stderr(level);
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
    let data = enroll.data;
    if let Err(error) = files::folder(&data, 0o711) {
        complain(&format!("{}: {error}; use --data DIR or run as root", data.display()));
        return FAILED;
    }
    if let Some(why) = data.canonicalize().ok().and_then(|data| files::closed_to_others(&data)) {
        complain(&format!("warning: {why}"));
    }
    let labels: Labels = collect::map(enroll.labels);
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
