//! Networks of containers: those that workloads share, and that of a group. Made when they are
//! needed, and removed when no container of this agent is in them.
//!
//! See decision 0175.

use holdfast_base::ids::Name;
use holdfast_protocol::container::{Container, Network};
use serde_json::{Value, json};

use super::client::query;
use super::engine::Here;
use super::failure::PrepareError;
use super::shared::Shared;
use crate::core::container::create::Networks;
use crate::core::container::dialect::Refusal;
use crate::core::container::marks;

/// Networks that a container is to be in.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// That in which it is made.
    pub(super) first: Networks,
    /// Names of those that it joins before its start.
    others: Vec<String>,
    aliases: Vec<String>,
}

/// Makes the networks of a container that are not there yet. `member`: its name within its group.
pub(super) async fn ready(
    shared: &Shared,
    here: &Here,
    workload: &Name,
    member: &str,
    container: &Container,
    is_group: bool,
) -> Result<Wanted, PrepareError> {
    let mode = |mode: &str| Wanted {
        first: Networks { mode: mode.into(), aliases: Vec::new() },
        ..Wanted::default()
    };
    let mut names = Vec::new();
    let mut aliases = Vec::new();
    match &container.network {
        Network::Host => return Ok(mode("host")),
        Network::None => return Ok(mode("none")),
        Network::Bridge if !is_group => return Ok(mode("bridge")),
        Network::Bridge => names.push(marks::group_network(workload)),
        Network::Shared(shared) => names.extend(shared.iter().map(marks::shared_network)),
    }
    if is_group {
        aliases.push(member.to_owned());
    }
    if !is_group || names != [marks::group_network(workload)] {
        aliases.push(workload.to_string());
    }
    for name in &names {
        make(shared, here, name).await?;
    }
    let mut names = names.into_iter();
    let first = Networks { mode: names.next().unwrap_or_default(), aliases: aliases.clone() };
    Ok(Wanted { first, others: names.collect(), aliases })
}

async fn make(shared: &Shared, here: &Here, name: &str) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Engine { what: format!("network {name}"), source };
    let path = format!("/networks/{}", query(name));
    match here.client.get(&path).await {
        Ok(network) if is_ours(&network, &shared.common.agent) => return Ok(()),
        Ok(_) => {
            return Err(PrepareError::Foreign(format!(
                "there is a network {name} at the engine that this agent has not made: rename or remove it"
            )));
        }
        Err(error) if error.is_absent() => {}
        Err(error) => return Err(failed(error)),
    }
    let labels = json!({ marks::AGENT: shared.common.agent });
    let body = json!({
        "Name": name,
        "CheckDuplicate": true,
        "Driver": "bridge",
        "Labels": labels,
    });
    match here.client.post("/networks/create", Some(&body)).await {
        // Somebody was faster: it is asked for by its name.
        Err(error) if error.refusal() == Some(Refusal::Conflict) => Ok(()),
        other => other.map(drop).map_err(failed),
    }
}

/// Joins the further networks of a container that was made.
pub(super) async fn join(here: &Here, id: &str, wanted: &Wanted) -> Result<(), PrepareError> {
    for name in &wanted.others {
        let path = format!("/networks/{}/connect", query(name));
        let body = json!({ "Container": id, "EndpointConfig": { "Aliases": wanted.aliases } });
        let joined = here.client.post(&path, Some(&body)).await;
        joined
            .map_err(|source| PrepareError::Engine { what: format!("network {name}"), source })?;
    }
    Ok(())
}

fn is_ours(network: &Value, agent: &str) -> bool {
    let labels = network.get("Labels").or_else(|| network.get("labels"));
    labels.and_then(|it| it.get(marks::AGENT)).and_then(Value::as_str) == Some(agent)
}

/// Removes the networks of this agent that no container is in. `containers`: answer to a list of
/// all containers of this agent, running or not.
pub(super) async fn tidy(shared: &Shared, here: &Here, containers: &Value) {
    let Ok(networks) = here.client.get("/networks").await else { return };
    for network in networks.as_array().into_iter().flatten() {
        let name = network.get("Name").and_then(Value::as_str);
        let Some(name) = name.filter(|_| is_ours(network, &shared.common.agent)) else { continue };
        let is_in = |it: &Value| {
            let networks = it.get("NetworkSettings").and_then(|it| it.get("Networks"));
            networks.and_then(|it| it.get(name)).is_some()
        };
        if containers.as_array().into_iter().flatten().any(is_in) {
            continue;
        }
        // The engine refuses while anybody is in it.
        match here.client.delete(&format!("/networks/{}", query(name))).await {
            Ok(()) => tracing::info!(network = name, "nothing is in it any more: it is removed"),
            Err(error) => tracing::debug!(network = name, %error, "a network stays"),
        }
    }
}
