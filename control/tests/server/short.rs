//! Tests of responses to clients that poll: nothing is sent twice, and it is compressed for those
//! that accept it.

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::world::World;

async fn get(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let answer = world.answer("GET", path, headers, Body::empty()).await;
    let status = answer.status().as_u16();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    let head =
        answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    (status, head, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn head<'a>(head: &'a [(String, String)], name: &str) -> Option<&'a str> {
    head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    for path in ["/api/v1/workloads", "/api/v1/workloads/w", "/api/v1/devices", "/api/v1/fleet"] {
        let (status, first, whole) = get(&world, path, &[]).await;
        assert_eq!(status, 200, "{path}");
        let tag = head(&first, "etag").expect(path).to_owned();
        assert_eq!(head(&first, "cache-control"), Some("no-store"), "{path}: no browser keeps it");
        let (status, again, body) = get(&world, path, &[("if-none-match", &tag)]).await;
        assert_eq!((status, body.len()), (304, 0), "{path}");
        assert_eq!(head(&again, "etag"), Some(tag.as_str()), "{path}");
        let (status, _, body) = get(&world, path, &[("if-none-match", "W/\"other\"")]).await;
        assert_eq!((status, body == whole), (200, true), "{path}");
    }
    let (_, before, _) = get(&world, "/api/v1/workloads", &[]).await;
    world.apply("w", "2").await.unwrap();
    let tag = head(&before, "etag").unwrap();
    let (status, _, body) = get(&world, "/api/v1/workloads", &[("if-none-match", tag)]).await;
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap()["items"][0]["status"]["revision"],
        2
    );
}

#[tokio::test]
async fn lists_are_compressed_for_whoever_understands_it_and_secrets_never() {
    let world = World::new().await;
    for number in 0..20 {
        world.apply(&format!("w-{number}"), "1").await.unwrap();
    }
    let path = "/api/v1/workloads";
    let (_, plain, whole) = get(&world, path, &[("accept-encoding", "gzip, zstd;q=0")]).await;
    assert_eq!(head(&plain, "content-encoding"), None);
    let (_, short, packed) = get(&world, path, &[("accept-encoding", "gzip, br, zstd")]).await;
    assert_eq!(head(&short, "content-encoding"), Some("zstd"));
    assert_eq!(head(&short, "vary"), Some("Accept-Encoding"));
    assert!(packed.len() * 5 < whole.len(), "{} of {}", packed.len(), whole.len());
    assert_eq!(zstd::bulk::decompress(&packed, 1 << 20).unwrap(), whole);
    assert_eq!(head(&plain, "etag"), head(&short, "etag"), "one tag for what is the same");

    let (_, session, _) = get(&world, "/api/v1/session", &[("accept-encoding", "zstd")]).await;
    assert_eq!((head(&session, "content-encoding"), head(&session, "etag")), (None, None));
}
