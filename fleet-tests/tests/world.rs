//! The deterministic world: a thousand seeds in the suite, more by `make world SEEDS=100000`,
//! one by `HOLDFAST_SEED=17`.

use std::panic::catch_unwind;

use fleet_tests::world;

#[allow(clippy::disallowed_methods, reason = "a test reads its knobs from the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_is_safe_at_each_step_and_converges_when_quiet() {
    if let Some(seed) = number("HOLDFAST_SEED") {
        let outcome = world::run(seed);
        assert_eq!(outcome, world::run(seed), "the same seed is the same world");
        println!("seed {seed}: {outcome:?}");
        return;
    }
    let seeds = number("HOLDFAST_SEEDS").unwrap_or(1_000);
    let lanes = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let lane = |lane: u64| {
            scope.spawn(move || {
                let mine = (lane..seeds).step_by(usize::try_from(lanes).unwrap_or(1));
                mine.filter(|&seed| catch_unwind(|| world::run(seed)).is_err()).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..lanes).map(lane).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds fail: HOLDFAST_SEED={}",
        failed.len(),
        failed[0]
    );
    // The chaos is real: the first seeds start processes and refuse messages.
    let first = (0..20).map(world::run).fold((0, 0), |(started, refused), outcome| {
        (started + outcome.started, refused + outcome.refused)
    });
    assert!(first.0 > 200 && first.1 > 20, "a tame world: {first:?}");
}
