use super::*;

struct World {
    _folder: tempfile::TempDir,
    deltas: Deltas,
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("sha256");
    std::fs::create_dir_all(&whole).expect("created");
    for (digest, size) in [(1, SMALLEST), (2, SMALLEST), (3, SMALLEST), (4, SMALLEST - 1)] {
        let file = std::fs::File::create(whole.join(Digest([digest; 32]).hex())).expect("a file");
        file.set_len(size).expect("its size");
    }
    let deltas = Deltas::open(folder.path(), &whole).expect("opened");
    deltas.state().running = true;
    World { _folder: folder, deltas }
}

fn digest(number: u8) -> Digest {
    Digest([number; 32])
}

impl World {
    fn ask(&self, bases: &[u8], new: u8) -> Answer {
        let bases: Vec<Digest> = bases.iter().copied().map(digest).collect();
        self.deltas.ask(&bases, digest(new), 30 << 20)
    }

    fn file(&self, old: Option<u8>, new: u8, bytes: &[u8]) -> PathBuf {
        let pair = Pair { old: old.map(digest), new: digest(new), class: 24 };
        let path = self.deltas.folder.join(pair.name());
        std::fs::write(&path, bytes).expect("written");
        path
    }

    fn queued(&self) -> usize {
        self.deltas.state().queue.len()
    }
}

#[test]
fn a_delta_that_is_not_there_is_made_once_and_waited_for() {
    let world = world();
    assert_eq!(world.ask(&[1], 2), Answer::Later(AGAIN));
    assert_eq!(world.ask(&[1], 2), Answer::Later(AGAIN));
    assert_eq!(world.queued(), 1);
    let path = world.file(Some(1), 2, b"delta");
    assert_eq!(world.ask(&[1], 2), Answer::Ready(path));
}

#[test]
fn nobody_waits_longer_than_the_patience() {
    let world = world();
    assert_eq!(world.ask(&[1], 2), Answer::Later(AGAIN));
    let mut state = world.deltas.state();
    let early = Instant::now().checked_sub(PATIENCE).expect("an earlier time");
    state.since.values_mut().for_each(|since| *since = early);
    drop(state);
    assert_eq!(world.ask(&[1], 2), Answer::Whole);
    assert_eq!(world.queued(), 1);
}

#[test]
fn a_delta_from_any_base_is_better_than_waiting_for_one_from_the_best() {
    let world = world();
    let path = world.file(Some(3), 2, b"delta");
    assert_eq!(world.ask(&[1, 3], 2), Answer::Ready(path));
    assert_eq!(world.queued(), 0);
}

#[test]
fn what_does_not_pay_is_not_made_again() {
    let world = world();
    world.file(Some(1), 2, b"");
    world.file(None, 2, b"");
    assert_eq!(world.ask(&[1], 2), Answer::Whole);
    assert_eq!(world.queued(), 0);
    // Another base may be better.
    assert_eq!(world.ask(&[1, 3], 2), Answer::Later(AGAIN));
}

#[test]
fn without_a_base_nobody_waits() {
    let world = world();
    assert_eq!(world.ask(&[], 2), Answer::Whole);
    assert_eq!(world.queued(), 1, "for the next device");
    let path = world.file(None, 2, b"packed");
    assert_eq!(world.ask(&[9], 2), Answer::Ready(path), "9 is not stored, so it is no base");
}

#[test]
fn small_artifacts_and_devices_without_memory_get_the_whole() {
    let world = world();
    assert_eq!(world.ask(&[1], 4), Answer::Whole);
    assert_eq!(world.deltas.ask(&[digest(1)], digest(2), 1 << 20), Answer::Whole);
    assert_eq!(world.ask(&[2], 2), Answer::Whole, "the same artifact");
    assert_eq!(world.queued(), 1, "2 compressed");
}

#[test]
fn a_full_queue_and_no_maker_at_all_mean_the_whole() {
    let world = world();
    world.deltas.state().running = false;
    assert_eq!(world.ask(&[1], 2), Answer::Whole);
    world.deltas.state().running = true;
    let pair = Pair { old: None, new: digest(9), class: 4 };
    world.deltas.state().queue.extend(std::iter::repeat_n(pair, MOST_WAITING));
    assert_eq!(world.ask(&[1], 2), Answer::Whole);
}

#[test]
fn an_artifact_that_goes_takes_its_deltas_along() {
    let world = world();
    let (gone, stays) = (world.file(Some(1), 2, b"delta"), world.file(Some(3), 2, b"delta"));
    world.deltas.forget(&digest(1));
    assert!(!gone.exists() && stays.exists());
    world.deltas.forget(&digest(2));
    assert!(!stays.exists());
}

#[test]
fn what_is_expected_is_made_before_anybody_asks() {
    let world = world();
    world.deltas.expect(digest(1), digest(2));
    world.deltas.expect(digest(1), digest(2));
    world.deltas.expect(digest(1), digest(4));
    world.deltas.expect(digest(1), digest(1));
    assert_eq!(world.queued(), 1);
}

#[test]
fn half_a_delta_is_gone_after_a_start() {
    let world = world();
    let half = world.deltas.folder.join("x.new");
    std::fs::write(&half, b"half").expect("written");
    let again = Deltas::open(world.deltas.folder.parent().expect("above"), &world.deltas.whole);
    again.expect("opened");
    assert!(!half.exists());
}
