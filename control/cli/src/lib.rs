//! Command line: every subcommand but `serve` is a client of the HTTPS API, and nothing here knows
//! more of the control plane than its API tells.
//!
//! See decision 0134.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line stands at the edge: it reads the clock once"
)]

mod access;
mod activity;
mod alarms;
mod apply;
mod args;
mod audit;
mod backups;
mod cells;
mod clean;
mod client;
mod columns;
mod compose;
mod data;
mod describe;
mod described_absence;
mod described_data;
mod described_document;
mod described_values;
mod documents;
mod failure;
mod get;
mod groups;
mod image_rows;
mod image_source;
mod images;
mod jobs;
mod login;
mod logs;
mod manage;
mod master_key;
mod moment;
mod people;
mod pinned;
mod progress;
mod provider_login;
mod query;
mod rows;
mod secrets;
mod serve_args;
mod status;
mod table;
mod tenants;
mod text;
mod transfer;
mod volumes;
mod yaml;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory as _, Parser as _};

use self::args::{Admin, Arguments, Artifact, Audit, Command, MasterKey};
use self::client::Client;
use self::failure::{Failure, Outcome};
use self::login::Environment;
pub use self::serve_args::{ResetArgs, ServeArgs};
use self::text::{Output, note};

/// Function that runs the control plane until it ends. Its error says in one line why it could not.
pub type Serve = fn(ServeArgs) -> Result<(), Box<dyn std::error::Error>>;

/// Function that makes a user an admin in a data folder; returns the password.
pub type Reset = fn(ResetArgs) -> Result<String, Box<dyn std::error::Error>>;

/// What runs on the control plane's machine itself, which this crate knows nothing of.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// Runs the control plane.
    pub serve: Serve,
    /// Makes a user an admin.
    pub reset: Reset,
}

/// Runs the command that the process was started with.
pub fn run(programs: Programs) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, complaints to standard error.
            return match error.print() {
                Err(why) if !error.use_stderr() && why.kind() != std::io::ErrorKind::BrokenPipe => {
                    note(&format!("error: cannot write to standard output: {why}"));
                    ExitCode::FAILURE
                }
                _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
            };
        }
    };
    match dispatch(arguments.command, programs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let said = failure.to_string();
            if !said.is_empty() {
                note(said.trim_end());
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Returns every subcommand and option, for manuals and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn dispatch(command: Command, programs: Programs) -> Outcome {
    let environment = Environment::read();
    let output = Output::new(environment.no_color.as_deref());
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut self::command(), "holdfast", &mut script);
            output.bytes(&script)
        }
        Command::Man { dir } => man(&dir),
        Command::Serve(wanted) => {
            (programs.serve)(wanted).map_err(|error| Failure::failed(error.to_string()))
        }
        Command::Admin(Admin::Reset(wanted)) => {
            let user = wanted.user.clone();
            let made = (programs.reset)(wanted);
            let password = made.map_err(|error| Failure::failed(error.to_string()))?;
            note(&format!(
                "user {user} is an admin; its password, to be changed at the next login:"
            ));
            output.line(&password)
        }
        Command::MasterKey(MasterKey::Generate(file)) => master_key::generate(output, &file.file),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::failed(error.to_string()))?;
            runtime.block_on(ask(&environment, output, command))
        }
    }
}

async fn ask(environment: &Environment, output: Output, command: Command) -> Outcome {
    if let Command::Login(wanted) = &command {
        return login::login(environment, output, wanted).await;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    if let Command::Audit(Audit::Verify(wanted)) = &command
        && let Some(file) = &wanted.file
    {
        return audit::verify_file(output, wanted, file, now);
    }
    if let Command::Apply(wanted) = &command
        && let Some(format) = wanted.compose.output
    {
        return apply::print_compose(output, wanted, format);
    }
    let client = environment.client()?;
    with_client(&client, output, now, command).await
}

async fn with_client(client: &Client, output: Output, now: u64, command: Command) -> Outcome {
    match command {
        Command::Token(command) => manage::token(client, output, now, &command).await,
        Command::User(command) => people::user(client, output, now, &command).await,
        Command::Session(command) => people::session(client, output, now, &command).await,
        Command::Auth(command) => access::auth(client, output, now, &command).await,
        Command::Access(command) => access::access(client, output, now, &command).await,
        Command::Tenant(command) => tenants::tenant(client, output, &command).await,
        Command::Apply(wanted) => apply::apply(client, output, &wanted).await,
        Command::Diff(files) => apply::diff(client, output, &files).await,
        Command::Delete(wanted) => apply::delete(client, output, &wanted).await,
        Command::Get(wanted) => get::get(client, output, now, &wanted).await,
        Command::Describe(named) => describe::describe(client, output, now, &named).await,
        Command::Rollback(wanted) => jobs::rollback(client, output, &wanted).await,
        Command::History(wanted) => jobs::history(client, output, now, &wanted).await,
        Command::Restart(wanted) => jobs::restart(client, output, &wanted).await,
        Command::Pause(wanted) => jobs::pause(client, output, &wanted, true).await,
        Command::Resume(wanted) => jobs::pause(client, output, &wanted, false).await,
        Command::Status(wanted) => status::status(client, output, now, &wanted).await,
        Command::Timeline(wanted) => activity::timeline(client, output, now, &wanted).await,
        Command::Activity(wanted) => activity::activity(client, output, now, &wanted).await,
        Command::Audit(command) => audit::audit(client, output, &command).await,
        Command::Device(command) => manage::device(client, output, &command).await,
        Command::Ack(wanted) => alarms::acknowledge(client, output, &wanted).await,
        Command::Silence(wanted) => alarms::silence(client, output, &wanted).await,
        Command::Secret(command) => secrets::secret(client, output, now, command).await,
        Command::Notification(command) => alarms::notification(client, output, &command).await,
        Command::Logs(wanted) => logs::logs(client, output, &wanted).await,
        Command::Data(command) => data::data(client, output, now, &command).await,
        Command::Query(wanted) => query::query(client, output, wanted).await,
        Command::Artifact(Artifact::Push(file)) => transfer::push(client, output, &file.file).await,
        Command::Volume(what) => volumes::run(client, output, &what).await,
        Command::Artifact(Artifact::List) => transfer::artifacts(client, output).await,
        Command::Artifact(Artifact::Delete { digest }) => {
            transfer::delete(client, output, &digest).await
        }
        Command::Image(command) => images::image(client, output, now, &command).await,
        Command::Ca => transfer::ca(client, output).await,
        Command::Backup(wanted) => backups::backup(client, output, &wanted).await,
        Command::Restore(wanted) => backups::restore(client, output, &wanted).await,
        Command::MasterKey(wanted) => master_key::master_key(client, output, wanted).await,
        Command::Serve(_)
        | Command::Admin(_)
        | Command::Login(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
    }
}

fn man(dir: &Path) -> Outcome {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command(), dir))
        .map_err(|error| Failure::file("write the manual into", dir, error))
}
