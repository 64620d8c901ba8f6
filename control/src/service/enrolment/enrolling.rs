//! Enrolment of a device by its token, and renewal of its certificate by its key.
//!
//! See decisions 0083, 0084, 0162 and 0161.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use holdfast_base::ids::{DeviceId, Name, hex};
use holdfast_protocol::enrol::{
    EnrolAnswer, EnrolRequest, EnrolToken, NonceAnswer, NonceRequest, RenewRequest, enrol_proof,
    renew_proof, renew_proof_v0,
};
use holdfast_protocol::{enrol, topic};

use super::part::Enrolment;
use crate::api::time::rfc3339;
use crate::core::change::Change;
use crate::core::desired;
use crate::core::device_key::{is_sealing_key, proves};
use crate::core::enrolment::{Asked, Decision, Known, Refused, decide, held_back};
use crate::core::model::{Device, Model, key, sha256};
use crate::core::nonce::Nonces;
use crate::core::placed::check_device;
use crate::core::placement;
use crate::core::quota::Quota;
use crate::core::records::{DeviceRecord, Issued, Standing};
use crate::ports::authority::Certificate;
use crate::service::Failure;

/// Time after which a device that is pending approval asks again, in seconds.
const RETRY_SECONDS: u32 = 5;

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match &refused {
            Refused::NameTaken(_) | Refused::OtherName(..) | Refused::OtherLabel(..) => {
                Self::Conflict(refused.to_string())
            }
            Refused::Label(_) | Refused::Key => Self::invalid(refused.to_string()),
            _ => Self::Refused(refused.to_string()),
        }
    }
}

/// Parts of an enrolment request that the decision needs.
struct Request<'a> {
    asked: Asked<'a>,
    token: &'a str,
    public_key: &'a str,
}

impl Request<'_> {
    fn known<'a>(&self, model: &'a Model) -> Known<'a> {
        Known {
            token: model.tokens.get(self.token),
            same_key: model.by_key(self.public_key).map(|device| &device.record),
        }
    }

    fn held_back(&self, model: &Model) -> Vec<String> {
        held_back(&self.asked, &self.known(model))
    }

    fn decide(&self, model: &Model, now: u64) -> Result<Decision, Refused> {
        decide(&self.asked, &self.known(model), |name| model.devices.contains_key(name), now)
    }
}

impl Enrolment {
    /// Counts and logs a refusal, and returns its failure.
    fn refuse(&self, word: &'static str, failure: Failure) -> Failure {
        self.counters.refuse(word);
        tracing::info!(reason = word, "enrolment or renewal refused");
        failure
    }

    fn check_open(&self) -> Result<(), Failure> {
        if self.needs_restart() {
            return Err(Failure::Unavailable(
                "the control plane was restored with another CA and must be restarted first".into(),
            ));
        }
        Ok(())
    }

