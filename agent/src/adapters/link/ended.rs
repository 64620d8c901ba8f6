//! End of a connection in words, and what it says about the broker. The text is for people; what the
//! agent does next follows from the type of the error.
//!
//! See decisions 0104 and 0146.

use std::io;

use rumqttc::mqttbytes::v5::ConnectReturnCode;
use rumqttc::{ConnectionError, StateError, TlsError};

use crate::adapters::https;
use crate::core::negotiation::Attempt;

/// End of a connection, or of a try to make one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Reason as text.
    pub(super) reason: String,
    /// True: the control plane refused the device.
    pub(super) refused: bool,
    /// Text about the subscription that the broker refused.
    pub(super) unsubscribed: Option<String>,
    /// Conclusion for the next try.
    pub(super) attempt: Attempt,
}

impl Ended {
    /// Makes the end of a connection that was in use.
    pub(super) fn served(error: Option<&ConnectionError>) -> Self {
        let (reason, refused) = error.map_or_else(|| ("closed".into(), false), explain);
        Self { reason, refused, unsubscribed: None, attempt: Attempt::Served }
    }

    /// Makes the end of a try without a CONNACK.
    pub(super) fn unanswered(error: &ConnectionError) -> Self {
        let (reason, refused) = explain(error);
        let attempt = attempt(error, refused);
        let unsubscribed = None;
        match attempt {
            Attempt::ClosedOnConnect => {
                let reason = "the broker closed the connection after CONNECT".to_owned();
                Self { reason, refused: false, unsubscribed, attempt }
            }
            Attempt::VersionRefused => {
                let reason = "the broker refused this version of MQTT".to_owned();
                Self { reason, refused: false, unsubscribed, attempt }
            }
            _ => Self { reason, refused, unsubscribed, attempt },
        }
    }

    /// Makes the end after a refused subscription; `how` completes "the broker refuses the
    /// subscription to TOPIC".
    pub(super) fn unsubscribed(topic: &str, how: &str, attempt: Attempt) -> Self {
        let reason = format!("the broker refuses the subscription to {topic} ({how})");
        let unsubscribed = Some(format!(
            "{reason}: give this device's user the right to subscribe to it in the broker's permissions"
        ));
        Self { reason, refused: false, unsubscribed, attempt }
    }
}

/// Returns what the end of a try without a CONNACK says about the broker. `refused`: by TLS, if not
/// by a code.
fn attempt(error: &ConnectionError, refused: bool) -> Attempt {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::UnsupportedProtocolVersion)
        | ConnectionError::NotConnAck(_) => Attempt::VersionRefused,
        ConnectionError::ConnectionRefused(_) => Attempt::Refused,
        // TLS stood when these came, unless its end was the refusal.
        ConnectionError::MqttState(
            StateError::ConnectionAborted
            | StateError::Io(_)
            | StateError::Deserialization(rumqttc::mqttbytes::Error::Io(_)),
        ) if !refused => Attempt::ClosedOnConnect,
        // A CONNACK of 3.1.1 is none of version 5.
        ConnectionError::MqttState(StateError::Deserialization(_)) if !refused => {
            Attempt::VersionRefused
        }
        _ => Attempt::NotReached,
    }
}

/// Explains why a connection ended, and whether that was a refusal.
pub(super) fn explain(error: &ConnectionError) -> (String, bool) {
    if let ConnectionError::ConnectionRefused(code) = error {
        return (format!("the control plane refused the device: {code:?}"), true);
    }
    let tls = match error {
        ConnectionError::Tls(TlsError::TLS(tls)) => Some(tls),
        _ => io_error(error).and_then(https::tls_error),
    };
    if let Some(tls @ rustls::Error::InvalidCertificate(_)) = tls {
        return (https::explain_tls(tls).to_owned(), true);
    }
    // With TLS 1.3 our handshake is over before the server has checked our certificate; its refusal
    // then arrives as an alert on the open connection.
    let alert = matches!(tls, Some(rustls::Error::AlertReceived(_)));
    let refused = alert || matches!(error, ConnectionError::Tls(_));
    let aborted = matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted));
    let ended = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    if aborted || io_error(error).is_some_and(ended) {
        return ("the connection was closed by the other side".to_owned(), refused);
    }
    (strip_layers(&error.to_string()).to_owned(), refused)
}

