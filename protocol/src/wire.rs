//! Calls, replies and acknowledgements of reports as they travel: arrays without field names, since a question to a device must
//! cost next to nothing. Elements at the end that have their default value are left out; unknown
//! elements at the end are ignored.
//!
//! See decision 0116.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use holdfast_base::codec::ignore_rest;

use crate::artifact::Artifact;
use crate::message::{Call, LogPart, Method, Reply, ReplyCode, ReplyError, ReportAck, WITHIN_MS};
use crate::volume::{VolumeId, VolumeOrder};

/// Number of each [`Method`] on the wire, the third element of a call.
const CANCEL: u8 = 0;
const LOGS: u8 = 1;
const QUERY: u8 = 2;
const FETCH: u8 = 3;
const RESTART: u8 = 4;
const AUDIT_CHECKPOINT: u8 = 5;
const VOLUME: u8 = 6;

/// Number of each [`VolumeOrder`] on the wire, the fourth element of such a call.
const VOLUME_LIST: u8 = 0;
const VOLUME_DELETE: u8 = 1;
const VOLUME_BACKUP: u8 = 2;
const VOLUME_RESTORE: u8 = 3;

/// Returns the next element, or an error that names `what` as missing.
fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    all: &mut A,
    what: &str,
) -> Result<T, A::Error> {
    all.next_element()?.ok_or_else(|| A::Error::custom(format_args!("{what} is missing")))
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let many = 3 + match &self.method {
            Method::Cancel => 0,
            Method::Logs { part, .. } => 1 + numbers(part).1,
            Method::Query { within_ms, .. } => 2 + usize::from(*within_ms != WITHIN_MS),
            Method::Fetch { bytes, .. } => 3 + usize::from(bytes.is_some()),
            Method::Restart { .. } => 1,
            Method::AuditCheckpoint => 0,
            Method::Volume(VolumeOrder::List) => 1,
            Method::Volume(VolumeOrder::Delete(_) | VolumeOrder::Backup(_)) => 3,
            Method::Volume(VolumeOrder::Restore(..)) => 5,
        };
        let mut all = serializer.serialize_seq(Some(many))?;
        all.serialize_element(&self.v)?;
        all.serialize_element(&self.id)?;
        match &self.method {
            Method::Cancel => all.serialize_element(&CANCEL)?,
            Method::Logs { workload, part } => {
                all.serialize_element(&LOGS)?;
                all.serialize_element(workload)?;
                let (numbers, many) = numbers(part);
                for number in numbers.iter().take(many) {
                    all.serialize_element(number)?;
                }
            }
            Method::Query { stream, question, within_ms } => {
                all.serialize_element(&QUERY)?;
                all.serialize_element(stream)?;
                all.serialize_element(question)?;
                if *within_ms != WITHIN_MS {
                    all.serialize_element(within_ms)?;
                }
            }
            Method::Fetch { stream, since, until, bytes } => {
                all.serialize_element(&FETCH)?;
                all.serialize_element(stream)?;
                all.serialize_element(since)?;
                all.serialize_element(until)?;
                if let Some(bytes) = bytes {
                    all.serialize_element(bytes)?;
                }
            }
            Method::Restart { workload } => {
                all.serialize_element(&RESTART)?;
                all.serialize_element(workload)?;
            }
            Method::AuditCheckpoint => all.serialize_element(&AUDIT_CHECKPOINT)?,
            Method::Volume(order) => {
                all.serialize_element(&VOLUME)?;
                volume(&mut all, order)?;
            }
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Call;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Call, A::Error> {
                let v = next(&mut all, "the version")?;
                let id = next(&mut all, "the id")?;
                let method = method(&mut all)?;
                ignore_rest(&mut all)?;
                Ok(Call { v, id, method })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

fn method<'de, A: SeqAccess<'de>>(all: &mut A) -> Result<Method, A::Error> {
    match next(all, "the method")? {
        CANCEL => Ok(Method::Cancel),
        LOGS => {
            let workload = next(all, "the workload")?;
            let mut numbers = [next(all, "how many lines")?, 0, 0, 0, 0, 0, 0, 0];
            for number in numbers.iter_mut().skip(1) {
                *number = all.next_element::<u64>()?.unwrap_or(0);
            }
            let [tail, follow, since, until, back, times, log, from] = numbers;
            let short =
                |number: u64| u32::try_from(number).map_err(|_| A::Error::custom("too large"));
            let (tail, follow_seconds) = (short(tail)?, short(follow)?);
            let (back, log, times) = (short(back)?, short(log)?, times != 0);
            let part = LogPart { tail, follow_seconds, since, until, back, times, log, from };
            Ok(Method::Logs { workload, part })
        }
        QUERY => Ok(Method::Query {
            stream: next(all, "the stream")?,
            question: next(all, "the question")?,
            within_ms: all.next_element()?.unwrap_or(WITHIN_MS),
        }),
        FETCH => Ok(Method::Fetch {
            stream: next(all, "the stream")?,
            since: next(all, "since")?,
            until: next(all, "until")?,
            bytes: all.next_element()?,
        }),
        RESTART => Ok(Method::Restart { workload: next(all, "the workload")? }),
        AUDIT_CHECKPOINT => Ok(Method::AuditCheckpoint),
        VOLUME => order(all).map(Method::Volume),
        other => Err(A::Error::custom(format_args!("method {other} is not known"))),
    }
}

fn volume<S: SerializeSeq>(all: &mut S, order: &VolumeOrder) -> Result<(), S::Error> {
    let (number, id) = match order {
        VolumeOrder::List => return all.serialize_element(&VOLUME_LIST),
        VolumeOrder::Delete(id) => (VOLUME_DELETE, id),
        VolumeOrder::Backup(id) => (VOLUME_BACKUP, id),
        VolumeOrder::Restore(id, _) => (VOLUME_RESTORE, id),
    };
    all.serialize_element(&number)?;
    all.serialize_element(&id.workload)?;
    all.serialize_element(&id.volume)?;
    if let VolumeOrder::Restore(_, artifact) = order {
        all.serialize_element(&artifact.digest)?;
        all.serialize_element(&artifact.size)?;
    }
    Ok(())
}

fn order<'de, A: SeqAccess<'de>>(all: &mut A) -> Result<VolumeOrder, A::Error> {
    let number: u8 = next(all, "what is done with volumes")?;
    if number == VOLUME_LIST {
        return Ok(VolumeOrder::List);
    }
    let id = VolumeId { workload: next(all, "the workload")?, volume: next(all, "the volume")? };
    match number {
        VOLUME_DELETE => Ok(VolumeOrder::Delete(id)),
        VOLUME_BACKUP => Ok(VolumeOrder::Backup(id)),
        VOLUME_RESTORE => {
            let artifact =
                Artifact { digest: next(all, "the digest")?, size: next(all, "the size")? };
            Ok(VolumeOrder::Restore(id, artifact))
        }
        other => Err(A::Error::custom(format_args!("order {other} to volumes is not known"))),
    }
}

/// Returns the elements for a part of a log, and how many of them are sent: trailing zeros are left
/// out, except for the first element.
fn numbers(part: &LogPart) -> ([u64; 8], usize) {
    let LogPart { tail, follow_seconds, since, until, back, times, log, from } = *part;
    let (tail, follow, times) = (tail.into(), follow_seconds.into(), times.into());
    let numbers = [tail, follow, since, until, back.into(), times, log.into(), from];
    let last = numbers.iter().rposition(|number| *number != 0).unwrap_or(0);
    (numbers, last + 1)
}

impl Serialize for ReportAck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(2))?;
        all.serialize_element(&self.v)?;
        all.serialize_element(&self.id)?;
        all.end()
    }
}