    /// Enrols a device: checks its token and its proof of the private key, issues a certificate,
    /// and adds the device, which may have to be approved first. A known key gets a new certificate
    /// under its name.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a malformed token, [`Failure::Refused`] for a bad proof or
    /// token, and [`Failure::Conflict`] when the name is taken.
    #[allow(
        clippy::too_many_lines,
        reason = "checks in the order in which a stranger is told of them"
    )]
    pub async fn enrol(&self, request: EnrolRequest) -> Result<EnrolAnswer, Failure> {
        self.check_open()?;
        let token: EnrolToken = request.token.parse().map_err(|error: enrol::NotAToken| {
            self.refuse("not-a-token", Failure::invalid(error.to_string()))
        })?;
        let sealing_key = request.sealing_key.as_deref();
        let message = enrol_proof(&token.id, &request.public_key, sealing_key);
        if !proves(&request.public_key, &message, &request.proof) {
            return Err(self.refuse("bad-proof", bad_proof()));
        }
        self.check_sealing_key(sealing_key)?;
        let key_sha256 = hex(&sha256(request.public_key.as_bytes()));
        let secret_sha256 = hex(&sha256(&token.secret));
        let asked = Request {
            asked: Asked {
                name: request.name.as_ref(),
                key_sha256: &key_sha256,
                labels: &request.labels,
                secret_sha256: &secret_sha256,
            },
            token: &token.id,
            public_key: &request.public_key,
        };
        let refuse = |refused: Refused| self.refuse(refused.word(), refused.into());
        // The first decision gives the name for the certificate. The second one counts: it is made
        // under the write lock, where nothing can change any more.
        let tenant = self.tenant_of_token(&token.id);
        self.documents.take_request(&tenant)?;
        let first =
            asked.decide(&self.documents.model(&tenant), self.documents.now()).map_err(refuse)?;
        let name = match &first {
            Decision::Same(name) | Decision::New { name, .. } => name.clone(),
        };
        let held = asked.held_back(&self.documents.model(&tenant));
        let id = DeviceId { tenant: tenant.clone(), device: name.clone() };
        let certificate = self.certify(&id, &request.public_key)?;
        let standing = self
            .documents
            .change(&tenant, |change| {
                let decision = asked.decide(change.model, change.now).map_err(refuse)?;
                match decision {
                    Decision::Same(same) if same == name => {
                        // Only a renewal, which has a nonce, replaces a sealing key: an enrolment
                        // that is repeated by somebody else brings no former one back.
                        let known = change.model.devices.get(&name);
                        let has_none = known.is_some_and(|it| it.record.sealing_key.is_none());
                        let sealing_key = sealing_key.filter(|_| has_none);
                        renewed(change, &name, &certificate, sealing_key)
                    }
                    Decision::New { name: new, labels, standing } if new == name => {
                        let (quotas, devices) = (change.model.quotas, &change.model.devices);
                        quotas
                            .check(Quota::Devices, devices.len() as u64, 1)
                            .map_err(|over| self.refuse("quota", over.into()))?;
                        let record = DeviceRecord {
                            shard: placement::shard(&change.model.id(&name).to_string()),
                            public_key: request.public_key.as_str().into(),
                            labels,
                            standing,
                            created_at: change.now,
                            updated_at: change.now,
                            version: change.version(),
                            token: token.id.as_str().into(),
                            uncounted: held.iter().map(|key| key.as_str().into()).collect(),
                            certificate: Some(issued(&certificate)),
                            sealing_key: sealing_key.map(Into::into),
                            name: new,
                        };
                        add(change, record)?;
                        self.counters.enrolled.fetch_add(1, Ordering::Relaxed);
                        Ok(standing)
                    }
                    _ => Err(Failure::Conflict(
                        "the device's name changed while it enrolled: try again".into(),
                    )),
                }
            })
            .await?;
        self.answer(id, standing, certificate, held)
    }

    /// Gives a nonce for a renewal. Nothing is kept of it, so anybody may ask.
    ///
    /// # Errors
    /// Returns [`Failure::Internal`] when no random bytes are to be had.
    pub fn nonce(&self, request: &NonceRequest) -> Result<NonceAnswer, Failure> {
        let random = self.authority.random().map_err(Failure::internal)?;
        let now = self.nonce_time();
        let nonce = self.with_nonces(|nonces| nonces.give(&request.public_key, now, random))?;
        Ok(NonceAnswer { nonce })
    }

    fn with_nonces<T>(&self, run: impl FnOnce(&mut Nonces) -> T) -> Result<T, Failure> {
        let key = self.authority.random().map_err(Failure::internal)?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(run(nonces.get_or_insert_with(|| Nonces::new(&key))))
    }

    /// Milliseconds since this part began.
    fn nonce_time(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn check_sealing_key(&self, sealing_key: Option<&str>) -> Result<(), Failure> {
        if sealing_key.is_none_or(is_sealing_key) {
            return Ok(());
        }
        let text = "sealingKey: an X25519 public key has 32 bytes, in base64";
        Err(self.refuse("bad-sealing-key", Failure::invalid(text.to_owned())))
    }

    /// Checks the signature of a renewal. A request of an older agent has no nonce; it may be
    /// repeated, and so brings no sealing key.
    fn check_renewal(&self, request: &RenewRequest) -> Result<(), Failure> {
        let (public_key, sealing_key) = (&request.public_key, request.sealing_key.as_deref());
        let message = match &request.nonce {
            Some(nonce) => renew_proof(public_key, nonce, sealing_key),
            None => renew_proof_v0(public_key),
        };
        if !proves(public_key, &message, &request.proof) {
            return Err(self.refuse("bad-proof", bad_proof()));
        }
        self.check_sealing_key(sealing_key)?;
        if request.nonce.is_none() && sealing_key.is_some() {
            let text = "a sealing key is taken with a nonce alone: ask for one";
            return Err(self.refuse("no-nonce", Failure::Refused(text.into())));
        }
        Ok(())
    }

    /// Uses up the nonce of a known device's renewal.
    fn use_up(&self, request: &RenewRequest) -> Result<(), Failure> {
        let Some(nonce) = &request.nonce else { return Ok(()) };
        let now = self.nonce_time();
        let taken = self.with_nonces(|nonces| nonces.take(nonce, &request.public_key, now))?;
        taken.map_err(|stale| self.refuse("stale-nonce", Failure::Conflict(stale.to_string())))
    }

    /// Renews a known device's certificate. For a pending device it says whether it has been
    /// approved.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] for a bad proof, an unknown device or a revoked one, and
    /// [`Failure::Conflict`] for a nonce that is good for nothing.
    pub async fn renew(&self, request: RenewRequest) -> Result<EnrolAnswer, Failure> {
        self.check_open()?;
        self.check_renewal(&request)?;
        let (id, standing) = {
            let tables = self.documents.tables();
            let known = tables.all().filter_map(|model| {
                let record = &model.by_key(&request.public_key)?.record;
                Some((record.created_at, model.id(&record.name), record.standing))
            });
            // A key that enrolled in two tenants belongs to where it went last.
            let known = known.max_by_key(|(created_at, ..)| *created_at);
            known.map(|(_, id, standing)| (id, standing)).ok_or_else(|| {
                let text = "the device is not known here: it was deleted, or enrolled at another control plane; enrol it with a token";
                self.refuse("unknown-device", Failure::Refused(text.into()))
            })?
        };
        self.use_up(&request)?;
        self.documents.take_request(&id.tenant)?;
        let name = id.device.clone();
        match standing {
            Standing::Pending => return Ok(pending(&name)),
            Standing::Revoked => {
                let refused = Refused::RevokedDevice(name);
                return Err(self.refuse(refused.word(), refused.into()));
            }
            Standing::Approved => {}
        }
        let certificate = self.certify(&id, &request.public_key)?;
        let standing = self
            .documents
            .change(&id.tenant, |change| {
                renewed(change, &name, &certificate, request.sealing_key.as_deref())
            })
            .await?;
        self.counters.renewed.fetch_add(1, Ordering::Relaxed);
        self.answer(id, standing, certificate, Vec::new())
    }

    /// Tenant that an enrolment token belongs to. For an unknown token it is the first one, which
    /// refuses it.
    fn tenant_of_token(&self, token: &str) -> Name {
        let tables = self.documents.tables();
        let mut of = tables.all().filter(|model| model.tokens.contains_key(token));
        of.next()
            .map_or_else(|| self.documents.first_tenant().clone(), |model| model.tenant.clone())
    }

    fn certify(&self, id: &DeviceId, public_key: &str) -> Result<Certificate, Failure> {
        self.authority
            .certify(id, public_key, self.terms.device_ttl, self.documents.now())
            .map_err(Failure::internal)
    }

    fn answer(
        &self,
        id: DeviceId,
        standing: Standing,
        certificate: Certificate,
        held_labels: Vec<String>,
    ) -> Result<EnrolAnswer, Failure> {
        if standing == Standing::Pending {
            return Ok(pending(&id.device));
        }
        let (shard, sealing_key) = {
            let model = self.documents.model(&id.tenant);
            let known = model.devices.get(&id.device);
            let record = &known.ok_or_else(|| Failure::no("device", id.device.as_str()))?.record;
            (record.shard, record.sealing_key.as_deref().map(str::to_owned))
        };
        Ok(EnrolAnswer::Approved(Box::new(enrol::Enrolment {
            topic_prefix: topic::prefix(shard, &id),
            tenant: id.tenant,
            device: id.device,
            shard,
            certificate: certificate.pem,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            ca: self.authority.keys().ca_pem.clone(),
            signing_key: self.authority.signing_public(),
            mqtt: self.terms.mqtt.clone(),
            server_time: self.documents.now(),
            held_labels,
            sealing_key,
        })))
    }
}

