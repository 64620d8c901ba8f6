//! Which device of a site fetches a file over the thin link, and from which neighbour the others take
//! it. Each device decides for itself, by what its neighbours answer when it asks for the file.
//!
//! Among those that want it the one with the lowest place fetches, by a hash of the file and the
//! device: for another file it is another device. It announces that first and asks once more, so that
//! of two that ask at the same moment one yields.
//!
//! See decision 0179.

use std::collections::BTreeSet;

use holdfast_base::ids::{Digest, Name};

/// Most neighbours that are asked for one file: the lowest places, the same ones for everybody.
pub const MAX_ASKED: usize = 16;

/// What a device says of a file when a neighbour asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It neither has the file nor fetches it now.
    None,
    /// It wants the file and waits for a neighbour.
    Waits,
    /// It is about to fetch the file over the thin link.
    Begins,
    /// It fetches the file over the thin link, of which so many bytes have come.
    Fetches(u64),
    /// It has the file.
    Has,
}

impl Offer {
    /// Formats it for the header of a response, such as `fetches 1024`.
    pub fn word(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Waits => "waits".into(),
            Self::Begins => "begins".into(),
            Self::Fetches(done) => format!("fetches {done}"),
            Self::Has => "has".into(),
        }
    }

    /// Reads it from a header; what is not known counts as `None`.
    pub fn of_word(text: &str) -> Self {
        match text {
            "waits" => Self::Waits,
            "begins" => Self::Begins,
            "has" => Self::Has,
            _ => text
                .strip_prefix("fetches ")
                .and_then(|done| done.parse().ok())
                .map_or(Self::None, Self::Fetches),
        }
    }
}

/// Next step towards a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Take it from one of these neighbours, in this order.
    Take(Vec<Name>),
    /// Wait, and ask again.
    Wait,
    /// Fetch it over the thin link: announce that and ask again if that was not done.
    Fetch,
}

/// Place of a device for a file: the lowest fetches it. FNV-1a with a final mix; nobody gains by a
/// collision, and who forges its place fetches for the others.
pub fn place(digest: &Digest, device: &Name) -> u64 {
    let bytes = digest.0.iter().chain(device.as_str().as_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for _ in 0..2 {
        hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    hash ^ (hash >> 32)
}

/// Neighbours to ask for a file: those with the lowest places, at most [`MAX_ASKED`].
pub fn asked<'a>(
    digest: &Digest,
    me: &Name,
    neighbours: impl IntoIterator<Item = &'a Name>,
) -> Vec<&'a Name> {
    let mut all: Vec<&Name> = neighbours.into_iter().filter(|name| *name != me).collect();
    all.sort_by_key(|name| (place(digest, name), *name));
    all.dedup();
    all.truncate(MAX_ASKED);
    all
}

