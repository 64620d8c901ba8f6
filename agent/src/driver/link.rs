//! Link to the control plane, as the driver sees it: the present connection, the calls that came
//! over it, and what it brought that cannot be trusted.
//!
//! See decisions 0006 and 0040.

use holdfast_protocol::message::Call;
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::signing::{self, SigningError};
use rumqttc::mqttbytes::v5::Publish;

use super::identity::DeviceIdentity;
use super::problems::Problems;
use crate::adapters::calls::Calls;
use crate::adapters::link::Outlet;

/// Reason for which the link is down before the first attempt.
const NOT_TRIED: &str = "not tried yet";

/// Reason for which the link is down while the certificate has expired.
const OVER: &str = "not tried: by this device's clock its certificate has expired; it is renewed as soon as it can be, and if the clock is wrong, set it";

/// State of the connection.
#[derive(Default)]
struct Connection {
    session: u64,
    outlet: Option<Outlet>,
    /// Reason for which the link is down.
    reason: String,
    /// Text with which the control plane refused the connection.
    refusal: Option<String>,
    /// Text about a subscription that the broker refused.
    unsubscribed: Option<String>,
}

/// The link, with the calls under way.
pub(super) struct Link {
    connection: Connection,
    pub(super) calls: Calls,
    /// Number of inputs refused since the start.
    refused: u64,
    /// Text of the last input refused.
    last_refused: Option<String>,
}

impl Link {
    /// Begins without a connection.
    pub(super) fn new() -> Self {
        let connection = Connection { reason: NOT_TRIED.into(), ..Connection::default() };
        Self { connection, calls: Calls::default(), refused: 0, last_refused: None }
    }

    /// Way to the control plane. None: the link is down.
    pub(super) fn outlet(&self) -> Option<&Outlet> {
        self.connection.outlet.as_ref()
    }

    /// Reason for which the link is down; empty while it is up.
    pub(super) fn reason(&self) -> &str {
        &self.connection.reason
    }

    /// Number of inputs refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Notes a new connection.
    pub(super) fn up(&mut self, session: u64, outlet: Outlet) {
        self.connection = Connection { session, outlet: Some(outlet), ..Connection::default() };
    }

    /// Notes that the connection ended, or none was made. `refused`: the control plane refused it.
    pub(super) fn down(&mut self, reason: String, refused: bool, unsubscribed: Option<String>) {
        self.calls.end();
        let refusal = refused.then(|| reason.clone());
        self.connection = Connection { refusal, reason, unsubscribed, ..Connection::default() };
    }

    /// Gives the reason for which no connection was tried with the present identity, where none is
    /// up. `is_over`: its certificate has expired.
    pub(super) fn untried(&mut self, is_over: bool) {
        if self.connection.outlet.is_none() {
            self.connection.reason = if is_over { OVER.into() } else { NOT_TRIED.into() };
        }
    }

    /// Ends the connection. Returns false if there was none.
    pub(super) fn close(&mut self) -> bool {
        let outlet = self.connection.outlet.take();
        outlet.inspect(Outlet::close).is_some()
    }

    /// Logs and counts an input that cannot be trusted; nothing stops.
    pub(super) fn refuse(&mut self, what: &str, why: &str) {
        tracing::warn!("refused {what}: {why}");
        self.refused += 1;
        self.last_refused = Some(format!("refused {what}: {why}"));
    }

    /// Forgets the last input refused, because a desired state was accepted since.
    pub(super) fn forget_refused(&mut self) {
        self.last_refused = None;
    }

    /// Opens a call for this device and this connection, to be answered over the outlet. One that
    /// cannot be trusted is refused.
    pub(super) fn open_call(
        &mut self,
        bytes: &[u8],
        identity: &DeviceIdentity,
    ) -> Option<(Call, Outlet)> {
        let (key, device) = identity.key()?;
        match signing::open_call(bytes, &key, &device, self.connection.session) {
            Ok(call) => Some((call, self.connection.outlet.clone()?)),
            Err(SigningError::Signature) => {
                let why = "its signature is not the control plane's for this device and this \
                           connection: forged, damaged, another device's, or a replay";
                self.refuse("a call", why);
                None
            }
            Err(error) => {
                self.refuse("a call", &error.to_string());
                None
            }
        }
    }

    /// Acknowledges a delivery to the broker, if the link is up.
    pub(super) fn acknowledge(&self, publish: Option<&Publish>) {
        if let (Some(outlet), Some(publish)) = (&self.connection.outlet, publish) {
            outlet.acknowledge(publish);
        }
    }

    /// Adds the problems of the link and its inputs. `identity` knows why a connection was refused.
    pub(super) fn problems(&self, identity: &DeviceIdentity, list: &mut Problems) {
        list.say(ProblemCode::DesiredRefused, self.last_refused.clone());
        let Connection { outlet, refusal, unsubscribed, .. } = &self.connection;
        if outlet.is_none() {
            let refusal = refusal.as_ref().map(|refusal| identity.refusal_problem(refusal));
            list.say(ProblemCode::LinkRefused, refusal);
            list.say(ProblemCode::SubscriptionRefused, unsubscribed.clone());
        }
    }
}
