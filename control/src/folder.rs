//! Data folder of `holdfast serve`: its modes, its lock, and whether a control plane has used it
//! before.
//!
//! A folder that was used and whose store is lost never becomes a new control plane by itself:
//! every device would be cut off by another CA. The store of a new one is made under another name
//! (`store.new`) and renamed once it holds the authority, so that `store.redb` is either whole or
//! damaged, and a first start that was cut short leaves nothing that looks like a loss.
//!
//! See decision 0096.
#![allow(
    clippy::disallowed_methods,
    reason = "the outermost layer: the files of the data folder are its trade"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::PROGRAM;
use crate::adapters::keyring::{LocalKeyring, Place};
use crate::adapters::store::{RedbStore, Unusable};
use crate::core::format::{self, StoreFormat, Upgrade};
use crate::core::model::{AUTHORITY, FORMAT, KEYRING};
use crate::ports::authority::{Keys, SealedKeys};
use crate::ports::keyring::{KeyringTrouble, ManagedKeyring as _};
use crate::ports::store::{Batch, Store as _};

const STORE: &str = "store.redb";
/// Name of a new control plane's store until it holds its authority.
const NEW: &str = "store.new";
const DATA: &str = "data.redb";
/// Name under which a damaged data store is set aside.
const DAMAGED: &str = "data.damaged";
const ARTIFACTS: &str = "artifacts";
/// Marker written at the first start: a control plane has used the folder.
const SERVED: &str = "served";
/// Marker present while a lost store is restored from a backup: the store is not complete yet.
const RESTORING: &str = "restoring";
const LOCK: &str = "lock";
/// Usual name of the master key's file, which is meant to be moved to another disk.
const MASTER: &str = "master.key";
const NEXT_MASTER: &str = "master.key.new";

/// Files that are set aside when a new control plane takes over the folder. The marker is the last,
/// so that a move that was cut short can be repeated.
const ALL: [&str; 6] = [STORE, DATA, DAMAGED, ARTIFACTS, RESTORING, SERVED];

/// The data folder, locked for this process.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// State of the data folder.
pub(crate) enum Kept {
    /// The folder holds no control plane.
    Nothing,
    /// The store can be read, with its authority.
    Whole(Box<Whole>),
    /// A control plane has used the folder, and its store is lost, for this reason in words.
    Lost(String),
}

/// Store with what is needed to serve from it.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) store: RedbStore,
    pub(crate) keys: Keys,
    pub(crate) keyring: LocalKeyring,
}

/// Reason why a store is not opened.
enum Unopened {
    /// The store is lost, for this reason.
    Lost(String),
    /// The store is whole, and something else is missing or wrong.
    Refused(anyhow::Error),
}

impl From<Unusable> for Unopened {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Damaged(why) => Self::Lost(why),
            Unusable::System(why) => Self::Refused(anyhow::anyhow!(why)),
        }
    }
}

/// Presence of the store's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    No,
    Empty,
    Yes,
}

/// Returns why the store counts as lost, judged by the files in the folder. None: it does not.
fn lost(store: There, evidence: Option<&str>, restoring: bool) -> Option<String> {
    let evidence =
        evidence.map(|name| format!(", though the folder has served before ({name} is there)"));
    match (store, evidence) {
        (_, _) if restoring => Some("a restore of store.redb was not finished".into()),
        (There::Empty, evidence) => {
            Some(format!("store.redb is empty{}", evidence.unwrap_or_default()))
        }
        (There::No, Some(evidence)) => Some(format!("store.redb is missing{evidence}")),
        (There::No, None) | (There::Yes, _) => None,
    }
}

