//! The link: an MQTT connection to the control plane, made again whenever it ends. It passes on
//! what arrives, and reports when it is up or down, and why. What goes up is published through the
//! [`Outlet`] that it hands out.
//!
//! See decisions 0016, 0104 and 0146.

mod ended;
mod outlet;
mod subscriptions;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec::{self, MAX_PACKET};
use holdfast_protocol::enrol::SERVER_NAME;
use holdfast_protocol::message::Presence;
use holdfast_protocol::topic::Channel;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{LastWill, Packet, Publish};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, PublishOptions,
    TlsConfiguration, Transport,
};
use rustls_pki_types::ServerName;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use crate::adapters::clock::uptime_ms;
use crate::adapters::https;
use crate::adapters::mqtt311::Translated;
use crate::core::backoff::{self, Entropy};
use crate::core::heartbeat::Heartbeat;
use crate::core::negotiation::{Attempt, MqttVersion, Negotiation};
use ended::Ended;
use outlet::{CONNECT_TIMEOUT, IN_FLIGHT};
pub use outlet::{Credentials, LinkEvent, Outlet};
use subscriptions::Subscriptions;

/// First and longest wait between tries to connect, in milliseconds: a device has to be back soon
/// after its link is, and a fleet that lost its link at once must not return at once.
const RETRY: (u64, u64) = (500, 30_000);
/// Longest wait in milliseconds after a refusal, which only a person can change.
const RETRY_REFUSED: u64 = 300_000;
/// Most requests that wait for the event loop.
const QUEUE: usize = 64;
/// Duration from which a connection counts as good, so that the next wait is the first again.
const STABLE: Duration = Duration::from_secs(30);
/// Most topic aliases that a broker may use: one for each topic that the device subscribes to.
const TOPICS: u16 = 3;

