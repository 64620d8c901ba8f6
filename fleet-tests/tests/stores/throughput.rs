//! Measurement of what revisions and fences cost redb: the store as it is, and the same groups
//! written as before decision 0136, turn about on one disk (`TMPDIR`). Medians are printed.
//!
//! `cargo nextest run --release -p fleet-tests --test stores --run-ignored all throughput
//! --no-capture`

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_tests::stores::contract::LONG;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::ports::store::{Batch, Fence, Store as _};

/// Number of commits of each kind.
const COMMITS: usize = 2_000;

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

/// Random choice of devices, the same in every run.
struct Dice(u64);

impl Dice {
    fn group(&mut self, batches: u64, fence: Fence) -> Vec<Batch> {
        let batch = |_| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let device = (self.0 >> 33) % DEVICES;
            let mut batch = Batch { fence: Some(fence), ..Batch::default() };
            batch.put(format!("report/device-{device}"), vec![b'x'; ROW]);
            batch
        };
        (0..batches).map(batch).collect()
    }
}

/// Number of commits in a second, by the median of their times.
fn rate(mut times: Vec<Duration>) -> f64 {
    times.sort();
    1.0 / times[times.len() / 2].as_secs_f64()
}

#[test]
#[ignore = "a measurement, for an optimised build"]
fn commits_with_revisions_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
    let plain = Plain::open(&folder.path().join("plain.redb"));
    let fence = store.lease(0, "measurement", LONG).unwrap();
    let mut dice = Dice(1);
    // The first groups fill the files.
    for (batches, commits) in [(256, 150), (1, COMMITS), (32, COMMITS), (256, COMMITS / 5)] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for turn in 0..commits {
            let group = dice.group(batches, fence);
            for kind in [turn % 2, 1 - turn % 2] {
                let began = Instant::now();
                if kind == 0 {
                    store.commit(&group).unwrap();
                    with.push(began.elapsed());
                } else {
                    plain.commit(&group);
                    without.push(began.elapsed());
                }
            }
        }
        let (with, without) = (rate(with), rate(without));
        let less = 100.0 * (1.0 - with / without);
        println!("groups of {batches}: {with:.0} commits/s, before {without:.0}: {less:.1} % less");
    }
}