impl Folder {
    /// Opens the data folder, creating it if needed: sets its modes and locks it.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        // Files that this process creates are for its own user alone, whatever umask it was started
        // with.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        private_folder(&path)
            .with_context(|| format!("cannot make the data folder {}", path.display()))?;
        let lock = lock(&path)?;
        close(&path);
        Ok(Self { path, _lock: lock })
    }

    /// Returns the path of a file in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the path of the folder of artifacts.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.join(ARTIFACTS)
    }

    /// Returns the path of the data store, whose file is created on first use.
    pub(crate) fn data(&self) -> PathBuf {
        self.join(DATA)
    }

    /// Returns the name of a file that only a control plane that was in use leaves behind. None:
    /// there is none.
    fn evidence(&self) -> Option<&'static str> {
        let filled = |name: &str| {
            fs::read_dir(self.artifacts().join(name)).is_ok_and(|mut all| all.next().is_some())
        };
        [SERVED, DATA, DAMAGED]
            .into_iter()
            .find(|name| self.join(name).symlink_metadata().is_ok())
            .or_else(|| filled("sha256").then_some(ARTIFACTS))
    }

    /// Examines the folder and opens the store in it.
    /// An older store is upgraded. `place` is that of the master key, `now` the time in seconds since
    /// 1970.
    pub(crate) fn kept(&self, place: Place, now: u64) -> anyhow::Result<Kept> {
        let path = self.join(STORE);
        let store = match fs::metadata(&path) {
            Ok(file) if file.len() == 0 => There::Empty,
            Ok(_) => There::Yes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => There::No,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let restoring = self.join(RESTORING).exists();
        if let Some(why) = lost(store, self.evidence(), restoring) {
            return Ok(Kept::Lost(why));
        }
        if store == There::No {
            return Ok(Kept::Nothing);
        }
        let opened = RedbStore::existing(&path).map_err(Into::into);
        match opened.and_then(|store| self.open_whole(store, place, now)) {
            Ok(whole) => {
                self.mark(SERVED, HAS_SERVED).unwrap_or_else(|error| {
                    tracing::warn!(%error, "the file \"{SERVED}\" cannot be written");
                });
                Ok(Kept::Whole(Box::new(whole)))
            }
            Err(Unopened::Lost(why)) => Ok(Kept::Lost(format!("store.redb is damaged: {why}"))),
            Err(Unopened::Refused(why)) => {
                Err(why.context(format!("cannot open {}", path.display())))
            }
        }
    }

    /// Opens what is in a store, and upgrades an older one.
    fn open_whole(&self, store: RedbStore, place: Place, now: u64) -> Result<Whole, Unopened> {
        let refused = |error: KeyringTrouble| Unopened::Refused(error.into());
        let lost = |why: String| Unopened::Lost(why);
        let Shared { upgrade, keyring, authority } = read_shared(&store)?;
        let bad = |error: serde_json::Error| Unopened::Lost(format!("its authority: {error}"));
        if upgrade == Upgrade::Needed {
            let keys: Keys = serde_json::from_slice(&authority).map_err(bad)?;
            let keyring = LocalKeyring::begin(place, now).map_err(refused)?;
            let upgraded = self.upgrade(store, &keys, &keyring);
            let store = upgraded.context("it cannot be upgraded, and stays as it was");
            let store = store.map_err(Unopened::Refused)?;
            return Ok(Whole { store, keys, keyring });
        }
        let row = keyring.ok_or_else(|| lost("it holds no data keys".into()))?;
        let keyring = LocalKeyring::open(place, &row).map_err(refused)?;
        let sealed: SealedKeys = serde_json::from_slice(&authority).map_err(bad)?;
        let keys = sealed.open(&keyring).map_err(|error| lost(error.to_string()))?;
        Ok(Whole { store, keys, keyring })
    }

    /// Upgrades a store of format 1, whose authority is in the clear. All else is copied into a new
    /// file, which takes the place of the old one: a freed page of the old one would keep the keys.
    /// Until it is renamed the old file is whole, and the next start begins again.
    fn upgrade(
        &self,
        store: RedbStore,
        keys: &Keys,
        keyring: &LocalKeyring,
    ) -> anyhow::Result<RedbStore> {
        tracing::warn!(
            "the data folder is upgraded in place: the CA's and the signing key go under the master key"
        );
        let (new, path) = (self.join(NEW), self.join(STORE));
        remove(&new)?;
        store.copy_without(&new, AUTHORITY)?;
        let unusable = |unusable| match unusable {
            Unusable::Damaged(why) | Unusable::System(why) => anyhow::anyhow!(why),
        };
        let fresh = RedbStore::existing(&new).map_err(unusable)?;
        fresh.commit(&[shared(keys, keyring)?])?;
        drop((fresh, store));
        fs::rename(&new, &path)?;
        self.sync()?;
        RedbStore::existing(&path).map_err(unusable)
    }

    /// Returns the usual place of the master key.
    pub(crate) fn master(&self) -> PathBuf {
        self.join(MASTER)
    }

    /// Creates the store of a new control plane with these keys, sealed by this keyring.
    pub(crate) fn begin(&self, keys: &Keys, keyring: &LocalKeyring) -> anyhow::Result<RedbStore> {
        let (new, path) = (self.join(NEW), self.join(STORE));
        let made = || -> anyhow::Result<RedbStore> {
            // A file of this name is left from a first start that was cut short before it printed
            // anything.
            remove(&new)?;
            RedbStore::open(&new)?.commit(&[shared(keys, keyring)?])?;
            fs::rename(&new, &path)?;
            self.sync()?;
            self.mark(SERVED, HAS_SERVED)?;
            RedbStore::existing(&path).map_err(|unusable| match unusable {
                Unusable::Damaged(why) | Unusable::System(why) => anyhow::anyhow!(why),
            })
        };
        made().with_context(|| format!("cannot make {}", path.display()))
    }

    /// Marks the store as being restored: it counts as lost until [`Folder::restored`] is called.
    pub(crate) fn restoring(&self) -> anyhow::Result<()> {
        self.mark(RESTORING, "A restore of the store has begun here.\n")
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Removes the mark of [`Folder::restoring`]: the restore is complete.
    pub(crate) fn restored(&self) -> anyhow::Result<()> {
        remove(&self.join(RESTORING))
            .and_then(|()| self.sync())
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }

    fn mark(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(self.join(name)) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                self.sync()
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Moves the store, or everything, into a new folder `before-TIME` and returns its path.
    pub(crate) fn set_aside(&self, now: u64, everything: bool) -> anyhow::Result<PathBuf> {
        let names: &[&str] = if everything { &ALL } else { &[STORE] };
        let free = (0..).map(|count| self.join(&format!("before-{}", now + count)));
        let aside = free.into_iter().find(|path| path.symlink_metadata().is_err());
        let aside = aside.unwrap_or_else(|| self.join("before"));
        let moved = || -> io::Result<()> {
            DirBuilder::new().mode(0o700).create(&aside)?;
            for name in names {
                match fs::rename(self.join(name), aside.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            File::open(&aside)?.sync_all()?;
            self.sync()
        };
        moved().with_context(|| format!("cannot move the old files to {}", aside.display()))?;
        Ok(aside)
    }

    /// Returns the advice for an operator whose store is lost, for this reason.
    pub(crate) fn advice(&self, why: &str) -> String {
        let data = self.path.display();
        format!(
            "{why}. It holds the CA, the access tokens and every device: nothing is served without it.\n\
             Is {data} the right folder, and is its file system mounted?\n\
             With a backup (`holdfast backup` made it): holdfast serve --data {data} --restore BACKUP.tar\n\
             Without one: holdfast serve --data {data} --begin-anew\n\
             (a new CA and admin token: every device must enrol again; the old files are kept in {data}/before-…)"
        )
    }
}

const HAS_SERVED: &str = "A control plane of Holdfast keeps its state in this folder. While this file is here, a missing store.redb is a loss, not a new beginning.\n";

/// Returns the write of the rows that belong to no tenant.
fn shared(keys: &Keys, keyring: &LocalKeyring) -> anyhow::Result<Batch> {
    let mut batch = Batch::default();
    batch.put(FORMAT.into(), serde_json::to_vec(&format::present(PROGRAM))?);
    batch.put(KEYRING.into(), keyring.row()?);
    batch.put(AUTHORITY.into(), serde_json::to_vec(&keys.seal(keyring)?)?);
    Ok(batch)
}

/// Rows of a store that belong to no tenant.
struct Shared {
    upgrade: Upgrade,
    keyring: Option<Vec<u8>>,
    authority: Vec<u8>,
}

/// Reads the rows that belong to no tenant, and decides whether the store must be upgraded.
fn read_shared(store: &RedbStore) -> Result<Shared, Unopened> {
    let lost = |why: &str| Unopened::Lost(why.to_owned());
    let rows = store.pick(&[FORMAT.into(), KEYRING.into(), AUTHORITY.into()]);
    let rows = rows.map_err(|error| Unopened::Lost(error.to_string()))?;
    let mut rows = rows.into_iter().map(|row| row.map(|row| row.value));
    let mut next = || rows.next().flatten();
    let (format, keyring, authority) = (next(), next(), next());
    let format = format.map(|row| serde_json::from_slice::<StoreFormat>(&row)).transpose();
    let format = format.map_err(|error| Unopened::Lost(format!("its format: {error}")))?;
    let upgrade =
        format::check(format, PROGRAM).map_err(|error| Unopened::Refused(error.into()))?;
    let authority = authority.ok_or_else(|| lost("it holds no authority"))?;
    Ok(Shared { upgrade, keyring, authority })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Locks the data folder, so that one process uses it. The lock ends with the process, however it
/// ends.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .with_context(|| format!("cannot write to the data folder {}", data.display()))?;
    // Anybody who can open the file can hold the lock, so that its mode is closed, too.
    tighten(&path);
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another `holdfast serve` uses the data folder {}: stop it, or say another --data; if none runs, another program holds {} (`fuser -v` names it): remove that file",
            data.display(),
            path.display()
        ),
        Err(error) => Err(error).context("cannot lock the data folder"),
    }
}

/// Returns whether a file in the data folder has a name that the control plane gives.
fn ours(name: &str) -> bool {
    [LOCK, NEW, MASTER, NEXT_MASTER].contains(&name)
        || ALL.contains(&name)
        || name.starts_with("before-")
}

/// Removes other users' access to the files that are in the folder already, whatever their modes. A
/// folder that also holds other things (as with `--data /srv`) keeps its own mode.
fn close(path: &Path) {
    let mut alone = true;
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(ours);
        // A new file system has a `lost+found`.
        alone &= is_ours || name == "lost+found";
        if is_ours {
            tighten(&entry.path());
        }
    }
    for folder in ["sha256", "incoming"] {
        let folder = path.join(ARTIFACTS).join(folder);
        tighten(&folder);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            tighten(&entry.path());
        }
    }
    if alone {
        tighten(path);
    } else if fs::metadata(path).is_ok_and(|folder| folder.mode() & 0o077 != 0) {
        tracing::warn!(
            folder = %path.display(),
            "the data folder holds other things as well and is open to other users: its mode stays; what the control plane keeps in it is closed to them"
        );
    }
}

