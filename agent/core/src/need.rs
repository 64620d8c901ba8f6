//! What must be on the device before a revision can start: files, and images at the engine. To the
//! lifecycle it is one thing with a digest that is there or not.
//!
//! See decision 0171.

use std::sync::Arc;

use holdfast_base::ids::Digest;
use holdfast_protocol::container::Image;
use holdfast_protocol::workload::{Artifact, Run};

/// One thing that a revision needs, which is fetched for as long as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// File in the device's own store.
    File(Artifact),
    /// Image at the container engine, which the device hands it once it has its files.
    Image(Arc<Image>),
}

impl Need {
    /// Digest by which it is known: of the file, or of the image.
    pub fn digest(&self) -> Digest {
        match self {
            Self::File(artifact) => artifact.digest,
            Self::Image(image) => image.digest,
        }
    }
}

/// Returns what a workload needs, in the order in which it is fetched.
pub fn needs(run: &Run) -> impl Iterator<Item = Need> {
    let program = run.program().copied().map(Need::File);
    let image = |image: &Image| Need::Image(Arc::new(image.clone()));
    program.into_iter().chain(run.containers().map(move |it| image(&it.image)))
}

/// Returns the digests of all that a workload needs, without looking into images.
pub fn digests(run: &Run) -> impl Iterator<Item = Digest> {
    let program = run.program().map(|artifact| artifact.digest);
    program.into_iter().chain(run.containers().map(|container| container.image.digest))
}

/// Returns the digests of everything that stays on the device for a workload: what it needs, and the
/// files that an image is made of.
pub fn kept(run: &Run) -> impl Iterator<Item = Digest> {
    digests(run).chain(run.artifacts().map(|artifact| artifact.digest))
}
