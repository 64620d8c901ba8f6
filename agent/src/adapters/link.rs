//! The link: an MQTT connection to the control plane, made again whenever it ends. It passes on
//! what arrives, and reports when it is up or down, and why. What goes up is published through the
//! [`Outlet`] that it hands out.
//!
//! See decisions 0016 and 0104.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::WIRE_VERSION;
use holdfast_base::codec::{self, MAX_PACKET};
use holdfast_base::ids::DeviceId;
use holdfast_protocol::enrol::SERVER_NAME;
use holdfast_protocol::message::Presence;
use holdfast_protocol::topic::{Channel, Topic};
use holdfast_records::TrafficClass;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{LastWill, Packet, Publish};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, PublishOptions,
    StateError, SubscribeFilter, TlsConfiguration, TlsError, Transport,
};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};

use crate::adapters::clock::uptime_ms;
use crate::adapters::https;
use crate::adapters::meter::Meter;
use crate::core::backoff::{self, Entropy};
use crate::core::heartbeat::Heartbeat;

/// First and longest wait between tries to connect, in milliseconds: a device has to be back soon
/// after its link is, and a fleet that lost its link at once must not return at once.
const RETRY: (u64, u64) = (500, 30_000);
/// Longest wait in milliseconds after a refusal, which only a person can change.
const RETRY_REFUSED: u64 = 300_000;
/// Most unacknowledged publishes; the library's default would take 16 MB.
const IN_FLIGHT: u16 = 16;
/// Most requests that wait for the event loop.
const QUEUE: usize = 64;
/// Longest time for TCP, TLS and CONNACK together, enough for a satellite link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Duration from which a connection counts as good, so that the next wait is the first again.
const STABLE: Duration = Duration::from_secs(30);

/// Parameters of a connection.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Device that connects.
    pub device: DeviceId,
    /// Shard, a part of the device's topics.
    pub shard: u8,
    /// Host and port of each broker, the best first.
    pub brokers: Vec<(String, u16)>,
    /// TLS configuration: the CA to trust, and the device's certificate.
    pub tls: Arc<ClientConfig>,
    /// Longest silence on the link, in seconds.
    pub keep_alive: u16,
    /// Meter of the bytes that the link uses.
    pub meter: Meter,
}

impl Credentials {
    fn topic(&self, channel: Channel) -> String {
        Topic { shard: self.shard, device: self.device.clone(), channel }.to_string()
    }
}

/// Event on the link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected, and the subscriptions are sent.
    Up {
        /// Number of this MQTT session, by which calls refer to it; never 0.
        session: u64,
        /// Outlet to publish through while the connection lasts.
        outlet: Outlet,
    },
    /// The connection ended, or a try failed.
    Down {
        /// Reason as text.
        reason: String,
        /// True when the control plane (or a server in its place) refused the device: a person may
        /// have to act.
        refused: bool,
    },
    /// A desired state. It is acknowledged by [`Outlet::acknowledge`] once it is stored or refused,
    /// and redelivered after a reconnect until then.
    Desired(Box<Publish>),
    /// A call, encoded.
    Call(Bytes),
    /// An acknowledgement of data, encoded.
    Ack(Bytes),
}

/// Publisher of the agent while a connection lasts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outlet {
    client: AsyncClient,
    credentials: Arc<Credentials>,
}

impl Outlet {
    /// Publishes with QoS 1 and waits until the control plane has acknowledged it. False when the
    /// connection ended or it was refused.
    pub async fn publish(&self, channel: Channel, payload: Vec<u8>) -> bool {
        let class = match channel {
            Channel::Data => TrafficClass::Data,
            _ => TrafficClass::Control,
        };
        self.publish_as(class, channel, payload).await
    }

    /// Publishes like [`Outlet::publish`], counted under this traffic class.
    pub async fn publish_as(
        &self,
        class: TrafficClass,
        channel: Channel,
        payload: Vec<u8>,
    ) -> bool {
        self.send(class, channel, payload, QoS::AtLeastOnce).await
    }

    /// Publishes a reply. With `acknowledged` false it counts as sent once it is written, and costs
    /// no PUBACK; the caller notices when it is missing.
    pub async fn reply(&self, payload: Vec<u8>, acknowledged: bool) -> bool {
        let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        self.send(TrafficClass::Logs, Channel::Reply, payload, qos).await
    }

