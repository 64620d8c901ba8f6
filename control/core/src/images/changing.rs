//! Changes of images: pushed, tagged, deleted.

use std::collections::BTreeSet;

use holdfast_base::ids::{Digest, Name};
use holdfast_oci::{Reference, Repository, Tag, Twin, Wanted};

use super::known::{Held, ImageRecord, Images, KnownImage, MAX_SOURCES, RepositoryRecord};
use super::resolve::NotResolved;
use crate::change::Change;
use crate::model::{Model, key};
use holdfast_api::count::count;

/// Most repositories of a tenant. All are in memory, about 1 KiB each without their images.
const MAX_REPOSITORIES: usize = 5_000;
/// Most images of a repository: its row is written anew with each push.
const MAX_IMAGES: usize = 1_000;
/// Most tags of a repository, for the same reason.
const MAX_TAGS: usize = 1_000;
/// Most workloads or files that a refusal names.
const NAMED: usize = 5;

/// Reason why images are not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such image.
    #[error(transparent)]
    Unknown(#[from] NotResolved),
    /// Files of the image that are not there (any more).
    #[error("{} not there, such as {}: push the image again", count_of(*.0), .1)]
    Missing(usize, Digest),
    /// Too much of something.
    #[error("there are {most} {what}: delete some that no workload needs")]
    Full {
        /// Plural of what is too much.
        what: &'static str,
        /// Bound.
        most: usize,
    },
    /// Workloads need the image.
    #[error(
        "image {name} belongs to revisions of {} ({}): delete those first, or delete the image all the same (--force)",
        count(.workloads.len() as u64, "workload"), names(.workloads)
    )]
    Used {
        /// Reference that was asked for.
        name: String,
        /// Workloads whose revisions name the image.
        workloads: Vec<Name>,
    },
    /// A reference by digest cannot be what a tag is called.
    #[error("{0}: a tag is needed, such as {1}:1.0")]
    NoTag(String, Repository),
}

fn count_of(files: usize) -> String {
    if files == 1 { "1 file is".to_owned() } else { format!("{files} files are") }
}

fn names(workloads: &[Name]) -> String {
    let some: Vec<&str> = workloads.iter().take(NAMED).map(Name::as_str).collect();
    some.join(", ")
}

/// Image that is pushed or copied.
#[derive(Debug)]
pub struct Pushed<'a> {
    /// Name, with the tag to set. With a digest and no tag, none is set.
    pub name: &'a Reference,
    /// Content of the image.
    pub twin: Twin,
    /// Digests of the manifests or indexes that it comes from.
    pub sources: Vec<Digest>,
    /// Reference that it was copied from. Empty: it was pushed.
    pub copied_from: String,
}

/// Image that was deleted, or a tag of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Tags that are gone.
    pub tags: Vec<Tag>,
    /// True if the repository has the image no more.
    pub image: bool,
    /// Files that nothing names any more, and whose artifacts are deleted.
    pub files: Vec<Digest>,
    /// Size of these files in bytes.
    pub bytes: u64,
}

/// Notes a pushed image in its repository, under its tag. All of its files must be artifacts of the
/// tenant. Returns its digest.
///
/// # Errors
/// [`Refusal`]; then nothing was changed.
pub fn push(change: &mut Change<'_>, pushed: Pushed<'_>, by: &str) -> Result<Digest, Refusal> {
    let Pushed { name, twin, sources, copied_from } = pushed;
    let missing: BTreeSet<Digest> = twin
        .files()
        .map(|file| file.digest)
        .filter(|digest| !change.model.artifacts.contains_key(digest))
        .collect();
    if let Some(first) = missing.first() {
        return Err(Refusal::Missing(missing.len(), *first));
    }
    let digest = twin.digest();
    let images = &change.model.images;
    let repositories = images.repositories.len();
    let mut repository = match images.repositories.get(&name.repository) {
        Some(known) => known.clone(),
        None if repositories >= MAX_REPOSITORIES => {
            return Err(Refusal::Full { what: "repositories of images", most: MAX_REPOSITORIES });
        }
        None => RepositoryRecord::default(),
    };
    let new = !repository.images.contains_key(&digest);
    if new && repository.images.len() >= MAX_IMAGES {
        return Err(Refusal::Full { what: "images in this repository", most: MAX_IMAGES });
    }
    let sources = settle_sources(images, &mut repository, sources, &twin);
    let held = repository.images.entry(digest).or_default();
    add_sources(held, sources, digest);
    (held.pushed_at, held.copied_from) = (change.now, copied_from);
    if let Some(tag) = name.tag_to_set() {
        set_tag(&mut repository, tag, digest)?;
    }
    if !change.model.images.contents.contains_key(&digest) {
        let record = ImageRecord { twin, created_at: change.now };
        change.put(key::image(&digest), &record);
        change.model.images.contents.insert(digest, KnownImage::new(record));
    }
    let text = format!("{name} is {digest}");
    store(change, &name.repository, repository);
    change.event("image", name.repository.as_str(), "changed", text.clone());
    change.audit(by, "image.push", name.repository.as_str(), text);
    Ok(digest)
}

/// Takes the digests of originals away from other images of the repository, and returns those that the
/// pushed image gets. An original is that of one image: of the one with the most platforms, for
/// others were made of a part of it.
fn settle_sources(
    images: &Images,
    repository: &mut RepositoryRecord,
    mut sources: Vec<Digest>,
    twin: &Twin,
) -> Vec<Digest> {
    let own = twin.digest();
    for (image, held) in repository.images.iter_mut().filter(|(image, _)| **image != own) {
        let known = images.contents.get(image);
        let larger =
            known.is_some_and(|it| it.record.twin.platforms().len() > twin.platforms().len());
        if larger {
            sources.retain(|source| !held.sources.contains(source));
        } else {
            held.sources.retain(|source| !sources.contains(source));
        }
    }
    sources
}

