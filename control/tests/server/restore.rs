//! Tests of restores: a backup is restored completely or not at all, and devices follow the
//! restored state.

use std::io::Read as _;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_age::{Decrypting, FileKey, Head, Identity, With};
use holdfast_control::service::Failure;
use serde_json::{Value, json};

use crate::data::batch;
use crate::world::{World, advance};

/// Reads a backup that is not encrypted.
pub async fn backup(world: &World) -> Vec<u8> {
    let path = "/api/v1/backup/unencrypted";
    let (status, bytes) = world.send("POST", path, &[], Body::empty()).await;
    assert_eq!(status, 200);
    bytes.to_vec()
}

pub async fn restore(world: &World, tar: Vec<u8>) -> (u16, Value) {
    let (status, bytes) = world.send("POST", "/api/v1/restore", &[], Body::from(tar)).await;
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// Backup that is encrypted to a recipient, with the recipient's identity.
pub struct Encrypted {
    pub file: Vec<u8>,
    pub with: With,
}

impl Encrypted {
    pub async fn of(world: &World) -> Self {
        let identity = Identity::make().unwrap();
        let body = json!({ "recipients": [identity.recipient().to_string()] });
        let body = Body::from(body.to_string());
        let (status, bytes) = world.send("POST", "/api/v1/backup", &[], body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
        Self { file: bytes.to_vec(), with: With::Identities(vec![identity]) }
    }

    pub fn key(&self) -> FileKey {
        Head::read(&mut &self.file[..]).unwrap().file_key(&self.with).unwrap()
    }

    /// Returns the tar in it.
    pub fn opened(&self) -> Vec<u8> {
        let (mut from, mut tar) = (&self.file[..], Vec::new());
        let head = Head::read(&mut from).unwrap();
        Decrypting::begin(&head, &self.key(), from).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }

    /// Restores it, as the command line does: with the key of this file alone.
    pub async fn restore(&self, world: &World) -> (u16, Value) {
        let key = STANDARD.encode(self.key().bytes());
        let body = Body::from(self.file.clone());
        let headers = [("holdfast-backup-key", key.as_str())];
        let (status, bytes) = world.send("POST", "/api/v1/restore", &headers, body).await;
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test]
async fn devices_follow_what_was_restored() {
    let world = World::new().await;
    let (key, _) = world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let stored = world.send("PUT", "/api/v1/artifacts", &[], Body::from("bytes")).await.1;
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    let before = world.desired("d-1").unwrap();
    let saved = Encrypted::of(&world).await;
    world.apply("w", "2").await.unwrap();
    world.apply("later", "1").await.unwrap();
    world.device("d-2").await;
    let (status, answer) = saved.restore(&world).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["devices"], &answer["workloads"]), (&json!(1), &json!(1)));
    let after = world.desired("d-1").unwrap();
    assert!(after.epoch > before.epoch, "{after:?}");
    assert_eq!(after.workloads, before.workloads);
    assert_eq!(answer["epoch"], after.epoch);
    assert_eq!(world.view("d-1")["status"]["generation"]["applied"], 0, "it will say itself");
    assert!(world.service.fleet.device(&world.actor(), "d-2").is_err());
    assert_eq!(*world.bus.disconnected.lock().unwrap(), ["default_d-1", "default_d-2"]);
    world.renew(&key).await.unwrap();

    let world = world.restart().await;
    assert_eq!(world.desired("d-1").unwrap(), after);

    // A restore into an empty control plane brings the artifacts and asks for a restart.
    let other = World::new().await;
    let (status, answer) = saved.restore(&other).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["notes"].to_string().contains("restart"), "{answer}");
    assert!(matches!(other.renew(&key).await, Err(Failure::Unavailable(_))), "first a restart");
    let path = format!("/api/v1/artifacts/{}", stored["digest"].as_str().unwrap());
    let mut other = other;
    other.admin = world.admin.clone();
    assert_eq!(other.send("GET", &path, &[], Body::empty()).await.1, "bytes");
}

