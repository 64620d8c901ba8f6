//! Identity of the device: who it is, the renewal of its certificate, and what the link and the
//! artifacts are given to connect with.
//!
//! See decisions 0017, 0040 and 0145.

use std::path::PathBuf;

use holdfast_base::ids::DeviceId;
use holdfast_protocol::enrol::Enrolment;
use holdfast_protocol::problem::ProblemCode;
use holdfast_records::TrafficClass;
use tokio::sync::watch;

use super::inputs::{TaskResult, Tell};
use super::problems::Problems;
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::https::{Api, HttpsError};
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::link::Credentials;
use crate::adapters::meter::Meter;
use crate::adapters::neighbours::Neighbours;
use crate::adapters::tasks;
use crate::core::backoff::Entropy;
use crate::core::certificate::Life;
use crate::core::renewal::{Failure, Renewal};

/// Pause after a renewal before the control plane is told the sealing key once more, in
/// milliseconds: one that is older knows no such key until it is updated.
const SEALING_KEY_RETRY: u64 = 3_600_000;

/// Handles that an identity is used with.
pub(super) struct Around {
    /// Folder of all that the agent stores.
    pub(super) data: PathBuf,
    pub(super) time: Time,
    pub(super) meter: Meter,
    /// Interval of the link's signs of life, in seconds.
    pub(super) keep_alive: u16,
    pub(super) tell: Tell,
    pub(super) neighbours: Neighbours,
}

/// Effect of an identity that was taken over, on the rest of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// True if its certificate has expired, so that no connection is tried.
    pub(super) is_over: bool,
    /// True if it is that of another device or another control plane than the former one.
    pub(super) is_another: bool,
}

/// Identity of the device, if it has one, and the renewal of its certificate.
pub(super) struct DeviceIdentity {
    around: Around,
    present: Option<Identity>,
    credentials: watch::Sender<Option<Credentials>>,
    api: watch::Sender<Option<Api>>,
    renewal: Renewal,
    entropy: Entropy,
    /// Text about an identity that cannot be read.
    trouble: Option<String>,
    /// True while the control plane does not know the key that this device opens secrets with.
    is_sealing_key_unknown: bool,
    /// Time before which the control plane is not told the sealing key again, in milliseconds since
    /// the boot.
    tell_sealing_key_at: u64,
}

impl DeviceIdentity {
    /// Begins without an identity. `trouble`: text about the one on disk, if it cannot be read.
    pub(super) fn new(
        around: Around,
        credentials: watch::Sender<Option<Credentials>>,
        api: watch::Sender<Option<Api>>,
        entropy: Entropy,
        trouble: Option<String>,
    ) -> Self {
        Self {
            around,
            present: None,
            credentials,
            api,
            renewal: Renewal::default(),
            entropy,
            trouble,
            is_sealing_key_unknown: false,
            tell_sealing_key_at: 0,
        }
    }

    /// Identity as it is. None: the device is not enrolled, or it cannot be read.
    pub(super) fn present(&self) -> Option<&Identity> {
        self.present.as_ref()
    }

    /// Sharing of files with neighbours, which know this device by its identity.
    pub(super) fn neighbours(&self) -> &Neighbours {
        &self.around.neighbours
    }

    /// Validity period of the certificate. None: there is none.
    pub(super) fn life(&self) -> Option<Life> {
        self.present.as_ref().and_then(Identity::life)
    }

    /// Control plane's key and the id of this device, by which messages are verified.
    pub(super) fn key(&self) -> Option<(Vec<u8>, DeviceId)> {
        let identity = self.present.as_ref()?;
        Some((identity.signing_key(), identity.device()?))
    }

    /// Asks for a renewal over HTTPS, because the control plane refused the connection.
    pub(super) fn ask_soon(&mut self) {
        self.renewal.ask_soon();
    }

    /// Takes over an identity that `holdfast-agent enroll`, run beside the agent, has made or
    /// replaced.
    pub(super) fn look(&mut self) -> Option<Used> {
        if let Some(identity) = self.present.as_ref().filter(|it| it.enrolment().is_some()) {
            let other = identity.replaced().filter(|other| other.enrolment().is_some())?;
            tracing::info!("enrolled anew beside the agent: that is who it is from now on");
            return self.adopt(other);
        }
        match Identity::load(&self.around.data) {
            Ok(Some(identity)) => {
                self.trouble = None;
                return self.adopt(identity);
            }
            Ok(None) => self.trouble = None,
            Err(error) => {
                let why = error.to_string();
                if self.trouble.as_ref() != Some(&why) {
                    tracing::error!("the identity cannot be read: {why}");
                }
                self.trouble = Some(why);
            }
        }
        None
    }

