//! Artifacts that a new revision has in place of others of the former one. Devices that run the
//! former one have these, so that a delta from one to the other is worth being made in time.
//!
//! See decision 0173.

use holdfast_base::ids::Digest;
use holdfast_protocol::workload::{Artifact, Run};

/// Pairs of artifacts, the old one and the new one that takes its place: the program of a process,
/// and the layers of an image for the same architecture that are at the same place.
pub(super) fn replaced(old: &Run, new: &Run) -> Vec<(Digest, Digest)> {
    let mut pairs: Vec<(&Artifact, &Artifact)> =
        old.program().zip(new.program()).into_iter().collect();
    for (old, new) in old.containers().zip(new.containers()) {
        for new in &new.image.platforms {
            let same = old.image.platforms.iter().find(|old| old.arch == new.arch);
            let old = same.map(|old| old.layers.as_slice()).unwrap_or_default();
            let layers = old.iter().zip(&new.layers);
            pairs.extend(layers.filter(|(_, new)| !old.contains(new)));
        }
    }
    let pairs = pairs.into_iter().map(|(old, new)| (old.digest, new.digest));
    pairs.filter(|(old, new)| old != new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(digest: u8) -> Run {
        let hex = format!("{digest:02x}").repeat(32);
        let run = serde_json::json!({ "process": {
            "executable": { "artifact": { "digest": format!("sha256:{hex}"), "size": 7 } }
        } });
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn the_program_takes_the_place_of_the_program() {
        let pair = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(replaced(&process(1), &process(2)), [pair]);
        assert_eq!(replaced(&process(1), &process(1)), []);
    }
}