/// Decides what is done next. `announced`: this device says `Begins` already. `stuck`: neighbours
/// whose download has not got ahead for long, or that gave wrong bytes.
pub fn choose(
    digest: &Digest,
    me: &Name,
    announced: bool,
    answers: &[(Name, Offer)],
    stuck: &BTreeSet<Name>,
) -> Choice {
    let answers = || answers.iter().filter(|(name, _)| !stuck.contains(name));
    let mut have: Vec<Name> =
        answers().filter(|(_, offer)| *offer == Offer::Has).map(|(name, _)| name.clone()).collect();
    if !have.is_empty() {
        // Each begins with another one, so that not all take it from the same.
        have.sort_by_key(|name| place(digest, name) ^ place(digest, me));
        return Choice::Take(have);
    }
    let own = (place(digest, me), me);
    let before_me = |name: &Name| (place(digest, name), name) < own;
    let waits = answers().any(|(name, offer)| match offer {
        Offer::Fetches(_) => true,
        // Whoever announced first goes first; of two that announced, the lower place.
        Offer::Begins => !announced || before_me(name),
        Offer::Waits => !announced && before_me(name),
        Offer::None | Offer::Has => false,
    });
    if waits { Choice::Wait } else { Choice::Fetch }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> Name {
        format!("d-{number}").parse().unwrap()
    }

    /// Names in the order of their places.
    fn placed(digest: &Digest, count: usize) -> Vec<Name> {
        let mut names: Vec<Name> = (0..count).map(name).collect();
        names.sort_by_key(|name| place(digest, name));
        names
    }

    #[test]
    fn the_lowest_place_fetches_and_all_others_take() {
        use Offer::{Begins, Fetches, Has, Waits};
        let digest = Digest([7; 32]);
        let names = placed(&digest, 3);
        let (low, mid, high) = (&names[0], &names[1], &names[2]);
        let none = BTreeSet::new();
        let says = |name: &Name, offer| (name.clone(), offer);
        for (announced, answers, choice) in [
            (false, vec![], Choice::Fetch),
            (false, vec![says(low, Offer::None)], Choice::Fetch),
            (false, vec![says(low, Waits)], Choice::Wait),
            (false, vec![says(high, Waits)], Choice::Fetch),
            (false, vec![says(high, Begins)], Choice::Wait),
            (true, vec![says(high, Begins)], Choice::Fetch),
            (true, vec![says(low, Begins)], Choice::Wait),
            (true, vec![says(low, Waits)], Choice::Fetch),
            (true, vec![says(high, Fetches(0))], Choice::Wait),
            (false, vec![says(high, Fetches(9)), says(low, Has)], Choice::Take(vec![low.clone()])),
        ] {
            assert_eq!(choose(&digest, mid, announced, &answers, &none), choice, "{answers:?}");
        }
        let stuck = BTreeSet::from([low.clone()]);
        let answers = [says(low, Fetches(9))];
        assert_eq!(choose(&digest, mid, false, &answers, &stuck), Choice::Fetch, "it is stuck");
        let answers = [says(low, Has), says(high, Has)];
        assert_eq!(choose(&digest, mid, false, &answers, &stuck), Choice::Take(vec![high.clone()]));
    }

    #[test]
    fn offers_are_words() {
        for offer in [Offer::None, Offer::Waits, Offer::Begins, Offer::Fetches(77), Offer::Has] {
            assert_eq!(Offer::of_word(&offer.word()), offer);
        }
        assert_eq!(Offer::of_word("fetches x"), Offer::None);
        assert_eq!(Offer::of_word(""), Offer::None);
    }

    #[test]
    fn a_few_are_asked_and_each_file_has_another_first() {
        let names: Vec<Name> = (0..40).map(name).collect();
        let mut first = BTreeSet::new();
        for file in 0..40 {
            let asked = asked(&Digest([file; 32]), &names[0], &names);
            assert_eq!(asked.len(), MAX_ASKED);
            assert!(!asked.contains(&&names[0]));
            first.insert(asked[0].clone());
        }
        assert!(first.len() > 15, "{}", first.len());
    }

    /// Device in a simulated site: the state that it says, and its step.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Step {
        Away,
        Asks,
        Announces,
        Fetches,
        Done,
    }

    proptest! {
        /// Checks that however the devices of a site take turns, one alone fetches, and all have the
        /// file in the end.
        #[test]
        fn one_fetches_however_they_take_turns(
            turns in proptest::collection::vec(0usize..6, 30..200),
            file: u8,
        ) {
            let digest = Digest([file; 32]);
            let count = 6;
            let mut steps: BTreeMap<Name, Step> = (0..count).map(|it| (name(it), Step::Away)).collect();
            let mut fetched = 0;
            let offer = |step: Step| match step {
                Step::Away => Offer::None,
                Step::Asks => Offer::Waits,
                Step::Announces => Offer::Begins,
                Step::Fetches => Offer::Fetches(1),
                Step::Done => Offer::Has,
            };
            // After the random turns each has its turn often enough.
            let all = turns.into_iter().chain((0..count).cycle().take(count * 8));
            for turn in all {
                let me = name(turn);
                let answers: Vec<(Name, Offer)> = steps
                    .iter()
                    .filter(|(name, _)| **name != me)
                    .map(|(name, step)| (name.clone(), offer(*step)))
                    .collect();
                let next = match steps[&me] {
                    Step::Away => Step::Asks,
                    Step::Fetches | Step::Done => Step::Done,
                    step => {
                        let announced = step == Step::Announces;
                        match choose(&digest, &me, announced, &answers, &BTreeSet::new()) {
                            Choice::Take(_) => Step::Done,
                            Choice::Wait => Step::Asks,
                            Choice::Fetch if announced => {
                                fetched += 1;
                                Step::Fetches
                            }
                            Choice::Fetch => Step::Announces,
                        }
                    }
                };
                steps.insert(me, next);
            }
            prop_assert_eq!(fetched, 1);
            prop_assert!(steps.values().all(|step| *step == Step::Done), "{:?}", steps);
        }
    }
}
