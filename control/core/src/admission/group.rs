//! Form of groups of containers in `Workload` documents.
//!
//! See decisions 0147 and 0171.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_protocol::container::{After, Group, Member, Until};
use holdfast_protocol::workload::{Health, Probe};

use super::Stored;
use super::at::{At, Words};
use super::container::fields_of;
use super::document::NAME;
use super::environment::Env;
use super::parts;

/// Most containers of a group.
const MOST: usize = 32;

/// Container of a group, with what the group takes from it.
struct Decoded {
    member: Member,
    health: Option<Health>,
    env: Env,
}

/// Decodes a group. Returns it with the probe of the whole. `None` if faults were noted.
pub(super) fn group(at: &At<'_>, stored: &Stored<'_>) -> Option<(Group, Option<Health>, Env)> {
    let about = "Several containers as one workload: they start in order, and stop and change together. In the group's own network each is found by its name.";
    at.object(about, "", |fields| {
        let all = fields.required(
            "containers",
            "Containers, in the order of their starts.",
            "the containers of the group",
            |at| {
                at.list(MOST, "", |at| member(at, stored))
                    .and_then(|all| in_order(at, &all).then_some(all))
            },
        );
        let all = all?;
        let health = whole(all.iter().filter_map(|it| it.health.as_ref()));
        let mut env = Env::new();
        let mut containers = Vec::new();
        for Decoded { member, env: own, .. } in all {
            env.extend(
                own.into_iter().map(|(key, source)| (format!("{}/{key}", member.name), source)),
            );
            containers.push(member);
        }
        Some((Group { containers }, health, env))
    })
}

fn member(at: &At<'_>, stored: &Stored<'_>) -> Option<Decoded> {
    at.object("Container of a group.", "{ name: db, image: shop/db:16 }", |fields| {
        let name = fields.required(
            "name",
            "Name of the container within the group, by which the others find it.",
            "each container of a group has one",
            |at| at.put("pattern", NAME).parsed(str::parse::<Name>),
        );
        let container = fields_of(fields, stored, true);
        let health = fields.maybe(
            "health",
            "Health probe of the container. If it fails, the group is restarted.",
            parts::health,
        );
        let after = fields.or(
            "after",
            "Containers before it in the list that it waits for: a name, or `{ name: NAME, until: STATE }`. Default: it is started when those before it are started.",
            Vec::new(),
            |at| at.list(MOST, "; leave it out to wait for none", after),
        );
        let ((container, env), health) = (container?, health?);
        let probe = health.as_ref().map(|health| health.probe.clone());
        let member = Member { name: name?, container, probe, after: after? };
        Some(Decoded { member, health, env })
    })
}

const STATES: Words<'static, Until> = Words {
    about: "State of a container that is waited for.",
    what: "state",
    list: &[
        ("started", "It was started.", Until::Started),
        ("healthy", "Its probe succeeds.", Until::Healthy),
        (
            "completed",
            "It ended with code 0, as one that prepares something does.",
            Until::Completed,
        ),
    ],
    or: &[],
};

fn after(at: &At<'_>) -> Option<After> {
    let name = |at: &At<'_>| at.put("pattern", NAME).parsed(str::parse::<Name>);
    let short = |at: &At<'_>| Some(After { name: name(at)?, until: Until::Started });
    let long = |at: &At<'_>| {
        at.object("Container that is waited for.", "{ name: db, until: healthy }", |fields| {
            let name = fields.required("name", "Name of the container.", "whom it waits for", name);
            let until = fields.or(
                "until",
                "State that is waited for: `started`, `healthy` or `completed`. Default: `started`.",
                Until::Started,
                |at| at.word(&STATES),
            );
            Some(After { name: name?, until: until? })
        })
    };
    at.either(|value| !value.is_object(), short, long)
}

/// Notes a fault for each name that is used twice, and each that is waited for and does not stand
/// before; returns false if there is one.
fn in_order(at: &At<'_>, all: &[Decoded]) -> bool {
    let mut before: BTreeMap<&Name, &Member> = BTreeMap::new();
    let mut good = true;
    for (index, Decoded { member, .. }) in all.iter().enumerate() {
        let mut fault = |why: String| {
            good = false;
            if let Some(value) = at.value().get(index) {
                at.item(index, value).fault(why);
            }
        };
        for after in &member.after {
            match before.get(&after.name) {
                None => fault(format!(
                    "it waits for {}, which does not stand before it in the list",
                    after.name
                )),
                Some(other) if after.until == Until::Healthy && other.probe.is_none() => fault(
                    format!("it waits until {} is healthy, which has no health probe", after.name),
                ),
                Some(_) => {}
            }
        }
        if before.insert(&member.name, member).is_some() {
            fault(format!("a second container with the name {}", member.name));
        }
    }
    good
}

/// Joins the probes of the containers to one of the group: asked as often as the most eager one,
/// failed as late as the most patient one.
fn whole<'a>(all: impl Iterator<Item = &'a Health>) -> Option<Health> {
    all.fold(None, |whole: Option<Health>, one| {
        Some(match whole {
            None => Health { probe: Probe::Members, ..one.clone() },
            Some(whole) => Health {
                probe: Probe::Members,
                start_period_ms: whole.start_period_ms.max(one.start_period_ms),
                interval_ms: whole.interval_ms.min(one.interval_ms),
                timeout_ms: whole.timeout_ms.max(one.timeout_ms),
                failures: whole.failures.max(one.failures),
            },
        })
    })
}
