//! Neighbours of a device: the other devices of its site that share downloads with it.
//!
//! See decision 0179.

use holdfast_base::ids::Name;
use holdfast_protocol::neighbours::{MAX_ADDRESSES, MAX_NEIGHBOURS, Neighbour, Neighbours};

use super::desired::approved;
use super::model::{Device, Model};
use super::records::Policy;

/// Label whose value the devices of a site share.
const SITE: &str = "site";

/// Longest address that is passed on, in bytes: an IPv6 address with a port.
const MAX_ADDRESS: usize = 64;

/// Neighbours of a device: none without a site, and none where its link budget asks for none. Devices
/// of the site that have not reported an address are among them, for they may ask.
///
/// A site with more devices than fit into a list is divided into groups, in the order of the names.
pub fn of(model: &Model, name: &Name) -> Neighbours {
    let site = |device: &Device| {
        let value = device.record.labels.get(SITE).map(ToString::to_string);
        value.filter(|value| !value.is_empty() && shares(model, device))
    };
    let Some(own) = model.devices.get(name).and_then(site) else { return Neighbours::default() };
    let of_site: Vec<&Device> =
        approved(model).filter(|device| site(device).as_ref() == Some(&own)).collect();
    let group = of_site
        .chunks(MAX_NEIGHBOURS)
        .find(|group| group.iter().any(|device| device.record.name == *name))
        .unwrap_or_default();
    let others = group.iter().filter(|device| device.record.name != *name);
    Neighbours { neighbours: others.map(|device| neighbour(device)).collect() }
}

fn neighbour(device: &Device) -> Neighbour {
    let reported = device.report.agent.as_ref().map(|agent| agent.neighbours.as_slice());
    let addresses = reported.unwrap_or_default().iter();
    let addresses = addresses.filter(|address| address.len() <= MAX_ADDRESS);
    Neighbour {
        device: device.record.name.clone(),
        addresses: addresses.take(MAX_ADDRESSES).cloned().collect(),
    }
}

/// True if the device's link budget asks it to share.
fn shares(model: &Model, device: &Device) -> bool {
    let policies = device.desired.data.iter().filter_map(|(key, _)| model.policies.get(key));
    policies.into_iter().any(|known| match &known.record.policy {
        Policy::LinkBudget { budget } => budget.neighbours,
        _ => false,
    })
}