/// Adds digests of originals, the newest last.
fn add_sources(held: &mut Held, sources: Vec<Digest>, own: Digest) {
    held.sources.retain(|known| !sources.contains(known));
    held.sources.extend(sources.into_iter().filter(|source| *source != own));
    let over = held.sources.len().saturating_sub(MAX_SOURCES);
    held.sources.drain(..over);
}

fn set_tag(repository: &mut RepositoryRecord, tag: Tag, digest: Digest) -> Result<(), Refusal> {
    if !repository.tags.contains_key(&tag) && repository.tags.len() >= MAX_TAGS {
        return Err(Refusal::Full { what: "tags in this repository", most: MAX_TAGS });
    }
    repository.tags.insert(tag, digest);
    Ok(())
}

/// Writes a repository, or deletes its row when it has nothing.
fn store(change: &mut Change<'_>, name: &Repository, record: RepositoryRecord) {
    if record.images.is_empty() {
        change.model.images.repositories.remove(name);
        change.delete(key::repository(name));
        return;
    }
    change.put(key::repository(name), &record);
    change.model.images.repositories.insert(name.clone(), record);
}

/// Gives an image another tag, in its own repository or in another one. Returns its digest.
///
/// # Errors
/// [`Refusal`]; then nothing was changed.
pub fn tag(
    change: &mut Change<'_>,
    from: &Reference,
    to: &Reference,
    by: &str,
) -> Result<Digest, Refusal> {
    let images = &change.model.images;
    let digest = images.find(from)?;
    if to.tag_to_set().is_none() {
        return Err(Refusal::NoTag(to.to_string(), to.repository.clone()));
    }
    let none = || NotResolved::Digest { name: from.repository.clone(), digest };
    let known = images.contents.get(&digest).ok_or_else(none)?;
    let held = images.repositories.get(&from.repository);
    let held = held.and_then(|held| held.images.get(&digest)).cloned().unwrap_or_default();
    let (twin, name) = (known.record.twin.clone(), to);
    let Held { sources, copied_from, .. } = held;
    push(change, Pushed { name, twin, sources, copied_from }, by)
}

/// Deletes a tag, and the image with it when it was its last one; by a digest, the image with all
/// of its tags. Files that neither another image nor a workload names are deleted with it. `force`:
/// also when workloads name the image; the files that they name stay.
///
/// # Errors
/// [`Refusal`]; then nothing was changed.
pub fn delete(
    change: &mut Change<'_>,
    name: &Reference,
    force: bool,
    by: &str,
) -> Result<Deleted, Refusal> {
    let digest = change.model.images.find(name)?;
    let repository = change.model.images.repositories.get(&name.repository);
    let mut repository = repository.cloned().unwrap_or_default();
    let tags: Vec<Tag> = match name.wanted() {
        Wanted::Tag(tag) => vec![tag],
        Wanted::Digest(_) => repository.tags_of(&digest).cloned().collect(),
    };
    repository.tags.retain(|tag, _| !tags.contains(tag));
    let image = repository.tags_of(&digest).next().is_none();
    let mut deleted = Deleted { tags, image, ..Deleted::default() };
    if image {
        let workloads = change.model.workloads_with_image(&digest);
        if !workloads.is_empty() && !force {
            let workloads = workloads.into_iter().cloned().collect();
            return Err(Refusal::Used { name: name.to_string(), workloads });
        }
        repository.images.remove(&digest);
    }
    let free = if image { unnamed(change.model, &name.repository, &digest) } else { None };
    store(change, &name.repository, repository);
    if let Some(files) = free {
        change.model.images.contents.remove(&digest);
        change.delete(key::image(&digest));
        for file in files {
            if let Some(record) = change.model.artifacts.remove(&file) {
                change.delete(key::artifact(&file));
                deleted.bytes = deleted.bytes.saturating_add(record.size);
                deleted.files.push(file);
            }
        }
    }
    let what = if image { "the image" } else { "the tag" };
    change.event("image", name.repository.as_str(), "deleted", format!("{what} {name}"));
    change.audit(by, "image.delete", name.repository.as_str(), format!("{what} {name}, {digest}"));
    Ok(deleted)
}

/// Returns the files of an image that nothing names when this repository has it no more. None:
/// another repository has the image too.
fn unnamed(model: &Model, leaving: &Repository, digest: &Digest) -> Option<BTreeSet<Digest>> {
    let images = &model.images;
    let mut others = images.repositories.iter().filter(|(name, _)| *name != leaving);
    if others.any(|(_, repository)| repository.images.contains_key(digest)) {
        return None;
    }
    let known = images.contents.get(digest)?;
    let mut files: BTreeSet<Digest> = known.record.twin.files().map(|file| file.digest).collect();
    let other = images.contents.iter().filter(|(image, _)| *image != digest);
    for file in other.flat_map(|(_, known)| known.record.twin.files()) {
        files.remove(&file.digest);
    }
    let named = model.named_digests();
    if images.names_of(digest).iter().any(|name| named.contains_key(name)) {
        // Deleted by force: former revisions may name any of its files.
        return Some(BTreeSet::new());
    }
    files.retain(|file| !named.contains_key(&file.to_string()));
    Some(files)
}
