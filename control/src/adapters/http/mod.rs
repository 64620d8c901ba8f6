//! HTTPS API: routes, their guards, and their description as OpenAPI. It decides nothing:
//! `service/` does.
//!
//! See decisions 0098 and 0100.

mod access;
mod activity;
mod alarms;
mod archive;
mod artifacts;
mod auth;
mod data;
mod devices;
mod enrol;
mod error;
mod events;
mod export;
mod extract;
mod fleet;
mod groups;
mod jobs;
mod listen;
mod logs;
mod meaning;
mod metrics;
mod pages;
mod parameters;
mod ping;
mod policies;
mod query;
mod session;
mod short;
mod sparklines;
mod stall;
mod system;
mod tokens;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::adapters::artifacts::Artifacts;
use crate::adapters::gateway::Gateway;
use crate::core::rights::Action;
use crate::core::session::COOKIE;
use crate::service::{Failure, Service};

pub use archive::read_backup;
pub use listen::{Tls, serve};
pub use pages::{File, Pages};

/// State that every handler shares.
#[derive(Clone)]
pub struct App {
    /// Service of the control plane.
    pub service: Arc<Service>,
    /// Device gateway, for its counters.
    pub gateway: Gateway,
    /// Store of the artifacts on disk.
    pub artifacts: Arc<Artifacts>,
    /// Counter of answered requests.
    pub requests: Arc<Requests>,
    /// OpenAPI document, see [`openapi`].
    pub description: Arc<utoipa::openapi::OpenApi>,
    /// Files of the pages, served at `/`.
    pub pages: Arc<Pages>,
    /// True once open streams must end because the control plane stops.
    pub stop: watch::Receiver<bool>,
}

/// Number of answered requests by class of status (1xx to 5xx).
#[derive(Debug, Default)]
pub struct Requests {
    classes: [AtomicU64; 5],
}

impl Requests {
    fn count(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "The control plane's API. Errors are an `ErrorBody`; lists page by `limit` and `continue`."
    ),
    components(schemas(error_schema::ErrorBody)),
    modifiers(&Bearer),
    tags(
        (name = "devices"), (name = "workloads"), (name = "alarms"), (name = "data"), (name = "tokens"), (name = "enrolment"),
        (name = "artifacts"), (name = "access"), (name = "system")
    )
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`hfa1.<id>.<secret>`, as printed at the first start"))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let cookie = ApiKeyValue::with_description(
            COOKIE,
            "set by `POST /api/v1/session`; changes carry the header `X-CSRF-Token` beside it. It serves wherever `bearer` does, when no `Authorization` is given",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Schema of the error body in the OpenAPI document.
pub(crate) mod error_schema {
    use utoipa::ToSchema;

    /// Body of every error response.
    #[derive(ToSchema)]
    #[allow(dead_code, reason = "only its schema is used; the values are protocol::enrol's")]
    pub(crate) struct ErrorBody {
        error: crate::api::ErrorDocument,
    }
}

fn operators() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(fleet::devices))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::labels))
        .routes(routes!(groups::groups))
        .routes(routes!(groups::trend))
        .routes(routes!(activity::timeline))
        .routes(routes!(fleet::differences))
        .routes(routes!(devices::get, devices::patch, devices::delete))
        .routes(routes!(devices::approve))
        .routes(routes!(devices::revoke))
        .routes(routes!(ping::ping))
        .routes(routes!(logs::logs))
        .routes(routes!(data::streams))
        .routes(routes!(data::of_device))
        .routes(routes!(data::records))
        .routes(routes!(data::series))
        .routes(routes!(sparklines::get))
        .routes(routes!(data::ledger))
        .routes(routes!(policies::list))
        .routes(routes!(policies::get, policies::delete))
        .routes(routes!(policies::devices))
        .routes(routes!(alarms::list))
        .routes(routes!(alarms::acknowledge))
        .routes(routes!(alarms::silence))
        .routes(routes!(alarms::silences))
        .routes(routes!(alarms::end))
        .routes(routes!(alarms::test))
        .routes(routes!(metrics::streams))
        .routes(routes!(query::query))
        .routes(routes!(query::end))
        .routes(routes!(query::fetch))
        .routes(routes!(export::one))
        .routes(routes!(export::all))
        .routes(routes!(workloads::apply))
        .routes(routes!(workloads::list))
        .routes(routes!(workloads::get, workloads::delete))
        .routes(routes!(workloads::revisions))
        .routes(routes!(jobs::rollback))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(jobs::restart))
        .routes(routes!(workloads::explain))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::read, tokens::revoke))
        .routes(routes!(activity::audit))
        .routes(routes!(activity::activity))
        .routes(routes!(access::list, access::create))
        .routes(routes!(access::delete))
        .routes(routes!(system::about))
        .routes(routes!(system::licences))
        .routes(routes!(events::events))
        .routes(routes!(artifacts::put))
        .routes(routes!(archive::backup))
        .routes(routes!(archive::restore))
}

