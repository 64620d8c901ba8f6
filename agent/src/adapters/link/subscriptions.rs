//! Subscriptions of the device: asked for together or one by one, granted or refused, and what comes
//! by each of them.
//!
//! See decision 0146.

use holdfast_protocol::message::ReportAck;
use holdfast_protocol::topic::Channel;
use holdfast_records::TrafficClass;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, Publish, SubAck, SubscribeReasonCode};
use rumqttc::{ConnectionError, Event, EventLoop, SubscribeFilter};
use tokio::sync::mpsc;

use super::ended::{Ended, explain};
use super::outlet::{CONNECT_TIMEOUT, Credentials, IN_FLIGHT, LinkEvent, Outlet};
use crate::core::negotiation::Attempt;

/// Topics that the device subscribes to, and how many of them the broker has answered.
pub(super) struct Subscriptions {
    /// Topics `desired`, `call` and `ack`. Only a desired state needs QoS 1. Data and reports that
    /// are not acknowledged are sent again, and a call without a reply is made again, so neither
    /// has to be kept for the device, and a PUBACK would cost more than many a call.
    topics: [(String, QoS); 3],
    /// Number of topics, from the first, that were granted.
    granted: usize,
}

impl Subscriptions {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let topics = [
            (Channel::Desired, QoS::AtLeastOnce),
            (Channel::Call, QoS::AtMostOnce),
            (Channel::Ack, QoS::AtMostOnce),
        ];
        let topics = topics.map(|(channel, qos)| (credentials.topic(channel), qos));
        Self { topics, granted: 0 }
    }

    fn topic(&self, index: usize) -> &str {
        self.topics.get(index).map_or("", |(topic, _)| topic)
    }

    pub(super) fn is_granted(&self) -> bool {
        self.granted == self.topics.len()
    }

    /// Sends the topics that are not granted yet in one SUBSCRIBE. Returns false if the connection
    /// has ended.
    pub(super) fn ask(&self, outlet: &Outlet, most: usize) -> bool {
        let rest = self.topics.iter().skip(self.granted).take(most);
        let filters = rest.map(|(topic, qos)| SubscribeFilter::new(topic.clone(), *qos));
        outlet.client.try_subscribe_many(filters).is_ok()
    }

    /// Takes in the answer to the last SUBSCRIBE.
    pub(super) fn answered(&mut self, answer: &SubAck) -> Result<(), Ended> {
        for code in &answer.return_codes {
            if !matches!(code, SubscribeReasonCode::Success(_)) {
                let topic = self.topic(self.granted);
                let how = format!("{code:?}");
                return Err(Ended::unsubscribed(topic, &how, Attempt::SubscriptionRefused));
            }
            self.granted += 1;
        }
        Ok(())
    }

    /// Makes the end of a connection that broke before every subscription was answered.
    pub(super) fn broken(&self, error: &ConnectionError, one_by_one: bool) -> Ended {
        let attempt = Attempt::ClosedOnSubscribe;
        if one_by_one {
            return Ended::unsubscribed(self.topic(self.granted), "closes the connection", attempt);
        }
        let (reason, refused) = explain(error);
        let reason = format!("{reason} after SUBSCRIBE");
        Ended { reason, refused, unsubscribed: None, attempt }
    }

    /// Subscribes to one topic after the other: the answer that is missing tells which one the
    /// broker refuses. Returns publishes that came meanwhile.
    pub(super) async fn one_by_one(
        &mut self,
        outlet: &Outlet,
        events: &mut EventLoop,
    ) -> Result<Vec<Publish>, Ended> {
        let mut early = Vec::new();
        while !self.is_granted() {
            let before = self.granted;
            if !self.ask(outlet, 1) {
                return Err(Ended::served(None));
            }
            while self.granted == before {
                match tokio::time::timeout(CONNECT_TIMEOUT, events.poll()).await {
                    Ok(Ok(Event::Incoming(Packet::SubAck(answer)))) => self.answered(&answer)?,
                    Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                        if early.len() < usize::from(IN_FLIGHT) {
                            early.push(publish);
                        }
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(self.broken(&error, true)),
                    Err(_) => {
                        let (how, attempt) = ("no answer", Attempt::ClosedOnSubscribe);
                        return Err(Ended::unsubscribed(self.topic(self.granted), how, attempt));
                    }
                }
            }
        }
        Ok(early)
    }
}

impl Subscriptions {
    /// Passes a publish on to the driver. Returns false when the agent ends.
    ///
    /// Acknowledgements are manual (`AckMode::Manual`). Calls and acks are acknowledged here, since
    /// losing them costs a repetition; a desired state only by the driver, after it is durable.
    pub(super) async fn pass_on(
        &self,
        publish: Publish,
        outlet: &Outlet,
        tell: &mpsc::Sender<LinkEvent>,
    ) -> bool {
        let [desired, call, ack] = &self.topics;
        let is = |(topic, _): &(String, QoS)| publish.topic == topic.as_bytes();
        if is(desired) {
            return tell.send(LinkEvent::Desired(Box::new(publish))).await.is_ok();
        }
        outlet.acknowledge(&publish);
        if is(call) {
            return tell.send(LinkEvent::Call(publish.payload)).await.is_ok();
        }
        if !is(ack) {
            return true;
        }
        if !ReportAck::is_of(&publish.payload) {
            // A topic that has an alias is sent once; its number takes three bytes.
            let alias = publish.properties.as_ref().and_then(|it| it.topic_alias);
            let topic = if alias.is_some() { 3 } else { publish.topic.len() };
            let meter = &outlet.credentials.meter;
            meter.announce(TrafficClass::Data, false, topic, publish.payload.len());
        }
        tell.send(LinkEvent::Ack(publish.payload)).await.is_ok()
    }
}
