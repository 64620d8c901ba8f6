//! Matrix of rights: every route of the OpenAPI document, asked by every role with and without a
//! label selector and by every role of another tenant, about objects of the own devices, of devices
//! outside of the selector, and of the other tenant. Each place has real objects with a name that
//! occurs nowhere else; every answer is searched for the names of the places that its caller must not
//! know.
//!
//! A new route needs a line in [`WALK`], a new column a row in [`COLUMNS`].
//!
//! See decisions 0157 and 0167.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Digest, hex};
use holdfast_control::adapters::http::openapi;
use holdfast_control::api::{Alarm, Connection, Muting, NewToken, Role};
use holdfast_control::core::model::{key, sha256};
use holdfast_control::core::rights::{Action, Actor};
use holdfast_control::ports::bus::{Admission as _, Done, Inbox as _, Outcome};
use holdfast_control::service::{AlarmsQuery, Query, run_alarms};
use holdfast_protocol::topic::Channel;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::data::batch;
use crate::world::{Key, World, advance, approved};

/// Names of the places: of devices that the selector chooses, of other devices of the tenant, and of
/// another tenant. Each stands in the name of every object of its place.
const OWN: &str = "ownq7x";
const OUTSIDE: &str = "outsideq7x";
const FOREIGN: &str = "foreignq7x";

/// Relation of a route to the objects of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// It is about one object, which its path names: one that the caller does not reach is not there.
    One,
    /// As `One`; the kind belongs to no devices, so it needs a role without a selector.
    OneWhole,
    /// It makes an object for devices, which its body chooses: others than the caller's are refused.
    Made,
    /// As `Made`, for a name that an object of the place has already: others than the caller's are
    /// refused by the name.
    MadeAgain,
    /// It is about everything that the caller reaches.
    All,
    /// As `All`; the kind belongs to no devices, so it needs a role without a selector.
    AllWhole,
    /// It is about an object of the tenant that belongs to no devices, and a selector plays no part.
    Tenants,
    /// It is about the caller, or about nothing of a tenant.
    Self_,
    /// It is about one object, of which the walk has none: whoever may ask is told that it is not
    /// there.
    Missing,
    /// As `Missing`; the kind belongs to no devices, so it needs a role without a selector.
    MissingWhole,
    /// As `OneWhole`, for what the object lacks: whoever may ask is told so, with the status of what
    /// is not there.
    Lacking,
    /// It gives away or replaces the control plane as a whole, all tenants included: it belongs to
    /// the tenant that the control plane began with, and is not there for others.
    Plane,
    /// It never ends; `events_are_of_what_is_seen` reads it.
    Endless,
    /// It needs no role: it checks a proof of its own, and answers every caller alike.
    Open,
}

/// Line of the walk: method, route, roles that may, path and body that are asked, and what the route
/// is about.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str, Of);

/// Letters of the roles in a line of the walk.
fn letter(role: Role) -> char {
    match role {
        Role::Viewer => 'v',
        Role::Operator => 'o',
        Role::Admin => 'a',
        Role::DeviceProvisioner => 'd',
        Role::Auditor => 'u',
        Role::Metrics => 'm',
    }
}

