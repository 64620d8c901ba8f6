//! Tests of the master key over HTTPS, of what lies sealed in the store, and of who may read which
//! backup.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_control::adapters::keyring::{LocalKeyring, Place};
use holdfast_control::core::model::{AUTHORITY, KEYRING};
use holdfast_control::ports::authority::SealedKeys;
use holdfast_control::ports::keyring::{Keyring as _, ManagedKeyring as _};
use holdfast_control::ports::store::Store as _;
use serde_json::{Value, json};

use crate::restore::{Encrypted, backup, restore};
use crate::world::World;

/// Returns a row of the store that belongs to no tenant.
fn row(world: &World, key: &str) -> Option<Vec<u8>> {
    world.store.pick(&[key.to_owned()]).unwrap().remove(0).map(|row| row.value)
}

fn keyring_in(folder: &Path) -> Arc<LocalKeyring> {
    let place = Place::File(folder.join("master.key"));
    Arc::new(LocalKeyring::begin(place, 7).unwrap())
}

async fn rotate(world: &World, wanted: Value) -> (u16, Value) {
    world.request("POST", "/api/v1/master-key/rotate", wanted).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_master_key_is_rotated_while_everything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let world = World::with_keyring(keyring_in(folder.path())).await;
    let (_, before) = world.request("GET", "/api/v1/master-key", Value::Null).await;
    let file = std::fs::read(&path).unwrap();
    let (status, after) = rotate(&world, json!({ "dataKeys": true })).await;
    assert_eq!(status, 200, "{after}");
    assert_ne!(before["id"], after["id"]);
    assert_ne!(before["dataKeys"][0], after["dataKeys"][1], "{after}");
    assert!(after["notes"].to_string().contains(before["id"].as_str().unwrap()), "{after}");
    assert_ne!(std::fs::read(&path).unwrap(), file, "the old file has gone");
    assert!(!folder.path().join("master.key.new").exists());
    // What the store has now opens with the new file, and the authority is under the new data key.
    let keyring = row(&world, KEYRING).unwrap();
    let opened = LocalKeyring::open(Place::File(path.clone()), &keyring).unwrap();
    let authority: SealedKeys = serde_json::from_slice(&row(&world, AUTHORITY).unwrap()).unwrap();
    let keys = authority.open(&opened).unwrap();
    assert_eq!(&keys, world.service.enrolment.authority().keys());
    assert_eq!(opened.status().data_keys.len(), 2);
    // The files of a rotation that the store refuses stay as they are.
    let file = std::fs::read(&path).unwrap();
    world.store.fails.store(true, Ordering::Relaxed);
    assert_eq!(rotate(&world, json!({})).await.0, 503);
    assert_eq!(std::fs::read(&path).unwrap(), file);
    world.store.fails.store(false, Ordering::Relaxed);
    let (status, again) = rotate(&world, json!({})).await;
    assert_eq!(status, 200, "{again}");
    let (_, audit) = world.request("GET", "/api/v1/audit?order=newest", Value::Null).await;
    assert_eq!(audit["items"][0]["action"], "master-key.rotate", "{audit}");
    // A key that is given and is none is refused in words.
    let wrong = json!({ "file": "/nowhere/master.key" });
    let (status, answer) = rotate(&world, wrong).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("/nowhere/master.key"), "{answer}");
    world.device("d-1").await;
}

#[tokio::test]
async fn no_key_leaves_but_in_an_encrypted_backup() {
    let world = World::new().await;
    let keys = world.service.enrolment.authority().keys().clone();
    let pem = keys.ca_key_pem.lines().nth(1).unwrap().to_owned();
    let signing = keys.signing_key.clone();
    let has = |bytes: &[u8]| {
        let text = text(bytes);
        text.contains(&pem) || text.contains(&signing)
    };
    let encrypted = Encrypted::of(&world).await;
    assert!(!has(&encrypted.file));
    assert!(has(&encrypted.opened()), "it can be restored anywhere");
    let open = backup(&world).await;
    assert!(!has(&open));
    assert!(text(&open).contains("authority.sealed.json"));
    let mut served = 0;
    for path in ["/api/v1/about", "/api/v1/master-key", "/api/v1/audit", "/metrics"] {
        let (status, bytes) = world.send("GET", path, &[], Body::empty()).await;
        assert!(!has(&bytes), "{path}");
        served += usize::from(status == 200);
    }
    assert_eq!(served, 4);
    // Unencrypted, it is restored under the same master key alone.
    assert_eq!(restore(&world, open.clone()).await.0, 200);
    let other = World::new().await;
    let (status, answer) = restore(&other, open).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("master key"), "{answer}");
    assert!(answer.to_string().contains("--master-key"), "{answer}");
}