/// Removes every right of group and others from a file or folder. A symbolic link is not followed,
/// since it may point to a file of somebody else.
fn tighten(path: &Path) {
    let changed = || -> io::Result<()> {
        let there = fs::symlink_metadata(path)?;
        if there.mode() & 0o077 == 0 || !(there.is_file() || there.is_dir()) {
            return Ok(());
        }
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let mode = if file.metadata()?.is_dir() { 0o700 } else { 0o600 };
        file.set_permissions(Permissions::from_mode(mode))
    };
    match changed() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
            path = %path.display(), %error,
            "this stays open to other users: its mode cannot be set"
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_store_is_told_from_a_new_folder() {
        for (store, evidence, restoring, is_lost) in [
            (There::No, None, false, false),
            (There::No, Some(SERVED), false, true),
            (There::No, Some(DATA), false, true),
            (There::Empty, None, false, true),
            (There::Empty, Some(SERVED), false, true),
            (There::Yes, None, false, false),
            (There::Yes, Some(SERVED), false, false),
            (There::Yes, Some(SERVED), true, true),
        ] {
            let found = lost(store, evidence, restoring);
            assert_eq!(found.is_some(), is_lost, "{store:?} {evidence:?} {restoring}: {found:?}");
        }
    }

    fn keys() -> Keys {
        crate::adapters::authority::generate(1_795_000_000).unwrap()
    }

    /// Examines the folder, with the master key in its usual place.
    fn kept(folder: &Folder) -> Kept {
        folder.kept(Place::File(folder.master()), 7).unwrap()
    }

    fn begin(folder: &Folder, keys: &Keys) {
        let keyring = LocalKeyring::begin(Place::File(folder.master()), 7).unwrap();
        drop(folder.begin(keys, &keyring).unwrap());
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_lies_in_a_folder_decides() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data");
        let begun = Folder::open(path.clone()).unwrap();
        assert!(matches!(kept(&begun), Kept::Nothing));
        // A first start that was killed half-way: nobody is locked out.
        fs::write(path.join(NEW), "half").unwrap();
        fs::create_dir_all(path.join("artifacts/sha256")).unwrap();
        assert!(matches!(kept(&begun), Kept::Nothing));
        let keys = keys();
        begin(&begun, &keys);
        let whole = kept(&begun);
        assert!(matches!(&whole, Kept::Whole(whole) if whole.keys == keys));
        drop(whole);
        let store = path.join(STORE);
        let bytes = fs::read(&store).unwrap();
        for (damaged, why) in [
            (None, "missing"),
            (Some(&b""[..]), "empty"),
            (Some(&[0; 8_192][..]), "damaged"),
            (Some(bytes.get(..5_000).unwrap()), "damaged"),
        ] {
            match damaged {
                Some(bytes) => fs::write(&store, bytes).unwrap(),
                None => fs::remove_file(&store).unwrap(),
            }
            let Kept::Lost(said) = kept(&begun) else { panic!("{why}") };
            assert!(said.contains(why), "{said}");
            let advice = begun.advice(&said);
            assert!(advice.contains("--restore") && advice.contains("--begin-anew"), "{advice}");
        }
        // A store of another program's making, or one without its authority.
        fs::remove_file(&store).unwrap();
        drop(RedbStore::open(&store).unwrap());
        assert!(matches!(kept(&begun), Kept::Lost(_)));
        // Without the marker the data tells it.
        fs::remove_file(&store).unwrap();
        fs::remove_file(path.join(SERVED)).unwrap();
        fs::write(path.join("artifacts/sha256/00"), "x").unwrap();
        assert!(matches!(kept(&begun), Kept::Lost(_)));
        let aside = begun.set_aside(1, true).unwrap();
        assert!(aside.join("artifacts/sha256/00").exists(), "nothing is deleted");
        assert_ne!(begun.set_aside(1, true).unwrap(), aside);
        assert!(matches!(kept(&begun), Kept::Nothing));
        begin(&begun, &keys);
        begun.restoring().unwrap();
        assert!(matches!(kept(&begun), Kept::Lost(_)), "a restore that was cut short");
        begun.restored().unwrap();
        assert!(matches!(kept(&begun), Kept::Whole(_)));
    }

    /// Makes the store of a folder of format 1, with these keys and one other row.
    fn of_format_1(folder: &Folder, keys: &Keys) {
        let mut batch = Batch::default();
        batch.put(AUTHORITY.into(), serde_json::to_vec(keys).unwrap());
        batch.put("meta/default".into(), b"{}".to_vec());
        RedbStore::open(&folder.join(STORE)).unwrap().commit(&[batch]).unwrap();
    }

    fn holds(path: &Path, what: &str) -> bool {
        let bytes = fs::read(path).unwrap();
        bytes.windows(what.len()).any(|window| window == what.as_bytes())
    }

    #[test]
    fn an_older_store_is_upgraded_in_place_and_no_key_is_left_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path().join("data")).unwrap();
        let keys = keys();
        of_format_1(&folder, &keys);
        let secret = keys.signing_key.clone();
        assert!(holds(&folder.join(STORE), &secret));
        // An upgrade that was cut short is begun again.
        fs::write(folder.join(NEW), "half").unwrap();
        let Kept::Whole(whole) = kept(&folder) else { panic!("not whole") };
        assert_eq!(whole.keys, keys);
        let rows = whole.store.read("", 9).unwrap();
        let names: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, [AUTHORITY, FORMAT, KEYRING, "meta/default"]);
        drop(whole);
        assert!(!holds(&folder.join(STORE), &secret), "not even in a free page");
        assert!(!folder.join(NEW).exists());
        let Kept::Whole(whole) = kept(&folder) else { panic!("not whole") };
        assert_eq!(whole.keys, keys);
    }

    #[test]
    fn without_its_master_key_nothing_is_begun_and_nothing_changed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path().join("data")).unwrap();
        begin(&folder, &keys());
        let key = folder.master();
        let aside = scratch.path().join("elsewhere");
        fs::rename(&key, &aside).unwrap();
        let store = fs::read(folder.join(STORE)).unwrap();
        let place = || Place::File(folder.master());
        let Err(said) = folder.kept(place(), 7) else { panic!("it opens") };
        let said = format!("{said:#}");
        assert!(
            said.contains("--master-key") && said.contains("master.key is not there"),
            "{said}"
        );
        assert!(!key.exists(), "none is made in its place");
        drop(LocalKeyring::begin(Place::File(key.clone()), 7).unwrap());
        let Err(said) = folder.kept(place(), 7) else { panic!("it opens") };
        assert!(format!("{said:#}").contains("holds another one"), "{said:#}");
        let rows = |path: &Path| RedbStore::existing(path).unwrap().read("", 9).unwrap();
        let before = scratch.path().join("before.redb");
        fs::write(&before, store).unwrap();
        assert_eq!(rows(&folder.join(STORE)), rows(&before));
        let given = folder.kept(Place::File(aside), 7).unwrap();
        assert!(matches!(given, Kept::Whole(_)));
    }

    #[test]
    fn a_store_of_a_newer_program_is_refused_by_its_name_and_not_changed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path().join("data")).unwrap();
        begin(&folder, &keys());
        let mut batch = Batch::default();
        batch.put(FORMAT.into(), br#"{"format":99,"program":"holdfast 7.0.0"}"#.to_vec());
        RedbStore::existing(&folder.join(STORE)).unwrap().commit(&[batch]).unwrap();
        let Err(said) = folder.kept(Place::File(folder.master()), 7) else { panic!("it opens") };
        assert!(format!("{said:#}").contains("start holdfast 7.0.0 or a newer one"), "{said:#}");
        assert!(folder.join(STORE).exists());
    }

    #[test]
    fn what_is_there_is_closed_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data");
        fs::create_dir_all(path.join("artifacts/sha256")).unwrap();
        let outside = scratch.path().join("outside");
        for file in ["lock", "data.redb", "served", "artifacts/sha256/00"] {
            fs::write(path.join(file), "x").unwrap();
            fs::set_permissions(path.join(file), Permissions::from_mode(0o666)).unwrap();
        }
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&outside, path.join("data.damaged")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        drop(Folder::open(path.clone()).unwrap());
        for file in ["lock", "data.redb", "served", "artifacts/sha256/00"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
        for folder in ["", "artifacts", "artifacts/sha256"] {
            assert_eq!(mode(&path.join(folder)), 0o700, "{folder}");
        }
        assert_eq!(mode(&outside), 0o644, "no link is followed");
        // Somebody else's folder is not shut.
        fs::write(path.join("letter.txt"), "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(path.join("letter.txt"), Permissions::from_mode(0o644)).unwrap();
        drop(Folder::open(path.clone()).unwrap());
        assert_eq!((mode(&path), mode(&path.join("letter.txt"))), (0o755, 0o644));
    }
}
