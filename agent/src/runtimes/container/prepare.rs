//! Preparation of an instance: the workload's folder with its files and secrets, and its containers,
//! which are made and not started.
//!
//! See decision 0175.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::container::{Container, Mount, MountFrom};
use holdfast_protocol::sealing::SealedContent;
use holdfast_protocol::workload::Run;

use super::create::{One, create};
use super::failure::PrepareError;
use super::shared::Shared;
use super::{images, running, sweep};
use crate::core::container::group::orders;
use crate::core::container::handle;
use crate::core::container::marks::Member;
use crate::core::runtime::{Handle, NotPrepared, Reason};
use crate::core::saved::Revision;
use crate::runtimes::Prepare;
use crate::runtimes::common::folder;
use crate::runtimes::common::users::User;

/// Prepares an instance.
///
/// # Errors
/// The reason, with what is at fault.
pub(super) async fn prepare(shared: &Arc<Shared>, ask: &Prepare) -> Result<Handle, NotPrepared> {
    Ok(made(shared, ask).await?)
}

async fn made(shared: &Arc<Shared>, ask: &Prepare) -> Result<Handle, PrepareError> {
    let here = shared.engine.now()?;
    let mut ones = members(&ask.revision);
    for one in &mut ones {
        allowed(shared, &one.container.mounts)?;
        let found = images::find(&here, &one.container.image).await;
        let found = found.map_err(PrepareError::engine("its image"))?;
        one.image = found.ok_or(PrepareError::Image(one.container.image.digest))?;
    }
    if let Some(running) = sweep::clear_for(shared, &here, ask).await? {
        return Ok(running);
    }
    let content = lay(shared, ask, &ones)?;
    let _held = shared.networks.lock().await;
    let mut parts = Vec::new();
    for one in &ones {
        match create(shared, &here, ask, one, &content).await {
            Ok(part) => parts.push(part),
            Err(error) => {
                for part in parts {
                    running::discard(&here, &part).await;
                }
                return Err(error);
            }
        }
    }
    Ok(handle(&parts, ask.nonce))
}

/// Containers of a revision, in the order of their starts.
fn members(revision: &Revision) -> Vec<One<'_>> {
    let image = images::There::default();
    match &revision.spec.run {
        Run::Container(container) => {
            vec![One { member: Member::alone(), container, order: None, image }]
        }
        Run::Group(group) => {
            let of = group.containers.len();
            let orders = orders(group, revision.spec.stop);
            let mut ones = Vec::new();
            for (at, (it, order)) in group.containers.iter().zip(orders).enumerate() {
                let member = Member { at, of, name: it.name.to_string() };
                let (container, order) = (&it.container, Some(order));
                ones.push(One { member, container, order, image: image.clone() });
            }
            ones
        }
        Run::Process(_) | Run::Unknown(_) => Vec::new(),
    }
}

/// Checks that the agent's configuration allows the paths of the device.
fn allowed(shared: &Shared, mounts: &[Mount]) -> Result<(), PrepareError> {
    for mount in mounts {
        let MountFrom::Host(path) = &mount.from else { continue };
        // Where a link leads counts, not where it lies.
        let real = Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let is_plain = !path.split('/').any(|part| part == "..");
        let below = |allowed: &PathBuf| {
            let allowed = allowed.canonicalize().unwrap_or_else(|_| allowed.clone());
            real.starts_with(allowed)
        };
        if !is_plain || !shared.settings.host_paths.iter().any(below) {
            let list: Vec<String> =
                shared.settings.host_paths.iter().map(|it| it.display().to_string()).collect();
            let allowed = if list.is_empty() { "none".into() } else { list.join(", ") };
            return Err(PrepareError::HostPath { path: path.clone(), allowed });
        }
    }
    Ok(())
}

/// User whose files a container can read: the number that the document or the image gives. A name
/// has a meaning in the image alone: its files belong to root then, and its secrets are readable by
/// root alone.
fn owner(container: &Container, image: &images::There) -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let text = container.user.as_deref().unwrap_or(&image.user);
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let uid = user.parse().unwrap_or(0);
    Some(User { uid, gid: group.parse().unwrap_or(uid) })
}

/// Lays out the workload's folder; returns its opened secrets.
fn lay(shared: &Shared, ask: &Prepare, ones: &[One<'_>]) -> Result<SealedContent, PrepareError> {
    let Prepare { name, revision, stale_config, .. } = ask;
    let user = ones.first().and_then(|one| owner(one.container, &one.image));
    let secrets = &shared.common.secrets;
    let content = secrets.opened(name, revision.secrets.as_deref())?;
    let folder = shared.common.folder(name);
    let kept = content.files.keys().map(String::as_str).collect();
    folder::unlink(&folder, &kept)?;
    folder::lay(&folder, &revision.spec.config, stale_config, user)?;
    secrets.lay(&folder, name, revision, &content, user)?;
    Ok(content)
}

/// Replaces the files of a running workload by those of other secrets, and signals it.
///
/// # Errors
/// The reason, which names no content.
pub(super) async fn refresh(
    shared: &Arc<Shared>,
    name: &Name,
    instance: &Handle,
    revision: &Revision,
    signal: u8,
) -> Result<(), Reason> {
    let mut ones = members(revision);
    let here = shared.engine.now().map_err(|why| Reason::of(&why))?;
    for one in &mut ones {
        let found = images::find(&here, &one.container.image).await;
        one.image = found.ok().flatten().unwrap_or_default();
    }
    let user = ones.first().and_then(|one| owner(one.container, &one.image));
    let secrets = &shared.common.secrets;
    let content = secrets.opened(name, revision.secrets.as_deref());
    let content = content.map_err(|error| Reason::of(&error))?;
    let laid = secrets.lay(&shared.common.folder(name), name, revision, &content, user);
    laid.map_err(|error| Reason::of(&error))?;
    crate::adapters::crash::point("secrets-laid");
    for part in crate::core::container::parts(instance) {
        let path = format!("/containers/{}/kill?signal={signal}", part.id);
        match here.client.post(&path, None).await {
            Err(error) if !error.is_absent() => {
                return Err(Reason(format!("signal {signal}: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}
