//! Routes of exports: data records as Parquet files, which are written while the records are read.
//!
//! See decisions 0062 and 0094.

use std::io::{self, Write};
use std::ops::ControlFlow;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::app::App;
use super::data::times;
use super::extract::{Params, Path};
use crate::adapters::parquet::{Look, Table};
use crate::api::selector;
use crate::core::rights::{Action, Actor};
use crate::service::{Failure, Readable, Service, Window};

/// Size of one piece of the response, in bytes.
const PIECE: usize = 64 * 1024;

/// Parameters of the export of one stream.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportQuery {
    /// Only records since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only records before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
}

/// Parameters of the export of a stream of many devices.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FleetExportQuery {
    /// Only records of devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
    /// Only records since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only records before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
}

fn window(app: &App, since: Option<&str>, until: Option<&str>) -> Result<Window, Failure> {
    let now = app.service.documents.now().saturating_mul(1_000);
    let (since, until) = times(since, until, now)?;
    Ok(Window { since, until, ..Window::default() })
}

/// Exports records of a stream as a Parquet file.
///
/// Columns are `device`, `stream`, `seq`, `time`, `value` (as JSON), and one for each field of the
/// first 2,000,000 records, at most 200.
#[utoipa::path(get, path = "/api/v1/devices/{name}/streams/{stream}/export.parquet", operation_id = "exportStream", tag = "data",
    params(("name" = String, Path), ("stream" = String, Path), ExportQuery), security(("bearer" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.apache.parquet"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn one(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, stream)): Path<(String, String)>,
    Params(query): Params<ExportQuery>,
) -> Result<Response, Failure> {
    let window = window(&app, query.since.as_deref(), query.until.as_deref())?;
    let row = app.service.data.stream(&actor, Action::ExportStream, &name, &stream)?;
    export(app, vec![row], window, &format!("{name}-{stream}")).await
}

/// Exports records of the streams with one name, of many devices, as a Parquet file.
///
/// The devices' records follow one after the other. The columns are those of the export of one
/// stream.
#[utoipa::path(get, path = "/api/v1/streams/{stream}/export.parquet", operation_id = "exportStreams", tag = "data",
    params(("stream" = String, Path), FleetExportQuery), security(("bearer" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.apache.parquet"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn all(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(stream): Path<String>,
    Params(query): Params<FleetExportQuery>,
) -> Result<Response, Failure> {
    let window = window(&app, query.since.as_deref(), query.until.as_deref())?;
    let devices = selector::parse(query.label_selector.as_deref().unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))?;
    let rows = app.service.data.streams_named(&actor, &stream, &devices)?;
    export(app, rows, window, &stream).await
}

/// Looks at the records before the response begins, so that an unreadable store gives an error and
/// not a broken file.
async fn export(
    app: App,
    rows: Vec<Readable>,
    window: Window,
    name: &str,
) -> Result<Response, Failure> {
    let service = app.service;
    let looking = tokio::task::spawn_blocking(move || {
        let mut look = Look::default();
        service.data.first_look(&rows, window, &mut |record| look.at(record))?;
        Ok::<_, Failure>((service, rows, look))
    });
    let (service, rows, look) = looking.await.map_err(Failure::internal)??;
    let (to, from) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let out = Pieces { to: to.clone(), piece: Vec::with_capacity(PIECE) };
        if let Err(error) = write(&service, &rows, window, look, out)
            && !to.is_closed()
        {
            tracing::error!(%error, "an export was not written to its end");
            // The response of a failed export ends without the last chunk, so that the client
            // notices.
            drop(to.blocking_send(Err(io::Error::other(error.to_string()))));
        }
    });
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|piece| (piece, from))
    }));
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.apache.parquet".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.parquet\"")),
    ];
    Ok((headers, body).into_response())
}

fn write(
    service: &Service,
    rows: &[Readable],
    window: Window,
    look: Look,
    out: Pieces,
) -> anyhow::Result<()> {
    let mut table = Table::new(out, look)?;
    for row in rows {
        let mut wrote = Ok(());
        service.data.visit_records(row, window, &mut |record| {
            wrote = table.add(row.device.as_str(), row.stream.as_str(), &record);
            if wrote.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        wrote?;
    }
    Ok(table.finish()?)
}

/// Writer that sends the response in pieces, as fast as the client takes them.
struct Pieces {
    to: mpsc::Sender<Result<Bytes, io::Error>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
