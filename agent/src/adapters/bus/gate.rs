//! Rights of one client, as the MQTT session asks for them.
//!
//! See decisions 0053 and 0054.

use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_mqtt::{Client, Code, Fault, Policy};

use super::shared::{Shared, add};
use crate::adapters::clock::uptime_ms;
use crate::core::bus::{self, Refusal, Rights, Route};
use crate::core::caller::Peer;

/// Policy of one client's session; see the module's documentation.
pub(super) struct Gate {
    shared: Arc<Shared>,
    number: u64,
    peer: Peer,
    /// True when it came by the Unix socket, where its user tells which workload it is.
    on_socket: bool,
    /// Name of the workload or local access, once the client has identified itself.
    name: Option<Name>,
    client_id: String,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, number: u64, peer: Peer, on_socket: bool) -> Self {
        Self { shared, number, peer, on_socket, name: None, client_id: String::new() }
    }

    /// Identifies a client by its password or, on the Unix socket, by its user.
    fn identify(&self, client: &Client<'_>) -> Option<Arc<Rights>> {
        if let (Some(user), Some(password)) = (client.user, client.password) {
            return self.shared.identify(user, password, &self.peer);
        }
        let sole = self.shared.workload_of(&self.peer).filter(|_| self.on_socket)?;
        client.user.is_none_or(|user| user == sole.name.as_str()).then_some(sole)
    }

    pub(super) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    fn rights(&self) -> Option<Arc<Rights>> {
        self.shared.rights(self.name.as_ref()?)
    }

    fn refuse(&self, what: &'static str, about: &str) {
        add(&self.shared.counters.refused, 1);
        self.report(what, about);
    }

    /// Reports that this client did something wrong.
    pub(super) fn report(&self, what: &'static str, about: &str) {
        // Both texts are the client's own, so each is bounded and neither can push the other out.
        let client = format!("{about:.80} (client {:.30})", self.client_id);
        let about = if about.is_empty() { about } else { &client };
        self.shared.problem_log.report_about(self.name.as_ref(), what, about, uptime_ms());
    }
}

impl Policy for Gate {
    type Route = Route;

    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault> {
        const WRONG: Fault = Fault::new(
            Code::BadCredentials,
            "user name and password are those of HOLDFAST_MQTT_USERNAME and HOLDFAST_MQTT_PASSWORD, of a program of the same user",
        );
        let Some(who) = self.identify(client) else {
            let known = client.user.and_then(|user| user.parse::<Name>().ok());
            let known = known.filter(|name| self.shared.rights(name).is_some());
            let what = "a client of the local bus was refused: wrong user name or password";
            add(&self.shared.counters.refused, 1);
            let about = client.user.unwrap_or("no user name");
            self.shared.problem_log.report_about(known.as_ref(), what, about, uptime_ms());
            return Err(WRONG);
        };
        if !self.shared.unauthenticated.remove(self.number) {
            return Err(Fault::new(Code::Quota, "cut for a newer client of this user"));
        }
        if !self.shared.has_slot(&who.name) {
            self.name = Some(who.name.clone());
            self.refuse("too many clients of the local bus at a time", client.id);
            return Err(Fault::new(Code::Quota, "too many clients of this user at a time"));
        }
        self.name = Some(who.name.clone());
        self.client_id = match client.id {
            "" => format!("{}-{}", who.name, self.number),
            id => id.to_owned(),
        };
        Ok(())
    }

    fn publish(&self, topic: &str) -> Option<Route> {
        self.rights()?.route(topic).ok()
    }

    fn refusal(&self, topic: &str) -> Fault {
        match self.rights().map(|rights| rights.route(topic)) {
            Some(Err(refusal @ (Refusal::NoStream | Refusal::NoTopic))) => {
                let (what, text) = if refusal == Refusal::NoStream {
                    ("published to a topic that names no stream", "that topic names no stream")
                } else {
                    ("published to what is not workloads/NAME/TOPIC", "not workloads/NAME/TOPIC")
                };
                self.refuse(what, topic);
                Fault::new(Code::TopicInvalid, text)
            }
            _ => {
                self.refuse(
                    "published to another workload's topic, which its document does not allow",
                    topic,
                );
                Fault::new(Code::NotAuthorized, "another workload's topic: see spec.bus.publish")
            }
        }
    }

    fn subscribe(&self, filter: &str) -> bool {
        let may = self.rights().is_some_and(|rights| rights.may_subscribe(filter));
        if !may {
            self.refuse(
                "subscribed to topics of others, which its document does not allow",
                filter,
            );
        }
        may
    }

    fn means(&self, filter: &str, topic: &str) -> bool {
        bus::means(filter, topic)
    }

    fn assigned_id(&self) -> Option<String> {
        Some(self.client_id.clone())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // However the connection ended, the client leaves the exchange.
        self.shared.exchange.leave(self.number);
    }
}
