//! What a reference means: from `shop/till:1.4` to the image that a device gets.

use holdfast_base::ids::Digest;
use holdfast_oci::{BadReference, Reference, Repository, Tag, Wanted};
use holdfast_protocol::container::{Image, Platform};

use super::known::Images;
use crate::admission::nearest;

/// Most tags that a refusal names.
const NAMED: usize = 5;

/// Reason why a reference means no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotResolved {
    /// The text is no reference.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// There is no such repository.
    #[error(
        "there is no image {name}{}: push it first (holdfast image push FILE {name}), or copy it from a registry (holdfast image copy REGISTRY/{name} {name})",
        .meant.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
    )]
    Name {
        /// Reference that was asked for.
        name: String,
        /// Name of a repository that differs by a letter or two.
        meant: Option<Repository>,
    },
    /// The repository has no such tag.
    #[error("image {name} has no tag {tag}; {}", tags(.there, *.more))]
    Tag {
        /// Name of the repository.
        name: Repository,
        /// Tag that was asked for.
        tag: Tag,
        /// Some of the tags that there are.
        there: Vec<Tag>,
        /// Number of further tags.
        more: usize,
    },
    /// The repository has no image with this digest.
    #[error("image {name} was not pushed as {digest}: `holdfast get images` shows the digests")]
    Digest {
        /// Name of the repository.
        name: Repository,
        /// Digest that was asked for.
        digest: Digest,
    },
}

/// Returns the tags that there are, as a sentence.
fn tags(there: &[Tag], more: usize) -> String {
    let list = there.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ");
    match (there.is_empty(), more) {
        (true, _) => "it has no tags at all: name it by its digest".to_owned(),
        (false, 0) => format!("it has {list}"),
        (false, more) => format!("it has {list} and {more} more"),
    }
}

impl Images {
    /// Returns the digest of the image that a reference means.
    ///
    /// # Errors
    /// [`NotResolved`], with what there is instead.
    pub fn find(&self, reference: &Reference) -> Result<Digest, NotResolved> {
        let name = &reference.repository;
        let Some(repository) = self.repositories.get(name) else {
            let known: Vec<&str> = self.repositories.keys().map(Repository::as_str).collect();
            let meant = nearest(name.as_str(), &known).and_then(|meant| meant.parse().ok());
            return Err(NotResolved::Name { name: reference.to_string(), meant });
        };
        match reference.wanted() {
            Wanted::Digest(digest) => repository
                .by_digest(&digest)
                .ok_or(NotResolved::Digest { name: name.clone(), digest }),
            Wanted::Tag(tag) => repository.tags.get(&tag).copied().ok_or_else(|| {
                let there: Vec<Tag> = repository.tags.keys().take(NAMED).cloned().collect();
                let more = repository.tags.len() - there.len();
                NotResolved::Tag { name: name.clone(), tag, there, more }
            }),
        }
    }

    /// Returns the image that an operator's text means, such as `shop/till:1.4`, as devices get it.
    ///
    /// # Errors
    /// [`NotResolved`], whose text can stand in a fault of a document.
    pub fn resolve(&self, text: &str) -> Result<Image, NotResolved> {
        let reference: Reference = text.parse()?;
        let digest = self.find(&reference)?;
        let none = || NotResolved::Digest { name: reference.repository.clone(), digest };
        let known = self.contents.get(&digest).ok_or_else(none)?;
        let platforms = known.record.twin.platforms().iter().map(|one| Platform {
            arch: one.arch.clone(),
            config: one.config,
            layers: one.layers.clone(),
        });
        Ok(Image { name: text.to_owned(), digest, platforms: platforms.collect() })
    }
}
