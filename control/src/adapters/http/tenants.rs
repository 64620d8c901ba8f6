//! Routes of tenants: listed with the use of their quotas, made, and deleted.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::api::{CreatedTenant, List, NewTenant, Tenant, TenantDeletion};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Parameters of a deletion.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeletionQuery {
    /// True: everything that the tenant has goes with it. Default: a tenant with devices, documents
    /// or records is not deleted.
    cascade: Option<bool>,
    /// True: only says what would go.
    dry_run: Option<bool>,
}

/// Lists tenants with the use of their quotas, in the order of their names.
///
/// An admin of the tenant that the control plane began with sees all of them, anybody else the own
/// one.
#[utoipa::path(get, path = "/api/v1/tenants", operation_id = "listTenants", tag = "tenants", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Tenant>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<Tenant>>, Failure> {
    app.service.tenancy.list(&actor, &query.query()).map(Json)
}

/// Creates a tenant and its first access token.
///
/// It applies a `Tenant` document. The response contains the token's secret, which cannot be read
/// again. Only for admins of the tenant that the control plane began with.
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "createTenant", tag = "tenants", request_body = NewTenant,
    security(("bearer" = [])),
    responses((status = 201, body = CreatedTenant), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedTenant>), Failure> {
    let new: NewTenant = json(body, SMALL).await?;
    let created = app.service.tenancy.create(&actor, &new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Deletes a tenant, or says what would go with it.
///
/// Its devices lose their connection and go on running what they ran. Only for admins of the tenant
/// that the control plane began with, which cannot be deleted itself.
#[utoipa::path(delete, path = "/api/v1/tenants/{name}", operation_id = "deleteTenant", tag = "tenants",
    params(("name" = String, Path), DeletionQuery), security(("bearer" = [])),
    responses((status = 200, body = TenantDeletion), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(query): Params<DeletionQuery>,
) -> Result<Json<TenantDeletion>, Failure> {
    let (cascade, dry_run) = (query.cascade.unwrap_or(false), query.dry_run.unwrap_or(false));
    app.service.tenancy.delete(&actor, &name, cascade, dry_run).await.map(Json)
}
