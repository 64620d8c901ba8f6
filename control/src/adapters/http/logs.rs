//! A workload's log, streamed from its device.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;

use super::App;
use super::extract::{Params, Path};
use crate::service::{Credential, Failure, LogStream, Service, Watch};

/// Which part of a log.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// Lines from the end.
    #[serde(default = "hundred")]
    tail: u32,
    /// Keep sending what comes.
    #[serde(default)]
    follow: bool,
}

fn hundred() -> u32 {
    100
}

/// The end of a workload's log on a device, as text.
#[utoipa::path(get, path = "/api/v1/devices/{name}/workloads/{workload}/logs", operation_id = "getLogs", tag = "devices",
    params(("name" = String, Path), ("workload" = String, Path), LogQuery),
    security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = super::error_schema::ErrorBody),
        (status = 503, description = "the device cannot be asked now", body = super::error_schema::ErrorBody)))]
pub(super) async fn logs(
    State(app): State<App>,
    Extension(credential): Extension<Credential>,
    Path((name, workload)): Path<(String, String)>,
    Params(query): Params<LogQuery>,
) -> Result<Response, Failure> {
    let counted = match query.follow {
        true => Some(app.service.unending("followed logs", &credential)?),
        false => None,
    };
    let mut log = app.service.logs(&name, &workload, query.tail, query.follow)?;
    // The first piece decides about the status: an error of the device is an error here. While
    // a log is followed it may be long in coming.
    let first = if query.follow { None } else { Some(log.next().await) };
    let first = match first {
        None => None,
        Some(None) => Some(Bytes::new()),
        Some(Some(Ok(bytes))) => Some(bytes),
        Some(Some(Err(text))) => {
            return Err(Failure::Unavailable(format!("device {name}: {text}")));
        }
    };
    let App { service, stop, .. } = app;
    let sending = Sending { service, credential, first, log, stop, cut: None, _counted: counted };
    let pieces = stream::unfold(sending, Sending::step);
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

struct Sending {
    service: Arc<Service>,
    credential: Credential,
    first: Option<Bytes>,
    log: LogStream,
    stop: tokio::sync::watch::Receiver<bool>,
    /// Why there is no more.
    cut: Option<String>,
    _counted: Option<Watch>,
}

impl Sending {
    async fn step(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        if let Some(why) = self.cut.take() {
            // A log that was cut must not be taken for a whole one: its answer is cut too. Once
            // it has waited, the line that says why is on its way before.
            tokio::task::yield_now().await;
            return Some((Err(std::io::Error::other(why)), self));
        }
        let piece = tokio::select! {
            piece = self.log.next() => piece?,
            _ = self.stop.changed() => Err("the control plane stops".to_owned()),
        };
        if !self.service.holds(&self.credential) {
            return None; // Its token or session ended meanwhile.
        }
        let bytes = piece.unwrap_or_else(|text| {
            // The status was sent long ago: the log's last line says what happened.
            self.cut = Some(text.clone());
            format!("--- {text}\n").into()
        });
        Some((Ok(bytes), self))
    }
}
