//! Streams of devices: which there are, what holds back their records, and which of them a caller may
//! read.

use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::{StreamName, StreamReport};

use super::Data;
use crate::api::time::rfc3339_millis;
use crate::api::{DeviceStreams, StreamItem, StreamLast};
use crate::core::policies::device_link;
use crate::core::rights::{Action, Actor};
use crate::core::shipping::{Circumstances, nothing_shipped};
use crate::core::streams::{Streams, owner};
use crate::core::{ingest, values, view};
use crate::ports::data_store::StreamRow;
use crate::service::listing::page;
use crate::service::rights::{may, may_device};
use crate::service::{Failure, Listed, Query};

/// Stream whose records the caller may read. Only the service makes one, after it asked [`may`].
///
/// [`may`]: crate::core::rights::may
#[derive(Debug, Clone)]
pub struct Readable(pub(super) StreamRow);

impl std::ops::Deref for Readable {
    type Target = StreamRow;

    fn deref(&self) -> &StreamRow {
        &self.0
    }
}

impl Data {
    /// Returns a stream of which records were received, for an action that reads it.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device or stream, and [`Failure::Unavailable`]
    /// while the data store is being opened.
    pub fn stream(
        &self,
        actor: &Actor,
        action: Action,
        device: &str,
        stream: &str,
    ) -> Result<Readable, Failure> {
        may_device(actor, action, &self.documents.model(&actor.tenant), device)?;
        let name = self.device_of_streams(&actor.tenant, device)?;
        let none = || no_stream(&name, stream);
        let stream: StreamName = stream.parse().map_err(|_| none())?;
        let sent = self.of_device(&actor.tenant, &name, |streams| streams.get(&stream).cloned());
        sent.map(Readable).ok_or_else(|| {
            self.why_none(&actor.tenant, &name, &stream).map_or_else(none, Failure::NothingShipped)
        })
    }

    /// Explains why no record of a stream was received although its device reports the stream.
    /// `None` when it does not report it.
    pub(super) fn why_none(
        &self,
        tenant: &Name,
        device: &Name,
        stream: &StreamName,
    ) -> Option<String> {
        let said = {
            let model = self.documents.model(tenant);
            let data = model.devices.get(device)?.report.data.as_deref()?;
            data.streams.get(stream)?.clone()
        };
        let reasons = self.held_back(tenant, device, stream, false);
        Some(nothing_shipped(device.as_str(), stream, &said, &reasons))
    }

    /// Returns true when records of a stream were received, or its device reports the stream.
    pub(in crate::service) fn has_stream(
        &self,
        tenant: &Name,
        device: &Name,
        stream: &StreamName,
    ) -> bool {
        let said = {
            let model = self.documents.model(tenant);
            let data = model.devices.get(device).and_then(|known| known.report.data.as_deref());
            data.is_some_and(|data| data.streams.contains_key(stream))
        };
        said || self.of_device(tenant, device, |streams| streams.contains_key(stream))
    }

    /// Reasons that hold back records of a stream on its device, for a person.
    pub(in crate::service) fn held_back(
        &self,
        tenant: &Name,
        device: &Name,
        stream: &StreamName,
        fetched: bool,
    ) -> Vec<String> {
        let model = self.documents.model(tenant);
        let Some(known) = model.devices.get(device) else { return Vec::new() };
        let wanted = model.desired_state(device).and_then(|desired| desired.data);
        let now = Circumstances {
            policies: wanted.as_deref(),
            link: known.report.data.as_deref().map(|data| &data.link),
            online: known.live.connection != 0,
            minute: u16::try_from(self.documents.now() / 60 % 1_440).unwrap_or(0),
        };
        now.hold_back(stream, fetched)
    }

    /// Resolves a device's name. Fails while the data store is being opened.
    pub(super) fn device_of_streams(&self, tenant: &Name, device: &str) -> Result<Name, Failure> {
        if !self.known().loaded {
            return Err(Failure::Unavailable(
                "the data store is still being opened: ask again in a moment".into(),
            ));
        }
        let model = self.documents.model(tenant);
        let found = model.devices.get_key_value(device).map(|(name, _)| name.clone());
        found.ok_or_else(|| Failure::no("device", device))
    }

    /// Calls `look` with the streams of the machine that has this device name now. Returns the
    /// default when there is none.
    pub(super) fn of_device<T: Default>(
        &self,
        tenant: &Name,
        device: &Name,
        look: impl FnOnce(&Streams) -> T,
    ) -> T {
        let owner = {
            let model = self.documents.model(tenant);
            model.devices.get(device).map(|known| owner(&known.record.public_key))
        };
        let Some(owner) = owner else { return T::default() };
        let known = self.known();
        let id = DeviceId { tenant: tenant.clone(), device: device.clone() };
        known.machines.get(&(id, owner)).map(look).unwrap_or_default()
    }

