//! Tests of the keyring on real files: every way in which the master key and the row can be apart.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::*;

struct Scratch {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        Self { _folder: folder, path }
    }

    fn place(&self) -> Place {
        Place::File(self.path.clone())
    }

    fn next(&self) -> PathBuf {
        master::next(&self.path)
    }
}

fn opened(place: Place, row: &[u8], sealed: &[u8]) -> Vec<u8> {
    LocalKeyring::open(place, row).unwrap().open(b"c", sealed).unwrap()
}

#[test]
fn a_master_key_is_made_once_and_for_its_owner_alone() {
    let scratch = Scratch::new();
    let keyring = LocalKeyring::begin(scratch.place(), 7).unwrap();
    let sealed = keyring.seal(b"c", b"value").unwrap();
    let text = fs::read_to_string(&scratch.path).unwrap();
    assert!(text.starts_with("hfmk1."), "it is known when it turns up somewhere");
    assert_eq!(fs::metadata(&scratch.path).unwrap().mode() & 0o777, 0o600);
    let row = keyring.row().unwrap();
    assert_eq!(opened(scratch.place(), &row, &sealed), b"value");
    let again = LocalKeyring::begin(scratch.place(), 7).unwrap();
    assert_eq!(fs::read_to_string(&scratch.path).unwrap(), text, "one that is there is used");
    assert!(again.open(b"c", &sealed).is_err(), "with a data key of its own");
    let row = String::from_utf8(row).unwrap();
    assert!(!row.contains(&keyring.export()[0].key), "data keys are wrapped: {row}");
}

#[test]
fn a_missing_or_another_master_key_says_what_to_do_and_changes_nothing() {
    let scratch = Scratch::new();
    let keyring = LocalKeyring::begin(scratch.place(), 7).unwrap();
    let (row, id) = (keyring.row().unwrap(), keyring.status().master);
    fs::remove_file(&scratch.path).unwrap();
    let said = LocalKeyring::open(scratch.place(), &row).unwrap_err().to_string();
    assert!(said.contains(&id) && said.contains("is not there"), "{said}");
    assert!(said.contains("--master-key") && said.contains("--restore"), "{said}");
    assert!(!scratch.path.exists(), "none is made");
    let other = Scratch::new();
    LocalKeyring::begin(other.place(), 7).unwrap();
    let said = LocalKeyring::open(other.place(), &row).unwrap_err().to_string();
    assert!(said.contains("holds another one"), "{said}");
    for bytes in [&b""[..], b"hfmk1.short", b"\xff\xfe", &[b'a'; 5_000][..]] {
        fs::write(&scratch.path, bytes).unwrap();
        let said = LocalKeyring::open(scratch.place(), &row).unwrap_err().to_string();
        assert!(said.contains("holds no master key"), "{said}");
        assert_eq!(fs::read(&scratch.path).unwrap(), bytes);
    }
}

#[test]
fn a_rotation_is_cut_short_at_every_step_and_the_start_finds_the_key() {
    let scratch = Scratch::new();
    let keyring = LocalKeyring::begin(scratch.place(), 7).unwrap();
    let sealed = keyring.seal(b"c", b"value").unwrap();
    let (before, file) = (keyring.row().unwrap(), fs::read(&scratch.path).unwrap());
    let after = keyring.stage(KeyringChange::Master { file: None }).unwrap();
    // The new key's file is there. The row is stored, or not.
    assert_eq!(opened(scratch.place(), &before, &sealed), b"value");
    assert_eq!(fs::read(&scratch.path).unwrap(), file, "the row that is stored needs the old one");
    // The change was never stored; the next rotation begins anew.
    let after = {
        drop(after);
        keyring.stage(KeyringChange::Master { file: None }).unwrap()
    };
    assert_eq!(opened(scratch.place(), &after, &sealed), b"value");
    assert!(!scratch.next().exists(), "the start ends the rotation");
    assert_ne!(fs::read(&scratch.path).unwrap(), file);
    assert_eq!(opened(scratch.place(), &after, &sealed), b"value");
    assert!(LocalKeyring::open(scratch.place(), &before).is_err(), "the old key is gone");
}

