//! MQTT policy of a reader: it may subscribe to streams and nothing else. Its password is an access
//! token.
//!
//! See decision 0060.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use holdfast_base::ids::hex;
use holdfast_mqtt::{Client, Code, Fault, Policy};

use super::{Form, Place, Readers};
use crate::ports::bus::{self, Access};

/// Maximum length of a refused filter that is kept for the log, in characters.
const LONGEST: usize = 200;

/// Policy of one reader's connection.
pub(in crate::adapters::gateway) struct Reader {
    tokens: Arc<dyn bus::Readers>,
    readers: Arc<Readers>,
    number: u64,
    /// Access token and place of an admitted reader.
    admitted: Option<(Access, Place)>,
    /// First filter that was refused.
    refused: OnceLock<Box<str>>,
}

impl Reader {
    pub(super) fn new(tokens: Arc<dyn bus::Readers>, readers: Arc<Readers>, number: u64) -> Self {
        Self { tokens, readers, number, admitted: None, refused: OnceLock::new() }
    }

    /// Access token that the reader showed.
    pub(super) fn access(&self) -> Option<&Access> {
        self.admitted.as_ref().map(|(access, _)| access)
    }

    /// First filter that was refused because there is no such topic; `None` when there was none.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.get().map(|filter| &**filter)
    }

    /// Returns true while the reader's token is valid.
    pub(super) fn may_read(&self) -> bool {
        self.access().is_some_and(|access| self.tokens.may_read(access))
    }

    /// Gives the reader's place back.
    pub(super) fn leave(&mut self) {
        self.admitted = None;
    }
}

impl Policy for Reader {
    type Route = Infallible;

    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault> {
        let token = client.password.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let access = token.and_then(|token| self.tokens.reader(token.trim())).ok_or(Fault::new(
            Code::BadCredentials,
            "a device shows its certificate, a reader an access token (hfa1...) as its password",
        ))?;
        let place = self.readers.enter(&access.tenant).ok_or(Fault::new(
            Code::Quota,
            "there are as many readers as are served at the same time: try later",
        ))?;
        self.admitted = Some((access, place));
        Ok(())
    }

    fn publish(&self, _topic: &str) -> Option<Infallible> {
        None
    }

    fn subscribe(&self, filter: &str) -> bool {
        let root = filter.split('/').next().unwrap_or_default();
        let is_served = Form::ALL.iter().any(|form| form.root() == root);
        if !is_served {
            self.refused.get_or_init(|| filter.chars().take(LONGEST).collect());
        }
        is_served
    }

    fn refusal(&self, _topic: &str) -> Fault {
        Fault::new(Code::NotAuthorized, "readers publish nothing")
    }

    fn assigned_id(&self) -> Option<String> {
        Some(format!("reader-{}", hex(&self.number.to_be_bytes())))
    }
}
