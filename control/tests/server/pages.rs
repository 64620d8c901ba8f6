//! Tests of the pages, as a browser gets them.

use std::collections::BTreeSet;

use axum::http::Response;
use bytes::Bytes;
use holdfast_control::adapters::http::File;

use crate::world::World;

const SCRIPT: &str = "/assets/index-1a2b.js";

fn file(path: &'static str, kind: &'static str, plain: &'static str) -> File {
    File { path: path.into(), kind, plain: plain.into(), brotli: None, gzip: None }
}

async fn built() -> World {
    let mut world = World::new().await;
    let page = "<html><meta name=\"csp-nonce\" content=\"__CSP_NONCE__\"></html>";
    let script = File {
        brotli: Some("by brotli".into()),
        gzip: Some("by gzip".into()),
        ..file(SCRIPT, "text/javascript; charset=utf-8", "plain")
    };
    let icon = file("/favicon.svg", "image/svg+xml", "<svg/>");
    world.show(vec![file("/index.html", "text/html; charset=utf-8", page), script, icon]);
    world
}

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    world.raw("GET", path, headers, "").await
}

fn head<'r>(answer: &'r Response<Bytes>, name: &str) -> &'r str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_address_of_a_page_gives_the_page() {
    let world = built().await;
    for path in ["/", "/index.html", "/devices", "/devices/d-1", "/apis", "/a/api", "/%2e%2e/x"] {
        let answer = get(&world, path, &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(head(&answer, "content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!(head(&answer, "cache-control"), "no-cache", "{path}");
        assert_eq!(head(&answer, "etag"), "", "a kept page would have another policy's nonce");
    }
    for path in ["/api", "/api/", "/api/v1", "/api/v1/nothing", "/healthz/x", "/metrics/x", "//api"]
    {
        let answer = get(&world, path, &[]).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(head(&answer, "content-type"), "application/json", "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(world.raw(method, "/devices", &[], "").await.status(), 404, "{method}");
    }
    let gone = get(&world, "/assets/index-of-an-older-build.js", &[]).await;
    assert_eq!(gone.status(), 404, "a page is no answer to who wants a script");
}

#[tokio::test]
async fn each_page_has_a_nonce_of_its_own() {
    let world = built().await;
    let mut nonces = BTreeSet::new();
    for _ in 0..20 {
        let answer = get(&world, "/", &[]).await;
        let policy = head(&answer, "content-security-policy").to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        let expected = format!(
            "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        );
        assert_eq!(policy, expected);
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(body.contains(&format!("content=\"{nonce}\"")), "{body}");
        assert!(nonce.len() >= 22);
        assert!(nonces.insert(nonce), "a nonce that comes again is none");
    }
}

#[tokio::test]
async fn files_come_in_the_best_form_that_is_understood_and_once() {
    let world = built().await;
    let mut tags = BTreeSet::new();
    for (accept, encoding, body) in [
        ("", "", "plain"),
        ("identity", "", "plain"),
        ("gzip, deflate, br, zstd", "br", "by brotli"),
        ("gzip", "gzip", "by gzip"),
        ("br;q=0, gzip;q=0.5", "gzip", "by gzip"),
        ("br; q=0", "", "plain"),
        ("BR", "br", "by brotli"),
        ("brotli, xbr", "", "plain"),
        ("br;q=nonsense", "", "plain"),
    ] {
        let headers: &[(&str, &str)] =
            if accept.is_empty() { &[] } else { &[("accept-encoding", accept)] };
        let answer = get(&world, SCRIPT, headers).await;
        assert_eq!(answer.status(), 200, "{accept}");
        assert_eq!(
            (head(&answer, "content-encoding"), &answer.body()[..]),
            (encoding, body.as_bytes()),
            "{accept}"
        );
        assert_eq!(head(&answer, "content-type"), "text/javascript; charset=utf-8");
        assert_eq!(head(&answer, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(head(&answer, "vary"), "Accept-Encoding");
        let tag = head(&answer, "etag").to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}")] {
            let mut headers = headers.to_vec();
            headers.push(("if-none-match", &known));
            let again = get(&world, SCRIPT, &headers).await;
            assert_eq!((again.status().as_u16(), again.body().len()), (304, 0), "{known}");
            assert_eq!(head(&again, "etag"), tag);
        }
        tags.insert((encoding, tag));
    }
    assert_eq!(tags.len(), 3, "each form has a tag of its own: {tags:?}");
    let icon = get(&world, "/favicon.svg", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!((head(&icon, "content-encoding"), &icon.body()[..]), ("", &b"<svg/>"[..]));
    assert_eq!(head(&icon, "cache-control"), "no-cache");
    let stale = get(&world, "/favicon.svg", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(stale.status(), 200);
}

#[tokio::test]
async fn answers_say_how_they_may_be_used() {
    let world = built().await;
    for path in ["/", SCRIPT, "/assets/none", "/favicon.svg"] {
        let answer = get(&world, path, &[]).await;
        assert_eq!(head(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(head(&answer, "referrer-policy"), "no-referrer", "{path}");
        assert_eq!(head(&answer, "cross-origin-opener-policy"), "same-origin", "{path}");
        assert!(head(&answer, "permissions-policy").contains("camera=()"), "{path}");
    }
    let bearer = format!("Bearer {}", world.admin);
    for path in ["/api/v1/devices", "/api/v1/nothing", "/api/v1/openapi.json", "/api/v1/access"] {
        let answer = get(&world, path, &[("authorization", &bearer)]).await;
        assert_eq!(head(&answer, "cache-control"), "no-store", "{path}");
        assert_eq!(head(&answer, "x-content-type-options"), "nosniff", "{path}");
        let policy = head(&answer, "content-security-policy");
        assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{path}");
    }
}

#[tokio::test]
async fn without_pages_it_says_how_to_build_them() {
    let world = World::new().await;
    for path in ["/", "/devices"] {
        let answer = get(&world, path, &[]).await;
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(body.contains("make dashboard"), "{body}");
        assert!(!body.contains("__CSP_NONCE__"), "{body}");
    }
}
