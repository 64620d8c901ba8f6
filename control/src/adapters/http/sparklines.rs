//! Route of sparklines: the last hour of many streams of a device in one small response, for
//! tables.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use holdfast_query::parse;
use serde_json::Value;

use super::app::App;
use super::data::aside;
use super::extract::{Params, Path};
use crate::api::time::rfc3339;
use crate::api::{Sparkline, Sparklines};
use crate::core::rights::{Action, Actor};
use crate::service::Failure;

/// Maximum number of streams in one response.
const STREAMS: usize = 50;

/// Length of one point, in seconds.
const POINT: u64 = 60;
/// Number of points in a sparkline.
const POINTS: u64 = 60;

/// Parameters of the sparklines.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparklinesQuery {
    /// Streams, at most 50, one on each line: the stream's name and, after a tab, the path of the
    /// number in its records, as in `series`. Without a tab the record itself is the number.
    of: String,
}

/// Returns the means of a number of several streams over the last hour, one for each minute.
#[utoipa::path(get, path = "/api/v1/devices/{name}/sparklines", operation_id = "getSparklines", tag = "data",
    params(("name" = String, Path), SparklinesQuery), security(("bearer" = [])),
    responses((status = 200, body = Sparklines), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(query): Params<SparklinesQuery>,
) -> Result<Json<Sparklines>, Failure> {
    let mut wanted = Vec::new();
    for line in query.of.lines().filter(|line| !line.is_empty()) {
        let (stream, field) = line.split_once('\t').unwrap_or((line, ""));
        let row = app.service.data.stream(&actor, Action::GetSparklines, &name, stream)?;
        let field = parse::path("of", field).map_err(|why| Failure::invalid(why.to_string()))?;
        wanted.push((row, field));
    }
    if wanted.len() > STREAMS {
        return Err(Failure::invalid(format!("of: {STREAMS} streams at most")));
    }
    // The hour ends at a whole minute, so that a line does not change its shape with every request.
    let until = app.service.documents.now() / POINT * POINT + POINT;
    let since = until.saturating_sub(POINT * POINTS);
    let items = aside(app, move |service| {
        let mut items = Vec::new();
        for (row, field) in wanted {
            let span = (since.saturating_mul(1_000), until.saturating_mul(1_000));
            let (points, _) = service.data.series(&row, span, &field, POINTS)?;
            let means: BTreeMap<String, f64> =
                points.into_iter().map(|point| (point.time, point.mean)).collect();
            let value = |at: u64| {
                let time = crate::api::time::rfc3339_millis((since + at * POINT) * 1_000);
                means.get(&time).map_or(Value::Null, |mean| Value::from(*mean))
            };
            let values = (0..POINTS).map(value).collect();
            items.push(Sparkline { stream: row.stream.to_string(), values });
        }
        Ok(items)
    })
    .await?;
    Ok(Json(Sparklines { since: rfc3339(since), seconds: POINT, items }))
}