fn anybody() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(session::login))
        .routes(routes!(enrol::enrol))
        .routes(routes!(enrol::renew))
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz))
        .routes(routes!(system::schema))
        .routes(routes!(system::openapi))
        .routes(routes!(system::ca))
        .routes(routes!(metrics::metrics))
}

/// Routes that need the cookie of a login; a token does not open them.
fn sessions() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(session::get, session::logout))
}

/// Routes that devices may use too.
fn devices() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(artifacts::get))
}

/// Builds the OpenAPI document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut api) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(operators())
        .merge(devices())
        .merge(anybody())
        .merge(sessions())
        .split_for_parts();
    api.info.version = env!("CARGO_PKG_VERSION").into();
    name_actions(&mut api);
    api
}

/// Writes the action of each route into the OpenAPI document, as `x-holdfast-action`.
fn name_actions(api: &mut utoipa::openapi::OpenApi) {
    for action in Action::ALL {
        let (method, route) = action.route();
        let Some(path) = api.paths.paths.get_mut(route) else { continue };
        let operation = match method {
            "GET" => &mut path.get,
            "PUT" => &mut path.put,
            "POST" => &mut path.post,
            "PATCH" => &mut path.patch,
            _ => &mut path.delete,
        };
        if let Some(operation) = operation {
            let extensions = operation.extensions.get_or_insert_default();
            extensions.insert("x-holdfast-action".into(), action.word().into());
        }
    }
}

/// Builds the router of all routes with their guards.
pub fn router(app: App) -> Router {
    // The caller is checked before the request, so that a stranger gets the same error for any
    // request.
    let guard = from_fn_with_state(app.clone(), auth::operators);
    let operators = held(operators()).route_layer(guard);
    let guard = from_fn_with_state(app.clone(), auth::operators_and_devices);
    let devices = held(devices()).route_layer(guard);
    let guard = from_fn_with_state(app.clone(), auth::sessions);
    let sessions = held(sessions()).route_layer(guard);
    operators
        .merge(devices)
        .merge(held(anybody()))
        .merge(sessions)
        .fallback(pages::pages)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(short::short))
        .layer(from_fn(meaning::refused))
        .layer(from_fn_with_state(app.clone(), counted))
        .with_state(app)
}

/// Routes whose parameters are checked against the OpenAPI document, see `parameters`.
fn held(routes: OpenApiRouter<App>) -> Router<App> {
    let (routes, description) = routes.split_for_parts();
    let declared = parameters::Declared::of(&description);
    routes.route_layer(from_fn_with_state(declared, parameters::checked))
}

async fn method_not_allowed(request: Request) -> Response {
    let text = format!("{} is not served here: see /api/v1/openapi.json", request.method());
    let mut response = Failure::invalid(text).into_response();
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

async fn counted(State(app): State<App>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let head = response.headers_mut();
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A response that does not say otherwise is of this moment and for its reader only.
    head.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if path.starts_with("/api/") {
        // A browser must never show a response of the API as a page.
        head.entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    }
    app.requests.count(response.status().as_u16());
    tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    response
}

/// Page and selector of a list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Only items with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
}

impl ListQuery {
    fn query(&self) -> Result<crate::service::Query, Failure> {
        let selector = selector(self.label_selector.as_deref())?;
        let (limit, after) = (self.limit, self.after.clone());
        Ok(crate::service::Query { limit, after, selector })
    }
}

/// Page of a list whose items have no labels.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl PageQuery {
    fn query(self) -> crate::service::Query {
        crate::service::Query { limit: self.limit, after: self.after, ..Default::default() }
    }
}

/// Parses the parameter `labelSelector`.
fn selector(text: Option<&str>) -> Result<crate::api::selector::Selector, Failure> {
    crate::api::selector::parse(text.unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))
}