#[tokio::test]
async fn an_encrypted_backup_opens_for_whom_it_was_made() {
    let world = World::new().await;
    world.device("d-1").await;
    for (wanted, said) in [
        (json!({}), "to whom"),
        (json!({ "passphrase": "short" }), "12 characters"),
        (json!({ "recipients": ["age1nobody"] }), "is no recipient"),
        (json!({ "recipients": ["age1x"], "passphrase": "long enough it is" }), "not both"),
        (json!({ "recipients": vec!["age1x"; 21] }), "20 recipients"),
    ] {
        let (status, answer) = world.request("POST", "/api/v1/backup", wanted).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{answer}");
    }
    let passphrase = "six words of a dice roll";
    let body = Body::from(json!({ "passphrase": passphrase }).to_string());
    let (status, file) = world.send("POST", "/api/v1/backup", &[], body).await;
    assert_eq!(status, 200);
    let with = |text: &str| STANDARD.encode(text);
    for (headers, said) in [
        (vec![], "by a passphrase"),
        (vec![("holdfast-backup-passphrase", with("another one"))], "the passphrase is not"),
        (vec![("holdfast-backup-key", STANDARD.encode([7; 16]))], "does not belong"),
        (vec![("holdfast-backup-key", STANDARD.encode([7; 15]))], "16 bytes"),
        (vec![("holdfast-backup-key", "%".into())], "no base64"),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let body = Body::from(file.clone());
        let (status, answer) = world.send("POST", "/api/v1/restore", &headers, body).await;
        assert_eq!(status, 400, "{}", text(&answer));
        assert!(text(&answer).contains(said), "{said}: {}", text(&answer));
    }
    let right = with(passphrase);
    let headers = [("holdfast-backup-passphrase", right.as_str())];
    for at in [file.len() / 2, file.len() - 1] {
        let body = Body::from(file.slice(..at));
        let (status, answer) = world.send("POST", "/api/v1/restore", &headers, body).await;
        assert_eq!(status, 400, "cut at {at}: {}", text(&answer));
    }
    let (status, answer) = world.send("POST", "/api/v1/restore", &headers, Body::from(file)).await;
    assert_eq!(status, 200, "{}", text(&answer));
}

#[tokio::test]
async fn what_another_control_plane_sealed_opens_after_its_encrypted_backup_was_restored() {
    let folder = tempfile::tempdir().unwrap();
    let of_world = keyring_in(folder.path());
    let world = World::with_keyring(Arc::clone(&of_world)).await;
    let sealed = of_world.seal(b"secret/default/db/password", b"hunter2").unwrap();
    let saved = Encrypted::of(&world).await;
    assert!(!text(&saved.opened()).contains("hunter2"));
    let other_folder = tempfile::tempdir().unwrap();
    let keyring = keyring_in(other_folder.path());
    let other = World::with_keyring(Arc::clone(&keyring)).await;
    assert!(keyring.open(b"secret/default/db/password", &sealed).is_err());
    let (status, answer) = saved.restore(&other).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(keyring.open(b"secret/default/db/password", &sealed).unwrap(), b"hunter2");
    // And after a restart, from what is stored.
    let place = Place::File(other_folder.path().join("master.key"));
    let again = LocalKeyring::open(place, &row(&other, KEYRING).unwrap()).unwrap();
    assert_eq!(again.open(b"secret/default/db/password", &sealed).unwrap(), b"hunter2");
}
