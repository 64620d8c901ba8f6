//! What the link hands out: its events, and the outlet of a connection. What it is given: the
//! parameters of a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::DeviceId;
use holdfast_protocol::topic::{Channel, Topic};
use holdfast_records::TrafficClass;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Publish;
use rumqttc::{AsyncClient, PublishOptions};
use rustls::ClientConfig;

use crate::adapters::meter::Meter;

/// Most unacknowledged publishes; the library's default would take 16 MB.
pub(super) const IN_FLIGHT: u16 = 16;
/// Longest time for TCP, TLS and CONNACK together, enough for a satellite link.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

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
    pub(super) fn topic(&self, channel: Channel) -> String {
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
        /// Text about a subscription that the broker refused; `None` when it refused none.
        unsubscribed: Option<String>,
    },
    /// A desired state. It is acknowledged by [`Outlet::acknowledge`] once it is stored or refused,
    /// and redelivered after a reconnect until then.
    Desired(Box<Publish>),
    /// A call, encoded.
    Call(Bytes),
    /// An acknowledgement of data or of a report, encoded.
    Ack(Bytes),
}

/// Publisher of the agent while a connection lasts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outlet {
    pub(super) client: AsyncClient,
    pub(super) credentials: Arc<Credentials>,
}

impl Outlet {
    /// Publishes with QoS 1 and waits for the broker's PUBACK, which does not say that the control
    /// plane has it. False when the connection ended or it was refused.
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
        // The PUBACK may carry an error: not taken.
        notice.wait_completion_async().await.is_ok()
    }

    /// Publishes an empty presence message on an idle link, with QoS 0, so that nothing comes back.
    pub(super) fn heartbeat(&self) {
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
