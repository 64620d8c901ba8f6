//! Measurement of what revisions and fences cost redb: the store as it is, and the same groups
//! written as before decision 0136, turn about on one disk. Medians are printed.
//!
//! `cargo nextest run --release -p fleet-tests --test stores --run-ignored all throughput
//! --no-capture`

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_tests::stores::contract::LONG;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::ports::store::{Batch, Fence, Store as _};

/// Number of commits of one turn.
const COMMITS: u64 = 200;

/// Number of turns of each kind.
const TURNS: usize = 15;

/// Number of devices whose rows are written.
const DEVICES: u64 = 20_000;

/// Number of bytes of one row.
const ROW: usize = 400;

/// Rows as they were written before revisions.
struct Plain(redb::Database);

const TABLE: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("holdfast");

impl Plain {
    fn open(path: &Path) -> Self {
        Self(redb::Database::builder().set_cache_size(8 * 1024 * 1024).create(path).unwrap())
    }

    fn commit(&self, batches: &[Batch]) {
        let transaction = self.0.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            let mut last = BTreeMap::new();
            for (key, value) in batches.iter().flat_map(|batch| &batch.writes) {
                last.insert(key.as_str(), value.as_deref());
            }
            for (key, value) in last {
                drop(table.insert(key, value.unwrap()).unwrap());
            }
        }
        transaction.commit().unwrap();
    }
}

fn groups(seed: u64, batches: u64, fence: Option<Fence>) -> Vec<Vec<Batch>> {
    let mut number = seed;
    let mut batch = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let device = (number >> 33) % DEVICES;
        let mut batch = Batch { fence, ..Batch::default() };
        batch.put(format!("report/device-{device}"), vec![b'x'; ROW]);
        batch
    };
    (0..COMMITS).map(|_| (0..batches).map(|_| batch()).collect()).collect()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    COMMITS as f64 / times[times.len() / 2].as_secs_f64()
}

#[test]
#[ignore = "a measurement, for an optimised build"]
fn commits_with_revisions_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
    let plain = Plain::open(&folder.path().join("plain.redb"));
    let fence = store.lease(0, "bench", LONG).unwrap();
    for batches in [1, 32, 256] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for turn in 0..=TURNS {
            let groups = groups(turn as u64, batches, Some(fence));
            let began = Instant::now();
            groups.iter().for_each(|group| drop(store.commit(group).unwrap()));
            let first = began.elapsed();
            let began = Instant::now();
            groups.iter().for_each(|group| plain.commit(group));
            let second = began.elapsed();
            // The first turn fills the files.
            if turn > 0 {
                with.push(first);
                without.push(second);
            }
        }
        let (with, without) = (median(with), median(without));
        let less = 100.0 * (1.0 - with / without);
        println!("groups of {batches}: {with:.0} commits/s, before {without:.0}: {less:.1} % less");
    }
}