/// Returns the I/O error within an error of the MQTT library; `None` when it has another cause.
fn io_error(error: &ConnectionError) -> Option<&io::Error> {
    match error {
        ConnectionError::Io(io)
        | ConnectionError::Tls(TlsError::Io(io))
        | ConnectionError::MqttState(
            StateError::Io(io) | StateError::Deserialization(rumqttc::mqttbytes::Error::Io(io)),
        ) => Some(io),
        _ => None,
    }
}

/// Strips the library's layers from an error text. Nothing is decided by it.
fn strip_layers(mut text: &str) -> &str {
    let layers = ["Mqtt state: ", "Mqtt serialization/deserialization error: ", "I/O: ", "IO: "];
    while let Some(rest) = layers.iter().find_map(|layer| text.strip_prefix(layer)) {
        text = rest;
    }
    text.split_once(": https://docs.rs").map_or(text, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_link_is_down_is_said_in_plain_words() {
        for (text, said) in [
            ("I/O: Connection refused (os error 111)", "Connection refused (os error 111)"),
            ("TLS: odd: https://docs.rs/rustls/x", "TLS: odd"),
            ("", ""),
        ] {
            assert_eq!(strip_layers(text), said);
        }
    }

    #[test]
    fn why_a_link_is_down_is_decided_by_the_type_of_the_error() {
        use rustls::{AlertDescription, CertificateError, Error};
        let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let read = |error| {
            let error = rumqttc::mqttbytes::Error::Io(error);
            ConnectionError::MqttState(StateError::Deserialization(error))
        };
        let expired = || Error::InvalidCertificate(CertificateError::Expired);
        let unknown = || Error::AlertReceived(AlertDescription::UnknownCA);
        let eof = || io::Error::new(io::ErrorKind::UnexpectedEof, "no close_notify");
        let other = || io::Error::other("certificate, fatal alert");
        for (error, said, refused) in [
            (ConnectionError::Tls(TlsError::Io(tls(expired()))), "is the clock right?", true),
            (ConnectionError::Tls(TlsError::TLS(expired())), "is the clock right?", true),
            (ConnectionError::Io(tls(expired())), "is the clock right?", true),
            (read(tls(unknown())), "received fatal alert", true),
            (ConnectionError::MqttState(StateError::Io(tls(unknown()))), "UnknownCA", true),
            (read(eof()), "closed by the other side", false),
            (ConnectionError::MqttState(StateError::ConnectionAborted), "closed by", false),
            (ConnectionError::Io(other()), "certificate, fatal alert", false),
        ] {
            let (text, was_refused) = explain(&error);
            assert!(text.contains(said), "{error:?}: {text}");
            assert_eq!(was_refused, refused, "{error:?}");
        }
    }

    #[test]
    fn the_end_of_a_try_says_whether_it_was_the_version() {
        use rumqttc::mqttbytes::Error as Bytes;
        use rustls::{AlertDescription, Error};
        let alert = || {
            let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
            io::Error::new(io::ErrorKind::InvalidData, alert)
        };
        let state = ConnectionError::MqttState;
        let io = |kind: io::ErrorKind| state(StateError::Io(kind.into()));
        let bytes = |error| state(StateError::Deserialization(error));
        let refused = ConnectionError::ConnectionRefused;
        for (error, attempt, was_refused) in [
            (state(StateError::ConnectionAborted), Attempt::ClosedOnConnect, false),
            (io(io::ErrorKind::ConnectionReset), Attempt::ClosedOnConnect, false),
            (
                bytes(Bytes::Io(io::ErrorKind::UnexpectedEof.into())),
                Attempt::ClosedOnConnect,
                false,
            ),
            (bytes(Bytes::Io(alert())), Attempt::NotReached, true),
            (bytes(Bytes::InvalidConnectReturnCode(5)), Attempt::VersionRefused, false),
            (
                refused(ConnectReturnCode::UnsupportedProtocolVersion),
                Attempt::VersionRefused,
                false,
            ),
            (refused(ConnectReturnCode::NotAuthorized), Attempt::Refused, true),
            (ConnectionError::Io(io::Error::other("no route")), Attempt::NotReached, false),
            (ConnectionError::Io(io::ErrorKind::UnexpectedEof.into()), Attempt::NotReached, false),
        ] {
            let ended = Ended::unanswered(&error);
            assert_eq!((ended.attempt, ended.refused), (attempt, was_refused), "{error:?}");
        }
    }
}
