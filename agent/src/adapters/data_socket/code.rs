//! Codes of refused calls to the data socket: the status of each, and what is logged of it.
//!
//! See decision 0144.

use hyper::StatusCode;

/// Kind of a refusal, a stable word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Busy,
    Closing,
    ContentType,
    CutShort,
    DiskFull,
    Malformed,
    Method,
    NotFound,
    Quota,
    Source,
    StreamName,
    Timeout,
    TooLarge,
    TooManyStreams,
    Unauthorized,
}

impl Code {
    /// Returns the word of the code in a response, and the response's status.
    pub(super) fn shown(self) -> (&'static str, StatusCode) {
        match self {
            Self::Busy => ("busy", StatusCode::TOO_MANY_REQUESTS),
            Self::Closing => ("closing", StatusCode::SERVICE_UNAVAILABLE),
            Self::ContentType => ("content-type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::CutShort => ("cut-short", StatusCode::BAD_REQUEST),
            Self::DiskFull => ("disk-full", StatusCode::INSUFFICIENT_STORAGE),
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST),
            Self::Method => ("method", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND),
            Self::Quota => ("quota", StatusCode::INSUFFICIENT_STORAGE),
            Self::Source => ("source", StatusCode::FORBIDDEN),
            Self::StreamName => ("stream-name", StatusCode::BAD_REQUEST),
            Self::Timeout => ("timeout", StatusCode::REQUEST_TIMEOUT),
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::TooManyStreams => ("too-many-streams", StatusCode::INSUFFICIENT_STORAGE),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
        }
    }

    /// Returns the text that is logged of a refused call. None: the call is not the problem of a
    /// workload's data, and is not reported.
    pub(super) fn log_text(self) -> Option<&'static str> {
        Some(match self {
            Self::Unauthorized | Self::NotFound | Self::Method => return None,
            Self::Malformed => "posted what is not what its content type says: refused",
            Self::TooLarge => "posted a record or a call that is too large: refused",
            Self::Busy => "posted more than can be stored at a time: told to try again",
            Self::Source => "posted to a stream that the agent itself fills: refused",
            Self::DiskFull => "posted records that could not be stored: the disk is full",
            Self::Quota => {
                "posted records that were dropped: the stream has used up its quota, or the buffer is full of what goes before it"
            }
            Self::TooManyStreams => {
                "posted to one stream too many: it has 200, or the device 1000, as many streams as it may have"
            }
            Self::Closing
            | Self::ContentType
            | Self::CutShort
            | Self::StreamName
            | Self::Timeout => "a call to the data socket was refused",
        })
    }
}