#[tokio::test]
async fn what_is_no_whole_backup_changes_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    world.send("PUT", "/api/v1/artifacts", &[], Body::from("bytes of an artifact")).await;
    let tar = backup(&world).await;
    let find = |what: &[u8]| tar.windows(what.len()).position(|window| window == what).unwrap();
    let mut damaged = tar.clone();
    damaged[find(b"bytes of an artifact")] ^= 1;
    let mut other_format = tar.clone();
    other_format[find(b"\"format\": 2") + 10] = b'3';
    // Arbitrary bytes in place of the second tar header, and in place of its name only.
    let noise: Vec<u8> = (0..512_u32).map(|number| (number * 7 % 256) as u8).collect();
    let (mut noisy, mut misnamed) = (tar.clone(), tar.clone());
    noisy[1024..1536].copy_from_slice(&noise);
    misnamed[1024..1032].copy_from_slice(b"\x1b[2J\xff\x07\n\r");
    let sum: u32 = misnamed[1024..1536].iter().map(|byte| u32::from(*byte)).sum();
    let sum = sum - misnamed[1172..1180].iter().map(|byte| u32::from(*byte)).sum::<u32>() + 256;
    misnamed[1172..1180].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (what, bad, said) in [
        ("empty", vec![], "this is not a backup of holdfast"),
        ("not a tar", b"nonsense".repeat(200), "this is not a backup of holdfast"),
        ("noise", noise.repeat(20), "this is not a backup of holdfast"),
        ("another tar", tar[1024..].to_vec(), "this is not a backup of holdfast"),
        ("noise in a header", noisy, "it is damaged"),
        ("another name", misnamed, r#""\u{1b}[2J�\u{7}\n\ry.sealed.json" does not belong"#),
        ("cut", tar[..find(b"store.ndjson\0") + 700].to_vec(), "store.ndjson, line"),
        ("cut after the store", tar[..find(b"bytes of an artifact") + 4].to_vec(), "artifact"),
        ("an artifact is damaged", damaged, "is damaged"),
        ("of another format", other_format, "format 3"),
    ] {
        let (status, answer) = restore(&world, bad).await;
        assert_eq!(status, 400, "{what}: {answer}");
        assert_eq!(answer["error"]["code"], "invalid", "{what}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{what}: {message}");
        assert!(!message.chars().any(char::is_control), "{what}: {message:?}");
        assert!(world.service.fleet.device(&world.actor(), "d-1").is_ok(), "{what}");
    }
}

/// Returns a tar entry of this type that claims one size and holds another.
fn entry(name: &str, of: u8, said: u64, stored: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(stored);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::new(of));
    if of == b'S'
        && let Some(gnu) = header.as_gnu_mut()
    {
        let octal = |number: u64| format!("{number:011o}\0");
        gnu.sparse[0].offset.copy_from_slice(octal(said - stored).as_bytes());
        gnu.sparse[0].numbytes.copy_from_slice(octal(stored).as_bytes());
        gnu.realsize.copy_from_slice(octal(said).as_bytes());
    }
    if of == b'2' || of == b'1' {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(512 + usize::try_from(stored.next_multiple_of(512)).unwrap(), b'a');
    bytes
}

#[tokio::test]
async fn a_backup_holds_files_alone_and_takes_no_more_room_than_it_has() {
    let world = World::new().await;
    let mut tar = backup(&world).await;
    while tar.ends_with(&[0; 512]) {
        tar.truncate(tar.len() - 512);
    }
    let name = format!("artifacts/sha256/{}", "3".repeat(64));
    for (what, name, of, said) in [
        ("holes", name.as_str(), b'S', "a file with holes"),
        ("holes in the store", "store.ndjson", b'S', "a file with holes"),
        ("a symbolic link", &name, b'2', "a link"),
        ("a hard link", &name, b'1', "a link"),
        ("a FIFO", &name, b'6', "a FIFO"),
        ("a device", &name, b'3', "a device"),
        ("a folder", &name, b'5', "a folder"),
        ("a long name", "long", b'L', "never holds"),
        ("an extended header", "pax", b'x', "never holds"),
    ] {
        let stored = if matches!(of, b'S' | b'L' | b'x') { 512 } else { 0 };
        let mut evil = tar.clone();
        evil.extend(entry(name, of, 1 << 32, stored));
        evil.extend([0; 1024]);
        let began = std::time::Instant::now();
        let (status, answer) = restore(&world, evil).await;
        assert_eq!(status, 400, "{what}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(said) && message.contains(name), "{what}: {message}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{what} was written out");
    }
    let line = format!("{{\"key\":\"{}\"}}", "k".repeat(33 * 1024 * 1024));
    let mut long = tar[..1024].to_vec();
    let mut header = tar::Header::new_gnu();
    header.set_path("store.ndjson").unwrap();
    header.set_size(line.len() as u64);
    header.set_cksum();
    long.extend(header.as_bytes());
    long.extend(line.as_bytes());
    let (status, answer) = restore(&world, long).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("line 1: longer"), "{answer}");
}

