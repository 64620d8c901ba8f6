//! Images of each tenant: pushed, tagged, deleted, listed, and read as a registry.
//!
//! See decision 0174.

use holdfast_base::ids::Digest;
use holdfast_oci::{Config, MAX_CONFIG, Platform, Reference, Repository, Twin, Wanted};
use holdfast_protocol::workload::Artifact;

use super::Workloads;
use crate::api::{DeletedImage, Image, ImageSummary, PushedImage, PushedPlatform};
use crate::core::images::{self, NotResolved, Pushed, Refusal};
use crate::core::model::Model;
use crate::core::rights::{Action, Actor, Permit};
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Manifest or index of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDocument {
    /// Media type of the document.
    pub media_type: &'static str,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The document as JSON.
    pub bytes: Vec<u8>,
}

/// User and password at another registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Name of the user.
    pub username: String,
    /// Password or token of the user.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl From<NotResolved> for Failure {
    fn from(why: NotResolved) -> Self {
        let message = why.to_string();
        match why {
            NotResolved::Reference(_) => Self::invalid(message),
            NotResolved::Name { .. } | NotResolved::Tag { .. } | NotResolved::Digest { .. } => {
                Self::NotFound(message)
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Unknown(why) => why.into(),
            Refusal::NoTag(..) => Self::invalid(message),
            Refusal::Missing(..) | Refusal::Full { .. } | Refusal::Used { .. } => {
                Self::Conflict(message)
            }
        }
    }
}

/// Reads a reference that is a parameter.
fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|why: holdfast_oci::BadReference| Failure::invalid(why.to_string()))
}

fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse().map_err(|why| Failure::invalid(format!("digest: {why}")))
}

/// Returns an artifact of the tenant, which must be there.
fn file(model: &Model, digest: Digest) -> Result<Artifact, Failure> {
    let known = model.artifacts.get(&digest);
    let none = || Failure::from(Refusal::Missing(1, digest));
    known.map(|known| Artifact { digest, size: known.size }).ok_or_else(none)
}

