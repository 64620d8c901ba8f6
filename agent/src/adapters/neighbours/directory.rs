//! Known neighbours: the control plane's list, kept in `neighbours.json` for the time without it, and
//! addresses that multicast has found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use holdfast_protocol::neighbours::{MAX_NEIGHBOURS, NEIGHBOURS_PATH, Neighbours};
use tokio::sync::watch;

use crate::adapters::clock::uptime_ms;
use crate::adapters::files;
use crate::adapters::https::Api;

/// Name of the file.
const FILE: &str = "neighbours.json";
/// Largest file that is read, in bytes: [`MAX_NEIGHBOURS`] names and addresses take a tenth of it.
const MAX_FILE: u64 = 256 * 1024;
/// Shortest time between two requests for the list, in milliseconds, whoever asks for it.
const SOON: u64 = 60_000;
/// Most devices that are remembered as strangers, and for how long, in milliseconds: a device of another
/// site costs one list an hour, however often it comes.
const MAX_STRANGERS: usize = 64;
const STRANGE: u64 = 3_600_000;
/// Most addresses of one neighbour that are tried: those reported and those found.
const MAX_ADDRESSES: usize = 8;

/// Neighbours by name, with their addresses.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    neighbours: BTreeMap<Name, Vec<SocketAddr>>,
    /// Time of the last list in milliseconds. None: none has come since the start.
    listed_at: Option<u64>,
    /// Time of the last request, whatever came of it.
    asked_at: Option<u64>,
    /// Devices that came and were not of the site by a list that was asked for because of them, and
    /// when, in milliseconds. At most [`MAX_STRANGERS`].
    strangers: BTreeMap<Name, u64>,
}

impl Directory {
    /// Reads the list that was kept. A damaged one counts as none.
    pub(super) fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let kept = files::read(&path, MAX_FILE).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Neighbours>(&bytes).ok());
        let neighbours = parsed(kept.unwrap_or_default());
        let known = Known { neighbours, ..Known::default() };
        Self { path, known: Mutex::new(known) }
    }

    /// Neighbours by name, with the addresses that are known of each.
    pub(super) fn all(&self) -> BTreeMap<Name, Vec<SocketAddr>> {
        self.lock().neighbours.clone()
    }

    /// True if a device is of this site. The control plane is asked about one that came for the first
    /// time.
    pub(super) async fn admits(&self, name: &Name, api: &watch::Receiver<Option<Api>>) -> bool {
        let now = uptime_ms();
        {
            let mut known = self.lock();
            known.strangers.retain(|_, at| *at + STRANGE > now);
            let is_known = known.neighbours.contains_key(name);
            let is_full = known.strangers.len() >= MAX_STRANGERS;
            if is_known || known.strangers.contains_key(name) || is_full {
                return is_known;
            }
        }
        let _perhaps_too_soon = self.refresh(api, SOON).await;
        let mut known = self.lock();
        let is_known = known.neighbours.contains_key(name);
        // An older list says nothing of a device that may be new.
        let is_asked = known.listed_at.is_some_and(|at| at >= now);
        if is_asked && !is_known {
            known.strangers.insert(name.clone(), now);
        }
        is_known
    }

    /// True if no address is known of some neighbour.
    pub(super) fn lacks(&self) -> bool {
        self.lock().neighbours.values().any(Vec::is_empty)
    }

    /// Adds an address of a known neighbour, to be tried first.
    pub(super) fn found(&self, name: &Name, address: SocketAddr) {
        if let Some(addresses) = self.lock().neighbours.get_mut(name) {
            addresses.retain(|known| *known != address);
            addresses.insert(0, address);
            addresses.truncate(MAX_ADDRESSES);
        }
    }

    /// Asks the control plane for the list, unless one is younger than `age` milliseconds. Returns
    /// false if the list is older and could not be had.
    pub(super) async fn refresh(&self, api: &watch::Receiver<Option<Api>>, age: u64) -> bool {
        let now = uptime_ms();
        {
            let mut known = self.lock();
            if known.listed_at.is_some_and(|at| at + age.max(SOON) > now) {
                return true;
            }
            if known.asked_at.is_some_and(|at| at + SOON > now) {
                return false;
            }
            known.asked_at = Some(now);
        }
        let api = api.borrow().clone();
        let Some(api) = api else { return false };
        match api.get::<Neighbours>(NEIGHBOURS_PATH).await {
            Ok(list) => {
                self.take(list);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the list of neighbours cannot be had now");
                false
            }
        }
    }

    fn take(&self, list: Neighbours) {
        let bytes = serde_json::to_vec(&list).unwrap_or_default();
        let mut known = self.lock();
        let neighbours = parsed(list);
        if known.neighbours.keys().ne(neighbours.keys()) {
            tracing::info!(count = neighbours.len(), "neighbours are known");
        }
        known.strangers.retain(|name, _| !neighbours.contains_key(name));
        known.neighbours = neighbours;
        known.listed_at = Some(uptime_ms());
        drop(known);
        if let Err(error) = files::replace(&self.path, &bytes, 0o600) {
            tracing::warn!(%error, "{FILE} cannot be stored now");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parsed(list: Neighbours) -> BTreeMap<Name, Vec<SocketAddr>> {
    let addresses = |texts: Vec<String>| {
        texts.iter().filter_map(|text| text.parse().ok()).take(MAX_ADDRESSES).collect()
    };
    let neighbours = list.neighbours.into_iter().take(MAX_NEIGHBOURS);
    holdfast_base::collect::map(neighbours.map(|it| (it.device, addresses(it.addresses))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_kept_and_what_is_found_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path());
        assert!(directory.all().is_empty());
        let list = r#"{"neighbours":[{"device":"b","addresses":["10.0.0.2:1","bad"]},{"device":"c","addresses":[]}]}"#;
        directory.take(serde_json::from_str(list).unwrap());
        let again = Directory::open(folder.path());
        let (b, c, d): (Name, Name, Name) =
            ("b".parse().unwrap(), "c".parse().unwrap(), "d".parse().unwrap());
        assert_eq!(again.all()[&b], ["10.0.0.2:1".parse().unwrap()]);
        assert!(again.all().contains_key(&c) && !again.all().contains_key(&d));
        again.found(&b, "10.0.0.9:2".parse().unwrap());
        again.found(&d, "10.0.0.9:2".parse().unwrap());
        assert_eq!(again.all()[&b][0], "10.0.0.9:2".parse().unwrap());
        assert!(!again.all().contains_key(&d), "only the control plane says who is of the site");
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Directory::open(folder.path()).all().is_empty());
    }
}
