//! What there is of workloads at the engine: lists, sweeps, the census, and what is removed.
//!
//! See decision 0175.

use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use serde_json::Value;

use super::client::{Client, EngineError, query};
use super::engine::{Here, Place, State};
use super::failure::PrepareError;
use super::networks;
use super::shared::{AGAIN, Shared};
use crate::adapters::crash;
use crate::core::container::dialect::Dialect;
use crate::core::container::seen::{Listed, found, listed, presumed};
use crate::core::container::{marks, parts};
use crate::core::effect::Observed;
use crate::core::runtime::{Found, Handle, Known, Role};
use crate::runtimes::{Prepare, Remains, STACK, Sweep, send};

/// Longest time that the start of the agent waits for an engine.
const AT_START: Duration = Duration::from_secs(1);
/// Longest time for the removal of a workload's containers and networks when the workload is deleted.
const AT_REMOVAL: Duration = Duration::from_secs(30);

/// Asks for the containers of this agent, or of one of its workloads.
pub(super) async fn ask(
    client: &Client,
    agent: &str,
    workload: Option<&Name>,
) -> Result<Value, EngineError> {
    let mut labels = vec![format!("{}={agent}", marks::AGENT)];
    labels.extend(workload.map(|name| format!("{}={name}", marks::WORKLOAD)));
    let filters = serde_json::json!({ "label": labels }).to_string();
    let path = format!("/containers/json?all=1&filters={}", query(&filters));
    let list = client.get(&path).await?;
    // An answer that is no list is not taken for an empty one: what runs would be started anew.
    if list.is_array() {
        return Ok(list);
    }
    Err(EngineError::Broken { what: format!("GET {path}"), why: "it is no list".into() })
}

/// Lists the containers of this agent, or of one of its workloads.
pub(super) async fn list(
    here: &Here,
    agent: &str,
    workload: Option<&Name>,
) -> Result<Vec<Listed>, EngineError> {
    Ok(listed(&ask(&here.client, agent, workload).await?, agent))
}

async fn remove_one(here: &Here, id: &str) -> Result<(), EngineError> {
    // `v=0`: volumes without a name go with no container of ours, and named ones never do.
    here.client.delete(&format!("/containers/{id}?force=1&v=0")).await
}

