//! Questions to identity providers over HTTP: one attempt each, bounded in time and size, without
//! redirects, so that no answer leads to another machine.
//!
//! See decision 0165.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use super::notify::tls;
use crate::core::oidc::{MAX_ANSWER, check_address};
use crate::service::{ProviderAnswer, ProviderAsk, ProviderHttp};

/// Longest time of one question, with its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Identity providers on the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityProviders;

impl ProviderHttp for IdentityProviders {
    fn ask<'a>(&'a self, ask: ProviderAsk<'a>) -> BoxFuture<'a, Result<ProviderAnswer, String>> {
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, Box::pin(answer(ask))).await {
                Ok(answer) => answer,
                Err(_) => {
                    Err(format!("{} does not answer within {} s", ask.url, PATIENCE.as_secs()))
                }
            }
        })
    }
}

async fn answer(ask: ProviderAsk<'_>) -> Result<ProviderAnswer, String> {
    check_address(ask.url).map_err(|why| format!("{}: {why}", ask.url))?;
    let client = tls::client(ask.url, ask.ca).map_err(|error| error.to_string())?;
    let mut request = match ask.body {
        None => client.get(ask.url),
        Some(body) => client
            .post(ask.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.form.clone()),
    };
    request = request.header(ACCEPT, "application/json");
    if let Some(authorization) = ask.body.and_then(|body| body.authorization.as_deref()) {
        request = request.header(AUTHORIZATION, authorization);
    }
    let unreached = |error: reqwest::Error| tls::unreached(&error, ask.url);
    let mut response = request.send().await.map_err(unreached)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!(
            "{} leads elsewhere (status {}), and redirects are not followed: is spec.issuer its address?",
            ask.url,
            status.as_u16()
        ));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreached)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("{} answers with more than {MAX_ANSWER} bytes", ask.url));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(ProviderAnswer { status: status.as_u16(), bytes })
}