/// The walk. The roles are the letters of [`letter`] (`-`: it needs none), and are written down here
/// apart from the table of actions, so that a change of a right is a change of this test. A path and a body may have `{m}` (name of the place; every object is called so, with
/// `-d` for its device), `{site}` (value of the label `site`), and `{token}`, `{silence}`, `{access}`,
/// `{digest}` (ids of objects of the place).
#[rustfmt::skip]
const WALK: &[Line] = &[
    ("GET", "/api/v1/about", "voadum", "", "", Of::Self_),
    ("GET", "/api/v1/access", "au", "", "", Of::AllWhole),
    ("POST", "/api/v1/access", "a", "", r#"{"role":"viewer"}"#, Of::AllWhole),
    ("POST", "/api/v1/access/{id}/rotate", "a", "/api/v1/access/{access}/rotate", "{}", Of::OneWhole),
    ("DELETE", "/api/v1/access/{id}", "a", "/api/v1/access/{access}", "", Of::OneWhole),
    ("GET", "/api/v1/activity", "voau", "/api/v1/activity?limit=1000", "", Of::All),
    ("GET", "/api/v1/alarms", "voau", "", "", Of::All),
    ("POST", "/api/v1/alarms/acknowledge", "oa", "", r#"{"device":"nobody"}"#, Of::Missing),
    ("POST", "/api/v1/alarms/silence", "oa", "", r#"{"labelSelector":"site={site}","forSeconds":60}"#, Of::All),
    ("POST", "/api/v1/apply", "oa", "", r#"{"documents":[{"apiVersion":"holdfast/v1","kind":"Workload","metadata":{"name":"new-{m}"},"spec":{"devices":{"matchLabels":{"site":"{site}"}},"run":{"process":{"path":"/bin/sleep","args":["2"]}}}}]}"#, Of::Made),
    ("POST", "/api/v1/apply", "oa", "", r#"{"documents":[{"apiVersion":"holdfast/v1","kind":"Workload","metadata":{"name":"{m}"},"spec":{"devices":{"matchLabels":{"site":"{site}"}},"run":{"process":{"path":"/bin/sleep","args":["2"]}}}}]}"#, Of::MadeAgain),
    ("POST", "/api/v1/apply", "oa", "", r#"{"documents":[{"apiVersion":"holdfast/v1","kind":"Stream","metadata":{"name":"{m}"},"spec":{"devices":{"matchLabels":{"site":"{site}"}},"streams":["{m}"],"priority":3}}]}"#, Of::MadeAgain),
    ("POST", "/api/v1/apply", "oa", "", r#"{"documents":[{"apiVersion":"holdfast/v1","kind":"Config","metadata":{"name":"new-one"},"spec":{"data":{"k":"v"}}}]}"#, Of::AllWhole),
    ("POST", "/api/v1/apply", "a", "", r#"{"documents":[{"apiVersion":"holdfast/v1","kind":"RoleBinding","metadata":{"name":"new-one"},"spec":{"role":"viewer","subjects":["new-one"],"devices":"all"}}]}"#, Of::AllWhole),
    ("GET", "/api/v1/artifacts", "voau", "", "", Of::AllWhole),
    ("PUT", "/api/v1/artifacts", "oa", "", "bytes", Of::Self_),
    ("GET", "/api/v1/artifacts/{digest}", "oa", "/api/v1/artifacts/{digest}", "", Of::Tenants),
    ("GET", "/api/v1/neighbours", "oa", "", "", Of::Self_),
    ("DELETE", "/api/v1/artifacts/{digest}", "oa", "/api/v1/artifacts/sha256:0000000000000000000000000000000000000000000000000000000000000000", "", Of::MissingWhole),
    ("GET", "/api/v1/audit", "au", "", "", Of::AllWhole),
    ("GET", "/api/v1/audit/export", "au", "", "", Of::AllWhole),
    ("GET", "/api/v1/audit/verification", "au", "", "", Of::AllWhole),
    ("POST", "/api/v1/backup", "a", "", r#"{"passphrase":"correct horse battery staple"}"#, Of::Plane),
    ("POST", "/api/v1/backup/unencrypted", "a", "", "", Of::Plane),
    ("GET", "/api/v1/ca", "-", "", "", Of::Open),
    ("GET", "/api/v1/devices", "voadu", "", "", Of::All),
    ("GET", "/api/v1/devices", "voadu", "/api/v1/devices?sort=-name&limit=1&offset=0", "", Of::All),
    ("GET", "/api/v1/devices", "voadu", "/api/v1/devices?q=q7x", "", Of::All),
    ("GET", "/api/v1/devices/{name}", "voadu", "/api/v1/devices/{m}-d", "", Of::One),
    ("DELETE", "/api/v1/devices/{name}", "oa", "/api/v1/devices/{m}-d", "", Of::One),
    ("PATCH", "/api/v1/devices/{name}", "oa", "/api/v1/devices/{m}-d", r#"{"labels":{"x":"y"}}"#, Of::One),
    ("POST", "/api/v1/devices/{name}/approve", "oad", "/api/v1/devices/{m}-d/approve", "", Of::One),
    ("GET", "/api/v1/devices/{name}/differences", "voau", "/api/v1/devices/{m}-d/differences", "", Of::One),
    ("GET", "/api/v1/devices/{name}/history", "voau", "/api/v1/devices/{m}-d/history", "", Of::One),
    ("GET", "/api/v1/devices/{name}/ping", "voau", "/api/v1/devices/{m}-d/ping", "", Of::One),
    ("POST", "/api/v1/devices/{name}/revoke", "oa", "/api/v1/devices/{m}-d/revoke", "", Of::One),
    ("GET", "/api/v1/devices/{name}/sparklines", "voa", "/api/v1/devices/{m}-d/sparklines?of={m}", "", Of::One),
    ("GET", "/api/v1/devices/{name}/streams", "voau", "/api/v1/devices/{m}-d/streams", "", Of::One),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/export.parquet", "voa", "/api/v1/devices/{m}-d/streams/{m}/export.parquet", "", Of::One),
    ("POST", "/api/v1/devices/{name}/streams/{stream}/fetch", "oa", "/api/v1/devices/{m}-d/streams/{m}/fetch", "{}", Of::One),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/ledger", "voau", "/api/v1/devices/{m}-d/streams/{m}/ledger", "", Of::One),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/records", "voa", "/api/v1/devices/{m}-d/streams/{m}/records", "", Of::One),
    ("GET", "/api/v1/devices/{name}/streams/{stream}/series", "voa", "/api/v1/devices/{m}-d/streams/{m}/series?since=1h", "", Of::One),
    ("GET", "/api/v1/devices/{name}/volumes", "voau", "/api/v1/devices/{m}-d/volumes", "", Of::One),
    ("DELETE", "/api/v1/devices/{name}/volumes/{workload}/{volume}", "oa", "/api/v1/devices/{m}-d/volumes/{m}/v", "", Of::One),
    ("POST", "/api/v1/devices/{name}/volumes/{workload}/{volume}/backup", "oa", "/api/v1/devices/{m}-d/volumes/{m}/v/backup", "", Of::One),
    ("POST", "/api/v1/devices/{name}/volumes/{workload}/{volume}/restore", "oa", "/api/v1/devices/{m}-d/volumes/{m}/v/restore", r#"{"digest":"none"}"#, Of::One),
    ("GET", "/api/v1/devices/{name}/workloads/{workload}/logs", "voa", "/api/v1/devices/{m}-d/workloads/{m}/logs", "", Of::One),
    ("POST", "/api/v1/enrol", "-", "", "", Of::Open),
    ("GET", "/api/v1/events", "voadu", "", "", Of::Endless),
    ("GET", "/api/v1/explain/{kind}/{name}", "voau", "/api/v1/explain/device/{m}-d", "", Of::One),
    ("GET", "/api/v1/explain/{kind}/{name}", "voau", "/api/v1/explain/workload/{m}", "", Of::One),
    ("GET", "/api/v1/explain/{kind}/{name}", "voau", "/api/v1/explain/devicepolicy/{m}", "", Of::One),
    ("GET", "/api/v1/explain/{kind}/{name}", "voau", "/api/v1/explain/notification/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/explain/{kind}/{name}", "voau", "/api/v1/explain/secret/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/fleet", "voadu", "", "", Of::All),
    ("GET", "/api/v1/fleet/trend", "voau", "", "", Of::AllWhole),
    ("GET", "/api/v1/groups", "voau", "/api/v1/groups?by=site", "", Of::All),
    ("GET", "/api/v1/images", "voau", "", "", Of::AllWhole),
    ("PUT", "/api/v1/images", "oa", "", r#"{"name":"new-one","platforms":[]}"#, Of::Self_),
    ("POST", "/api/v1/images/copy", "oa", "", r#"{"from":"127.0.0.1:1/new-one"}"#, Of::AllWhole),
    ("GET", "/api/v1/images/{reference}", "voau", "/api/v1/images/{m}", "", Of::OneWhole),
    ("POST", "/api/v1/images/{reference}/tag", "oa", "/api/v1/images/{m}/tag", r#"{"name":"{m}:2"}"#, Of::Tenants),
    ("DELETE", "/api/v1/images/{reference}", "oa", "/api/v1/images/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/labels", "voadu", "", "", Of::All),
    ("GET", "/api/v1/licences", "voadum", "", "", Of::Self_),
    ("GET", "/api/v1/login/{provider}", "-", "/api/v1/login/nowhere", "", Of::Open),
    ("GET", "/api/v1/login/{provider}/callback", "-", "/api/v1/login/nowhere/callback", "", Of::Open),
    ("POST", "/api/v1/login/{provider}/device", "-", "/api/v1/login/nowhere/device", "{}", Of::Open),
    ("POST", "/api/v1/login/{provider}/device/ask", "-", "/api/v1/login/nowhere/device/ask", r#"{"code":"x"}"#, Of::Open),
    ("GET", "/api/v1/master-key", "a", "", "", Of::Plane),
    ("POST", "/api/v1/master-key/rotate", "a", "", "{}", Of::Plane),
    ("GET", "/api/v1/metrics/streams", "voam", "", "", Of::All),
    ("POST", "/api/v1/notifications/{name}/test", "oa", "/api/v1/notifications/{m}/test", "", Of::OneWhole),
    ("GET", "/api/v1/openapi.json", "-", "", "", Of::Open),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/streams", "", Of::All),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/linkbudgets", "", Of::All),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/devicepolicies", "", Of::All),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/notifications", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/rolebindings", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/secrets", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/configs", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/identityproviders", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/tenants", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}", "voau", "/api/v1/policies/auditsinks", "", Of::AllWhole),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/streams/{m}", "", Of::One),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/linkbudgets/{m}", "", Of::One),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/devicepolicies/{m}", "", Of::One),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/notifications/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/rolebindings/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/secrets/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/policies/{kind}/{name}", "voau", "/api/v1/policies/configs/{m}", "", Of::OneWhole),
    ("DELETE", "/api/v1/policies/{kind}/{name}", "oa", "/api/v1/policies/streams/{m}", "", Of::One),
    ("DELETE", "/api/v1/policies/{kind}/{name}", "oa", "/api/v1/policies/notifications/{m}", "", Of::OneWhole),
    ("DELETE", "/api/v1/policies/{kind}/{name}", "oa", "/api/v1/policies/secrets/{m}", "", Of::OneWhole),
    ("DELETE", "/api/v1/policies/{kind}/{name}", "a", "/api/v1/policies/rolebindings/{m}", "", Of::OneWhole),
    ("GET", "/api/v1/policies/{kind}/{name}/devices", "voau", "/api/v1/policies/linkbudgets/{m}/devices", "", Of::One),
    ("GET", "/api/v1/providers", "-", "", "", Of::Open),
    ("POST", "/api/v1/query", "oa", "", r#"{"stream":"s","select":"count"}"#, Of::All),
    ("POST", "/api/v1/query/{id}/end", "oa", "/api/v1/query/0011223344556677/end", "", Of::Missing),
    ("POST", "/api/v1/renew", "-", "", "", Of::Open),
    ("POST", "/api/v1/renew/nonce", "-", "", "", Of::Open),
    ("POST", "/api/v1/restore", "a", "", "", Of::Plane),
    ("GET", "/api/v1/revisions", "voau", "", "", Of::All),
    ("GET", "/api/v1/schema.json", "-", "", "", Of::Open),
    ("POST", "/api/v1/secrets/{name}/rotate", "oa", "/api/v1/secrets/{m}/rotate", r#"{"values":{"k":"v"}}"#, Of::OneWhole),
    ("GET", "/api/v1/session", "-", "", "", Of::Open),
    ("POST", "/api/v1/session", "-", "", "", Of::Open),
    ("DELETE", "/api/v1/session", "-", "", "", Of::Open),
    ("GET", "/api/v1/silences", "voau", "", "", Of::All),
    ("DELETE", "/api/v1/silences/{id}", "oa", "/api/v1/silences/{silence}", "", Of::One),
    ("GET", "/api/v1/streams", "voau", "", "", Of::All),
    ("GET", "/api/v1/streams", "voau", "/api/v1/streams?device={m}-d", "", Of::One),
    ("GET", "/api/v1/streams/{stream}/export.parquet", "voa", "/api/v1/streams/{m}/export.parquet", "", Of::One),
    ("GET", "/api/v1/tenants", "voau", "", "", Of::AllWhole),
    ("POST", "/api/v1/tenants", "a", "", r#"{"name":"new-one"}"#, Of::Plane),
    ("DELETE", "/api/v1/tenants/{name}", "a", "/api/v1/tenants/nowhere", "", Of::MissingWhole),
    ("GET", "/api/v1/tokens", "voadu", "", "", Of::All),
    ("POST", "/api/v1/tokens", "oad", "", r#"{"labels":{"site":"{site}"}}"#, Of::Made),
    ("GET", "/api/v1/tokens/{id}", "voadu", "/api/v1/tokens/{token}", "", Of::One),
    ("DELETE", "/api/v1/tokens/{id}", "oad", "/api/v1/tokens/{token}", "", Of::One),
    ("GET", "/api/v1/workloads", "voau", "", "", Of::All),
    ("GET", "/api/v1/workloads/{name}", "voau", "/api/v1/workloads/{m}", "", Of::One),
    ("DELETE", "/api/v1/workloads/{name}", "oa", "/api/v1/workloads/{m}", "", Of::One),
    ("POST", "/api/v1/workloads/{name}/pause", "oa", "/api/v1/workloads/{m}/pause", "{}", Of::One),
    ("POST", "/api/v1/workloads/{name}/restart", "oa", "/api/v1/workloads/{m}/restart", "{}", Of::One),
    ("POST", "/api/v1/workloads/{name}/resume", "oa", "/api/v1/workloads/{m}/resume", "{}", Of::One),
    ("POST", "/api/v1/workloads/{name}/rollback", "oa", "/api/v1/workloads/{m}/rollback", "{}", Of::One),
    ("GET", "/api/v1/users", "au", "", "", Of::AllWhole),
    ("POST", "/api/v1/users", "a", "", r#"{"name":"new-one"}"#, Of::AllWhole),
    ("PATCH", "/api/v1/users/{name}", "a", "/api/v1/users/{m}", "{}", Of::OneWhole),
    ("DELETE", "/api/v1/users/{name}", "a", "/api/v1/users/{m}", "", Of::OneWhole),
    ("POST", "/api/v1/users/{name}/password", "a", "/api/v1/users/{m}/password", "{}", Of::OneWhole),
    ("DELETE", "/api/v1/users/{name}/second-factor", "a", "/api/v1/users/{m}/second-factor", "", Of::Lacking),
    ("GET", "/api/v1/sessions", "au", "", "", Of::AllWhole),
    ("DELETE", "/api/v1/sessions/{id}", "a", "/api/v1/sessions/0011223344556677", "", Of::MissingWhole),
    ("POST", "/api/v1/me/password", "voadum", "", r#"{"password":"a","newPassword":"b"}"#, Of::Self_),
    ("POST", "/api/v1/me/second-factor", "voadum", "", r#"{"password":"a"}"#, Of::Self_),
    ("POST", "/api/v1/me/second-factor/confirm", "voadum", "", r#"{"code":"000000"}"#, Of::Self_),
    ("POST", "/api/v1/me/second-factor/end", "voadum", "", r#"{"password":"a"}"#, Of::Self_),
    ("GET", "/api/v1/whoami", "voadum", "", "", Of::Self_),
    ("GET", "/api/v1/can", "voadum", "/api/v1/can?action=device.get&object={m}-d", "", Of::One),
    ("GET", "/v2/", "voadum", "", "", Of::Self_),
    ("GET", "/v2/{*path}", "voa", "/v2/{m}/tags/list", "", Of::Tenants),
    ("GET", "/healthz", "-", "", "", Of::Open),
    ("GET", "/metrics", "am", "", "", Of::AllWhole),
    ("GET", "/readyz", "-", "", "", Of::Open),
];

/// Place with its objects.
struct Place {
    name: &'static str,
    site: &'static str,
    actor: Actor,
    token: String,
    silence: String,
    access: String,
}

impl Place {
    fn fill(&self, text: &str, digest: &str) -> String {
        text.replace("{m}", self.name)
            .replace("{site}", self.site)
            .replace("{token}", &self.token)
            .replace("{silence}", &self.silence)
            .replace("{access}", &self.access)
            .replace("{digest}", digest)
    }

    fn device(&self) -> DeviceId {
        format!("{}_{}-d", self.actor.tenant, self.name).parse().unwrap()
    }
}

fn documents(place: &Place) -> Vec<Value> {
    let (m, devices) = (place.name, json!({ "matchLabels": { "site": place.site } }));
    let document = |kind: &str, spec: Value| {
        json!({ "apiVersion": "holdfast/v1", "kind": kind,
            "metadata": { "name": m, "labels": { "of": m } }, "spec": spec })
    };
    let workload = |argument: &str| {
        let run = json!({ "process": { "path": "/bin/sleep", "args": [argument] } });
        document("Workload", json!({ "devices": devices, "run": run }))
    };
    let binding = json!({ "role": "viewer", "subjects": [m], "devices": devices });
    let hook = json!({ "webhook": { "url": "https://127.0.0.1:1/x" } });
    vec![
        workload("1"),
        document("Stream", json!({ "devices": devices, "streams": [m] })),
        document("LinkBudget", json!({ "devices": devices, "per": "day", "bytes": "1Mi" })),
        document("DevicePolicy", json!({ "devices": devices, "whenOffline": "expected" })),
        document("Notification", json!({ "devices": devices, "to": hook })),
        document("RoleBinding", binding),
        document("Secret", json!({ "data": { "k": "v" } })),
        document("Config", json!({ "data": { "k": m } })),
    ]
}

/// Makes what is not there of a place, so that what one caller has deleted is there for the next.
async fn plant(world: &World, place: &mut Place) {
    let (actor, m) = (place.actor.clone(), place.name);
    let of = place.device();
    let fleet = &world.service.fleet;
    let device = fleet.device(&actor, of.device.as_str());
    let revoked = device.as_ref().is_ok_and(|it| it.status.connection == Connection::Revoked);
    if revoked {
        fleet.delete_device(&actor, of.device.as_str()).await.unwrap();
    }
    if revoked || device.is_err() {
        let new = json!({ "labels": { "site": place.site, "tag": m }, "allowLabels": ["role"] });
        let new: NewToken = serde_json::from_value(new).unwrap();
        let token = world.service.enrolment.create_token(&actor, new).await.unwrap().token;
        approved(world.enrol(&Key::new(), &token, Some(of.device.as_str())).await.unwrap());
        ship(world, place).await;
    }
    let there = |list: &Value| list.to_string().contains(m);
    let workload = world.service.workloads.workload(&actor, m);
    let documents = documents(place);
    if workload.is_err() {
        let mut second = documents[0].clone();
        second["spec"]["run"]["process"]["args"] = json!(["2"]);
        world.service.workloads.apply(&actor, &documents[..1], false).await.unwrap();
        world.service.workloads.apply(&actor, &[second], false).await.unwrap();
    }
    world.service.workloads.apply(&actor, &documents[1..], false).await.unwrap();
    let users =
        serde_json::to_value(world.service.people.users(&actor, &Query::default()).unwrap())
            .unwrap();
    if !there(&users) {
        let new = serde_json::from_value(json!({ "name": m, "fullName": m })).unwrap();
        world.service.people.create_user(&actor, new).await.unwrap();
    }
    if world.service.workloads.image(&actor, m).is_err() {
        image(world, place).await;
    }
    let token = world.service.enrolment.token(&actor, &place.token);
    if !token.is_ok_and(|used| used.token.state == "active") {
        let new = json!({ "labels": { "site": place.site, "tag": m } });
        let new: NewToken = serde_json::from_value(new).unwrap();
        place.token = world.service.enrolment.create_token(&actor, new).await.unwrap().id;
    }
    let silences = world.service.alarms.silences(&actor).unwrap().items;
    if !silences.iter().any(|one| one.id == place.silence) {
        let site = format!("site={}", place.site);
        let new = json!({ "labelSelector": site, "note": m, "forSeconds": 900 });
        let (muting, new) = (Muting::Silence, serde_json::from_value(new).unwrap());
        place.silence = world.service.alarms.mute(&actor, muting, new).await.unwrap().id;
    }
    let listed = world.service.access.access_tokens(&actor, &Query::default()).unwrap();
    let listed = serde_json::to_string(&listed).unwrap();
    if place.access.is_empty() || !listed.contains(&place.access) {
        let new = json!({ "name": format!("{m}-{}", place.token), "role": "viewer" });
        let new = serde_json::from_value(new).unwrap();
        place.access = world.service.access.create_access(&actor, new).await.unwrap().id;
    }
}

/// Pushes an image without layers, whose configuration names the place.
async fn image(world: &World, place: &Place) {
    let (actor, m) = (&place.actor, place.name);
    let config = json!({ "architecture": "amd64", "os": "linux", "author": m,
        "rootfs": { "type": "layers", "diff_ids": [] } });
    let digest = Digest(sha256(config.to_string().as_bytes()));
    world.write_file(&format!("artifacts/sha256/{}", digest.hex()), config.to_string().as_bytes());
    let size = config.to_string().len() as u64;
    world.service.workloads.own_artifact(actor, digest, size).await.unwrap();
    let image = json!({ "name": m, "platforms": [{ "config": digest.to_string() }] });
    let image = serde_json::from_value(image).unwrap();
    world.service.workloads.push_image(actor, &image).await.unwrap();
}

/// Ships records of the place's device.
async fn ship(world: &World, place: &Place) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Done::new(move |stored| tell.send(stored).unwrap());
    let payload = codec::encode(&batch(place.name, 1, 3)).unwrap();
    let device = place.device();
    world.service.directory.connected(&device, 1, "192.0.2.1:99".parse().unwrap(), None);
    world.service.directory.received(&device, Channel::Data, payload.into(), done);
    assert_eq!(told.await.unwrap(), Outcome::Stored);
    world.service.directory.disconnected(&device, 1, place.name);
}

/// Makes the three places with their objects.
async fn places() -> (World, [Place; 3]) {
    let world = World::new().await;
    world.device("d-1").await;
    let zeta = "zeta".parse().unwrap();
    let access = json!({
        "id": "0123456789abcdef", "secretSha256": hex(&sha256(b"secret")), "createdAt": 1,
        "role": "admin", "name": FOREIGN,
    });
    let name = format!("{FOREIGN}-d");
    let device = json!({
        "name": name, "shard": 0, "publicKey": format!("zeta {name}"), "standing": "approved",
        "createdAt": 1, "updatedAt": 1, "version": 1, "token": "",
        "labels": { "site": "kiel", "tag": FOREIGN },
    });
    let rows =
        [(key::access("0123456789abcdef"), access), (key::device(&name.parse().unwrap()), device)];
    let rows = rows
        .into_iter()
        .map(|(local, value)| (key::of(&zeta, &local), serde_json::to_vec(&value).unwrap()));
    let world = world.with_records(rows.collect()).await;
    let place = |name, site, actor| Place {
        name,
        site,
        actor,
        token: String::new(),
        silence: String::new(),
        access: String::new(),
    };
    let theirs = Actor::token(zeta, "0123456789abcdef", Role::Admin);
    let mut all = [
        place(OWN, "kiel", world.actor()),
        place(OUTSIDE, OUTSIDE, world.actor()),
        place(FOREIGN, "kiel", theirs),
    ];
    for place in &mut all {
        plant(&world, place).await;
        ship(&world, place).await;
    }
    world.settle().await;
    (world, all)
}

/// Column of the matrix: callers of every role, of the tenant of a place, with a selector or without.
struct Column {
    /// In words.
    who: &'static str,
    /// Place in whose tenant the callers are.
    of: usize,
    /// Selector of their roles. Empty: none.
    selector: &'static str,
}

/// Columns. What a caller restricted by a selector deletes must be planted again before the next
/// column asks, and those without a selector make what the others would be refused for: the
/// restricted ones come first.
const COLUMNS: &[Column] = &[
    Column { who: "with site=kiel", of: 0, selector: "site=kiel" },
    Column { who: "of the tenant", of: 0, selector: "" },
    Column { who: "of another tenant", of: 2, selector: "" },
];

/// Relation of a caller to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Its objects are the caller's.
    Own,
    /// They are of the caller's tenant, and of devices that its selector does not choose.
    Outside,
    /// They are of another tenant.
    Foreign,
}

/// Caller of the matrix.
struct Caller {
    column: &'static Column,
    role: Role,
    token: String,
}

impl Caller {
    fn restricted(&self) -> bool {
        !self.column.selector.is_empty()
    }

    fn to(&self, places: &[Place], place: &Place) -> Relation {
        let home = &places[self.column.of].actor.tenant;
        match () {
            () if place.actor.tenant != *home => Relation::Foreign,
            () if self.restricted() && place.site != "kiel" => Relation::Outside,
            () => Relation::Own,
        }
    }

    fn named(&self) -> String {
        format!("{} {}", self.role, self.column.who)
    }
}

/// Makes a caller of a column in the tenant of `home`.
async fn caller(world: &World, home: &Actor, column: &'static Column, role: Role) -> Caller {
    let mut new = json!({ "role": role });
    if !column.selector.is_empty() {
        new["selector"] = json!(column.selector);
    }
    let new = serde_json::from_value(new).unwrap();
    let token = world.service.access.create_access(home, new).await.unwrap().token;
    Caller { column, role, token }
}

async fn callers(world: &World, places: &[Place]) -> Vec<Caller> {
    let mut all = Vec::new();
    for column in COLUMNS {
        for role in Role::ALL {
            all.push(caller(world, &places[column.of].actor, column, role).await);
        }
    }
    all
}

/// Asks as a caller. The routes are made once, because that takes longer than most answers.
async fn ask(
    routes: &Router,
    caller: &Caller,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let bearer = format!("Bearer {}", caller.token);
    let request = Request::builder().method(method).uri(path).header("authorization", bearer);
    let request = match body {
        "" => request,
        _ => request.header("content-type", "application/json"),
    };
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let asked = async {
        let (head, body) = routes.clone().oneshot(request).await.unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), asked).await;
    let (head, body) =
        answer.unwrap_or_else(|_| panic!("{method} {path} never ends: it is Of::Endless"));
    // Headers are searched too.
    (head.status.as_u16(), format!("{}\n{:?}", String::from_utf8_lossy(&body), head.headers))
}

/// Status that a caller must get for a line about a place, and a part of the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Allowed,
    Refused(&'static str),
    NotThere,
}

fn expected(line: &Line, caller: &Caller, relation: Relation) -> Expected {
    let (_, _, roles, .., of) = line;
    let whole =
        matches!(of, Of::OneWhole | Of::Lacking | Of::AllWhole | Of::MissingWhole | Of::Plane);
    match of {
        _ if !roles.contains(letter(caller.role)) => Expected::Refused("needs the role"),
        _ if caller.restricted() && whole => Expected::Refused("without a selector"),
        Of::Plane if caller.column.of != 0 => Expected::NotThere,
        Of::Missing | Of::MissingWhole | Of::Lacking => Expected::NotThere,
        Of::Tenants if relation == Relation::Foreign => Expected::NotThere,
        Of::One | Of::OneWhole if relation != Relation::Own => Expected::NotThere,
        Of::Made if relation == Relation::Outside => Expected::Refused("site=kiel"),
        Of::MadeAgain if relation == Relation::Outside => Expected::Refused("is taken"),
        _ => Expected::Allowed,
    }
}

/// Says what is wrong with an answer: another status than expected, or a name that the caller must
/// not know. `hidden` are those names.
fn fault(
    line: &Line,
    who: &str,
    expected: Expected,
    hidden: &[&str],
    (status, text): (u16, &str),
) -> Option<String> {
    let (method, route, ..) = line;
    let right = match expected {
        // 409, 422 and 503 tell of the object's state, such as a device that is offline.
        Expected::Allowed => matches!(status, 200..=299 | 400 | 409 | 422 | 503),
        Expected::Refused(why) => status == 403 && text.contains(why),
        Expected::NotThere => status == 404,
    };
    let named = hidden.iter().find(|name| text.contains(**name));
    // A backup holds all tenants; it belongs to the first one's admins.
    let named = named.filter(|_| line.5 != Of::Plane || status >= 300);
    let said = match (right, named) {
        (true, None) => return None,
        (false, _) => format!("{status}, expected {expected:?}"),
        (true, Some(name)) => format!("{status}, names {name}"),
    };
    let text: String = text.chars().take(600).collect();
    Some(format!("{method} {route} {who}: {said}: {text}"))
}

/// Says whether what is not there for a caller is answered otherwise than what is nowhere.
async fn told(
    routes: &Router,
    caller: &Caller,
    place: &str,
    asked: (&str, &str, &str),
    said: &str,
) -> Option<String> {
    let (method, path, body) = asked;
    let other = |text: &str| text.replace(place, "nowhere");
    if !path.contains(place) {
        return None;
    }
    let (status, nowhere) = ask(routes, caller, method, &other(path), &other(body)).await;
    let message = |text: &str| text.lines().next().unwrap().to_owned();
    let (said, nowhere) = (message(&other(said)), message(&nowhere));
    let same = status == 404 && said == nowhere;
    (!same).then(|| format!("{method} {path} tells that it is there: {said}, and not {nowhere}"))
}

/// Whether a line is asked about a place: one that is about no object is asked once.
fn is_asked(of: Of, relation: Relation, at: usize) -> bool {
    match of {
        Of::One | Of::OneWhole | Of::Lacking => true,
        // Names are a tenant's own: made is what the caller's tenant has.
        Of::Made | Of::MadeAgain => relation != Relation::Foreign,
        _ => at == 0,
    }
}

#[tokio::test]
async fn every_route_answers_every_role_by_its_rights_and_names_nothing_else() {
    let (world, mut places) = places().await;
    let callers = callers(&world, &places).await;
    let routes = world.routes();
    let stored = world
        .send("PUT", "/api/v1/artifacts", &[], Body::from("bytes that nobody else has"))
        .await
        .1;
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    let digest = stored["digest"].as_str().unwrap().to_owned();
    let (mut asked, mut faults) = (0, Vec::new());
    for line in WALK.iter().filter(|line| !matches!(line.5, Of::Open | Of::Endless)) {
        let (method, route, _, path, body, of) = line;
        let path = if path.is_empty() { route } else { path };
        for caller in &callers {
            for at in 0..places.len() {
                let place = &places[at];
                let relation = caller.to(&places, place);
                if !is_asked(*of, relation, at) {
                    continue;
                }
                let hidden: Vec<&str> = places
                    .iter()
                    // The answer may repeat the name that was asked for.
                    .filter(|it| caller.to(&places, it) != Relation::Own && it.name != place.name)
                    .map(|it| it.name)
                    .collect();
                let (path, body) = (place.fill(path, &digest), place.fill(body, &digest));
                let expected = expected(line, caller, relation);
                let (status, text) = ask(&routes, caller, method, &path, &body).await;
                let who = format!("about {} by {}", place.name, caller.named());
                faults.extend(fault(line, &who, expected, &hidden, (status, &text)));
                if expected == Expected::NotThere && relation != Relation::Own {
                    let asked = (*method, &*path, &*body);
                    faults.extend(told(&routes, caller, place.name, asked, &text).await);
                }
                asked += 1;
                if *method != "GET" && status < 300 {
                    for place in &mut places {
                        plant(&world, place).await;
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {asked}:\n{}", faults.len(), faults.join("\n"));
    assert!(asked > 2_500, "{asked}");
}

/// Routes without a role are no way around: a caller's role and selector change nothing of what they
/// answer, and they name nothing of any place.
#[tokio::test]
async fn routes_that_need_no_role_answer_every_caller_alike() {
    let (world, places) = places().await;
    let callers = callers(&world, &places).await;
    let routes = world.routes();
    let (mut asked, mut faults) = (0, Vec::new());
    for line in WALK {
        let (method, route, roles, path, body, of) = line;
        assert_eq!(*of == Of::Open, *roles == "-", "{method} {route}: Of::Open needs no role");
        if *of != Of::Open {
            continue;
        }
        let path = if path.is_empty() { route } else { path };
        let mut first = None;
        for caller in &callers {
            let (status, text) = ask(&routes, caller, method, path, body).await;
            asked += 1;
            let named = places.iter().find(|place| text.contains(place.name));
            if *first.get_or_insert(status) != status || named.is_some() {
                let text: String = text.chars().take(600).collect();
                faults.push(format!("{method} {path} by {}: {status}: {text}", caller.named()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(asked > 15 * callers.len(), "{asked}");
}

#[test]
fn every_route_is_in_the_walk() {
    let api: Value = serde_json::to_value(openapi()).unwrap();
    let walked: BTreeSet<(&str, &str)> = WALK.iter().map(|line| (line.0, line.1)).collect();
    let mut missing = Vec::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().map(|it| it.to_uppercase()) {
            if !walked.contains(&(&method, path)) {
                missing.push(format!(
                    "    (\"{method}\", \"{path}\", \"ROLES\", \"PATH with {{m}} for the place's name\", \"BODY\", Of::One),"
                ));
            }
            let action = Action::of_route(&method, path);
            assert!(action.is_some(), "{method} {path} has no action: nobody may use it");
        }
    }
    assert!(
        missing.is_empty(),
        "routes that nobody walks: add to WALK in control/tests/server/matrix.rs\n{}\nand to `plant` the objects that they are about",
        missing.join("\n")
    );
}

/// Reads what has been sent on an open stream.
async fn drain(body: &mut Body) -> String {
    let mut read = String::new();
    while let Ok(Some(Ok(frame))) =
        tokio::time::timeout(Duration::from_millis(200), body.frame()).await
    {
        read.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
    }
    read
}

#[tokio::test]
async fn events_are_of_what_is_seen() {
    let (world, mut places) = places().await;
    let callers = callers(&world, &places).await;
    let action = Action::WatchEvents;
    let mut open = Vec::new();
    for caller in callers.iter().filter(|it| action.roles().contains(&it.role)) {
        let bearer = format!("Bearer {}", caller.token);
        let answer = world.streamed("/api/v1/events", &[("authorization", &bearer)]).await;
        assert_eq!(answer.status(), 200);
        open.push((caller, answer.into_body()));
    }
    assert!(open.len() > 12);
    for place in &mut places {
        ship(&world, place).await;
        let (actor, m) = (place.actor.clone(), place.name);
        let labels = json!({ "labels": { "note": m } });
        let labels = serde_json::from_value(labels).unwrap();
        let device = format!("{m}-d");
        world.service.fleet.label(&actor, &device, labels).await.unwrap();
        world.service.workloads.delete_workload(&actor, m, None).await.unwrap();
        plant(&world, place).await;
    }
    // A document of both sites is seen, and its text may name a device of the other.
    let mut both = documents(&places[0])[0].clone();
    both["metadata"]["name"] = json!("bothq7y");
    both["spec"]["devices"] =
        json!({ "matchExpressions": [{ "key": "site", "operator": "Exists" }] });
    world.service.workloads.apply(&world.actor(), &[both], false).await.unwrap();
    let on = json!({ "devices": [format!("{OUTSIDE}-d")] });
    let (status, answer) = world.request("POST", "/api/v1/workloads/bothq7y/pause", on).await;
    assert_eq!(status, 200, "{answer}");
    world.settle().await;
    for (caller, body) in &mut open {
        let read = drain(body).await;
        let who = format!("{}: {read}", caller.named());
        for place in &places {
            let own = caller.to(&places, place) == Relation::Own;
            assert_eq!(read.contains(place.name), own, "{} {who}", place.name);
        }
        assert_eq!(read.contains("bothq7y"), caller.column.of == 0, "{who}");
    }
    // A device that leaves the site is told of as it goes, and then no more.
    let (own, away) = (format!("{OWN}-d"), json!({ "labels": { "site": "elsewhere" } }));
    let path = format!("/api/v1/devices/{own}");
    assert_eq!(world.request("PATCH", &path, away).await.0, 200);
    let note = json!({ "labels": { "note": "again" } });
    assert_eq!(world.request("PATCH", &path, note).await.0, 200);
    world.apply("last", "1").await.unwrap();
    world.settle().await;
    for (caller, body) in &mut open {
        let read = drain(body).await;
        let who = format!("{}: {read}", caller.named());
        let (first, restricted) = (caller.column.of == 0, caller.restricted());
        assert_eq!(read.contains("\"last\""), first && !restricted, "{who}");
        let left = read.matches(&format!("\"{own}\"")).count();
        match (first, restricted) {
            (false, _) => assert_eq!(left, 0, "{who}"),
            (true, true) => assert_eq!(left, 1, "it has left: {who}"),
            (true, false) => assert!(left > 1, "{who}"),
        }
    }
}

/// Names are searched for in every answer; here the numbers are looked at.
#[tokio::test]
async fn counts_are_of_what_is_seen() {
    let (world, places) = places().await;
    let routes = &world.routes();
    for (column, devices, own) in [(0, 1, 1), (1, 3, 2), (2, 1, 1)] {
        let column = &COLUMNS[column];
        let home = &places[column.of].actor;
        let caller = caller(&world, home, column, Role::Operator).await;
        let read = async |path: &str| {
            let (status, text) = ask(routes, &caller, "GET", path, "").await;
            assert_eq!(status, 200, "{path}: {text}");
            serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()
        };
        let who = caller.named();
        let fleet = read("/api/v1/fleet").await;
        assert_eq!(fleet["devices"]["total"], devices, "{who}: {fleet}");
        for path in [
            "/api/v1/devices",
            "/api/v1/devices?limit=1",
            "/api/v1/devices?sort=-name&limit=1&offset=0",
        ] {
            let list = read(path).await;
            assert_eq!(list["metadata"]["total"], devices, "{path} {who}: {list}");
        }
        let workloads = read("/api/v1/workloads").await;
        assert_eq!(workloads["items"].as_array().unwrap().len(), own, "{who}: {workloads}");
        let more = &read("/api/v1/devices?limit=1").await["metadata"]["continue"];
        assert_eq!(more.is_string(), devices > 1, "another page, {who}: {more}");
        let groups = read("/api/v1/groups?by=site").await;
        let sum = |group: &Value| group["devices"].as_u64().unwrap();
        let sum: u64 = groups["items"].as_array().unwrap().iter().map(sum).sum();
        assert_eq!(sum, devices, "{who}: {groups}");
    }
}

#[tokio::test]
async fn alarms_are_those_of_devices_in_sight() {
    let world = World::new().await;
    for (name, site) in [("d-1", "kiel"), (OUTSIDE, OUTSIDE)] {
        world.device(name).await;
        let path = format!("/api/v1/devices/{name}");
        let labels = json!({ "labels": { "site": site } });
        assert_eq!(world.request("PATCH", &path, labels).await.0, 200);
    }
    advance(3_600);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_alarms(Arc::clone(&world.service.alarms), stopping));
    let query = AlarmsQuery::default();
    let seen = |alarm: &Alarm| alarm.kind == "never-seen";
    let count = || {
        let all = world.service.alarms.list(&world.actor(), &query).unwrap();
        all.items.iter().filter(|alarm| seen(alarm)).count()
    };
    while count() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kiel = &caller(&world, &world.actor(), &COLUMNS[0], Role::Operator).await;
    let routes = &world.routes();
    let (_, text) = ask(routes, kiel, "GET", "/api/v1/alarms?kind=never-seen", "").await;
    assert!(text.contains("\"total\":1") && !text.contains(OUTSIDE), "{text}");
    let acknowledge = "/api/v1/alarms/acknowledge";
    let outside = json!({ "device": OUTSIDE }).to_string();
    let (status, text) = ask(routes, kiel, "POST", acknowledge, &outside).await;
    assert_eq!(status, 404, "{text}");
    let (status, text) = ask(routes, kiel, "POST", acknowledge, r#"{"kind":"never-seen"}"#).await;
    assert!(status == 201 && text.contains("site=kiel") && text.contains("\"alarms\":1"), "{text}");
    for (state, count) in [("acknowledged", 1), ("firing", 1)] {
        let path = format!("/api/v1/alarms?kind=never-seen&state={state}");
        let of = world.request("GET", &path, Value::Null).await.1;
        assert_eq!(of["metadata"]["total"], count, "{of}");
    }
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_document_of_more_devices_is_acted_on_where_it_is_reached() {
    let world = World::new().await;
    for (name, site) in [("d-1", "kiel"), (OUTSIDE, OUTSIDE)] {
        world.device(name).await;
        let path = format!("/api/v1/devices/{name}");
        let labels = json!({ "labels": { "site": site } });
        assert_eq!(world.request("PATCH", &path, labels).await.0, 200);
    }
    world.apply("w", "1").await.unwrap();
    world.apply("w", "2").await.unwrap();
    let on = json!({ "devices": [OUTSIDE] });
    assert_eq!(world.request("POST", "/api/v1/workloads/w/pause", on).await.0, 200);
    let kiel = &caller(&world, &world.actor(), &COLUMNS[0], Role::Operator).await;
    let routes = &world.routes();
    let (status, text) = ask(routes, kiel, "GET", "/api/v1/workloads/w", "").await;
    assert!(status == 200 && text.contains("\"desired\":1"), "{text}");
    assert!(!text.contains(OUTSIDE) && !text.contains("\"paused\":{"), "{text}");
    for (method, path, body, wanted, said) in [
        ("POST", "/api/v1/workloads/w/pause", "{}", 403, "labelSelector such as site=kiel"),
        ("POST", "/api/v1/workloads/w/pause", r#"{"devices":["outsideq7x"]}"#, 404, "no device"),
        ("POST", "/api/v1/workloads/w/pause", r#"{"labelSelector":"role=a"}"#, 200, "d-1"),
        ("POST", "/api/v1/workloads/w/resume", r#"{"devices":["d-1"]}"#, 200, "d-1"),
        ("POST", "/api/v1/workloads/w/restart", "{}", 403, "labelSelector such as site=kiel"),
        ("POST", "/api/v1/workloads/w/restart", r#"{"devices":["d-1"]}"#, 200, "offline"),
        (
            "POST",
            "/api/v1/workloads/w/rollback",
            "{}",
            403,
            "Workload w is for devices with role=a",
        ),
        ("DELETE", "/api/v1/workloads/w", "", 403, "Workload w is for devices with role=a"),
    ] {
        let (status, text) = ask(routes, kiel, method, path, body).await;
        assert!(status == wanted && text.contains(said), "{method} {path} {body}: {status} {text}");
        assert!(body.contains(OUTSIDE) || !text.contains(OUTSIDE), "{text}");
    }
    let (_, text) = ask(routes, kiel, "GET", "/api/v1/activity", "").await;
    assert!(text.contains("workload.pause") && !text.contains(OUTSIDE), "{text}");
    let searched = format!("/api/v1/activity?q={OUTSIDE}");
    let (_, text) = ask(routes, kiel, "GET", &searched, "").await;
    assert!(text.contains("\"items\":[]"), "what is not shown is not searched: {text}");
}