#[tokio::test]
async fn who_reads_a_backup_and_who_restores_one_is_written_down() {
    let world = World::new().await;
    let tar = backup(&world).await;
    let audited = || async {
        let (_, audit) = world.request("GET", "/api/v1/audit?order=newest", Value::Null).await;
        let last = audit["items"][0].clone();
        [last["by"].clone(), last["action"].clone()]
    };
    assert_eq!(audited().await, ["admin", "backup.read-unencrypted"]);
    Encrypted::of(&world).await;
    assert_eq!(audited().await, ["admin", "backup.read"]);
    assert_eq!(restore(&world, tar).await.0, 200);
    assert_eq!(audited().await, ["admin", "restore"]);
    // A backup can be read even when the disk takes no more writes.
    world.store.fails.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(!backup(&world).await.is_empty());
}

/// Waits for one round of the thread that applies retention to every stream.
async fn round(world: &World) {
    advance(31);
    for _ in 0..2 {
        assert!(world.ship("d-0", &batch("mark", 1, 1)).await);
    }
}

async fn records(world: &World, device: &str) -> (u16, usize) {
    let path = format!("/api/v1/devices/{device}/streams/s/records");
    let (status, page) = world.request("GET", &path, json!(null)).await;
    (status, page["items"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn the_data_of_a_device_that_a_backup_lacks_stays_for_a_day() {
    let world = World::new().await;
    world.device("d-0").await;
    let early = backup(&world).await;
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 9)).await);
    // The device is silent for two days; then a backup without it is restored by mistake.
    advance(2 * 86_400);
    let late = backup(&world).await;
    let (status, answer) = restore(&world, early.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let said = "does not know the devices of some streams (1, with 9 records)";
    assert!(answer["notes"].to_string().contains(said), "{answer}");
    round(&world).await;
    assert_eq!(records(&world, "d-1").await.0, 404, "nobody knows it");
    advance(70_000);
    round(&world).await;
    assert_eq!(restore(&world, late).await.0, 200);
    assert_eq!(records(&world, "d-1").await, (200, 9));
    round(&world).await;
    // The device was known in between, so that the day of grace begins anew.
    assert_eq!(restore(&world, early).await.0, 200);
    round(&world).await;
    advance(70_000);
    round(&world).await;
    assert_eq!(world.service.data.data_sums(&world.actor().tenant).0, 2);
    advance(20_000);
    round(&world).await;
    assert_eq!(world.service.data.data_sums(&world.actor().tenant).0, 1, "nobody came for it");
}

#[tokio::test]
async fn a_name_that_a_backup_gives_back_to_another_machine_costs_neither_its_data() {
    let world = World::new().await;
    world.device("d-0").await;
    world.device("d-1").await;
    let early = backup(&world).await;
    world.service.fleet.delete_device(&world.actor(), "d-1").await.unwrap();
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 9)).await);
    let late = backup(&world).await;
    assert_eq!(restore(&world, early).await.0, 200);
    assert_eq!(records(&world, "d-1").await.0, 404, "the former machine has sent nothing");
    assert!(world.ship("d-1", &batch("s", 1, 2)).await);
    assert_eq!(records(&world, "d-1").await, (200, 2));
    round(&world).await;
    let world = world.restart().await;
    assert_eq!(records(&world, "d-1").await, (200, 2));
    assert_eq!(restore(&world, late).await.0, 200);
    assert_eq!(records(&world, "d-1").await, (200, 9));
}
