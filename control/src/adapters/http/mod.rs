//! HTTPS API: routes, their guards, and their description as OpenAPI. It decides nothing:
//! `service/` does.
//!
//! See decisions 0098 and 0100.

mod access;
mod activity;
mod alarms;
mod app;
mod archive;
mod artifacts;
mod audit;
mod auth;
mod data;
mod devices;
mod enrol;
mod error;
mod events;
mod export;
mod extract;
mod files;
mod fleet;
mod groups;
mod images;
mod jobs;
mod listen;
mod lists;
mod logs;
mod master_key;
mod meaning;
mod metrics;
mod neighbours;
mod noted;
mod pages;
mod parameters;
mod people;
mod ping;
mod policies;
mod providers;
mod query;
mod registry;
mod session;
mod short;
mod sparklines;
mod stall;
mod system;
mod tenants;
mod tokens;
mod volumes;
mod workloads;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::core::rights::Action;
use crate::core::session::COOKIE;
use crate::service::Failure;

use app::RequestId;
pub use app::{App, Requests};
pub use archive::{Opening, Reading, read_backup};
pub use files::{File, Pages};
pub use listen::{Tls, serve};

use error::ErrorBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "The control plane's API. Errors are an `ErrorBody`; lists page by `limit` and `continue`."
    ),
    components(schemas(ErrorBody)),
    modifiers(&Bearer),
    tags(
        (name = "devices"), (name = "workloads"), (name = "alarms"), (name = "data"), (name = "tokens"), (name = "enrolment"),
        (name = "artifacts"), (name = "images"), (name = "access"), (name = "tenants"), (name = "system")
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

#[allow(clippy::too_many_lines, reason = "a list with a line for each route")]
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
        .routes(routes!(policies::rotate))
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
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(activity::activity))
        .routes(routes!(access::list, access::create))
        .routes(routes!(access::delete))
        .routes(routes!(access::rotate))
        .routes(routes!(access::whoami))
        .routes(routes!(access::can))
        .routes(routes!(people::list, people::create))
        .routes(routes!(people::change, people::delete))
        .routes(routes!(people::password))
        .routes(routes!(people::no_second_factor))
        .routes(routes!(people::sessions))
        .routes(routes!(people::end_session))
        .routes(routes!(people::own_password))
        .routes(routes!(people::begin_second_factor))
        .routes(routes!(people::confirm_second_factor))
        .routes(routes!(people::end_second_factor))
        .routes(routes!(system::about))
        .routes(routes!(system::licences))
        .routes(routes!(events::events))
        .routes(routes!(volumes::list))
        .routes(routes!(volumes::delete))
        .routes(routes!(volumes::back_up))
        .routes(routes!(volumes::restore))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::delete))
        .routes(routes!(images::list, images::put))
        .routes(routes!(images::get, images::delete))
        .routes(routes!(images::copy))
        .routes(routes!(images::tag))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::delete))
        .routes(routes!(metrics::metrics))
        .routes(routes!(archive::backup))
        .routes(routes!(archive::backup_unencrypted))
        .routes(routes!(master_key::get))
        .routes(routes!(master_key::rotate))
        .routes(routes!(archive::restore))
}

fn anybody() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(session::login))
        .routes(routes!(providers::list))
        .routes(routes!(providers::begin))
        .routes(routes!(providers::begin_device))
        .routes(routes!(providers::ask_device))
        .routes(routes!(enrol::enrol))
        .routes(routes!(enrol::renew))
        .routes(routes!(enrol::nonce))
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz))
        .routes(routes!(system::schema))
        .routes(routes!(system::openapi))
        .routes(routes!(system::ca))
}

/// Route that identity providers send browsers to, with whatever parameters they like.
fn callback() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(providers::finish))
}

/// Routes that need the cookie of a login; a token does not open them.
fn sessions() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(session::get, session::logout))
}

/// Routes that devices may use too.
fn devices() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(artifacts::get))
        .routes(routes!(artifacts::put))
        .routes(routes!(neighbours::list))
}

/// Routes of the OCI distribution API.
fn registry() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(registry::probe)).routes(routes!(registry::pull))
}

/// Builds the OpenAPI document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut api) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(operators())
        .merge(devices())
        .merge(registry())
        .merge(anybody())
        .merge(callback())
        .merge(sessions())
        .split_for_parts();
    api.info.version = env!("CARGO_PKG_VERSION").into();
    name_actions(&mut api);
    api
}

/// Writes the action of each route into the OpenAPI document, as `x-holdfast-action`, and the roles
/// that may do it, as `x-holdfast-roles`: empty where it needs none.
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
            let roles: Vec<&str> = action.roles().iter().map(|role| role.as_str()).collect();
            extensions.insert("x-holdfast-roles".into(), roles.into());
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
    let guard = from_fn_with_state(app.clone(), registry::callers);
    let registry = held(registry()).route_layer(guard);
    let guard = from_fn_with_state(app.clone(), auth::sessions);
    let sessions = held(sessions()).route_layer(guard);
    operators
        .merge(devices)
        .merge(registry)
        .merge(held(anybody()))
        .merge(callback().split_for_parts().0)
        .merge(sessions)
        .fallback(pages::pages)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(short::short))
        .layer(from_fn(meaning::refused))
        .layer(from_fn_with_state(app.clone(), noted::noted))
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
    if request.uri().path().starts_with("/v2/") {
        return registry::not_served();
    }
    let text = format!("{} is not served here: see /api/v1/openapi.json", request.method());
    let mut response = Failure::invalid(text).into_response();
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

async fn counted(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id = app.requests.next_id();
    let value = HeaderValue::from_str(&id).ok();
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    let head = response.headers_mut();
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(value) = value {
        head.insert("x-request-id", value);
    }
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