impl Workloads {
    /// Lists the images of the actor's tenant, in the order of their names and digests.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn images(&self, actor: &Actor, query: &Query) -> Listed<ImageSummary> {
        may(actor, Action::ListImages, "")?;
        let limit = query.limit()?;
        let model = self.documents.model(&actor.tenant);
        let after = query.after.as_deref().unwrap_or_default();
        Ok(page(images::list(&model, after, limit + 1), limit, model.meta.version))
    }

    /// Returns the image that a reference means.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for a reference that means none.
    pub fn image(&self, actor: &Actor, name: &str) -> Result<Image, Failure> {
        may(actor, Action::GetImage, name)?;
        let name = reference(name)?;
        let model = self.documents.model(&actor.tenant);
        let digest = model.images.find(&name)?;
        let none = || Failure::no("image", &name.to_string());
        images::one(&model, &name.repository, &digest).ok_or_else(none)
    }

    /// Stores an image whose files are artifacts of the actor's tenant already. Its configurations
    /// must name its layers.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for an image that is none, [`Failure::Conflict`] for files that
    /// are not there, and a [`Failure`] when the change cannot be stored.
    pub async fn push_image(&self, actor: &Actor, image: &PushedImage) -> Result<Image, Failure> {
        let permit = may(actor, Action::PutImage, &image.name)?;
        self.store_image(&permit, image, String::new()).await
    }

    /// Stores an image that was copied from another registry, as [`Workloads::push_image`]. `from` is
    /// the reference there.
    ///
    /// # Errors
    /// Those of [`Workloads::push_image`].
    pub async fn copied_image(
        &self,
        actor: &Actor,
        image: &PushedImage,
        from: &Reference,
    ) -> Result<Image, Failure> {
        let permit = may(actor, Action::CopyImage, &image.name)?;
        self.store_image(&permit, image, from.to_string()).await
    }

    async fn store_image(
        &self,
        permit: &Permit<'_>,
        image: &PushedImage,
        copied_from: String,
    ) -> Result<Image, Failure> {
        let tenant = permit.tenant();
        let name = reference(&image.name)?;
        let sources = image.sources.iter().map(|source| digest(source));
        let sources = sources.collect::<Result<Vec<Digest>, Failure>>()?;
        let platforms = {
            let model = self.documents.model(tenant);
            let all = image.platforms.iter().map(|platform| self.checked(&model, platform));
            all.collect::<Result<Vec<Platform>, Failure>>()?
        };
        let twin = Twin::new(platforms).map_err(|why| Failure::invalid(why.to_string()))?;
        let by = permit.by();
        let digest = self
            .documents
            .change(tenant, |change| {
                let pushed = Pushed { name: &name, twin, sources, copied_from };
                Ok(images::push(change, pushed, by)?)
            })
            .await?;
        let model = self.documents.model(tenant);
        let none = || Failure::Conflict(format!("image {name} was deleted at the same time"));
        images::one(&model, &name.repository, &digest).ok_or_else(none)
    }

    /// Checks a platform of a pushed image against its configuration.
    fn checked(&self, model: &Model, platform: &PushedPlatform) -> Result<Platform, Failure> {
        let config = file(model, digest(&platform.config)?)?;
        let wrong =
            |why: String| Failure::invalid(format!("configuration {}: {why}", platform.config));
        if config.size > MAX_CONFIG {
            return Err(wrong(format!("{} bytes, at most {MAX_CONFIG} are taken", config.size)));
        }
        let none = || Failure::from(Refusal::Missing(1, config.digest));
        let bytes = self.artifacts.read(&config.digest).ok_or_else(none)?;
        let read = Config::read(&bytes).map_err(|why| wrong(why.to_string()))?;
        let layers = platform.layers.iter().map(|layer| digest(layer));
        let layers = layers.collect::<Result<Vec<Digest>, Failure>>()?;
        if layers != read.layers {
            return Err(wrong(format!(
                "it names {} as diff_ids, which are not the {} that were given",
                crate::api::count::count(read.layers.len() as u64, "layer"),
                layers.len()
            )));
        }
        let layers = layers.into_iter().map(|layer| file(model, layer));
        let layers = layers.collect::<Result<Vec<Artifact>, Failure>>()?;
        Ok(Platform { arch: read.arch, variant: read.variant, config, layers })
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown image, [`Failure::Invalid`] for a bad name, and a
    /// [`Failure`] when the change cannot be stored.
    pub async fn tag_image(&self, actor: &Actor, name: &str, to: &str) -> Result<Image, Failure> {
        let permit = may(actor, Action::TagImage, name)?;
        let (from, to, by) = (reference(name)?, reference(to)?, permit.by());
        let tagged = self.documents.change(&actor.tenant, |change| {
            let digest = images::tag(change, &from, &to, by)?;
            let none = || Failure::no("image", &to.to_string());
            images::one(change.model, &to.repository, &digest).ok_or_else(none)
        });
        tagged.await
    }

    /// Deletes a tag, and the image with its last one; by digest, the image with all tags. `force`:
    /// also an image that workloads name.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown image, and [`Failure::Conflict`] for one that
    /// workloads name.
    pub async fn delete_image(
        &self,
        actor: &Actor,
        name: &str,
        force: bool,
    ) -> Result<DeletedImage, Failure> {
        let permit = may(actor, Action::DeleteImage, name)?;
        let (name, by) = (reference(name)?, permit.by());
        let deleted = self
            .documents
            .change(&actor.tenant, |change| Ok(images::delete(change, &name, force, by)?))
            .await?;
        self.drop_unowned(&deleted.files);
        Ok(DeletedImage {
            tags: deleted.tags.iter().map(ToString::to_string).collect(),
            image: deleted.image,
            files: deleted.files.len() as u64,
            bytes: deleted.bytes,
        })
    }

    /// Decides whether the actor may copy an image, and returns the credentials of a `Secret`
    /// document for it, if it names one.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for a secret that is not there or lacks a key.
    pub fn may_copy(
        &self,
        actor: &Actor,
        name: &str,
        secret: Option<&str>,
    ) -> Result<Option<Credentials>, Failure> {
        may(actor, Action::CopyImage, name)?;
        let Some(secret) = secret else { return Ok(None) };
        let name =
            secret.parse().map_err(|why| Failure::invalid(format!("secret {secret:?}: {why}")))?;
        let value = |key: &str| self.vault.text(&actor.tenant, &name, key);
        let (username, password) = (value("username")?, value("password")?);
        Ok(Some(Credentials { username, password }))
    }

    /// Returns an artifact of the actor's tenant, for a copy that has it already.
    pub fn has_file(&self, actor: &Actor, digest: &Digest) -> Option<u64> {
        self.artifact_size(&actor.tenant, digest)
    }

    /// Returns the manifest or index that a reference of a registry's client means.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for what the repository does not have.
    pub fn image_document(
        &self,
        actor: &Actor,
        repository: &Repository,
        wanted: &Wanted,
    ) -> Result<ImageDocument, Failure> {
        may(actor, Action::PullImage, repository.as_str())?;
        let model = self.documents.model(&actor.tenant);
        let none = || Failure::no("manifest", &format!("{repository} {wanted:?}"));
        let known = model.images.repositories.get(repository).ok_or_else(none)?;
        let of = |image: &Digest| model.images.contents.get(image);
        let image = match wanted {
            Wanted::Tag(tag) => known.tags.get(tag).copied(),
            Wanted::Digest(digest) => known.by_digest(digest),
        };
        if let Some(found) = image.as_ref().and_then(of) {
            let (media_type, bytes) = found.record.twin.document();
            return Ok(ImageDocument {
                media_type,
                digest: holdfast_oci::digest_of(&bytes),
                bytes,
            });
        }
        let Wanted::Digest(digest) = wanted else { return Err(none()) };
        let platform = known.images.keys().filter_map(of).find_map(|found| {
            let at = found.manifests.iter().position(|manifest| manifest == digest)?;
            found.record.twin.platforms().get(at).cloned()
        });
        let bytes = platform.ok_or_else(none)?.manifest();
        Ok(ImageDocument { media_type: holdfast_oci::MANIFEST_TYPE, digest: *digest, bytes })
    }

    /// Checks that a file belongs to an image of a repository, so that the actor may read it.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] otherwise.
    pub fn may_read_blob(
        &self,
        actor: &Actor,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), Failure> {
        may(actor, Action::PullImage, repository.as_str())?;
        let model = self.documents.model(&actor.tenant);
        let known = model.images.repositories.get(repository);
        let mut held = known.into_iter().flat_map(|known| known.images.keys());
        let has =
            held.any(|image| model.images.contents.get(image).is_some_and(|it| it.has(digest)));
        has.then_some(()).ok_or_else(|| Failure::no("blob", &digest.to_string()))
    }

    /// Returns the tags of a repository, in their order.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown repository.
    pub fn image_tags(
        &self,
        actor: &Actor,
        repository: &Repository,
    ) -> Result<Vec<String>, Failure> {
        may(actor, Action::PullImage, repository.as_str())?;
        let model = self.documents.model(&actor.tenant);
        let known = model.images.repositories.get(repository);
        let known = known.ok_or_else(|| Failure::no("repository", repository.as_str()))?;
        Ok(known.tags.keys().map(ToString::to_string).collect())
    }
}