    /// Takes over an identity: its certificate, the control plane's address, and the bounds of the
    /// clock. None: its certificate cannot be used.
    pub(super) fn adopt(&mut self, identity: Identity) -> Option<Used> {
        let Around { time, meter, keep_alive, .. } = &self.around;
        let Some(enrolment) = identity.enrolment() else {
            // It waits for approval.
            self.present = Some(identity);
            return None;
        };
        believe(time, enrolment);
        self.is_sealing_key_unknown = identity.is_sealing_key_unknown();
        let tls = identity.tls(time);
        let tls = tls
            .inspect_err(|error| tracing::error!(%error, "the certificate cannot be used"))
            .ok()?;
        let is_over = identity.life().is_some_and(|life| life.is_over(time.now()));
        if let Some(device) = identity.device() {
            let (url, tap) = (identity.url().clone(), meter.tap(TrafficClass::Artifacts));
            self.api.send_replace(Some(Api { url, tls: tls.clone(), tap }));
            self.around.neighbours.identify(identity.peering(time).ok());
            // With an expired certificate no connection is possible.
            self.credentials.send_replace((!is_over).then(|| Credentials {
                device,
                shard: enrolment.shard,
                brokers: identity.brokers(),
                tls,
                keep_alive: *keep_alive,
                meter: meter.clone(),
            }));
        }
        let is_another = self.present.as_ref().is_some_and(|former| former.is_another(&identity));
        self.present = Some(identity);
        Some(Used { is_over, is_another })
    }

    /// Uses the certificate again after a clock beyond its end was set right.
    pub(super) fn retry_certificate(&mut self) -> Option<Used> {
        let holds = self.life().is_some_and(|life| !life.is_over(self.around.time.now()));
        if !holds || self.credentials.borrow().is_some() {
            return None;
        }
        let identity = self.present.clone()?;
        tracing::info!("the certificate holds again: the clock was set");
        self.adopt(identity)
    }

    /// Stores what of the identity could not be stored so far.
    pub(super) fn keep(&mut self) {
        if let Some(identity) = &mut self.present {
            identity.keep();
        }
    }

    /// Begins a renewal if one is due, or asks for the approval of an enrolment that waits.
    pub(super) fn renew_if_due(&mut self) {
        let Some(identity) = &self.present else { return };
        let Around { time, meter, tell, .. } = &self.around;
        if self.is_sealing_key_unknown && uptime_ms() >= self.tell_sealing_key_at {
            self.renewal.ask_soon();
        }
        if !self.renewal.begin(identity.life(), time.now(), uptime_ms()) {
            return;
        }
        let (mut identity, time, tell) = (identity.clone(), time.clone(), tell.clone());
        let tap = meter.tap(TrafficClass::Control);
        tasks::spawn(async move {
            let result = identity.renew(&time, tap).await.map(|approved| (identity, approved));
            let _agent_ends = tell.send(TaskResult::Renewed(Box::new(result))).await;
        });
    }

    /// Takes in the result of a renewal.
    pub(super) fn renewed(
        &mut self,
        result: Result<(Identity, bool), IdentityError>,
    ) -> Option<Used> {
        let now = uptime_ms();
        match result {
            Ok((identity, true)) => {
                tracing::info!("the certificate is renewed");
                self.renewal.renewed(now);
                self.tell_sealing_key_at = now + SEALING_KEY_RETRY;
                return self.adopt(identity);
            }
            Ok((identity, false)) => {
                self.renewal.waits(now);
                self.present = Some(identity);
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate was not renewed");
                let is_refused = matches!(error, IdentityError::Https(HttpsError::Refused { .. }));
                let failure = Failure { text: error.to_string(), is_refused };
                self.renewal.failed(failure, now, &mut self.entropy);
            }
        }
        None
    }

    /// Adds the problems of the identity and its certificate.
    pub(super) fn problems(&self, list: &mut Problems) {
        list.say(ProblemCode::CertificateExpired, self.certificate_problem());
        list.say(ProblemCode::CertificateNotStored, self.storing_problem());
        list.say(ProblemCode::NotEnrolled, self.absence_problem());
        list.say(ProblemCode::WaitingForApproval, self.approval_problem());
    }

    /// Problem text of a certificate that has expired.
    fn certificate_problem(&self) -> Option<String> {
        self.life()?.is_over(self.around.time.now()).then(|| {
            let why = self.renewal.trouble().unwrap_or("renewal is on its way");
            format!("the device's certificate has expired; it is renewed as soon as the control plane can be reached ({why}); if the clock is wrong, set it")
        })
    }

    /// Problem text of a renewed certificate that cannot be stored.
    fn storing_problem(&self) -> Option<String> {
        let why = self.present.as_ref()?.unsaved()?;
        Some(format!(
            "the renewed certificate serves, but cannot be stored ({why}): a restart needs another one"
        ))
    }

    /// Problem text of a device that has no identity.
    fn absence_problem(&self) -> Option<String> {
        self.present.is_none().then(|| match &self.trouble {
            Some(why) => format!("who this device is cannot be read: {why}"),
            None => "this device is not enrolled: run `holdfast-agent enroll`".into(),
        })
    }

    /// Problem text of an enrolment that waits for approval, or was not accepted.
    fn approval_problem(&self) -> Option<String> {
        let identity = self.present.as_ref()?;
        if identity.enrolment().is_some() {
            return None;
        }
        let name = identity.name().map_or("NAME", |name| name.as_str());
        Some(match self.renewal.refused() {
            Some(why) => format!("the enrolment was not accepted: {why}"),
            None => format!("this device waits for approval: `holdfast device approve {name}`"),
        })
    }

    /// Text of a refused connection, with the reason that a renewal was told.
    pub(super) fn refusal_problem(&self, refusal: &str) -> String {
        match self.renewal.refused() {
            Some(why) => format!("{refusal}; asked why: {why}"),
            None => refusal.to_owned(),
        }
    }
}

/// Takes over what a certificate says of the time.
fn believe(time: &Time, enrolment: &Enrolment) {
    time.raise(enrolment.server_time.max(enrolment.not_before));
    time.believe_until(enrolment.not_after);
}