fn bad_proof() -> Failure {
    Failure::Refused(
        "the signature does not prove that the device holds the key (ECDSA P-256 with SHA-256 over the protocol's text)".into(),
    )
}

fn pending(name: &Name) -> EnrolAnswer {
    EnrolAnswer::Pending { device: name.clone(), retry_after_seconds: RETRY_SECONDS }
}

fn issued(certificate: &Certificate) -> Issued {
    Issued { serial: certificate.serial.as_str().into(), not_after: certificate.not_after }
}

/// Adds a new device to the model, and counts one use of its token.
fn add(change: &mut Change<'_>, record: DeviceRecord) -> Result<(), Failure> {
    let name = record.name.clone();
    let device = Device::new(record);
    let desired = desired::admit_device(change.model, &device).map_err(|fault| {
        Failure::Conflict(format!("the device's labels ask for too much: {fault}"))
    })?;
    check_device(change.model, &device, desired.as_ref())?;
    let record = &device.record;
    let token = record.token.clone();
    if let Some(used) = change.model.tokens.get_mut(&token) {
        used.used += 1;
        let used = used.clone();
        change.put(key::token(&token), &used);
    }
    let mut message = match record.standing {
        Standing::Pending => "enrolled, waits for approval".to_owned(),
        Standing::Approved | Standing::Revoked => "enrolled".to_owned(),
    };
    if !record.uncounted.is_empty() {
        let keys = record.uncounted.join(", ");
        message += &format!("; labels that its token does not let it claim: {keys}");
    }
    change.model.keys.insert(sha256(record.public_key.as_bytes()), name.clone());
    change.model.devices.insert(name.clone(), device);
    change.put_device(&name);
    if let Some(desired) = desired {
        change.set_desired(&name, desired);
    }
    change.event("device", name.as_str(), "changed", message.clone());
    let by = format!("token {token}");
    change.audit(&by, "device.enrol", name.as_str(), message);
    Ok(())
}

