//! Handler of `POST /v1/streams/NAME`: stores all records of the body before it responds, or none
//! of them and says why.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::Name;
use holdfast_records::StreamName;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::code::Code;
use super::peer;
use super::slot::{MAX_BODIES, MAX_BODIES_OF_ONE, MAX_OF_ONE, Shared, Slot};
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::{Records, Refused};
use crate::core::bodies::{Kind, Reader};
use crate::core::caller::Peer;

/// Largest request body, in bytes.
const MAX_CALL: usize = 8 * 1024 * 1024;
/// Longest pause within a body, and the time after which its average pace has to reach [`PACE`]: a
/// body holds a connection and memory.
const PIECE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });
/// Slowest pace of a body, in bytes a second.
const PACE: u64 = 16 * 1024;
/// Longest time that a call waits for room for its body.
const ROOM_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 2_000 });
/// Most bytes of a refused body that are read and dropped before the connection ends.
const MAX_DISCARDED: u64 = 64 * 1024 * 1024;
/// Longest time that a client may go on sending after the response.
const LINGER: Duration = Duration::from_secs(3);
/// Path under which the streams are.
const STREAMS: &str = "/v1/streams/";

/// A response that is an error.
struct Failure {
    code: Code,
    message: String,
    /// Line or item of the body, from 1.
    line: Option<u64>,
    /// True when nothing more is read of this caller, and the connection ends.
    last: bool,
    /// Number of records that were given sequence numbers and dropped.
    dropped: Option<u64>,
}

impl Failure {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), line: None, dropped: None, last: false }
    }

    /// Marks the failure as the last of its connection.
    fn last(self) -> Self {
        Self { last: true, ..self }
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Self {
        let code = match &why {
            Refused::Busy => Code::Busy,
            Refused::DiskFull(_) => Code::DiskFull,
            Refused::Dropped(_) => Code::Quota,
            Refused::TooManyStreams | Refused::TooManyOfOne => Code::TooManyStreams,
            Refused::TooLarge => Code::TooLarge,
            Refused::Closed => Code::Closing,
        };
        let dropped = if let Refused::Dropped(range) = &why { Some(range.len()) } else { None };
        Self { dropped, ..Self::new(code, why.to_string()) }
    }
}

/// Handles a request.
pub(super) async fn answer(
    slot: &Slot,
    caller: &Peer,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, incoming) = request.into_parts();
    let mut body = Body { incoming, began: Instant::now(), taken: 0 };
    let shared = &*slot.shared;
    let mut who = None;
    let answered = store(slot, caller, &head, &mut body, &mut who).await;
    match answered {
        Ok(stored) => respond(StatusCode::OK, &stored),
        Err(failure) => {
            if let Some(what) = failure.code.log_text() {
                let (who, about) = (who.as_ref(), &failure.message);
                shared.problem_log.report_about(who, what, about, uptime_ms());
            }
            let through =
                if failure.last { body.incoming.is_end_stream() } else { body.discard().await };
            refuse(&failure, through)
        }
    }
}

async fn store(
    slot: &Slot,
    caller: &Peer,
    head: &hyper::http::request::Parts,
    body: &mut Body,
    who: &mut Option<Name>,
) -> Result<Value, Failure> {
    let shared = &*slot.shared;
    let header = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let name = peer::identify(&shared.authority, header, caller)
        .map_err(|why| Failure::new(Code::Unauthorized, why.to_string()).last())?;
    let name = who.insert(name);
    if !slot.pass_to(name) {
        let message = format!("more than {MAX_OF_ONE} connections of {name}: close some");
        return Err(Failure::new(Code::Busy, message).last());
    }
    let stream = stream(head)?;
    if shared.authority.is_sourced(&stream) {
        let message = format!("the agent itself fills {stream}: its policy has a source");
        return Err(Failure::new(Code::Source, message));
    }
    check_headers(head)?;
    let kind = kind(head)?;
    let room = room(shared, name, &body.incoming).await?;
    let records = read(body, kind).await?;
    if records.is_empty() {
        return Ok(json!({ "stored": 0 }));
    }
    let stored = shared.intake.append(Some(name.clone()), stream, records).await;
    drop(room);
    let range = stored?;
    Ok(json!({ "stored": range.len(), "first": range.from, "last": range.to }))
}

fn stream(head: &hyper::http::request::Parts) -> Result<StreamName, Failure> {
    let path = head.uri.path();
    let Some(name) = path.strip_prefix(STREAMS) else {
        let message = format!("{path}: there is only POST /v1/streams/NAME here");
        return Err(Failure::new(Code::NotFound, message));
    };
    if head.method != Method::POST {
        let message = "records are posted: POST /v1/streams/NAME";
        return Err(Failure::new(Code::Method, message));
    }
    let bad = |why: String| Failure::new(Code::StreamName, why);
    let name = unescaped(name)
        .ok_or_else(|| bad(format!("{name}: its %-escapes are not those of a text in UTF-8")))?;
    name.parse().map_err(|why: holdfast_records::name::BadStreamName| bad(why.to_string()))
}

/// Decodes %-escapes. `None` when they are malformed, or the result is not UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(bytes.next()?)? << 4 | digit(bytes.next()?)?;
            u8::try_from(value).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(out).ok()
}

/// Refuses headers that change the meaning of a body, since they are not supported here and must
/// not be ignored.
fn check_headers(head: &hyper::http::request::Parts) -> Result<(), Failure> {
    for (name, harmless) in
        [(CONTENT_ENCODING, "identity"), (CONTENT_RANGE, ""), (TRANSFER_ENCODING, "chunked")]
    {
        for value in head.headers.get_all(&name) {
            if !value.as_bytes().eq_ignore_ascii_case(harmless.as_bytes()) {
                let message = format!(
                    "{name}: {}: send the whole body as it is",
                    String::from_utf8_lossy(value.as_bytes())
                );
                return Err(Failure::new(Code::ContentType, message));
            }
        }
    }
    Ok(())
}

