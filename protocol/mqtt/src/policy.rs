//! Rights of a client: the session asks, the policy answers with a value.
//!
//! See decision 0087.

use super::Version;
use super::filter::matches;
use super::reason::{Code, Fault};

/// Data that a client gives of itself in CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Client id, as sent.
    pub id: &'a str,
    /// MQTT version of the client.
    pub version: Version,
    /// User name, if one was given.
    pub user: Option<&'a str>,
    /// Password, if one was given.
    pub password: Option<&'a [u8]>,
}

/// Rights of the client of one connection.
pub trait Policy {
    /// Meaning of a topic to the host, for topics that the client publishes to.
    type Route;

    /// Decides whether the client may connect. Called once, before the last will is checked.
    ///
    /// # Errors
    /// Returns the fault that the client is told.
    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault>;

    /// Returns the route of a publish (or last will) to this topic. None: the client has no right
    /// to it.
    fn publish(&self, topic: &str) -> Option<Self::Route>;

    /// Returns true if the client may subscribe to this (well-formed) filter.
    fn subscribe(&self, filter: &str) -> bool;

    /// Returns the fault for a client whose publish to this topic [`Policy::publish`] refused.
    fn refusal(&self, _topic: &str) -> Fault {
        Fault::new(Code::NotAuthorized, "published to a topic that is not its own")
    }

    /// Returns true if a subscription to `filter` includes `topic`. Overridden by a host with
    /// topics that wildcards do not reach.
    fn means(&self, filter: &str, topic: &str) -> bool {
        matches(filter, topic)
    }

    /// Returns the client id for a v5 client that gave none. None: it stays without one.
    fn assigned_id(&self) -> Option<String> {
        None
    }
}
