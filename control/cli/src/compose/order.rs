//! Which services are imported, and in which order they start: profiles and `depends_on`.

use std::collections::BTreeSet;

use super::node::{Fields, Item, Tree};

/// State of another service that a service waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It was started.
    Started,
    /// Its health check succeeds.
    Healthy,
    /// It ended with code 0.
    Completed,
}

/// Service that another one waits for.
#[derive(Debug, Clone)]
pub(super) struct After<'a> {
    /// Name of the service that is waited for.
    pub(super) service: String,
    /// State of it that is waited for.
    pub(super) until: Until,
    /// False if it may be missing.
    pub(super) required: bool,
    /// Place where it is said.
    pub(super) item: Item<'a>,
}

/// True if a service is imported with these profiles.
pub(super) fn is_wanted(service: &Item<'_>, profiles: &BTreeSet<String>) -> bool {
    let Some(own) = service.fields().get("profiles") else { return true };
    let own: Vec<&str> = own.one_or_list().iter().filter_map(|item| item.text()).collect();
    own.is_empty() || profiles.contains("*") || own.iter().any(|one| profiles.contains(*one))
}

/// Reads what a service waits for, by `depends_on` and `links`.
pub(super) fn after<'a>(service: &Fields<'a>) -> Vec<After<'a>> {
    let mut all: Vec<After<'a>> = Vec::new();
    if let Some(depends) = service.get("depends_on") {
        if matches!(depends.node.tree, Tree::List(_)) {
            for item in depends.list() {
                let Some(name) = item.text() else { continue };
                all.push(After {
                    service: name.to_owned(),
                    until: Until::Started,
                    required: true,
                    item,
                });
            }
        } else {
            all.extend(depends.entries().into_iter().map(|(name, item)| long(name, item)));
        }
    }
    for item in service.get("links").into_iter().flat_map(|item| item.list()) {
        let Some(text) = item.text() else { continue };
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        if alias != name {
            item.unsupported(format!(
                "not honoured: {name} is found by its own name alone, not as {alias}"
            ));
        }
        if !all.iter().any(|after| after.service == name) {
            all.push(After {
                service: name.to_owned(),
                until: Until::Started,
                required: true,
                item,
            });
        }
    }
    all
}

fn long<'a>(name: &str, item: Item<'a>) -> After<'a> {
    let fields = item.fields();
    let until = match fields.get("condition") {
        None => Until::Started,
        Some(condition) => {
            let what = "service_started, service_healthy or service_completed_successfully";
            let until = condition.parsed(what, |text| match text {
                "service_started" => Some(Until::Started),
                "service_healthy" => Some(Until::Healthy),
                "service_completed_successfully" => Some(Until::Completed),
                _ => None,
            });
            until.unwrap_or(Until::Started)
        }
    };
    let required = fields.get("required").and_then(|item| item.flag()).unwrap_or(true);
    // The containers of a group are restarted together, with or without it.
    if let Some(restart) = fields.get("restart") {
        restart.flag();
    }
    fields.end(&[]);
    After { service: name.to_owned(), until, required, item }
}

/// Returns the numbers of services in an order in which each stands behind those that it waits for;
/// otherwise they stay as they are. `Err`: those that wait for each other.
pub(super) fn sorted(waits: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    let mut left: Vec<usize> = (0..waits.len()).collect();
    while !left.is_empty() {
        let ready = left.iter().position(|number| {
            waits.get(*number).into_iter().flatten().all(|other| order.contains(other))
        });
        match ready {
            Some(index) => order.push(left.remove(index)),
            None => return Err(circle(waits, left)),
        }
    }
    Ok(order)
}

/// Leaves out services on which no other one waits: they only wait for a circle.
fn circle(waits: &[Vec<usize>], mut left: Vec<usize>) -> Vec<usize> {
    loop {
        let awaited: BTreeSet<usize> =
            left.iter().filter_map(|number| waits.get(*number)).flatten().copied().collect();
        let before = left.len();
        left.retain(|number| awaited.contains(number));
        if left.len() == before {
            return left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sorted;

    #[test]
    fn services_stand_behind_those_that_they_wait_for() {
        assert_eq!(sorted(&[]), Ok(vec![]));
        assert_eq!(sorted(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(sorted(&[vec![2], vec![], vec![1]]), Ok(vec![1, 2, 0]));
        assert_eq!(sorted(&[vec![], vec![2], vec![1], vec![0]]), Err(vec![1, 2]));
        assert_eq!(sorted(&[vec![1], vec![2], vec![1]]), Err(vec![1, 2]));
        assert_eq!(sorted(&[vec![0]]), Err(vec![0]));
    }
}