/// Keeps the link up until the agent ends.
pub async fn run(
    mut credentials: watch::Receiver<Option<Credentials>>,
    tell: mpsc::Sender<LinkEvent>,
    seed: u64,
) {
    let mut entropy = Entropy::new(seed);
    let mut failures = 0;
    // Knowledge of each broker, for the life of the process; there are few.
    let mut brokers: BTreeMap<(String, u16), Negotiation> = BTreeMap::new();
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
        let ended = turn_to(Arc::new(current), turn, &mut brokers, &tell, &mut entropy).await;
        let Ended { reason, refused, unsubscribed, .. } = ended;
        failures = if began.elapsed() > STABLE { 1 } else { failures + 1 };
        tracing::info!(%reason, "link down");
        let longest = if refused || unsubscribed.is_some() { RETRY_REFUSED } else { RETRY.1 };
        if tell.send(LinkEvent::Down { reason, refused, unsubscribed }).await.is_err() {
            return;
        }
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

/// Runs one connection to the broker whose turn it is, and learns from its end.
async fn turn_to(
    credentials: Arc<Credentials>,
    turn: usize,
    brokers: &mut BTreeMap<(String, u16), Negotiation>,
    tell: &mpsc::Sender<LinkEvent>,
    entropy: &mut Entropy,
) -> Ended {
    let count = credentials.brokers.len().max(1);
    let Some(broker) = credentials.brokers.get(turn % count).cloned() else {
        let reason = "no broker's address is known".into();
        let attempt = Attempt::NotReached;
        return Ended { reason, refused: true, unsubscribed: None, attempt };
    };
    let known = brokers.get(&broker).copied().unwrap_or_default();
    let version = known.version(uptime_ms());
    // Never 0, which a last will sends as the session of a device that is offline.
    let session = entropy.draw() | 1;
    let options = options(&credentials, broker.clone(), version);
    let one_by_one = known.subscribes_one_by_one();
    let mut ended = connection(credentials, options, session, one_by_one, tell).await;
    let next = known.after(version, ended.attempt, uptime_ms());
    let spoken = next.version(uptime_ms());
    if spoken != version {
        ended.reason.push_str(match spoken {
            MqttVersion::V311 => "; MQTT 3.1.1 is tried next",
            MqttVersion::V5 => "; MQTT 5 is tried next",
        });
    }
    brokers.insert(broker, next);
    ended
}

/// Runs one connection from dialling to its end.
async fn connection(
    credentials: Arc<Credentials>,
    options: MqttOptions,
    session: u64,
    one_by_one: bool,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let (client, mut events) = AsyncClient::builder(options).capacity(QUEUE).build();
    let outlet = Outlet { client, credentials };
    loop {
        match tokio::time::timeout(CONNECT_TIMEOUT, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => break,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Ended::unanswered(&error),
            Err(_) => {
                let reason = "no answer to the connection in time".into();
                let attempt = Attempt::NotReached;
                return Ended { reason, refused: false, unsubscribed: None, attempt };
            }
        }
    }
    let mut subscriptions = Subscriptions::new(&outlet.credentials);
    let early = if one_by_one {
        match subscriptions.one_by_one(&outlet, &mut events).await {
            Ok(early) => early,
            Err(ended) => return ended,
        }
    } else {
        Vec::new()
    };
    serve(&outlet, session, &mut events, subscriptions, early, tell).await
}

async fn serve(
    outlet: &Outlet,
    session: u64,
    events: &mut EventLoop,
    mut subscriptions: Subscriptions,
    early: Vec<Publish>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let credentials = &outlet.credentials;
    let presence = Presence { v: WIRE_VERSION, online: true, session };
    let payload = codec::encode(&presence).unwrap_or_default();
    let options = PublishOptions::new(QoS::AtLeastOnce).retained();
    // Queued before `Up` is sent: the broker handles packets in order, so whatever the driver
    // publishes first comes after the subscriptions and the presence.
    let asked = subscriptions.is_granted() || subscriptions.ask(outlet, usize::MAX);
    let presence = credentials.topic(Channel::Presence);
    let beat = presence.len();
    let queued = asked && outlet.client.try_publish(presence, payload, options).is_ok();
    let event = LinkEvent::Up { session, outlet: outlet.clone() };
    if !queued || tell.send(event).await.is_err() {
        return Ended::served(None);
    }
    for publish in early {
        if !subscriptions.pass_on(publish, outlet, tell).await {
            return Ended::served(None);
        }
    }
    let mut heartbeat = Heartbeat::new(credentials.keep_alive, beat, uptime_ms());
    loop {
        let event = match next(events, &mut heartbeat, outlet).await {
            Ok(event) => event,
            Err(error) if subscriptions.is_granted() => return Ended::served(Some(&error)),
            Err(error) => return subscriptions.broken(&error, false),
        };
        match event {
            Event::Incoming(Packet::Publish(publish)) => {
                if !subscriptions.pass_on(publish, outlet, tell).await {
                    return Ended::served(None);
                }
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                if let Err(ended) = subscriptions.answered(&answer) {
                    return ended;
                }
            }
            Event::Outgoing(Outgoing::PingReq) => heartbeat.ping_sent(uptime_ms()),
            Event::Outgoing(_) => heartbeat.sent(uptime_ms()),
            Event::Incoming(_) | Event::Auth(_) => {}
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

fn options(credentials: &Credentials, broker: (String, u16), version: MqttVersion) -> MqttOptions {
    let (host, port) = broker;
    // TLS checks the fixed server name; the connector dials the broker's real address.
    let mut options = MqttOptions::new(credentials.device.to_string(), (SERVER_NAME, port));
    let tap = credentials.meter.link_tap();
    let tls = Arc::clone(&credentials.tls);
    let dial = move || {
        let (host, tap) = (host.clone(), tap.clone());
        async move {
            let socket = https::dial(&host, port).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(tap.around(socket))
        }
    };
    match version {
        MqttVersion::V5 => {
            options.set_socket_connector(move |_, _| dial());
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
            options.set_topic_alias_max(Some(TOPICS));
        }
        // The library speaks 5 alone; what it says is translated between it and TLS.
        MqttVersion::V311 => {
            options.set_socket_connector(move |_, _| {
                let (dialling, connector) = (dial(), TlsConnector::from(Arc::clone(&tls)));
                async move {
                    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
                    let stream = connector.connect(name, dialling.await?).await?;
                    Ok::<_, io::Error>(Translated::new(stream))
                }
            });
            options.set_transport(Transport::tcp());
        }
    }
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
