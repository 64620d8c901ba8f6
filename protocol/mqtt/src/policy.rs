//! Who may do what: asked by the session, answered by a value.
//! See decision 0087.

use super::Version;
use super::filter::matches;
use super::reason::{Code, Fault};

/// What a client says of itself in CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its client id.
    pub id: &'a str,
    /// Its version.
    pub version: Version,
    /// User name, when given.
    pub user: Option<&'a str>,
    /// Password, when given.
    pub password: Option<&'a [u8]>,
}

/// Who may do what on one connection.
pub trait Policy {
    /// What a topic that the client publishes to means to the host.
    type Route;

    /// May this client connect? Called once; the last will is judged after it.
    ///
    /// # Errors
    /// What the client is told.
    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault>;

    /// Where a publish (or last will) to this topic goes. None: the client may not.
    fn publish(&self, topic: &str) -> Option<Self::Route>;

    /// May the client subscribe to this (well-formed) filter?
    fn subscribe(&self, filter: &str) -> bool;

    /// What a client is told whose publish to this topic [`Policy::publish`] refused.
    fn refusal(&self, _topic: &str) -> Fault {
        Fault::new(Code::NotAuthorized, "published to a topic that is not its own")
    }

    /// Whether a subscription to `filter` means `topic`: where a host has topics that wildcards
    /// do not reach.
    fn means(&self, filter: &str, topic: &str) -> bool {
        matches(filter, topic)
    }

    /// The client id of a v5 client that gave none. None: it has none.
    fn assigned_id(&self) -> Option<String> {
        None
    }
}