impl<'de> Deserialize<'de> for ReportAck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = ReportAck;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an acknowledgement of a report")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<ReportAck, A::Error> {
                let v = next(&mut all, "the version")?;
                let id = next(&mut all, "the id")?;
                ignore_rest(&mut all)?;
                Ok(ReportAck { v, id })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = self.error.as_ref().map(|error| error.text.as_str());
        // `failed` is what an error without a code means, so it takes no bytes.
        let code = self.error.as_ref().map_or(ReplyCode::Failed, |error| error.code);
        let many = match (error, self.body.is_empty()) {
            _ if code != ReplyCode::Failed => 7,
            _ if !self.log.is_empty() => 6,
            (Some(_), _) => 5,
            (None, false) => 4,
            (None, true) => 3,
        };
        let mut all = serializer.serialize_seq(Some(many))?;
        all.serialize_element(&self.v)?;
        all.serialize_element(&self.id)?;
        all.serialize_element(&(u64::from(self.sequence) * 2 + u64::from(self.end)))?;
        if many > 3 {
            all.serialize_element(Bytes::new(&self.body))?;
        }
        if many > 4 {
            all.serialize_element(&error)?;
        }
        if many > 5 {
            all.serialize_element(&self.log)?;
        }
        if many > 6 {
            all.serialize_element(code.as_str())?;
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Reply;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reply")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Reply, A::Error> {
                let v = next(&mut all, "the version")?;
                let id = next(&mut all, "the id")?;
                let place: u64 = next(&mut all, "the sequence")?;
                let sequence =
                    u32::try_from(place / 2).map_err(|_| A::Error::custom("no sequence"))?;
                let body: Option<ByteBuf> = all.next_element()?;
                let error = all.next_element::<Option<String>>()?.flatten();
                let log = all.next_element()?.unwrap_or_default();
                let code = all.next_element::<String>()?;
                let code = code.map_or(ReplyCode::Failed, |word| ReplyCode::from_word(&word));
                let error = error.map(|text| ReplyError { code, text });
                ignore_rest(&mut all)?;
                let body = body.map(ByteBuf::into_vec).unwrap_or_default();
                Ok(Reply { v, id, sequence, body, end: place % 2 == 1, error, log })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_cbor::Value;

    fn read(elements: Vec<Value>) -> Reply {
        serde_cbor::from_slice(&serde_cbor::to_vec(&elements).unwrap()).unwrap()
    }

    #[test]
    fn an_error_without_a_known_code_has_failed() {
        let text = |text: &str| Value::Text(text.into());
        let head = [1, 3, 1].map(Value::Integer);
        let head: Vec<Value> =
            head.into_iter().chain([Value::Bytes(Vec::new()), text("why")]).collect();
        let log = Value::Array(Vec::new());
        for (more, code) in [
            (vec![], ReplyCode::Failed),
            (vec![log.clone()], ReplyCode::Failed),
            (vec![log.clone(), text("of-a-newer-agent")], ReplyCode::Failed),
            (vec![log.clone(), text("over-budget")], ReplyCode::OverBudget),
        ] {
            let reply = read([head.clone(), more].concat());
            assert_eq!(reply.error, Some(ReplyError::new(code, "why")));
        }
        let no_error = [1, 3, 1].map(Value::Integer).to_vec();
        let more = vec![Value::Bytes(vec![1]), Value::Null, log, text("busy")];
        assert_eq!(read([no_error, more].concat()).error, None, "a code alone is no error");
    }

    #[test]
    fn an_acknowledgement_of_a_report_takes_three_to_seven_bytes() {
        for (id, size) in [(0, 3), (23, 3), (255, 4), (65_535, 5), (u32::MAX, 7)] {
            let ack = ReportAck { v: 1, id };
            let bytes = serde_cbor::to_vec(&ack).unwrap();
            assert_eq!(bytes.len(), size, "{id}");
            assert!(ReportAck::is_of(&bytes));
            assert_eq!(serde_cbor::from_slice::<ReportAck>(&bytes).unwrap(), ack);
        }
        let about_data = [0xa1, 0x61, b'v', 1];
        assert!(!ReportAck::is_of(&about_data) && !ReportAck::is_of(&[]));
    }

    #[test]
    fn every_code_survives_the_wire() {
        for code in ReplyCode::ALL {
            let error = Some(ReplyError::new(code, "why"));
            let (body, log) = (Vec::new(), Vec::new());
            let reply = Reply { v: 1, id: 3, sequence: 0, body, end: true, error, log };
            let bytes = serde_cbor::to_vec(&reply).unwrap();
            assert_eq!(serde_cbor::from_slice::<Reply>(&bytes).unwrap(), reply);
        }
    }
}
