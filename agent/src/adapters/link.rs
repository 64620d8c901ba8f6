//! The link: MQTT to the control plane, again and again. It hands on what comes and says when it
//! is up or down, and why; what goes up is sent through the client that it hands out.

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
    SubscribeFilter, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};

use crate::adapters::clock::uptime_ms;
use crate::adapters::meter::Meter;
use crate::core::backoff::{self, Entropy};
use crate::core::pulse::Pulse;

/// Waits between tries to connect, in milliseconds, first and longest: a device has to be back
/// soon after its link is, and a fleet that lost its link at once must not return at once.
const RETRY: (u64, u64) = (500, 30_000);
/// The longest wait when the control plane says no: only a person changes that.
const RETRY_REFUSED: u64 = 300_000;
/// Publishes on their way; the library's default would cost 16 MB.
const IN_FLIGHT: u16 = 16;
/// Requests that wait for the event loop.
const QUEUE: usize = 64;
/// TCP, TLS and CONNACK over a satellite link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that held so long was a good one: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(30);

/// What a connection needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who.
    pub device: DeviceId,
    /// Part of its topics.
    pub shard: u8,
    /// Brokers, best first.
    pub brokers: Vec<(String, u16)>,
    /// Whom to trust, and the device's certificate.
    pub tls: Arc<ClientConfig>,
    /// Longest silence, in seconds.
    pub keep_alive: u16,
    /// Counts what it costs.
    pub meter: Meter,
}

impl Credentials {
    fn topic(&self, channel: Channel) -> String {
        Topic { shard: self.shard, device: self.device.clone(), channel }.to_string()
    }
}

/// What happens on the link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected and subscribed.
    Up {
        /// Number of this connection, for calls.
        session: u64,
        /// Where to publish.
        outlet: Outlet,
    },
    /// Not connected any more, or the try failed.
    Down {
        /// Why, in words.
        reason: String,
        /// The control plane (or somebody in its place) said no: a person may have to act.
        refused: bool,
    },
    /// A desired state; acknowledged by [`Outlet::acknowledge`] once it is stored or refused.
    Desired(Box<Publish>),
    /// A call.
    Call(Bytes),
    /// An acknowledgement of data.
    Ack(Bytes),
}

/// Where the agent publishes while a connection lasts.
#[derive(Debug, Clone)]
pub struct Outlet {
    client: AsyncClient,
    credentials: Arc<Credentials>,
}

impl Outlet {
    /// Publishes and waits until the control plane has stored it. False: it has not.
    pub async fn publish(&self, channel: Channel, payload: Vec<u8>) -> bool {
        let class = match channel {
            Channel::Data => TrafficClass::Data,
            _ => TrafficClass::Control,
        };
        self.publish_as(class, channel, payload).await
    }

    /// The same, counted as of this class.
    pub async fn publish_as(
        &self,
        class: TrafficClass,
        channel: Channel,
        payload: Vec<u8>,
    ) -> bool {
        self.send(class, channel, payload, QoS::AtLeastOnce).await
    }

    /// A reply. One that nobody acknowledges counts as gone once it is written: whoever asked finds
    /// out when it is missing.
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
            self.credentials.meter.published(class, true, sizes.0, sizes.1);
        }
        // What came back may be that it was not stored.
        notice.wait_completion_async().await.is_ok()
    }

    /// A word on an idle link, which nobody answers.
    fn beat(&self) {
        let topic = self.credentials.topic(Channel::Presence);
        let options = PublishOptions::new(QoS::AtMostOnce);
        // A queue that is full has words of its own.
        let _full = self.client.try_publish(topic, Bytes::new(), options);
    }

    /// Tells the broker that a publish was dealt with.
    pub fn acknowledge(&self, publish: &Publish) {
        // A connection that is gone sends it again.
        let _gone = self.client.try_ack(publish);
    }

    /// Ends the connection in good order.
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
        let began = tokio::time::Instant::now();
        let turn = usize::try_from(failures).unwrap_or(0);
        let (reason, refused) = connection(Arc::new(current), turn, &tell, &mut entropy).await;
        failures = if began.elapsed() > GOOD { 1 } else { failures + 1 };
        tracing::info!(%reason, "link down");
        if tell.send(LinkEvent::Down { reason, refused }).await.is_err() {
            return;
        }
        let longest = if refused { RETRY_REFUSED } else { RETRY.1 };
        let wait = backoff::delay(failures, RETRY.0, longest, &mut entropy);
        // Another certificate may be all that was wanting.
        let woken = tokio::time::timeout(Duration::from_millis(wait), credentials.changed()).await;
        if let Ok(changed) = woken {
            failures = 0;
            if changed.is_err() {
                return;
            }
        }
    }
}