/// Stores a known device's new certificate, and its sealing key if it has sent one.
fn renewed(
    change: &mut Change<'_>,
    name: &Name,
    certificate: &Certificate,
    sealing_key: Option<&str>,
) -> Result<Standing, Failure> {
    let now = change.now;
    let device = change.model.devices.get_mut(name).ok_or_else(|| {
        Failure::Refused("the device was deleted while it asked: enrol it with a token".into())
    })?;
    if device.record.standing == Standing::Revoked {
        return Err(Refused::RevokedDevice(name.clone()).into());
    }
    let before = device.record.certificate.replace(issued(certificate));
    let standing = device.record.standing;
    let known = device.record.sealing_key.as_deref();
    let former = sealing_key.filter(|sent| known != Some(sent)).map(|_| known.is_some());
    if let (Some(_), Some(sent)) = (former, sealing_key) {
        device.record.sealing_key = Some(sent.into());
    }
    change.put_device(name);
    if former.is_some() {
        seal_anew(change, name);
    }
    if let Some(had_one) = former {
        let message = if had_one {
            "secrets are sealed to another key of it from now on"
        } else {
            "secrets can be sealed to it from now on"
        };
        change.event("device", name.as_str(), "changed", message.to_owned());
        change.audit(
            &format!("device {name}"),
            "device.sealing-key",
            name.as_str(),
            message.to_owned(),
        );
    }
    if let Some(before) = before.filter(|before| before.not_after < now) {
        let message = format!("its certificate expired at {}", rfc3339(before.not_after));
        change.audit(&format!("device {name}"), "device.renew-expired", name.as_str(), message);
    }
    Ok(standing)
}

/// Sends a device what is sealed to its key again, once it has another key.
fn seal_anew(change: &mut Change<'_>, name: &Name) {
    let Some(device) = change.model.devices.get(name).cloned() else { return };
    match desired::admit_device(change.model, &device) {
        Ok(Some(desired)) => change.set_desired(name, desired),
        Ok(None) => {}
        // What it should have has not become more, so that this does not happen.
        Err(fault) => change.event("device", name.as_str(), "changed", fault.to_string()),
    }
}