    async fn send(
        &self,
        class: TrafficClass,
        channel: Channel,
        payload: Vec<u8>,
        qos: QoS,
    ) -> bool {
        let topic = self.credentials.topic(channel);
        let sizes = (topic.len(), payload.len());
        let options = PublishOptions::new(qos);
        let Ok(notice) = self.client.publish_tracked(topic, payload, options).await else {
            return false;
        };
        if class != TrafficClass::Control {
            self.credentials.meter.announce(class, true, sizes.0, sizes.1);
        }
        // The acknowledgement may carry an error: not stored.
        notice.wait_completion_async().await.is_ok()
    }

    /// Publishes an empty presence message on an idle link, with QoS 0, so that nothing comes back.
    fn heartbeat(&self) {
        let topic = self.credentials.topic(Channel::Presence);
        let options = PublishOptions::new(QoS::AtMostOnce);
        // A full queue will send something anyway.
        let _full = self.client.try_publish(topic, Bytes::new(), options);
    }

    /// Acknowledges a publish to the broker.
    pub fn acknowledge(&self, publish: &Publish) {
        // If the connection is gone, the publish is delivered again on the next one.
        let _gone = self.client.try_ack(publish);
    }

    /// Closes the connection in good order (DISCONNECT).
    pub fn close(&self) {
        let _gone = self.client.try_disconnect();
    }
}

/// Keeps the link up until the agent ends.
pub async fn run(
    mut credentials: watch::Receiver<Option<Credentials>>,
    tell: mpsc::Sender<LinkEvent>,
    seed: u64,
) {
    let mut entropy = Entropy::new(seed);
    let mut failures = 0;
    loop {
        let Some(current) = credentials.borrow_and_update().clone() else {
            if credentials.changed().await.is_err() {
                return;
            }
            continue;
        };
        // Each failure moves on to the next broker in the list (`turn`), and lengthens the wait. A
        // connection that held for `STABLE` sets both back: failures 1, so the first wait is 500 ms
        // again.
        let began = tokio::time::Instant::now();
        let turn = usize::try_from(failures).unwrap_or(0);
        let (reason, refused) = connection(Arc::new(current), turn, &tell, &mut entropy).await;
        failures = if began.elapsed() > STABLE { 1 } else { failures + 1 };
        tracing::info!(%reason, "link down");
        if tell.send(LinkEvent::Down { reason, refused }).await.is_err() {
            return;
        }
        let longest = if refused { RETRY_REFUSED } else { RETRY.1 };
        let wait = backoff::delay(failures, RETRY.0, longest, &mut entropy);
        // New credentials may be all that was missing, so they end the wait.
        let woken = tokio::time::timeout(Duration::from_millis(wait), credentials.changed()).await;
        if let Ok(changed) = woken {
            failures = 0;
            if changed.is_err() {
                return;
            }
        }
    }
}

/// Runs one connection from dialling to its end; returns the reason for the end, and whether it was
/// a refusal.
async fn connection(
    credentials: Arc<Credentials>,
    turn: usize,
    tell: &mpsc::Sender<LinkEvent>,
    entropy: &mut Entropy,
) -> (String, bool) {
    let count = credentials.brokers.len().max(1);
    let Some(broker) = credentials.brokers.get(turn % count).cloned() else {
        return ("no broker's address is known".into(), true);
    };
    let (client, mut events) =
        AsyncClient::builder(options(&credentials, broker)).capacity(QUEUE).build();
    let outlet = Outlet { client, credentials };
    // Never 0, which a last will sends as the session of a device that is offline.
    let session = entropy.draw() | 1;
    loop {
        match tokio::time::timeout(CONNECT_TIMEOUT, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => break,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return explain(&error),
            Err(_) => return ("no answer to the connection in time".into(), false),
        }
    }
    match serve(&outlet, session, &mut events, tell).await {
        Ok(()) => ("closed".into(), false),
        Err(error) => explain(&error),
    }
}

