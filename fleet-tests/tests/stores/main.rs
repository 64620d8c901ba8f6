//! Tests of the control plane's store ports on each implementation: redb, and the one in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and deal in files and processes by trade"
)]

mod kill;
mod throughput;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_tests::stores::{
    MemoryDataStore, MemoryStore, contract, data_contract, data_model, model,
};
use holdfast_control::adapters::data_store::RedbDataStore;
use holdfast_control::adapters::store::RedbStore;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

/// Cases of a model test on redb: each step of a case is a write to the disk.
const ON_DISK: u32 = 40;

/// Cases of a model test in memory.
const IN_MEMORY: u32 = 600;

/// Folder in which every store has a file of its own.
struct Files {
    folder: TempDir,
    count: AtomicU64,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), count: AtomicU64::new(0) }
    }

    fn next(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{number}.redb"))
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn redb_keeps_the_contract_of_a_store() {
    let files = Files::new();
    contract::store_contract(|| Box::new(RedbStore::open(&files.next()).unwrap()), false);
}

#[test]
fn a_store_in_memory_whose_leases_end_keeps_the_contract() {
    contract::store_contract(|| Box::new(MemoryStore::default()), true);
}

#[test]
fn every_data_store_keeps_the_contract() {
    let files = Files::new();
    data_contract::data_store_contract(|| Box::new(RedbDataStore::new(&files.next())));
    data_contract::data_store_contract(|| Box::new(MemoryDataStore::new(1)));
}

#[test]
fn two_holders_at_redb_are_as_the_model_has_them() {
    let files = Files::new();
    let checked = runner(ON_DISK).run(&model::steps(), |steps| {
        model::run(&RedbStore::open(&files.next()).unwrap(), false, &steps);
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn two_holders_at_a_shared_store_are_as_the_model_has_them() {
    let checked = runner(IN_MEMORY).run(&model::steps(), |steps| {
        model::run(&MemoryStore::default(), true, &steps);
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn two_holders_at_a_data_store_are_as_the_model_has_them() {
    let files = Files::new();
    let on_disk = runner(ON_DISK).run(&data_model::steps(), |steps| {
        data_model::run(&RedbDataStore::new(&files.next()), &steps);
        Ok(())
    });
    on_disk.unwrap();
    let in_memory = runner(IN_MEMORY).run(&data_model::steps(), |steps| {
        data_model::run(&MemoryDataStore::new(1), &steps);
        Ok(())
    });
    in_memory.unwrap();
}
