//! Tests of the deterministic world: a thousand seeds in the suite, more by `make world
//! SEEDS=100000`, one by `HOLDFAST_SEED=17`.

use std::panic::catch_unwind;

use fleet_tests::world;

#[allow(clippy::disallowed_methods, reason = "a test reads its knobs from the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs many seeds, or the one that is asked for; returns the first twenty outcomes.
fn seeds<T: PartialEq + std::fmt::Debug>(run: fn(u64) -> T) -> Vec<T> {
    if let Some(seed) = number("HOLDFAST_SEED") {
        let outcome = run(seed);
        assert_eq!(outcome, run(seed), "the same seed is the same world");
        println!("seed {seed}: {outcome:?}");
        return Vec::new();
    }
    let seeds = number("HOLDFAST_SEEDS").unwrap_or(1_000);
    let lanes = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let lane = |lane: u64| {
            scope.spawn(move || {
                let mine = (lane..seeds).step_by(usize::try_from(lanes).unwrap_or(1));
                mine.filter(|&seed| catch_unwind(|| run(seed)).is_err()).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..lanes).map(lane).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds fail: HOLDFAST_SEED={}",
        failed.len(),
        failed.first().copied().unwrap_or_default()
    );
    (0..20).map(run).collect()
}

#[test]
fn every_seed_is_safe_at_each_step_and_converges_when_quiet() {
    let first = seeds(world::run);
    // The chaos is real: the first seeds start processes and refuse messages.
    let first = first.iter().fold((0, 0), |(started, refused), outcome| {
        (started + outcome.started, refused + outcome.refused)
    });
    let asked = number("HOLDFAST_SEED").is_some();
    assert!(asked || first.0 > 200 && first.1 > 20, "a tame world: {first:?}");
}

#[test]
fn every_record_of_copied_and_restored_devices_arrives_once() {
    let first = seeds(world::data::run_copies);
    let sum = |of: fn(&world::data::Copied) -> u64| first.iter().map(of).sum::<u64>();
    let (acknowledged, lost) = (sum(|it| it.acknowledged as u64), sum(|it| it.lost as u64));
    let conflicts = sum(|it| it.conflicts);
    let asked = number("HOLDFAST_SEED").is_some();
    assert!(
        asked || acknowledged > 2_000 && conflicts > 200 && lost > 0,
        "a tame world: {acknowledged} {conflicts} {lost}"
    );
}

#[test]
fn every_acknowledged_record_arrives_once_or_stands_in_the_ledger() {
    let first = seeds(world::data::run);
    let sum = |of: fn(&world::data::Outcome) -> u64| first.iter().map(of).sum::<u64>();
    let acknowledged = sum(|it| it.acknowledged as u64);
    let (gaps, duplicates) = (sum(|it| it.gaps as u64), sum(|it| it.duplicates));
    let (crashes, damages) = (sum(|it| it.crashes), sum(|it| it.damages));
    let wild = acknowledged > 5_000 && gaps > 500 && duplicates > 200 && crashes > 300;
    let asked = number("HOLDFAST_SEED").is_some();
    assert!(
        asked || wild && damages > 20,
        "a tame world: {acknowledged} {gaps} {duplicates} {crashes} {damages}"
    );
}
