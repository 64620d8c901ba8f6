//! Tests of images: pushed, tagged, deleted, shared layers, rights and tenants, and what clients of a
//! registry read.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::hex;
use holdfast_control::core::model::sha256;
use holdfast_control::core::rights::Actor;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::world::{World, document};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Pushes bytes as an artifact and returns their digest.
pub async fn artifact(world: &World, bytes: &[u8]) -> String {
    let body = Body::from(bytes.to_vec());
    let (status, answer) = world.send("PUT", "/api/v1/artifacts", &[], body).await;
    assert_eq!(status, 200);
    serde_json::from_slice::<Value>(&answer).unwrap()["digest"].as_str().unwrap().to_owned()
}

/// Configuration of an image.
pub fn config(arch: &str, variant: &str, layers: &[&str]) -> Vec<u8> {
    let mut config = json!({
        "architecture": arch, "os": "linux",
        "config": { "Cmd": ["/app"] }, "rootfs": { "type": "layers", "diff_ids": layers },
    });
    if !variant.is_empty() {
        config["variant"] = json!(variant);
    }
    config.to_string().into_bytes()
}

/// Pushes an image of one platform with these layers.
async fn push(world: &World, name: &str, layers: &[&[u8]]) -> Value {
    let mut digests = Vec::new();
    for layer in layers {
        digests.push(artifact(world, layer).await);
    }
    let names: Vec<&str> = digests.iter().map(String::as_str).collect();
    let config = artifact(world, &config("amd64", "", &names)).await;
    let body = json!({ "name": name, "platforms": [{ "config": config, "layers": digests }] });
    let (status, answer) = world.request("PUT", "/api/v1/images", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn path(reference: &str) -> String {
    format!("/api/v1/images/{}", reference.replace('/', "%2F"))
}

async fn artifacts(world: &World) -> usize {
    let (_, list) = world.request("GET", "/api/v1/artifacts", json!(null)).await;
    list["items"].as_array().unwrap().len()
}

fn said(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn an_image_is_pushed_found_tagged_and_deleted() {
    let world = World::new().await;
    let image = push(&world, "shop/till:1.4", &[b"base", b"till 1.4"]).await;
    assert_eq!((&image["name"], &image["tags"]), (&json!("shop/till"), &json!(["1.4"])));
    assert_eq!(image["platforms"][0]["platform"], "linux/amd64");
    assert_eq!(image["platforms"][0]["digest"], image["digest"], "one platform: its manifest");
    let digest = image["digest"].as_str().unwrap();
    for reference in ["shop/till:1.4", &format!("shop/till@{digest}")] {
        let (status, found) = world.request("GET", &path(reference), json!(null)).await;
        assert_eq!((status, &found), (200, &image), "{reference}");
    }
    // Pushed again it is the same.
    assert_eq!(push(&world, "shop/till:1.4", &[b"base", b"till 1.4"]).await["digest"], digest);
    let to = json!({ "name": "shop/till:stable" });
    let (status, tagged) =
        world.request("POST", &format!("{}/tag", path("shop/till:1.4")), to).await;
    assert_eq!((status, &tagged["tags"]), (200, &json!(["1.4", "stable"])));
    let (status, gone) = world.request("DELETE", &path("shop/till:1.4"), json!(null)).await;
    assert_eq!((status, &gone["image"], &gone["files"]), (200, &json!(false), &json!(0)));
    assert_eq!(world.request("GET", &path("shop/till:1.4"), json!(null)).await.0, 404);
    // After a restart everything is as it was.
    let world = world.restart().await;
    let (status, found) = world.request("GET", &path("shop/till:stable"), json!(null)).await;
    assert_eq!((status, &found["digest"]), (200, &json!(digest)));
    assert_eq!(artifacts(&world).await, 3);
    let (status, gone) = world.request("DELETE", &path("shop/till:stable"), json!(null)).await;
    assert_eq!((status, &gone["image"], &gone["files"]), (200, &json!(true), &json!(3)));
    assert_eq!(artifacts(&world).await, 0, "nothing needs its files any more");
    let (_, list) = world.request("GET", "/api/v1/images", json!(null)).await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn layers_that_another_image_has_stay() {
    let world = World::new().await;
    let base: &[u8] = b"a base that both have";
    let one = push(&world, "one:1", &[base, b"one"]).await;
    let two = push(&world, "two:1", &[base, b"two"]).await;
    let layer = |image: &Value, at: usize| image["platforms"][0]["layers"][at].clone();
    assert_eq!(layer(&two, 0)["sharedWith"], json!(["one:1"]));
    assert_eq!(layer(&two, 1).get("sharedWith"), None);
    let own = two["size"].as_u64().unwrap() - base.len() as u64;
    assert_eq!(two["ownSize"], json!(own));
    let shared = format!("/api/v1/artifacts/{}", layer(&one, 0)["digest"].as_str().unwrap());
    let (status, answer) = world.request("DELETE", &shared, json!(null)).await;
    assert!(status == 409 && said(&answer).contains("2 images, such as one:1"), "{answer}");
    let (_, gone) = world.request("DELETE", &path("one:1"), json!(null)).await;
    assert_eq!(gone["files"], 2, "its own layer and its configuration");
    assert_eq!(world.send("GET", &shared, &[], Body::empty()).await.1, base);
    let (_, two) = world.request("GET", &path("two:1"), json!(null)).await;
    assert_eq!(two["ownSize"], two["size"]);
}

#[tokio::test]
async fn an_image_that_a_workload_names_stays_unless_it_is_forced() {
    let world = World::new().await;
    world.device("d-1").await;
    let image = push(&world, "app:1", &[b"layer"]).await;
    let digest = image["digest"].as_str().unwrap();
    let mut first = document("w", "1");
    first["spec"]["config"] = json!({ "image": format!("app:1@{digest}") });
    for document in [first, document("w", "2")] {
        let body = json!({ "documents": [document] });
        assert_eq!(world.request("POST", "/api/v1/apply", body).await.0, 200);
    }
    // A device may fetch the files of an image that a former revision names: it may go back to it.
    let device = Actor::device(world.actor().tenant, "d-1".parse().unwrap());
    let fetches = |digest: &Value| {
        let digest = digest.as_str().unwrap().parse().unwrap();
        world.service.workloads.may_fetch(&device, &digest).is_ok()
    };
    let platform = &image["platforms"][0];
    assert!(fetches(&platform["layers"][0]["digest"]) && fetches(&platform["config"]));
    let other = push(&world, "other:1", &[b"of no workload"]).await;
    assert!(!fetches(&other["platforms"][0]["layers"][0]["digest"]));
    world.request("DELETE", &path("other:1"), json!(null)).await;
    let (_, shown) = world.request("GET", &path("app:1"), json!(null)).await;
    assert_eq!(shown["workloads"], json!(["w"]));
    let (_, list) = world.request("GET", "/api/v1/images", json!(null)).await;
    assert_eq!(list["items"][0]["workloads"], 1);
    let (status, answer) = world.request("DELETE", &path("app:1"), json!(null)).await;
    assert!(status == 409 && said(&answer).contains("revisions of 1 workload (w)"), "{answer}");
    let forced = format!("{}?force=true", path("app:1"));
    let (status, gone) = world.request("DELETE", &forced, json!(null)).await;
    assert_eq!((status, &gone["image"], &gone["files"]), (200, &json!(true), &json!(0)));
    assert_eq!(artifacts(&world).await, 2, "what a revision names is kept");
}

#[tokio::test]
async fn an_image_whose_description_is_wrong_is_refused() {
    let world = World::new().await;
    let layer = artifact(&world, b"layer").await;
    let other = artifact(&world, b"other").await;
    let good = artifact(&world, &config("amd64", "", &[&layer])).await;
    let windows = String::from_utf8(config("amd64", "", &[&layer])).unwrap();
    let windows = artifact(&world, windows.replace("linux", "windows").as_bytes()).await;
    let absent = format!("sha256:{}", "7".repeat(64));
    let names_absent = artifact(&world, &config("amd64", "", &[&absent])).await;
    for (name, platforms, status, text) in [
        ("app", json!([]), 400, "needs a platform"),
        ("App", json!([{ "config": good, "layers": [layer] }]), 400, "is not the name of an image"),
        ("app", json!([{ "config": good, "layers": [other] }]), 400, "diff_ids"),
        ("app", json!([{ "config": good, "layers": [] }]), 400, "diff_ids"),
        ("app", json!([{ "config": layer, "layers": [] }]), 400, "no configuration of an image"),
        ("app", json!([{ "config": windows, "layers": [layer] }]), 400, "windows"),
        ("app", json!([{ "config": absent, "layers": [layer] }]), 409, "push the image again"),
        (
            "app",
            json!([{ "config": names_absent, "layers": [absent] }]),
            409,
            "push the image again",
        ),
        (
            "app",
            json!([{ "config": good, "layers": [layer] }, { "config": good, "layers": [layer] }]),
            400,
            "twice",
        ),
    ] {
        let body = json!({ "name": name, "platforms": platforms });
        let (found, answer) = world.request("PUT", "/api/v1/images", body).await;
        assert!(found == status && said(&answer).contains(text), "{text}: {found} {answer}");
    }
    let (_, list) = world.request("GET", "/api/v1/images", json!(null)).await;
    assert_eq!(list["items"], json!([]), "nothing was half stored");
}

/// Asks as a registry's client with Basic authentication.
async fn pull(world: &World, path: &str, password: &str) -> axum::response::Response {
    let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{password}")));
    let request = axum::http::Request::builder().uri(path).header("authorization", basic);
    let request = request.header("host", "edge").body(Body::empty()).unwrap();
    tower::ServiceExt::oneshot(world.routes(), request).await.unwrap()
}

async fn body(response: axum::response::Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_registrys_client_reads_manifests_blobs_and_tags() {
    let world = World::new().await;
    let layer = artifact(&world, b"0123456789").await;
    let amd = artifact(&world, &config("amd64", "", &[&layer])).await;
    let arm = artifact(&world, &config("arm", "v7", &[&layer])).await;
    let source = format!("sha256:{}", "5".repeat(64));
    let platform = |config: &str| json!({ "config": config, "layers": [layer] });
    let image = json!({ "name": "shop/till:1", "platforms": [platform(&amd), platform(&arm)],
        "sources": [source] });
    let (_, image) = world.request("PUT", "/api/v1/images", image).await;
    push(&world, "other", &[b"other"]).await;
    let admin = world.admin.clone();
    let probe = pull(&world, "/v2/", &admin).await;
    assert_eq!(probe.status(), 200);
    assert_eq!(probe.headers()["docker-distribution-api-version"], "registry/2.0");
    let digest = image["digest"].as_str().unwrap();
    for reference in ["1", digest, &source] {
        let response = pull(&world, &format!("/v2/shop/till/manifests/{reference}"), &admin).await;
        assert_eq!(response.headers()["docker-content-digest"], digest);
        let kind = "application/vnd.oci.image.index.v1+json";
        assert_eq!(response.headers()["content-type"], kind);
        let bytes = body(response).await;
        assert_eq!(format!("sha256:{}", hex(&sha256(&bytes))), digest);
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        let one = index["manifests"][1]["digest"].as_str().unwrap();
        let response = pull(&world, &format!("/v2/shop/till/manifests/{one}"), &admin).await;
        assert_eq!(response.headers()["content-type"], MANIFEST);
        let manifest: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(manifest["config"]["digest"], json!(arm));
        assert_eq!(manifest["layers"][0]["digest"], json!(layer));
        assert!(manifest["layers"][0]["mediaType"].as_str().unwrap().ends_with("layer.v1.tar"));
    }
    let blob = format!("/v2/shop/till/blobs/{layer}");
    assert_eq!(body(pull(&world, &blob, &admin).await).await, b"0123456789");
    let (status, part) = world.send("GET", &blob, &[("range", "bytes=3-5")], Body::empty()).await;
    assert_eq!((status, &part[..]), (206, &b"345"[..]));
    let head = world.answer("HEAD", &blob, &[], Body::empty()).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"10".parse().unwrap())
    );
    let tags = body(pull(&world, "/v2/shop/till/tags/list", &admin).await).await;
    let tags: Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags, json!({ "name": "shop/till", "tags": ["1"] }));
    for (path, code) in [
        ("/v2/shop/till/manifests/2".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/shop/tell/manifests/1".into(), "MANIFEST_UNKNOWN"),
        (format!("/v2/other/blobs/{layer}"), "BLOB_UNKNOWN"),
        ("/v2/nothing/tags/list".into(), "NAME_UNKNOWN"),
        ("/v2/_catalog".into(), "NAME_UNKNOWN"),
    ] {
        let response = pull(&world, &path, &admin).await;
        assert_eq!(response.status(), 404, "{path}");
        let answer: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(answer["errors"][0]["code"], code, "{path}: {answer}");
    }
    let (status, answer) = world.request("POST", "/v2/shop/till/blobs/uploads", json!(null)).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (405, &json!("UNSUPPORTED")));
}

#[tokio::test]
async fn tags_come_by_pages() {
    let world = World::new().await;
    for tag in ["1", "2", "3"] {
        push(&world, &format!("app:{tag}"), &[b"same"]).await;
    }
    let first = pull(&world, "/v2/app/tags/list?n=2", &world.admin).await;
    assert_eq!(first.headers()["link"], "</v2/app/tags/list?n=2&last=2>; rel=\"next\"");
    let rest = pull(&world, "/v2/app/tags/list?n=2&last=2", &world.admin).await;
    assert!(!rest.headers().contains_key("link"));
    let rest: Value = serde_json::from_slice(&body(rest).await).unwrap();
    assert_eq!(rest["tags"], json!(["3"]));
}

#[tokio::test]
async fn whoever_shows_no_token_is_asked_for_one_and_tenants_are_apart() {
    let world = World::new().await;
    push(&world, "app:1", &[b"layer"]).await;
    for path in ["/v2/", "/v2/app/manifests/1"] {
        for wrong in ["", "hfa1.0123456789abcdef.wrong", "secret"] {
            let response = pull(&world, path, wrong).await;
            assert_eq!(response.status(), 401, "{path} {wrong}");
            let asked = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(asked.starts_with("Basic realm="), "{asked}");
            let answer: Value = serde_json::from_slice(&body(response).await).unwrap();
            assert_eq!(answer["errors"][0]["code"], "UNAUTHORIZED");
        }
    }
    let token = |role: &str| json!({ "name": role, "role": role });
    for (role, status) in [("viewer", 200), ("auditor", 403), ("metrics", 403)] {
        let (_, made) = world.request("POST", "/api/v1/access", token(role)).await;
        let secret = made["token"].as_str().unwrap();
        let found = pull(&world, "/v2/app/manifests/1", secret).await.status().as_u16();
        assert_eq!(found, status, "{role}");
    }
    let (_, made) = world.request("POST", "/api/v1/tenants", json!({ "name": "acme" })).await;
    let secret = made["token"].as_str().unwrap_or_else(|| panic!("{made}"));
    assert_eq!(pull(&world, "/v2/", secret).await.status(), 200);
    let theirs = pull(&world, "/v2/app/manifests/1", secret).await;
    assert_eq!(theirs.status(), 404, "another tenant's images are not there");
}
