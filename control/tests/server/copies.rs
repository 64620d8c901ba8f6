//! Tests of copies from another registry, which is played here: one that dies in the middle of a
//! layer, lies about a digest, sends a bomb, or refuses credentials.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{Digest, hex};
use holdfast_control::core::model::sha256;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::images::config;
use crate::world::World;

/// Registry that is played.
#[derive(Default)]
struct Play {
    /// Bodies by their paths behind `/v2/`.
    files: BTreeMap<String, Vec<u8>>,
    /// Number of bytes after which a connection is cut, by path. Each is cut once.
    cuts: BTreeMap<String, usize>,
    /// User and password that it wants, as the value of `Authorization`.
    wants: Option<String>,
    /// True if it knows no ranges.
    without_ranges: bool,
    /// Paths with the byte from which each was asked for.
    asked: Vec<(String, usize)>,
}

impl Play {
    fn blob(&mut self, bytes: Vec<u8>) -> (String, usize) {
        let (digest, size) = (format!("sha256:{}", hex(&sha256(&bytes))), bytes.len());
        self.files.insert(format!("team/app/blobs/{digest}"), bytes);
        (digest, size)
    }

    /// Adds an image of one platform and tags it `1`. Returns the digest of its manifest.
    fn image(&mut self, layers: &[(Vec<u8>, &[u8])]) -> String {
        let ids: Vec<String> =
            layers.iter().map(|(_, plain)| format!("sha256:{}", hex(&sha256(plain)))).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let (config, size) = self.blob(config("amd64", "", &ids));
        let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers: Vec<Value> = layers
            .iter()
            .map(|(packed, _)| {
                let (digest, size) = self.blob(packed.clone());
                json!({ "mediaType": kind, "digest": digest, "size": size })
            })
            .collect();
        let manifest = json!({ "schemaVersion": 2, "layers": layers,
            "config": { "digest": config, "size": size } });
        let bytes = manifest.to_string().into_bytes();
        let digest = format!("sha256:{}", hex(&sha256(&bytes)));
        self.files.insert("team/app/manifests/1".into(), bytes.clone());
        self.files.insert(format!("team/app/manifests/{digest}"), bytes);
        digest
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

/// Plays a registry on a loopback port until the test ends.
async fn play(play: Play) -> (SocketAddr, Arc<Mutex<Play>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Mutex::new(play));
    let play = Arc::clone(&shared);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket, Arc::clone(&play)));
        }
    });
    (address, shared)
}