/// Carries out sweeps, for as long as it takes to see everything.
pub(super) async fn all(shared: &Arc<Shared>, sweeps: &[Sweep]) -> Vec<Option<Remains>> {
    loop {
        if *shared.engine.place() == Place::Off {
            return sweeps.iter().map(|_| Some(Remains { behind: 0, left: 0 })).collect();
        }
        let here = shared.engine.here().await;
        match list(&here, &shared.common.agent, None).await {
            Ok(there) => {
                let mut answers = Vec::new();
                for sweep in sweeps {
                    answers.push(one(shared, &here, sweep, &there).await);
                }
                tidy(shared, &here).await;
                return answers;
            }
            Err(error) => tracing::warn!(%error, "containers cannot be looked at"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn one(shared: &Shared, here: &Here, sweep: &Sweep, there: &[Listed]) -> Option<Remains> {
    let last: Vec<String> = ids(sweep.last.as_ref());
    let spared: Vec<String> = ids(sweep.spare.as_ref());
    // The spared instance has ended: its end leads to a sweep of its own.
    if !spared.is_empty() && !there.iter().any(|it| spared.contains(&it.id) && it.runs()) {
        return None;
    }
    let mine = there.iter().filter(|it| it.mark.workload == sweep.name);
    let (mut behind, mut left) = (0, 0);
    for container in mine.filter(|it| !spared.contains(&it.id)) {
        if container.runs() && !sweep.kill {
            left += 1;
            continue;
        }
        behind += usize::from(container.runs() && !last.contains(&container.id));
        if let Err(error) = remove_one(here, &container.id).await {
            tracing::warn!(container = %container.id, %error, "it cannot be removed");
            left += 1;
        }
        shared.details().remove(&container.id);
    }
    if left == 0 {
        crash::point("swept");
    }
    Some(Remains { behind, left })
}

fn ids(instance: Option<&Handle>) -> Vec<String> {
    instance.map(parts).unwrap_or_default().into_iter().map(|part| part.id).collect()
}

/// Removes networks that nothing is in.
async fn tidy(shared: &Shared, here: &Here) {
    let _held = shared.networks.lock().await;
    if let Ok(containers) = ask(&here.client, &shared.common.agent, None).await {
        networks::tidy(shared, here, &containers).await;
    }
}

/// Makes room for an instance that is to be prepared: nothing of the workload runs twice. Returns an
/// instance of the very same specification that runs already, which no saved state named.
///
/// # Errors
/// When the engine refuses.
pub(super) async fn clear_for(
    shared: &Shared,
    here: &Here,
    ask: &Prepare,
) -> Result<Option<Handle>, PrepareError> {
    let failed = |source| PrepareError::Engine { what: "its former containers".into(), source };
    let there = list(here, &shared.common.agent, Some(&ask.name)).await.map_err(failed)?;
    let whole = found(&there, &[], &shared.common.boot);
    let same = |it: &&Found| it.role == Role::Main && ask.revision.gave(it.instance.nonce);
    let running = whole.iter().filter(same).min_by_key(|it| it.order);
    let kept = running.map(|it| it.instance.clone());
    let spared = ids(kept.as_ref());
    for container in there.iter().filter(|it| !spared.contains(&it.id)) {
        remove_one(here, &container.id).await.map_err(failed)?;
    }
    Ok(kept)
}

/// Lists the instances for a census, on a thread with a loop of its own: who asks may block.
pub(super) fn census(shared: &Arc<Shared>, known: &[Known]) -> Vec<Found> {
    let Some(list) = on_a_thread(shared, AT_START, |shared, here| async move {
        list(&here, &shared.common.agent, None).await.ok()
    }) else {
        return if *shared.engine.place() == Place::Off { Vec::new() } else { presumed(known) };
    };
    found(&list, known, &shared.common.boot)
}

/// Removes the containers of a workload of which nothing runs any more. If the engine does not
/// answer, they are found when it is back.
pub(super) fn remove(shared: &Arc<Shared>, name: &Name) {
    let name = name.clone();
    let _found_later = on_a_thread(shared, AT_REMOVAL, |shared, here| async move {
        for container in list(&here, &shared.common.agent, Some(&name)).await.ok()? {
            let _found_later = remove_one(&here, &container.id).await;
            shared.details().remove(&container.id);
        }
        tidy(&shared, &here).await;
        Some(())
    });
}

/// Does something with the engine on a thread with a loop of its own, within a time. `None`: the
/// engine does not answer, or not in time.
fn on_a_thread<T, F>(
    shared: &Arc<Shared>,
    within: Duration,
    work: impl FnOnce(Arc<Shared>, Here) -> F + Send + 'static,
) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = Option<T>>,
{
    let shared = Arc::clone(shared);
    let socket = shared.engine.socket()?;
    let thread = std::thread::Builder::new().stack_size(2 * STACK).spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().ok()?;
        runtime.block_on(async {
            let asked = async {
                let client = Client::new(&socket);
                let dialect = Dialect::of(&client.get("/version").await.ok()?).ok()?;
                let client = client.speaking(dialect.api);
                work(shared, Here { client, dialect }).await
            };
            tokio::time::timeout(within, asked).await.ok().flatten()
        })
    });
    thread.ok()?.join().ok().flatten()
}

/// Tells the driver each time that the engine is back, and what is there then.
pub(super) async fn tell_when_back(shared: &Arc<Shared>) {
    let mut changes = shared.engine.changes();
    let mut away = true;
    loop {
        let here = match &*changes.borrow_and_update() {
            State::Here(here) => Some(Arc::clone(here)),
            State::Away(_) => None,
        };
        if let Some(here) = here
            && std::mem::take(&mut away)
        {
            match list(&here, &shared.common.agent, None).await {
                Ok(there) => {
                    let found = found(&there, &[], &shared.common.boot);
                    send(&shared.tell, Observed::Back(found)).await;
                }
                Err(error) => tracing::warn!(%error, "containers cannot be looked at"),
            }
        } else {
            away = matches!(&*changes.borrow(), State::Away(_));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
