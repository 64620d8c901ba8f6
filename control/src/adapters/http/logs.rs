//! Route of a workload's log, which is streamed from its device.
//!
//! See decision 0127.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use holdfast_protocol::message::LogPart;

use super::app::App;
use super::data::time;
use super::extract::{Params, Path};
use crate::api::log::{LogHead, LogPiece, LogText, place};
use crate::core::rights::Actor;
use crate::service::{Failure, LogEnd, LogStream, Service, Watch};

/// Media type of a framed log: for each piece a line of JSON, then as many bytes as the line says.
const FRAMED: &str = "application/vnd.holdfast.log";

/// Parameters of a log.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// Number of lines from the end. The default is 100, or all lines of the part that `since`,
    /// `until` or `previous` selects.
    tail: Option<u32>,
    /// If true, new lines are sent as they are written. Not together with `until` or `previous`.
    #[serde(default)]
    follow: bool,
    /// Only lines written at this time or later: RFC 3339, or a length of time before now such as
    /// `10m`. A line's time is that of the device's first look at the log after the line was
    /// written: exact within a second, for older lines within a tenth of their age.
    since: Option<String>,
    /// Only lines written at this time or before: RFC 3339, or a length of time before now such as
    /// `10m`.
    until: Option<String>,
    /// Only lines of a run before the present one: 1 is the previous run, 2 the one before. The
    /// starts of the last 10 runs are stored. 0 selects all runs.
    #[serde(default)]
    previous: u32,
    /// If true, each line begins with the time at which it was written, as RFC 3339, or with
    /// `unknown`.
    #[serde(default)]
    timestamps: bool,
    /// Position after which to go on: the log's number and an offset, as in `305419896-5000`, from
    /// `log` and `offset` plus `length` of a framed response. Bytes that are no longer stored are
    /// counted in `lost`.
    after: Option<String>,
    /// If true, the response is framed (`application/vnd.holdfast.log`): for each piece a line of
    /// JSON with `log`, `offset`, `length`, `lost` and `anew` (where not 0 or false), `times` (with
    /// `timestamps`: pairs of a length in bytes and seconds since 1970, 0 where unknown), `silent`
    /// or `error`; then `length` bytes of the log as they are. The first frame is the device's
    /// first message, even when it has nothing to send yet. While a log is followed, a device sends
    /// one at least every 10 s. A frame with `silent` says for how many seconds the device has not
    /// answered.
    #[serde(default)]
    framed: bool,
}

impl LogQuery {
    fn part(&self, now: u64) -> Result<LogPart, Failure> {
        let since = time("since", self.since.as_deref(), now)?.map_or(0, |ms| ms / 1_000);
        let until = time("until", self.until.as_deref(), now)?.map_or(0, |ms| ms / 1_000);
        if until != 0 && since > until {
            return Err(Failure::invalid("since is not before until"));
        }
        if self.follow && (until != 0 || self.previous != 0) {
            return Err(Failure::invalid("follow: not together with until or previous"));
        }
        let named = since != 0 || until != 0 || self.previous != 0;
        let usual = if named { u32::MAX } else { TAIL };
        let after = self.after.as_deref().map(|text| {
            place(text).ok_or_else(|| {
                Failure::invalid(format!(
                    "after={text}: a log and an offset, such as 305419896-5000"
                ))
            })
        });
        let (log, from) = after.transpose()?.unwrap_or_default();
        Ok(LogPart {
            tail: self.tail.unwrap_or(usual),
            follow_seconds: self.follow.into(),
            since,
            until,
            back: self.previous,
            times: self.timestamps,
            log,
            from,
        })
    }
}

/// Number of lines from the end when no part is selected.
const TAIL: u32 = 100;

/// Returns a part of a workload's log from its device, as text.
#[utoipa::path(get, path = "/api/v1/devices/{name}/workloads/{workload}/logs", operation_id = "getLogs", tag = "devices",
    params(("name" = String, Path), ("workload" = String, Path), LogQuery),
    security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = super::error::ErrorBody),
        (status = 503, description = "the device cannot be asked now", body = super::error::ErrorBody)))]
pub(super) async fn logs(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, workload)): Path<(String, String)>,
    Params(query): Params<LogQuery>,
) -> Result<Response, Failure> {
    let counted = match query.follow {
        true => Some(app.service.access.unending("followed logs", &actor)?),
        false => None,
    };
    let part = query.part(app.service.documents.now().saturating_mul(1_000))?;
    let mut log = app.service.calls.logs(&actor, &name, &workload, part)?;
    // The first piece decides about the status: an error of the device becomes an error response.
    // While a log is followed the first piece may be long in coming, so it is not awaited.
    let first = if query.follow { None } else { log.next().await };
    let first = match first {
        None => None,
        Some(Ok(piece)) => Some(piece),
        Some(Err(text)) => {
            return Err(Failure::Unavailable(format!("device {name}: {text}")));
        }
    };
    let App { service, stop, .. } = app;
    let text = LogText::new(query.timestamps);
    let framed = query.framed;
    let sending =
        Sending { service, actor, first, log, stop, cut: None, _counted: counted, framed, text };
    let pieces = stream::unfold(sending, Sending::step);
    let kind = if framed { FRAMED } else { "text/plain; charset=utf-8" };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

/// Response that is being sent.
struct Sending {
    service: Arc<Service>,
    actor: Actor,
    first: Option<LogPiece>,
    log: LogStream,
    stop: tokio::sync::watch::Receiver<bool>,
    /// Reason why there is no more, to be sent after the last line.
    cut: Option<String>,
    _counted: Option<Watch>,
    framed: bool,
    text: LogText,
}

impl Sending {
    async fn step(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if let Some(first) = self.first.take() {
            let bytes = self.show(&first);
            return Some((Ok(bytes), self));
        }
        if let Some(why) = self.cut.take() {
            // The response of a log that was cut ends without the last chunk, so that it is not
            // taken for a whole one. Yielding first lets the line that says why be sent before.
            tokio::task::yield_now().await;
            return Some((Err(std::io::Error::other(why)), self));
        }
        let piece = tokio::select! {
            piece = self.log.next() => piece?,
            _ = self.stop.changed() => Err(LogEnd::Stopping),
        };
        if !self.service.access.holds(&self.actor) {
            return None; // The token or login has ended.
        }
        let bytes = match piece {
            Ok(piece) => self.show(&piece),
            Err(end) => {
                let text = end.to_string();
                // The status was sent long ago, so the log's last line says what happened.
                self.cut = Some(text.clone());
                if self.framed {
                    let head = LogHead { error: Some(text), ..LogHead::default() };
                    framed(&LogPiece { head, ..LogPiece::default() })
                } else {
                    format!("{}--- {text}\n", self.text.end_line()).into()
                }
            }
        };
        Some((Ok(bytes), self))
    }

    fn show(&mut self, piece: &LogPiece) -> Bytes {
        if self.framed {
            return framed(piece);
        }
        let mut text = Vec::new();
        if let Some(missing) = piece.head.missing() {
            text = format!("{}--- {missing}\n", self.text.end_line()).into_bytes();
        }
        text.extend(self.text.render(piece));
        text.into()
    }
}

/// Encodes a frame: a line of JSON, and the bytes that it describes.
fn framed(piece: &LogPiece) -> Bytes {
    let mut frame = serde_json::to_vec(&piece.head).unwrap_or_default();
    frame.push(b'\n');
    frame.extend_from_slice(&piece.body);
    frame.into()
}
