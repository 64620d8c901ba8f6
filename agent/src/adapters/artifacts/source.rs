//! Where the bytes of an artifact come from: the control plane, over HTTPS. What comes is poured
//! into a file from the byte on that is asked for.

use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::Digest;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use tokio::io::AsyncWriteExt as _;

use super::failure::NotFetched;
use crate::adapters::https::{Api, error_from};

/// Time without a byte after which a download is given up and resumed.
const STALL: Duration = Duration::from_secs(60);
/// Type of a response that is a delta.
const DELTA: &str = "application/vnd.holdfast.delta";
/// Longest time after which a delta is asked for again, in seconds, whatever the control plane says.
const LONGEST_WAIT: u64 = 10;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    /// First byte.
    pub(super) from: u64,
    /// What a delta may be made of. `None`: the artifact as it is.
    pub(super) delta: Option<DeltaWanted>,
}

/// What a delta may be made of.
#[derive(Debug, Clone)]
pub(super) struct DeltaWanted {
    pub(super) bases: Vec<Digest>,
    /// Bytes of memory for applying.
    pub(super) memory: u64,
    /// Tag of the delta that a part is here of.
    pub(super) tag: Option<String>,
}

/// What comes.
pub(super) struct Coming {
    body: Incoming,
    /// First byte of it.
    pub(super) from: u64,
    /// Bytes from there to the end.
    pub(super) length: u64,
    /// Tag of the delta that it is; `None` for the artifact as it is.
    pub(super) delta: Option<String>,
}

/// Asks the control plane.
pub(super) async fn ask(api: &Api, wanted: &Wanted) -> Result<Coming, NotFetched> {
    if api.tap.is_held() {
        return Err(NotFetched::Budget);
    }
    let mut path = format!("/api/v1/artifacts/{}", wanted.digest);
    let tag = wanted.delta.as_ref().and_then(|delta| delta.tag.as_deref());
    if let Some(delta) = &wanted.delta {
        let bases: Vec<String> = delta.bases.iter().map(ToString::to_string).collect();
        path = format!("{path}?memory={}&from={}", delta.memory, bases.join(","));
    }
    let range = format!("bytes={}-", wanted.from);
    let mut request = api.request("GET", &path).header("range", range);
    if let Some(tag) = tag {
        request = request.header("if-range", tag);
    }
    let request = request.body(Full::new(Bytes::new())).map_err(NotFetched::Request)?;
    let answer = api.send(request).await?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| header(name).and_then(|text| text.parse::<u64>().ok());
    let from = match answer.status() {
        StatusCode::PARTIAL_CONTENT => wanted.from,
        StatusCode::OK => 0,
        StatusCode::SERVICE_UNAVAILABLE if wanted.delta.is_some() => {
            if let Some(seconds) = number("retry-after") {
                return Err(NotFetched::Later(seconds.clamp(1, LONGEST_WAIT)));
            }
            return Err(error_from(answer).await.into());
        }
        _ => return Err(error_from(answer).await.into()),
    };
    let length = number("content-length").unwrap_or(0);
    let is_delta = header("content-type") == Some(DELTA);
    let tag = header("etag").unwrap_or_default().to_owned();
    Ok(coming(answer, from, length, is_delta.then_some(tag)))
}

fn coming(answer: Response<Incoming>, from: u64, length: u64, delta: Option<String>) -> Coming {
    Coming { body: answer.into_body(), from, length, delta }
}

impl Coming {
    /// Pours what comes into a file, which has `have` bytes so far and shall have `size` in the end.
    /// `see` sees each piece that is written.
    pub(super) async fn pour(
        mut self,
        file: &mut tokio::fs::File,
        (mut have, size): (u64, u64),
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), NotFetched> {
        while have < size {
            let frame = tokio::time::timeout(STALL, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| NotFetched::Stalled)? else {
                return Err(NotFetched::Short);
            };
            let frame = frame.map_err(NotFetched::Transfer)?;
            let Ok(bytes) = frame.into_data() else { continue };
            have += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if have > size {
                return Err(NotFetched::Long);
            }
            file.write_all(&bytes).await.map_err(NotFetched::Io)?;
            see(&bytes);
        }
        file.flush().await.map_err(NotFetched::Io)
    }
}