#[test]
fn a_rotation_goes_on_without_a_stop() {
    let scratch = Scratch::new();
    let keyring = LocalKeyring::begin(scratch.place(), 7).unwrap();
    let sealed = keyring.seal(b"c", b"value").unwrap();
    let former = keyring.status().master;
    let row = keyring.stage(KeyringChange::Master { file: None }).unwrap();
    assert_eq!(keyring.status().master, former, "until it is stored");
    assert_eq!(
        keyring.open(b"c", &keyring.seal(b"c", b"meanwhile").unwrap()).unwrap(),
        b"meanwhile"
    );
    keyring.adopt().unwrap();
    assert_ne!(keyring.status().master, former);
    assert_eq!(keyring.open(b"c", &sealed).unwrap(), b"value");
    assert_eq!(opened(scratch.place(), &row, &sealed), b"value");
    keyring.adopt().unwrap();
    // A key that was given stays where it is.
    let given = Scratch::new();
    LocalKeyring::begin(given.place(), 7).unwrap();
    let row = keyring.stage(KeyringChange::Master { file: Some(given.path.clone()) }).unwrap();
    keyring.adopt().unwrap();
    assert_eq!(opened(given.place(), &row, &sealed), b"value");
    assert!(keyring.status().place.contains(given.path.to_str().unwrap()));
    let missing = KeyringChange::Master { file: Some(given.path.with_extension("none")) };
    assert!(keyring.stage(missing).unwrap_err().to_string().contains("master-key generate"));
}

#[test]
fn several_keys_in_one_file_are_tried_and_a_credential_is_never_written() {
    let (one, two) = (Scratch::new(), Scratch::new());
    LocalKeyring::begin(one.place(), 7).unwrap();
    let keyring = LocalKeyring::begin(two.place(), 7).unwrap();
    let both = [fs::read(&one.path).unwrap(), fs::read(&two.path).unwrap()].concat();
    fs::write(&one.path, &both).unwrap();
    let folder = one.path.parent().unwrap();
    fs::rename(&one.path, folder.join(CREDENTIAL)).unwrap();
    let place = Place::find(None, Some(folder.into()), two.path.clone());
    assert_eq!(place, Place::Credential(folder.join(CREDENTIAL)));
    assert_eq!(
        Place::find(Some("x".into()), Some(folder.into()), "y".into()),
        Place::File("x".into())
    );
    assert_eq!(Place::find(None, Some("/nowhere".into()), "y".into()), Place::File("y".into()));
    let of_credential = LocalKeyring::open(place, &keyring.row().unwrap()).unwrap();
    let said = of_credential.stage(KeyringChange::Master { file: None }).unwrap_err().to_string();
    assert!(said.contains("--file"), "{said}");
    assert_eq!(fs::read(folder.join(CREDENTIAL)).unwrap(), both);
}

#[test]
fn data_keys_change_and_those_of_a_backup_come_in() {
    let scratch = Scratch::new();
    let keyring = LocalKeyring::begin(scratch.place(), 7).unwrap();
    let old = keyring.seal(b"c", b"old").unwrap();
    keyring.stage(KeyringChange::NewDataKey { now: 8 }).unwrap();
    keyring.adopt().unwrap();
    let new = keyring.seal(b"c", b"new").unwrap();
    assert_eq!(keyring.open(b"c", &old).unwrap(), b"old");
    assert_eq!(keyring.status().data_keys.len(), 2);
    keyring.stage(KeyringChange::KeepTwo).unwrap();
    keyring.adopt().unwrap();
    assert_eq!(keyring.open(b"c", &old).unwrap(), b"old", "the second newest stays");
    keyring.stage(KeyringChange::NewDataKey { now: 9 }).unwrap();
    keyring.adopt().unwrap();
    let row = keyring.stage(KeyringChange::KeepTwo).unwrap();
    keyring.adopt().unwrap();
    assert!(matches!(keyring.open(b"c", &old), Err(KeyringError::UnknownKey(_))));
    assert_eq!(opened(scratch.place(), &row, &new), b"new");
    let elsewhere = LocalKeyring::in_memory().unwrap();
    let foreign = elsewhere.seal(b"c", b"foreign").unwrap();
    assert!(keyring.unwrap(&elsewhere.row().unwrap()).is_err(), "another master key");
    assert_eq!(keyring.unwrap(&row).unwrap(), keyring.export());
    keyring.stage(KeyringChange::Import(elsewhere.export())).unwrap();
    keyring.adopt().unwrap();
    assert_eq!(keyring.open(b"c", &foreign).unwrap(), b"foreign");
    let many = vec![elsewhere.export()[0].clone(); MOST];
    assert!(keyring.stage(KeyringChange::Import(many)).is_err(), "their number is bounded");
}