/// One connection, from dialling to its end; gives why it ended, and whether it was refused.
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
    let session = entropy.draw() | 1;
    loop {
        match tokio::time::timeout(CONNECT_TIMEOUT, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => break,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return said(&error),
            Err(_) => return ("no answer to the connection in time".into(), false),
        }
    }
    match up(&outlet, session, &mut events, tell).await {
        Ok(()) => ("closed".into(), false),
        Err(error) => said(&error),
    }
}

async fn up(
    outlet: &Outlet,
    session: u64,
    events: &mut EventLoop,
    tell: &mpsc::Sender<LinkEvent>,
) -> Result<(), ConnectionError> {
    let credentials = &outlet.credentials;
    let [desired, call, ack] =
        [Channel::Desired, Channel::Call, Channel::Ack].map(|channel| credentials.topic(channel));
    // What of data is not acknowledged is sent again anyway, and a call that is not answered is
    // made again: neither need be kept, and a PUBACK would cost more than many a call.
    let filters = [(&desired, QoS::AtLeastOnce), (&call, QoS::AtMostOnce), (&ack, QoS::AtMostOnce)]
        .map(|(topic, qos)| SubscribeFilter::new(topic.clone(), qos));
    let presence = Presence { v: WIRE_VERSION, online: true, session };
    let payload = codec::encode(&presence).unwrap_or_default();
    let options = PublishOptions::new(QoS::AtLeastOnce).retained();
    let greeted = outlet.client.try_subscribe_many(filters).is_ok()
        && outlet
            .client
            .try_publish(credentials.topic(Channel::Presence), payload, options)
            .is_ok();
    let event = LinkEvent::Up { session, outlet: outlet.clone() };
    if !greeted || tell.send(event).await.is_err() {
        return Ok(());
    }
    let topic = credentials.topic(Channel::Presence).len();
    let mut pulse = Pulse::new(credentials.keep_alive, topic, uptime_ms());
    loop {
        let publish = match next(events, &mut pulse, outlet).await? {
            Event::Incoming(Packet::Publish(publish)) => publish,
            Event::Outgoing(Outgoing::PingReq) => {
                pulse.pinged(uptime_ms());
                continue;
            }
            Event::Outgoing(_) => {
                pulse.said(uptime_ms());
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
            credentials.meter.published(TrafficClass::Data, false, topic, payload);
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

/// What happens next on the link, which meanwhile is kept alive.
async fn next(
    events: &mut EventLoop,
    pulse: &mut Pulse,
    outlet: &Outlet,
) -> Result<Event, ConnectionError> {
    let mut event = std::pin::pin!(events.poll());
    loop {
        let Some(due) = pulse.due() else { return event.await };
        let silence = Duration::from_millis(due.saturating_sub(uptime_ms()));
        tokio::select! {
            biased;
            event = &mut event => return event,
            () = tokio::time::sleep(silence) => {
                pulse.beaten(uptime_ms());
                outlet.beat();
            }
        }
    }
}

fn options(credentials: &Credentials, broker: (String, u16)) -> MqttOptions {
    let (host, port) = broker;
    // The name is what TLS checks; the connector dials the real address.
    let mut options = MqttOptions::new(credentials.device.to_string(), (SERVER_NAME, port));
    let tap = credentials.meter.link();
    options.set_socket_connector(move |_, _| {
        let host = host.clone();
        let tap = tap.clone();
        async move {
            let socket = super::https::dial(&host, port).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(tap.around(socket))
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

/// Why a connection ended, in words, and whether that was a refusal.
fn said(error: &ConnectionError) -> (String, bool) {
    let text = error.to_string();
    let refused = match error {
        ConnectionError::ConnectionRefused(code) => {
            return (format!("the control plane refused the device: {code:?}"), true);
        }
        ConnectionError::Tls(_) => true,
        _ => false,
    };
    if text.contains("invalid peer certificate") {
        return (super::https::tls_words(&text).to_owned(), true);
    }
    // A server's view of our certificate comes as an alert when the handshake is over for us.
    let refused = refused || text.contains("certificate") || text.contains("fatal alert");
    (plain(&text).to_owned(), refused)
}

/// The library's words without the layers that they went through.
fn plain(mut text: &str) -> &str {
    if text.contains("close_notify") || text.contains("Connection closed by peer") {
        return "the connection was closed by the other side";
    }
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
            (
                "Mqtt state: Mqtt serialization/deserialization error: IO: peer closed connection without sending TLS close_notify: https://docs.rs/rustls/x",
                "the connection was closed by the other side",
            ),
            ("I/O: Connection refused (os error 111)", "Connection refused (os error 111)"),
            ("TLS: odd: https://docs.rs/rustls/x", "TLS: odd"),
            ("", ""),
        ] {
            assert_eq!(plain(text), said);
        }
    }
}