/// Answers one request and closes the connection.
async fn answer(mut socket: TcpStream, play: Arc<Mutex<Play>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        head.extend_from_slice(&buffer[..read]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().trim_start_matches("/v2/").to_owned();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line.split_once(": ").unwrap().1.to_owned())
    };
    let (status, headers, body, cut) = {
        let mut play = play.lock().unwrap();
        let range = header("range").filter(|_| !play.without_ranges);
        let from = range.map_or(0, |range| {
            range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
        });
        play.asked.push((path.clone(), from));
        if play.wants.is_some() && play.wants != header("authorization") {
            ("401 Unauthorized", "www-authenticate: Basic realm=\"r\"\r\n", Vec::new(), None)
        } else {
            match play.files.get(&path).cloned() {
                None => ("404 Not Found", "", Vec::new(), None),
                Some(body) => {
                    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                    let cut = play.cuts.remove(&path);
                    (status, "", body[from.min(body.len())..].to_vec(), cut)
                }
            }
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let sent = cut.unwrap_or(length).min(length);
    let _gone = socket.write_all(head.as_bytes()).await;
    let _gone = socket.write_all(&body[..sent]).await;
    let _gone = socket.shutdown().await;
}

/// Copies an image and returns the last line of the answer.
async fn copy(world: &World, address: SocketAddr, more: Value) -> Value {
    let mut body =
        json!({ "from": format!("{address}/team/app:1"), "to": "app:1", "plainHttp": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = Body::from(body.to_string());
    let (status, answer) = world.send("POST", "/api/v1/images/copy", &[], body).await;
    let text = String::from_utf8(answer.to_vec()).unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn failed(line: &Value) -> &str {
    line["failed"].as_str().unwrap_or_else(|| panic!("{line}"))
}

async fn artifacts(world: &World) -> usize {
    let (_, list) = world.request("GET", "/api/v1/artifacts", json!(null)).await;
    list["items"].as_array().unwrap().len()
}

/// Bytes that no packing makes smaller.
fn noise(length: u32, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn a_layer_that_is_cut_goes_on_at_the_byte_where_it_was() {
    for without_ranges in [false, true] {
        let world = World::new().await;
        let (base, top) = (noise(400_000, 1), noise(90_000, 2));
        let mut registry = Play { without_ranges, ..Play::default() };
        let packed = gzip(&base);
        let source = registry.image(&[(packed.clone(), &base), (gzip(&top), &top)]);
        let path = format!("team/app/blobs/sha256:{}", hex(&sha256(&packed)));
        registry.cuts.insert(path.clone(), 100_000);
        let (address, registry) = play(registry).await;
        let line = copy(&world, address, json!({})).await;
        let image = &line["result"];
        assert_eq!(image["copiedFrom"], json!(format!("{address}/team/app:1")), "{line}");
        assert_eq!(image["sources"], json!([source]));
        let asked = registry.lock().unwrap().asked.clone();
        let of_layer: Vec<usize> =
            asked.into_iter().filter(|(asked, _)| *asked == path).map(|(_, from)| from).collect();
        let again = if without_ranges { 0 } else { 100_000 };
        assert_eq!(
            of_layer,
            [0, again],
            "without ranges it begins anew, and what came is left out"
        );
        let layer = image["platforms"][0]["layers"][0]["digest"].as_str().unwrap();
        let path = format!("/api/v1/artifacts/{layer}");
        assert_eq!(world.send("GET", &path, &[], Body::empty()).await.1, base);
        // `NAME@DIGEST` of the original means it, and copied again nothing is fetched but documents.
        let by_digest = format!("/api/v1/images/app@{source}");
        assert_eq!(world.request("GET", &by_digest, json!(null)).await.0, 200);
        registry.lock().unwrap().asked.clear();
        copy(&world, address, json!({})).await;
        let asked = registry.lock().unwrap().asked.len();
        assert_eq!(asked, 2, "manifest and configuration");
    }
}

#[tokio::test]
async fn a_registry_that_dies_for_good_leaves_what_came_whole() {
    let world = World::new().await;
    let (small, large) = (noise(1_000, 1), noise(400_000, 2));
    let mut registry = Play::default();
    let packed = gzip(&large);
    registry.image(&[(gzip(&small), &small), (packed.clone(), &large)]);
    let path = format!("team/app/blobs/sha256:{}", hex(&sha256(&packed)));
    let kept = registry.files.insert(path.clone(), packed[..50_000].to_vec());
    let (address, registry) = play(registry).await;
    let line = copy(&world, address, json!({})).await;
    assert!(failed(&line).contains("ended a layer at byte 50000 of"), "{line}");
    assert_eq!(artifacts(&world).await, 2, "the configuration and the layer that came");
    let (_, list) = world.request("GET", "/api/v1/images", json!(null)).await;
    assert_eq!(list["items"], json!([]), "no half image");
    registry.lock().unwrap().files.insert(path, kept.unwrap());
    registry.lock().unwrap().asked.clear();
    let line = copy(&world, address, json!({})).await;
    assert!(line["result"].is_object(), "{line}");
    let small = format!("team/app/blobs/sha256:{}", hex(&sha256(&gzip(&small))));
    let again = registry.lock().unwrap().asked.iter().any(|(path, _)| *path == small);
    assert!(!again, "a layer that is here is not fetched again");
}

#[tokio::test]
async fn lies_and_bombs_are_refused_and_nothing_of_them_stays() {
    let world = World::new().await;
    let (good, other) = (noise(5_000, 1), noise(5_000, 2));
    // A blob that is not that of its digest, of the same length.
    let mut liar = Play::default();
    liar.image(&[(good.clone(), &good)]);
    let path = format!("team/app/blobs/sha256:{}", hex(&sha256(&good)));
    liar.files.insert(path, other.clone());
    let (address, _) = play(liar).await;
    let line = copy(&world, address, json!({})).await;
    assert!(failed(&line).contains("sent other bytes than those of sha256:"), "{line}");
    // A layer that is not the one of the configuration.
    let mut swapped = Play::default();
    swapped.image(&[(gzip(&other), &good)]);
    let (address, _) = play(swapped).await;
    let line = copy(&world, address, json!({})).await;
    assert!(failed(&line).contains("the image is damaged"), "{line}");
    // Zeros that unpack to more than an artifact may have, which in this world is 1 MB.
    let zeros = vec![0; 64 << 20];
    let mut bomb = Play::default();
    bomb.image(&[(gzip(&zeros), &zeros)]);
    let (address, _) = play(bomb).await;
    let line = copy(&world, address, json!({})).await;
    assert!(failed(&line).contains("unpacks to more than"), "{line}");
    assert_eq!(artifacts(&world).await, 2, "configurations alone, of which two are the same");
    let left: Vec<_> = world.files_of("artifacts/incoming");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn credentials_are_given_by_hand_or_by_a_secret_and_refused_in_words() {
    let world = World::new().await;
    let layer = noise(100, 1);
    let wants = format!("Basic {}", STANDARD.encode("ci:right"));
    let mut registry = Play { wants: Some(wants), ..Play::default() };
    registry.image(&[(gzip(&layer), &layer)]);
    let (address, _) = play(registry).await;
    let secret = json!({ "apiVersion": "holdfast/v1", "kind": "Secret",
        "metadata": { "name": "registry" },
        "spec": { "data": { "username": "ci", "password": "right" } } });
    let body = json!({ "documents": [secret] });
    assert_eq!(world.request("POST", "/api/v1/apply", body).await.0, 200);
    for (given, said) in [
        (json!({}), "asks for credentials (status 401)"),
        (json!({ "username": "ci", "password": "wrong" }), "credentials refused by 127.0.0.1"),
    ] {
        let line = copy(&world, address, given).await;
        assert!(failed(&line).contains(said), "{line}");
    }
    for given in [json!({ "username": "ci", "password": "right" }), json!({ "secret": "registry" })]
    {
        let line = copy(&world, address, given).await;
        assert!(line["result"].is_object(), "{line}");
    }
    for (given, status, said) in [
        (json!({ "secret": "nothing" }), 404, "secret nothing with the key username"),
        (json!({ "username": "ci" }), 400, "give both"),
        (json!({ "secret": "registry", "username": "a", "password": "b" }), 400, "one of them"),
        (json!({ "platforms": ["x86/64/x"] }), 400, "is no platform"),
    ] {
        let mut body = json!({ "from": format!("{address}/team/app:1"), "plainHttp": true });
        body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        let (found, answer) = world.request("POST", "/api/v1/images/copy", body).await;
        let text = answer.to_string();
        assert!(found == status && text.contains(said), "{found} {text}");
    }
    let digest = Digest(sha256(&layer)).to_string();
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(world.send("GET", &path, &[], Body::empty()).await.1, layer);
}
