//! `user` and `session`: local users, and open sessions.
//!
//! See decision 0158.

use std::io::Read as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Format, Session, User};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::moment::ago;
use super::table::{Cell, table};
use super::text::{Mood, Output, note};
use super::yaml::write as yaml;
use holdfast_api::{self as api, OpenSession, UserPassword};

/// Runs a subcommand of `user`, on local users.
pub(crate) async fn user(client: &Client, output: Output, now: u64, command: &User) -> Outcome {
    match command {
        User::Create { name, full_name, password_file } => {
            let given = password_file.as_deref().map(password).transpose()?;
            let body = json!({ "name": name, "fullName": full_name, "password": given });
            let answer = client.send(Method::POST, &["users"], &[], &body).await?;
            let made: UserPassword = read(&answer)?;
            if made.user.roles.is_empty() {
                note("the user may do nothing yet: apply a RoleBinding document that names it");
            }
            made_password(output, name, &made)
        }
        User::List { output: format } => {
            let all = client.list(&["users"], &[]).await?;
            listed(
                output,
                *format,
                &all,
                &["NAME", "ROLES", "STATE", "CODE", "LAST LOGIN", "PERSON"],
                |user| user_row(now, user),
            )
        }
        User::Password { name, password_file } => {
            let body = match password_file {
                Some(file) => json!({ "password": password(file)? }),
                None => json!({}),
            };
            let path = ["users", name, "password"];
            let answer = client.send(Method::POST, &path, &[], &body).await?;
            made_password(output, name, &read(&answer)?)
        }
        User::Disable { name } => change(client, output, name, true).await,
        User::Enable { name } => change(client, output, name, false).await,
        User::RemoveSecondFactor { name } => {
            let path = ["users", name, "second-factor"];
            client.send(Method::DELETE, &path, &[], &Value::Null).await?;
            output.line(&format!("user/{name}: second factor removed"))
        }
        User::Delete { name } => {
            client.send(Method::DELETE, &["users", name], &[], &Value::Null).await?;
            output.line(&format!("user/{name} deleted"))
        }
    }
}

/// Runs a subcommand of `session`, on open sessions.
pub(crate) async fn session(
    client: &Client,
    output: Output,
    now: u64,
    command: &Session,
) -> Outcome {
    match command {
        Session::List { output: format } => {
            let all = client.list(&["sessions"], &[]).await?;
            listed(output, *format, &all, &["ID", "WHO", "BEGAN", "FROM", "PROGRAM"], |session| {
                session_row(now, session)
            })
        }
        Session::End { id } => {
            client.send(Method::DELETE, &["sessions", id], &[], &Value::Null).await?;
            output.line(&format!("session/{id} ended"))
        }
    }
}

async fn change(client: &Client, output: Output, name: &str, disabled: bool) -> Outcome {
    let body = json!({ "disabled": disabled });
    client.send(Method::PATCH, &["users", name], &[], &body).await?;
    output.line(&format!("user/{name} {}", if disabled { "disabled" } else { "enabled" }))
}

/// Prints a password that was made, alone, so that a script can take it.
fn made_password(output: Output, name: &str, made: &UserPassword) -> Outcome {
    match &made.password {
        Some(password) => {
            note(&format!("password of user {name}, to be changed at the next login:"));
            output.line(password)
        }
        None => output.line(&format!("user/{name}: password set")),
    }
}

/// Reads a password from a file, or from standard input: without the line end.
fn password(file: &Path) -> Outcome<String> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot read the password from {}: {error}", file.display()))
    };
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(4_096).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(file)
            .and_then(|file| file.take(4_096).read_to_string(&mut text))
            .map_err(failed)?;
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn listed(
    output: Output,
    format: Format,
    all: &[Value],
    headings: &[&str],
    row: impl Fn(&Value) -> Outcome<Vec<Cell>>,
) -> Outcome {
    let found = || json!({ "items": all });
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&found());
            output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)
        }
        Format::Yaml => output.bytes(yaml(&found())?.as_bytes()),
        Format::Table | Format::Wide => {
            let rows = all.iter().map(row).collect::<Outcome<Vec<_>>>()?;
            output.bytes(table(output, 0, headings, &rows).as_bytes())
        }
    }
}

fn user_row(now: u64, item: &Value) -> Outcome<Vec<Cell>> {
    let user: api::User = read(item)?;
    let roles: Vec<String> = user
        .roles
        .iter()
        .map(|granted| match &granted.selector {
            Some(selector) => format!("{} on {selector}", granted.role),
            None => granted.role.to_string(),
        })
        .collect();
    let state = match (user.disabled, user.must_change) {
        (true, _) => Cell::new("disabled", Mood::Bad),
        (false, true) => Cell::new("must change password", Mood::Busy),
        (false, false) => Cell::from("active"),
    };
    Ok(vec![
        Cell::from(user.name.as_str()),
        Cell::from(if roles.is_empty() { "-".to_owned() } else { roles.join("; ") }),
        state,
        Cell::from(if user.second_factor { "yes" } else { "no" }),
        Cell::from(user.last_login_at.map_or_else(|| "never".to_owned(), |at| ago(&at, now))),
        Cell::from(user.full_name.as_str()),
    ])
}

fn session_row(now: u64, item: &Value) -> Outcome<Vec<Cell>> {
    let session: OpenSession = read(item)?;
    Ok(vec![
        Cell::from(session.id.as_str()),
        Cell::from(session.caller.as_str()),
        Cell::from(ago(&session.created_at, now)),
        Cell::from(session.address.as_deref().unwrap_or("-")),
        Cell::from(session.agent.as_str()),
    ])
}