fn kind(head: &hyper::http::request::Parts) -> Result<Kind, Failure> {
    let mut headers = head.headers.get_all(CONTENT_TYPE).into_iter();
    let text = headers.next().map(|value| value.to_str().unwrap_or("?"));
    // Two content types may contradict each other.
    let kind = Kind::of(text).filter(|_| headers.next().is_none());
    kind.ok_or_else(|| {
        let message = format!(
            "content type {}: give one of application/x-ndjson, application/json, application/cbor-seq and text/plain, in UTF-8 (curl -H 'content-type: application/x-ndjson')",
            text.unwrap_or_default()
        );
        Failure::new(Code::ContentType, message)
    })
}

/// Waits for room for the body in memory: of the caller's share, and of the total.
async fn room(
    shared: &Shared,
    name: &Name,
    body: &Incoming,
) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Failure> {
    // A client that does not state the length may send the longest body.
    let size = body.size_hint().upper().and_then(|size| usize::try_from(size).ok());
    let size = size.unwrap_or(MAX_CALL);
    if size > MAX_CALL {
        return Err(too_large());
    }
    const { assert!(MAX_CALL <= MAX_BODIES_OF_ONE, "the largest call has room") };
    const { assert!(MAX_BODIES_OF_ONE < MAX_BODIES, "and leaves some to others") };
    let units = u32::try_from(size.max(1)).unwrap_or(u32::MAX);
    let (own, all) = (shared.bodies_of(name), Arc::clone(&shared.bodies));
    let room = async {
        let own = own.acquire_many_owned(units).await.ok()?;
        Some((own, all.acquire_many_owned(units).await.ok()?))
    };
    let room = tokio::time::timeout(ROOM_TIMEOUT, room).await;
    room.ok().flatten().ok_or_else(|| Refused::Busy.into())
}

fn too_large() -> Failure {
    let message = format!("a call of more than {MAX_CALL} bytes: send it in several");
    Failure::new(Code::TooLarge, message)
}

async fn read(body: &mut Body, kind: Kind) -> Result<Records, Failure> {
    let mut reader = Reader::new(kind);
    let refused = |fault: crate::core::bodies::Fault| {
        let code = if fault.too_large { Code::TooLarge } else { Code::Malformed };
        let what = if kind == Kind::Cbor { "item" } else { "line" };
        let message = format!("{what} {}: {}; nothing of this call is stored", fault.at, fault.why);
        Failure { line: Some(fault.at), ..Failure::new(code, message) }
    };
    while let Some(data) = body.piece().await? {
        if body.taken > MAX_CALL {
            return Err(too_large());
        }
        reader.feed(&data).map_err(refused)?;
    }
    reader.finish().map_err(refused)
}

/// Body of a call, as it arrives.
struct Body {
    incoming: Incoming,
    began: Instant,
    /// Bytes received so far.
    taken: usize,
}

impl Body {
    /// Reads the next piece; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let cut = |why: &str| Failure::new(Code::CutShort, format!("{why}; nothing is stored"));
        loop {
            let taken = u64::try_from(self.taken).unwrap_or(u64::MAX);
            let whole = self.began + PIECE_TIMEOUT + Duration::from_millis(taken * 1_000 / PACE);
            let until = whole.min(Instant::now() + PIECE_TIMEOUT);
            match tokio::time::timeout_at(until, self.incoming.frame()).await {
                Err(_late) => {
                    let message = "the body came too slowly: 16 KiB a second at least, and no pause of 10 s; nothing is stored";
                    return Err(Failure::new(Code::Timeout, message));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(cut("the body was cut short")),
                Ok(Some(Ok(frame))) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        self.taken += data.len();
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Reads the rest of a refused body, up to [`MAX_CALL`] bytes, so that the connection can go
    /// on. True when all of it was read.
    async fn discard(&mut self) -> bool {
        let claimed = self.incoming.size_hint().upper();
        if claimed.and_then(|size| usize::try_from(size).ok()).is_some_and(|it| it > MAX_CALL) {
            return false;
        }
        let before = self.taken;
        while self.taken - before <= MAX_CALL {
            match self.piece().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

/// Ends a connection. What the client still sends is read for a while, since closing a connection
/// over unread bytes would lose the last response.
pub(super) async fn linger(mut stream: tokio::net::UnixStream) {
    let heard = async {
        stream.shutdown().await?;
        let mut left = (&mut stream).take(MAX_DISCARDED);
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, heard).await {
        tracing::debug!(%error, "a connection of the data socket ended");
    }
}

fn refuse(failure: &Failure, through: bool) -> Response<Full<Bytes>> {
    let (word, status) = failure.code.shown();
    let mut error = json!({ "code": word, "message": failure.message });
    if let Some(fields) = error.as_object_mut() {
        fields.extend(failure.line.map(|line| ("line".into(), line.into())));
        if let Some(dropped) = failure.dropped {
            fields.extend([("stored".into(), 0.into()), ("dropped".into(), dropped.into())]);
        }
    }
    let mut response = respond(status, &json!({ "error": error }));
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            let realm = HeaderValue::from_static("Basic realm=\"holdfast\"");
            headers.insert(WWW_AUTHENTICATE, realm);
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        _ => {}
    }
    if !through {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn respond(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    let text = format!("{document}\n");
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    response
}
