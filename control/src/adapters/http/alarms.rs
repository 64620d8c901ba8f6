//! Routes of alarms: the list, acknowledgements, silences, and the test of a notification.
//! Documents of notifications are among the policies.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use crate::api::Muting;
use crate::api::{Alarm, AlarmState, List, NewSilence, Severity, Silence, Tested};
use crate::core::rights::Actor;
use crate::service::{AlarmsQuery, Failure};

type JsonResult<T> = Result<Json<T>, Failure>;

/// Parameters of the list of alarms.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListAlarms {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Only alarms of this kind: `lost`, `never-seen`, `certificate`, `failing`, `problem` or
    /// `waiting`.
    kind: Option<String>,
    /// Only alarms with this code: a problem's code, or a workload's name.
    code: Option<String>,
    /// Only alarms of at least this severity: `critical`, `warning` or `info`.
    severity: Option<String>,
    /// Only alarms in this state: `firing`, `acknowledged` or `silenced`.
    state: Option<String>,
    /// Only alarms of this device.
    device: Option<String>,
    /// Only alarms of devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
}

impl ListAlarms {
    fn query(self) -> Result<AlarmsQuery, Failure> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let severity = given(self.severity).map(|word| {
            Severity::parse(&word)
                .ok_or_else(|| Failure::invalid("severity: one of critical, warning and info"))
        });
        let state = given(self.state).map(|word| {
            [AlarmState::Firing, AlarmState::Acknowledged, AlarmState::Silenced]
                .into_iter()
                .find(|state| state.as_str() == word)
                .ok_or_else(|| Failure::invalid("state: one of firing, acknowledged and silenced"))
        });
        Ok(AlarmsQuery {
            limit: self.limit,
            after: self.after,
            kind: given(self.kind),
            code: given(self.code),
            severity: severity.transpose()?,
            state: state.transpose()?,
            device: given(self.device),
            selector: super::lists::selector(self.label_selector.as_deref())?,
        })
    }
}

/// Lists active alarms, the most urgent first, then the oldest.
///
/// The list is at most a few seconds old.
#[utoipa::path(get, path = "/api/v1/alarms", operation_id = "listAlarms", tag = "alarms", params(ListAlarms),
    security(("bearer" = [])),
    responses((status = 200, body = List<Alarm>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<ListAlarms>,
) -> JsonResult<List<Alarm>> {
    let query = query.query()?;
    let service = std::sync::Arc::clone(&app.service);
    tokio::task::spawn_blocking(move || service.alarms.list(&actor, &query))
        .await
        .map_err(Failure::internal)?
        .map(Json)
}

/// Acknowledges the active alarms that match.
///
/// They are no longer told. The acknowledgement ends with the alarms.
#[utoipa::path(post, path = "/api/v1/alarms/acknowledge", operation_id = "acknowledgeAlarms", tag = "alarms",
    request_body = NewSilence, security(("bearer" = [])),
    responses((status = 201, body = Silence), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn acknowledge(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<Silence>), Failure> {
    let new: NewSilence = json(body, SMALL).await?;
    let made = app.service.alarms.mute(&actor, Muting::Acknowledgement, new).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Silences the alarms that match until a time, including those that begin later.
#[utoipa::path(post, path = "/api/v1/alarms/silence", operation_id = "silenceAlarms", tag = "alarms",
    request_body = NewSilence, security(("bearer" = [])),
    responses((status = 201, body = Silence), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn silence(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<Silence>), Failure> {
    let new: NewSilence = json(body, SMALL).await?;
    let made = app.service.alarms.mute(&actor, Muting::Silence, new).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Lists acknowledgements and silences that are in force, the newest first.
#[utoipa::path(get, path = "/api/v1/silences", operation_id = "listSilences", tag = "alarms",
    security(("bearer" = [])),
    responses((status = 200, body = List<Silence>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn silences(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> JsonResult<List<Silence>> {
    let service = std::sync::Arc::clone(&app.service);
    let listed = tokio::task::spawn_blocking(move || service.alarms.silences(&actor)).await;
    listed.map_err(Failure::internal)?.map(Json)
}

/// Ends an acknowledgement or a silence.
#[utoipa::path(delete, path = "/api/v1/silences/{id}", operation_id = "endSilence", tag = "alarms",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn end(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.alarms.unmute(&actor, &id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Sends a test message to a notification's receiver at once.
///
/// The response contains the receiver's reply.
#[utoipa::path(post, path = "/api/v1/notifications/{name}/test", operation_id = "testNotification", tag = "alarms",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Tested), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn test(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Tested> {
    app.service.alarms.test_notification(&actor, &name).await.map(Json)
}
