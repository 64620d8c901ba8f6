//! Retained messages on disk, so that they survive a restart of the agent: one small file, written
//! as a whole. They are a convenience for workloads, so a full disk or a damaged file stops
//! nothing.
//!
//! See decision 0089.

use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use holdfast_records::crc::crc;

use super::published::Published;
use crate::adapters::files;

/// First bytes of the file.
const HEAD: &[u8] = b"holdfast retained 1\n";

/// Largest file that is read, in bytes: all that may be retained, with names.
const MAX_FILE: u64 = 1024 * 1024;

/// Writes the encoded messages.
///
/// # Errors
/// The file system's error; the former file stays.
pub(super) fn save(path: &Path, messages: &[u8]) -> io::Result<()> {
    files::replace(path, messages, 0o600)
}

/// Encodes messages for the file.
pub(super) fn pack<'a>(messages: impl Iterator<Item = &'a Published>) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    for message in messages {
        out.push(u8::from(message.stream) << 2 | message.qos.min(2));
        for part in [message.owner.as_str().as_bytes(), message.topic.as_bytes(), &message.payload]
        {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(&crc(&[&out]).to_be_bytes());
    out
}

/// Reads the retained messages; none when there is no file.
///
/// # Errors
/// When the file cannot be read, or is damaged.
pub(super) fn load(path: &Path) -> io::Result<Vec<Published>> {
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?.take(MAX_FILE).read_to_end(&mut bytes)?,
    };
    unpack(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
}

fn unpack(bytes: &[u8]) -> Option<Vec<Published>> {
    let (rest, sum) = bytes.split_last_chunk::<4>()?;
    if crc(&[rest]) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = rest.strip_prefix(HEAD)?;
    let mut messages = Vec::new();
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        let mut part = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = after;
            Some(part)
        };
        let text = |part| std::str::from_utf8(part).ok();
        let (owner, topic) = (text(part()?)?, text(part()?)?);
        messages.push(Published {
            owner: owner.parse().ok()?,
            topic: topic.into(),
            stream: kind & 4 != 0,
            payload: Bytes::copy_from_slice(part()?),
            qos: kind & 3,
            retain: true,
        });
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(owner: &str, topic: &str, payload: &'static [u8]) -> Published {
        Published {
            owner: owner.parse().unwrap(),
            topic: topic.into(),
            stream: topic.starts_with('s'),
            payload: Bytes::from_static(payload),
            qos: 1,
            retain: true,
        }
    }

    #[test]
    fn what_is_kept_is_read_again_or_refused_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("bus.retained");
        assert_eq!(load(&path).unwrap(), [], "none yet");
        let all = [message("pump", "state", b"on"), message("fan", "local/\u{e4} b", b"\0\xff")];
        save(&path, &pack(all.iter())).unwrap();
        assert_eq!(load(&path).unwrap(), all);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..cut]), None, "cut at {cut}");
            let mut wrong = bytes.clone();
            wrong[cut] ^= 1;
            assert_eq!(unpack(&wrong), None, "wrong at {cut}");
        }
        save(&path, &pack([].iter())).unwrap();
        assert_eq!(load(&path).unwrap(), []);
    }
}
