//! `holdfast login --provider`: prints a code and an address, and waits until the person has logged
//! in there.
//!
//! See decision 0165.

use std::time::Duration;

use holdfast_api::{DeviceLogin, DeviceLoginState};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Failure, Outcome};
use super::text::{Output, note, one_line};

/// Longest time between two questions, in seconds.
const LONGEST: u64 = 60;

/// Person who has logged in, and the token of the command line.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Token, `hfs1.…`.
    pub(crate) token: String,
    /// Words about who it is, with which roles, and until when.
    pub(crate) who: String,
}

fn understood<T: DeserializeOwned>(answer: Value) -> Outcome<T> {
    serde_json::from_value(answer).map_err(|_| {
        Failure::failed(
            "the control plane answered what this program does not understand: is it as new as this program?",
        )
    })
}

/// Logs in by an identity provider (device flow).
pub(crate) async fn enter(
    client: &Client,
    output: Output,
    provider: &str,
    tenant: Option<&str>,
) -> Outcome<Entered> {
    let body = tenant.map_or_else(|| json!({}), |tenant| json!({ "tenant": tenant }));
    let path = ["login", provider, "device"];
    let begun: DeviceLogin = understood(client.send(Method::POST, &path, &[], &body).await?)?;
    output.line(&format!("open {} and type in {}", begun.verification_uri, begun.user_code))?;
    if let Some(complete) = &begun.verification_uri_complete {
        output.line(&format!("or open {complete}"))?;
    }
    note(&format!("waiting for the login, {} s at most", begun.expires_in));
    let (mut wait, mut waited) = (begun.interval, 0);
    let body = json!({ "handle": begun.handle });
    let path = ["login", provider, "device", "ask"];
    while waited <= begun.expires_in {
        let seconds = wait.clamp(1, LONGEST);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        waited += seconds;
        let asked = client.send(Method::POST, &path, &[], &body).await?;
        let state: DeviceLoginState = understood(asked)?;
        wait = state.wait.unwrap_or(begun.interval);
        if let Some(token) = state.token {
            let roles: Vec<&str> = state.roles.iter().map(|role| role.as_str()).collect();
            let who = format!(
                "{} ({}) until {}",
                one_line(&state.caller.unwrap_or_default()),
                roles.join(", "),
                state.expires_at.unwrap_or_default()
            );
            return Ok(Entered { token, who });
        }
    }
    Err(Failure::refused("nobody has logged in in time: begin again"))
}