async fn serve(
    outlet: &Outlet,
    session: u64,
    events: &mut EventLoop,
    tell: &mpsc::Sender<LinkEvent>,
) -> Result<(), ConnectionError> {
    let credentials = &outlet.credentials;
    let [desired, call, ack] =
        [Channel::Desired, Channel::Call, Channel::Ack].map(|channel| credentials.topic(channel));
    // Only a desired state needs QoS 1. Data that is not acknowledged is sent again, and a call
    // without a reply is made again, so neither has to be kept for the device, and a PUBACK would
    // cost more than many a call.
    let filters = [(&desired, QoS::AtLeastOnce), (&call, QoS::AtMostOnce), (&ack, QoS::AtMostOnce)]
        .map(|(topic, qos)| SubscribeFilter::new(topic.clone(), qos));
    let presence = Presence { v: WIRE_VERSION, online: true, session };
    let payload = codec::encode(&presence).unwrap_or_default();
    let options = PublishOptions::new(QoS::AtLeastOnce).retained();
    // Queued before `Up` is sent: the broker handles packets in order, so whatever the driver
    // publishes first comes after the subscriptions and the presence.
    let queued = outlet.client.try_subscribe_many(filters).is_ok()
        && outlet
            .client
            .try_publish(credentials.topic(Channel::Presence), payload, options)
            .is_ok();
    let event = LinkEvent::Up { session, outlet: outlet.clone() };
    if !queued || tell.send(event).await.is_err() {
        return Ok(());
    }
    // Acknowledgements are manual (`AckMode::Manual`). Calls and acks are acknowledged here, since
    // losing them costs a repetition; a desired state only by the driver, after it is durable.
    let topic = credentials.topic(Channel::Presence).len();
    let mut heartbeat = Heartbeat::new(credentials.keep_alive, topic, uptime_ms());
    loop {
        let publish = match next(events, &mut heartbeat, outlet).await? {
            Event::Incoming(Packet::Publish(publish)) => publish,
            Event::Outgoing(Outgoing::PingReq) => {
                heartbeat.ping_sent(uptime_ms());
                continue;
            }
            Event::Outgoing(_) => {
                heartbeat.sent(uptime_ms());
                continue;
            }
            Event::Incoming(_) | Event::Auth(_) => continue,
        };
        let event = if publish.topic == desired.as_bytes() {
            LinkEvent::Desired(Box::new(publish))
        } else if publish.topic == call.as_bytes() {
            outlet.acknowledge(&publish);
            LinkEvent::Call(publish.payload)
        } else if publish.topic == ack.as_bytes() {
            outlet.acknowledge(&publish);
            let (topic, payload) = (publish.topic.len(), publish.payload.len());
            credentials.meter.announce(TrafficClass::Data, false, topic, payload);
            LinkEvent::Ack(publish.payload)
        } else {
            outlet.acknowledge(&publish);
            continue;
        };
        if tell.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Waits for the next event, and sends a beat whenever the pulse says so.
async fn next(
    events: &mut EventLoop,
    heartbeat: &mut Heartbeat,
    outlet: &Outlet,
) -> Result<Event, ConnectionError> {
    // One pinned future for the whole wait: dropping a poll half way, for each beat, could lose a
    // packet that was read in part.
    let mut event = std::pin::pin!(events.poll());
    loop {
        let Some(due) = heartbeat.due() else { return event.await };
        let silence = Duration::from_millis(due.saturating_sub(uptime_ms()));
        tokio::select! {
            biased;
            event = &mut event => return event,
            () = tokio::time::sleep(silence) => {
                heartbeat.beat_sent(uptime_ms());
                outlet.heartbeat();
            }
        }
    }
}

fn options(credentials: &Credentials, broker: (String, u16)) -> MqttOptions {
    let (host, port) = broker;
    // TLS checks the fixed server name; the connector dials the broker's real address.
    let mut options = MqttOptions::new(credentials.device.to_string(), (SERVER_NAME, port));
    let tap = credentials.meter.link_tap();
    options.set_socket_connector(move |_, _| {
        let host = host.clone();
        let tap = tap.clone();
        async move {
            let socket = https::dial(&host, port).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(tap.around(socket))
        }
    });
    let tls = TlsConfiguration::Rustls(Arc::clone(&credentials.tls));
    options.set_transport(Transport::tls_with_config(tls));
    options.set_keep_alive(credentials.keep_alive);
    options.set_clean_start(true);
    options.set_connect_timeout(CONNECT_TIMEOUT);
    options.set_max_packet_size(u32::try_from(MAX_PACKET).ok());
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
    options.set_receive_maximum(Some(IN_FLIGHT));
    options.set_ack_mode(AckMode::Manual);
    let gone = Presence { v: WIRE_VERSION, online: false, session: 0 };
    if let Ok(payload) = codec::encode(&gone) {
        let topic = credentials.topic(Channel::Presence);
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, true, None));
    }
    options
}

/// Explains why a connection ended, and whether that was a refusal.
fn explain(error: &ConnectionError) -> (String, bool) {
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
}
