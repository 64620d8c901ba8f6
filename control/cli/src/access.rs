//! `access` and `auth`: access tokens, and what their holders may do.
//!
//! See decision 0157.

use reqwest::Method;
use serde_json::Value;

use super::args::{Access, Auth, CreateAccess, Format, Kind};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::get::{Found, print};
use super::moment::{Ttl, until};
use super::table::{Cell, table};
use super::text::Output;
use super::yaml::write as yaml;
use holdfast_api::{self as api, CreatedAccess, Decision, NewAccess, RotateAccess, WhoAmI};

/// Runs a subcommand of `access`, on access tokens.
pub(crate) async fn access(client: &Client, output: Output, now: u64, command: &Access) -> Outcome {
    match command {
        Access::Create(wanted) => {
            let body = document(&new_access(wanted))?;
            let answer = client.send(Method::POST, &["access"], &[], &body).await?;
            output.line(&read::<CreatedAccess>(&answer)?.token)
        }
        Access::Rotate(wanted) => {
            let id = id_of(client, &wanted.id).await?;
            let body = document(&RotateAccess {
                overlap_seconds: Some(wanted.overlap),
                ttl_seconds: wanted.ttl,
            })?;
            let answer = client.send(Method::POST, &["access", &id, "rotate"], &[], &body).await?;
            output.line(&read::<CreatedAccess>(&answer)?.token)
        }
        Access::List { output: format } => {
            let all = client.list(&["access"], &[]).await?;
            print(output, now, Kind::Access, *format, Found::All(all))
        }
        Access::Revoke { id } => {
            let id = id_of(client, id).await?;
            client.send(Method::DELETE, &["access", &id], &[], &Value::Null).await?;
            output.line(&format!("access/{id} revoked"))
        }
    }
}

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

fn new_access(wanted: &CreateAccess) -> NewAccess {
    NewAccess {
        name: wanted.name.clone(),
        role: wanted.role,
        selector: wanted.selector.clone(),
        ttl_seconds: match wanted.ttl {
            Some(Ttl::Seconds(seconds)) => Some(seconds),
            Some(Ttl::Never) | None => None,
        },
        endless: wanted.ttl == Some(Ttl::Never),
    }
}

/// Id of the access token that `given` names: its id, the whole token (of which the secret is not
/// sent), or its name.
async fn id_of(client: &Client, given: &str) -> Outcome<String> {
    let given =
        given.strip_prefix("hfa1.").and_then(|rest| rest.split('.').next()).unwrap_or(given);
    let all = client.list(&["access"], &[]).await?;
    let all: Vec<api::Access> = all.iter().map(read).collect::<Outcome<_>>()?;
    let by_id = all.iter().find(|token| token.metadata.name == given);
    let found = by_id.or_else(|| all.iter().find(|token| token.name == given));
    // What is not in the list goes to the control plane, which says that there is none.
    Ok(found.map_or_else(|| given.to_owned(), |token| token.metadata.name.clone()))
}

/// Runs a subcommand of `auth`: who the caller is, and what it may do.
pub(crate) async fn auth(client: &Client, output: Output, now: u64, command: &Auth) -> Outcome {
    match command {
        Auth::Whoami { verbose, output: format } => {
            let found: Value = client.get(&["whoami"], &[]).await?;
            match format {
                Format::Json => {
                    let text = serde_json::to_string_pretty(&found);
                    output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)
                }
                Format::Yaml => output.bytes(yaml(&found)?.as_bytes()),
                Format::Table | Format::Wide => {
                    shown(output, now, &read(&found)?, *verbose || *format == Format::Wide)
                }
            }
        }
        Auth::Can { action, object } => {
            let mut query = vec![("action", action.as_str())];
            query.extend(object.as_deref().map(|name| ("object", name)));
            let found: Value = client.get(&["can"], &query).await?;
            let decision: Decision = read(&found)?;
            if decision.allowed {
                let reach = decision.reach.map(|it| format!(" devices with {it},"));
                output.line(&format!("yes:{} {}", reach.unwrap_or_default(), decision.why))
            } else {
                Err(Failure::failed(format!("no: {}", decision.why)))
            }
        }
    }
}

fn shown(output: Output, now: u64, told: &WhoAmI, verbose: bool) -> Outcome {
    let ends = told.expires_at.as_ref().map_or_else(
        || "it does not end by itself".to_owned(),
        |end| format!("it ends {}", until(end, now)),
    );
    output.line(&format!("{}, tenant {}; {ends}", told.caller, told.tenant))?;
    if told.grants.is_empty() {
        output.line("it has no role, so it may do nothing: an admin gives roles")?;
    }
    for grant in &told.grants {
        let reach = grant.selector.as_ref().map(|it| format!(" for devices with {it}"));
        let (reach, what) = (reach.unwrap_or_default(), grant.role.describe());
        output.line(&format!("role {}{reach}, by {}: {what}", grant.role, grant.by))?;
    }
    if !verbose {
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = told
        .actions
        .iter()
        .map(|decision| {
            let allowed = if decision.allowed { "yes" } else { "no" };
            let reach = decision.reach.as_deref().unwrap_or("-");
            [decision.action.as_str(), allowed, reach, &decision.why].map(Cell::from).into()
        })
        .collect();
    output.bytes(table(output, 0, &["ACTION", "ALLOWED", "REACH", "WHY"], &rows).as_bytes())
}