    /// Lists streams of known devices, in the order of device and stream. `text` must occur in the
    /// stream's or the device's name.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query, and [`Failure::NotFound`] for an unknown
    /// device.
    pub fn streams(
        &self,
        actor: &Actor,
        query: &Query,
        device: Option<&str>,
        text: Option<&str>,
    ) -> Listed<StreamItem> {
        let permit = may(actor, Action::ListStreams, device.unwrap_or_default())?;
        let limit = query.limit()?;
        let bad = || {
            Failure::invalid(
                "continue: not a value that a page gave; leave it out to begin with the first page",
            )
        };
        let after = match query.after.as_deref() {
            None => None,
            Some(after) => {
                let (name, stream) = after.split_once('/').ok_or_else(bad)?;
                Some((
                    name.parse::<Name>().map_err(|_| bad())?,
                    stream.parse::<StreamName>().map_err(|_| bad())?,
                ))
            }
        };
        if let Some(device) = device {
            may_device(actor, Action::ListStreams, &self.documents.model(&actor.tenant), device)?;
            self.device_of_streams(&actor.tenant, device)?;
        }
        let devices: Vec<Name> = {
            let model = self.documents.model(&actor.tenant);
            let from = after.as_ref().map(|(name, _)| name.clone());
            let chosen = model.devices.iter().filter(|(name, known)| {
                device.is_none_or(|only| only == name.as_str())
                    && from.as_ref().is_none_or(|from| from <= *name)
                    && query.chooses(&known.record.labels)
                    && permit.sight().sees(&known.record.labels)
            });
            chosen.map(|(name, _)| name.clone()).collect()
        };
        let mut items = Vec::new();
        for name in devices {
            let rest = self.streams_of(&actor.tenant, &name).into_iter().filter(|item| {
                let new = after.as_ref().is_none_or(|(device, stream)| {
                    *device != name || item.stream.as_str() > stream.as_str()
                });
                let meant = |text: &str| {
                    item.stream.to_lowercase().contains(text) || item.device.contains(text)
                };
                new && text.is_none_or(meant)
            });
            items.extend(rest.map(|item| (format!("{}/{}", item.device, item.stream), item)));
            if items.len() > limit {
                items.truncate(limit + 1);
                break;
            }
        }
        Ok(page(items, limit, self.documents.model(&actor.tenant).meta.version))
    }

    /// Streams of a device: those of which records were received, and those that it reports.
    fn streams_of(&self, tenant: &Name, name: &Name) -> Vec<StreamItem> {
        let (device, mut reported) = {
            let model = self.documents.model(tenant);
            let Some(device) = model.devices.get(name) else { return Vec::new() };
            let reported = device.report.data.as_deref().map(|data| data.streams.clone());
            (device.record.name.clone(), reported.unwrap_or_default())
        };
        let mut items = self.of_device(tenant, name, |streams| {
            let item = |(stream, row): (&StreamName, &StreamRow)| {
                item(&device, stream, &row.tally, reported.remove(stream))
            };
            streams.iter().map(item).collect::<Vec<_>>()
        });
        let none = ingest::Tally::default();
        items.extend(
            reported.into_iter().map(|(stream, said)| item(&device, &stream, &none, Some(said))),
        );
        items.sort_by(|one, other| one.stream.cmp(&other.stream));
        items
    }

    /// Returns a device's streams, and the reported state of its buffer and its link.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn device_streams(&self, actor: &Actor, device: &str) -> Result<DeviceStreams, Failure> {
        may_device(actor, Action::ListDeviceStreams, &self.documents.model(&actor.tenant), device)?;
        let name = self.device_of_streams(&actor.tenant, device)?;
        let (data, link) = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get(&name);
            (known.and_then(view::reported), known.and_then(device_link))
        };
        Ok(DeviceStreams { items: self.streams_of(&actor.tenant, &name), data, link })
    }
}

/// Failure for a stream that a device does not have.
pub(in crate::service) fn no_stream(device: &Name, stream: &str) -> Failure {
    let stream: String = stream.chars().take(80).collect();
    Failure::NoStream(format!("device {device} has no stream {stream:?}"))
}

fn item(
    device: &Name,
    stream: &StreamName,
    tally: &ingest::Tally,
    reported: Option<StreamReport>,
) -> StreamItem {
    let latest = tally.latest.as_ref();
    StreamItem {
        device: device.to_string(),
        stream: stream.to_string(),
        received: tally.received,
        duplicates: tally.duplicates,
        late: tally.late,
        missing: tally.lost(),
        by_policy: tally.by_policy(),
        last: latest
            .map(|latest| StreamLast { seq: latest.seq, time: rfc3339_millis(latest.time) }),
        records: tally.kept,
        bytes: tally.bytes,
        latest: latest
            .and_then(ingest::Latest::record)
            .map(|record| values::value_json(&record))
            // A number that no double holds, such as 1e400, is shown as text.
            .map(|text| serde_json::from_str(&text).unwrap_or(text.into())),
        reported: reported.and_then(|said| serde_json::to_value(said).ok()),
    }
}
