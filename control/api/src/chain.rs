//! Chain of hashes over the entries of the audit log: how an entry is hashed, and the check of a
//! chain from its first entry to its last. The server and the command line both check with it.
//!
//! ```text
//! whole[m] = sha256(whole[m-1] ‖ CBOR(entry without hashes))          over all tenants
//! hash[n]  = sha256(hash[n-1]  ‖ CBOR(entry with whole, without hash)) of one tenant
//! ```
//!
//! The hash before the first entry is 32 zero bytes. CBOR is deterministic (RFC 8949, section
//! 4.2.1): a map with the names of the JSON form, in their order, without what is absent there.
//!
//! See decision 0169.

use std::collections::BTreeMap;

use holdfast_base::ids::{hex, unhex};
use holdfast_protocol::checkpoint::{Checkpoint, Witnessed};

use crate::audit::{AuditCheckpoint, AuditFault, AuditRecord, Standing};

/// Hash of a chain at one entry.
pub type Hash = [u8; 32];

/// Hash before the first entry of a chain.
pub const START: Hash = [0; 32];

/// Action of the entry that begins a chain behind entries of versions before the chain.
pub const BEGIN: &str = "audit.begin";

/// Action of the entry that a restore from a backup writes.
pub const RESTORE: &str = "restore";

/// Adds the head of a CBOR item: its major type and its argument, in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    let [.., b4, b5, b6, b7] = bytes;
    match argument {
        0..=23 => out.push(major | b7),
        24..=0xff => out.extend([major | 24, b7]),
        0x100..=0xffff => out.extend([major | 25, b6, b7]),
        0x1_0000..=0xffff_ffff => out.extend([major | 26, b4, b5, b6, b7]),
        _ => {
            out.push(major | 27);
            out.extend(bytes);
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, u64::try_from(text.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(text.as_bytes());
}

/// Returns a field with a text, if there is one.
fn maybe(text: &Option<Box<str>>) -> Option<Field<'_>> {
    text.as_deref().map(Field::Text)
}

/// Value of an entry's field in CBOR.
enum Field<'a> {
    Number(u64),
    Text(&'a str),
}

/// Returns the deterministic CBOR of an entry of a tenant, with the hash of the chain over all in
/// it if `whole` is given, and without the tenant's own hash.
pub fn encode(entry: &AuditRecord, tenant: &str, whole: Option<&str>) -> Vec<u8> {
    let number = |number: u64| Some(Field::Number(number));
    // In the order of RFC 8949, section 4.2.1: shorter names first.
    let fields = [
        ("at", number(entry.at)),
        ("by", Some(Field::Text(&entry.by))),
        ("cut", entry.cut.map(Field::Number)),
        ("from", maybe(&entry.from)),
        ("after", maybe(&entry.after)),
        ("count", number(entry.count).filter(|_| entry.count != 1)),
        ("until", entry.until.map(Field::Number)),
        ("whole", whole.map(Field::Text)),
        ("action", Some(Field::Text(&entry.action))),
        ("before", maybe(&entry.before)),
        ("byName", maybe(&entry.by_name)),
        ("number", number(entry.number)),
        ("result", (!entry.result.is_done()).then_some(Field::Text(entry.result.as_str()))),
        ("tenant", Some(Field::Text(tenant))),
        ("message", Some(Field::Text(&entry.message))),
        ("request", maybe(&entry.request)),
        ("subject", Some(Field::Text(&entry.subject))),
        ("revision", entry.revision.map(Field::Number)),
        ("subjectName", maybe(&entry.subject_name)),
    ];
    let mut out = Vec::with_capacity(512);
    let present = fields.iter().filter(|(_, value)| value.is_some()).count();
    head(&mut out, 5, u64::try_from(present).unwrap_or(u64::MAX));
    for (name, value) in fields {
        match value {
            None => {}
            Some(Field::Number(number)) => {
                text(&mut out, name);
                head(&mut out, 0, number);
            }
            Some(Field::Text(value)) => {
                text(&mut out, name);
                text(&mut out, value);
            }
        }
    }
    out
}

/// Returns the hash of a chain after an entry with these bytes.
pub fn link(before: &Hash, entry: &[u8]) -> Hash {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(before);
    digest.update(entry);
    let mut out = START;
    out.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Returns the hash of the chain over all tenants after an entry.
pub fn link_whole(before: &Hash, entry: &AuditRecord, tenant: &str) -> Hash {
    link(before, &encode(entry, tenant, None))
}

/// Returns the hash of a tenant's chain after an entry.
pub fn link_own(before: &Hash, entry: &AuditRecord, tenant: &str) -> Hash {
    link(before, &encode(entry, tenant, entry.whole.as_deref()))
}

/// Reads a hash of an entry.
pub fn hash_of(text: Option<&str>) -> Option<Hash> {
    text.and_then(unhex::<32>)
}

/// Epoch that an entry of a restore announces.
pub fn restored_epoch(entry: &AuditRecord) -> Option<u64> {
    (entry.action == RESTORE).then_some(())?;
    let (_, rest) = entry.message.rsplit_once("epoch ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Announced restore within a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// Number of the entry that announces it.
    pub number: u64,
    /// Epoch that began with it.
    pub epoch: u64,
    /// Hash of the history that it replaced, at its last entry.
    pub replaced: Option<Hash>,
}

/// What the checkpoints that a device keeps say about a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Numbers at which the chain is as the device saw it.
    pub agreed: Vec<u64>,
    /// Checkpoints that the chain does not have, by rising numbers.
    pub wrong: Vec<Witnessed>,
    /// Number of checkpoints of a history that an announced restore replaced.
    pub excused: u64,
}

impl Judged {
    /// Returns the standing of the device.
    pub fn standing(&self) -> Standing {
        if !self.wrong.is_empty() {
            Standing::Disagrees
        } else if self.agreed.is_empty() && self.excused == 0 {
            Standing::HasNone
        } else {
            Standing::Agrees
        }
    }
}

/// Returns what was signed, if it is what is said beside it.
///
/// # Errors
/// The fault that the signature does not hold.
pub fn opened(
    said: &AuditCheckpoint,
    signed: Option<Checkpoint>,
) -> Result<Checkpoint, AuditFault> {
    let same = |signed: &Checkpoint| {
        signed.number == said.number && hex(&signed.hash) == said.hash && signed.at == said.at
    };
    signed.filter(same).ok_or_else(|| {
        let number = said.number;
        let text = format!("the checkpoint of entry {number} is not signed by this control plane");
        fault(number, None, text)
    })
}

/// Check of a tenant's chain, one entry after the other. After the first fault nothing more is
/// judged.
#[derive(Debug)]
pub struct Checker {
    tenant: String,
    /// Hash at the last entry, and the number that the next one must have. None: no entry and no
    /// base yet.
    at: Option<(Hash, u64)>,
    /// Number of entries that were checked.
    pub entries: u64,
    /// Number of entries without hashes.
    pub former: u64,
    /// Number of the first entry.
    pub first: Option<u64>,
    /// Announced restores, the oldest first.
    pub restores: Vec<Restore>,
    /// Hashes at the numbers that are asked for; None: the entry has not come.
    wanted: BTreeMap<u64, Option<Hash>>,
    chained: bool,
}

/// Makes a fault of a tenant's chain.
fn fault(number: u64, to: Option<u64>, message: String) -> AuditFault {
    AuditFault { chain: "tenant".into(), number, to, message }
}

fn entries(from: u64, to: u64) -> String {
    if from == to { format!("entry {from} is") } else { format!("entries {from} to {to} are") }
}

impl Checker {
    /// Begins a check. `base` is the checkpoint behind which earlier entries were cut; without one
    /// the first entry must be number 0. `wanted` are numbers at which hashes are asked for later.
    pub fn new(
        tenant: &str,
        base: Option<&Checkpoint>,
        wanted: impl IntoIterator<Item = u64>,
    ) -> Self {
        let at = base.map(|base| (base.hash, base.number.saturating_add(1)));
        let mut wanted: BTreeMap<u64, Option<Hash>> =
            wanted.into_iter().map(|number| (number, None)).collect();
        if let Some(base) = base {
            wanted.insert(base.number, Some(base.hash));
        }
        Self {
            tenant: tenant.into(),
            at,
            entries: 0,
            former: 0,
            first: None,
            restores: Vec::new(),
            wanted,
            chained: base.is_some(),
        }
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// The fault that it shows: it names the first wrong entry.
    pub fn take(&mut self, entry: &AuditRecord) -> Result<(), AuditFault> {
        let number = entry.number;
        // Entries of versions before the chain were cut from their beginning.
        let first = if entry.hash.is_none() && !self.chained { number } else { 0 };
        let (before, expected) = self.at.unwrap_or((START, first));
        if number > expected {
            let gone = entries(expected, number - 1);
            let text = format!("{gone} missing: cut out of the log, or not in its place");
            return Err(fault(expected, (number - 1 > expected).then_some(number - 1), text));
        }
        if number < expected {
            let text = format!(
                "entry {expected} is not in its place: entry {number} stands there, which came before or was put there"
            );
            return Err(fault(expected, None, text));
        }
        self.first.get_or_insert(number);
        self.entries += 1;
        let hash = link_own(&before, entry, &self.tenant);
        match hash_of(entry.hash.as_deref()) {
            None if self.chained => {
                let text = format!("entry {number} has no hash: it was written or edited by hand");
                return Err(fault(number, None, text));
            }
            None => self.former += 1,
            Some(said) => {
                self.begins(entry, &before)?;
                if said != hash {
                    let text = format!(
                        "entry {number} was edited, or its predecessor was: its hash does not follow from what stands before it"
                    );
                    return Err(fault(number, None, text));
                }
            }
        }
        if let Some(epoch) = restored_epoch(entry) {
            let replaced = hash_of(entry.before.as_deref());
            self.restores.push(Restore { number, epoch, replaced });
        }
        if let Some(wanted) = self.wanted.get_mut(&number) {
            *wanted = Some(hash);
        }
        self.at = Some((hash, number.saturating_add(1)));
        Ok(())
    }

    /// Checks the first entry with a hash: behind entries without one it must be the one that says
    /// so, with the digest over them.
    fn begins(&mut self, entry: &AuditRecord, before: &Hash) -> Result<(), AuditFault> {
        if std::mem::replace(&mut self.chained, true) || self.former == 0 {
            return Ok(());
        }
        let number = entry.number;
        if entry.action != BEGIN {
            let text = format!(
                "entry {number} is the first one with a hash, and does not say what came before it: the entry that began the chain is missing"
            );
            return Err(fault(number, None, text));
        }
        if hash_of(entry.before.as_deref()) != Some(*before) || entry.count != self.former {
            let first = self.first.unwrap_or(0);
            let text = format!(
                "entries {first} to {} are of a version without hashes, and one of them was changed since the chain began with entry {number}",
                number.saturating_sub(1)
            );
            return Err(fault(first, Some(number.saturating_sub(1)), text));
        }
        Ok(())
    }

    /// Ends the check. `next` is the number that the next entry is going to get, as far as it is
    /// known from elsewhere.
    ///
    /// # Errors
    /// The fault that the end is missing.
    pub fn end(&self, next: Option<u64>) -> Result<(), AuditFault> {
        let (_, expected) = self.at.unwrap_or((START, 0));
        match next {
            Some(next) if next > expected => {
                let text = format!("{} missing: cut off the end", entries(expected, next - 1));
                Err(fault(expected, (next - 1 > expected).then_some(next - 1), text))
            }
            _ => Ok(()),
        }
    }

    /// Number of the last entry.
    pub fn last(&self) -> Option<u64> {
        self.at.and_then(|(_, next)| next.checked_sub(1)).filter(|_| self.entries > 0)
    }

    /// Returns the hash at a number that was asked for at the beginning. None: there is no such
    /// entry, or it is behind the first fault.
    pub fn hash_at(&self, number: u64) -> Option<Hash> {
        self.wanted.get(&number).copied().flatten()
    }

    /// Checks checkpoints, the oldest first, against the chain. `what` says whose they are.
    ///
    /// # Errors
    /// The fault that the first wrong one shows: the entries among which the first wrong one is.
    pub fn agree(&self, checkpoints: &[Checkpoint], what: &str) -> Result<(), AuditFault> {
        let mut good = self.first.unwrap_or(0);
        for checkpoint in checkpoints {
            let number = checkpoint.number;
            if self.hash_at(number) == Some(checkpoint.hash) {
                good = number.saturating_add(1);
                continue;
            }
            return Err(self.rewritten(good.min(number), checkpoint, what));
        }
        Ok(())
    }

    /// Judges what a device keeps. A checkpoint of an entry that retention cut says nothing. One
    /// that the chain does not have is excused if a later restore announced a higher epoch.
    pub fn judge(&self, kept: &[Witnessed]) -> Judged {
        let mut judged = Judged::default();
        for seen in kept {
            let Checkpoint { number, hash, .. } = seen.checkpoint;
            let earliest = self.first.map_or(0, |first| first.saturating_sub(1));
            let replaced =
                |restore: &Restore| restore.epoch > seen.epoch && restore.number <= number;
            if self.hash_at(number) == Some(hash) {
                judged.agreed.push(number);
            } else if number < earliest {
                // Nothing is left of it.
            } else if self.restores.iter().any(replaced) {
                judged.excused += 1;
            } else {
                judged.wrong.push(*seen);
            }
        }
        judged.wrong.sort_by_key(|seen| seen.checkpoint.number);
        judged
    }

    /// Makes the fault of a checkpoint that the chain does not have. `from`: first entry that no
    /// earlier checkpoint covers.
    pub fn rewritten(&self, from: u64, checkpoint: &Checkpoint, what: &str) -> AuditFault {
        let (number, hash) = (checkpoint.number, hex(&checkpoint.hash));
        let short: String = hash.chars().take(16).collect();
        let end = self.at.map_or(0, |(_, next)| next);
        if number >= end {
            let to = (number > end).then_some(number);
            let text = format!(
                "{} missing, which {what} saw: the end was cut off, or an older copy was put back",
                entries(end, number)
            );
            return fault(end, to, text);
        }
        let to = (number > from).then_some(number);
        let where_ = if number > from {
            format!("entry {from}, or a later one up to {number}, was")
        } else {
            format!("entry {number} was")
        };
        let text = format!(
            "{where_} rewritten, with the hashes after it: {what} saw entry {number} with hash {short}…"
        );
        fault(from, to, text)
    }
}

/// Check of the chain over all tenants, one entry after the other in the order of their places.
/// After the first fault nothing more is judged.
#[derive(Debug)]
pub struct WholeChecker {
    /// Hash at the last entry, and the place that the next one must have.
    at: (Hash, u64),
    /// Number of entries that were checked.
    pub entries: u64,
    /// Number of places whose entries retention cut, as far as they were passed.
    cut: u64,
    /// Most places that may be empty because of retention, and the place before which they are.
    bound: (u64, u64),
    /// First empty places that nothing has explained so far, and the number of all such.
    gap: Option<(u64, u64)>,
    missing: u64,
    signed: Option<Checkpoint>,
}

/// Makes a fault of the chain over all tenants.
fn whole_fault(place: u64, to: Option<u64>, message: String) -> AuditFault {
    AuditFault { chain: "whole".into(), number: place, to, message }
}

impl WholeChecker {
    /// Begins a check. `bound` is the number of entries that retention cut, of all tenants, and the
    /// place before which these are; `signed` the newest checkpoint over all tenants.
    pub fn new(bound: (u64, u64), signed: Option<Checkpoint>) -> Self {
        Self { at: (START, 0), entries: 0, cut: 0, bound, gap: None, missing: 0, signed }
    }

    /// Takes in that places before this one are empty.
    fn pass(&mut self, place: u64) {
        let (_, expected) = self.at;
        let (many, until) = self.bound;
        let empty = place - expected;
        if place <= until && self.cut.saturating_add(empty) <= many {
            self.cut += empty;
        } else {
            self.gap.get_or_insert((expected, place - 1));
            self.missing = self.missing.saturating_add(empty);
        }
    }

    /// Checks the next entry, which has a hash, of this tenant. Empty places may be those of a
    /// tenant that was deleted, which a later entry says.
    ///
    /// # Errors
    /// The fault that it shows: it names the first wrong place.
    pub fn take(&mut self, entry: &AuditRecord, tenant: &str) -> Result<(), AuditFault> {
        let (before, expected) = self.at;
        let number = entry.number;
        let (Some(place), Some(said)) = (entry.whole_number, hash_of(entry.whole.as_deref()))
        else {
            let text = format!(
                "entry {number} of tenant {tenant} has no place in the chain over all tenants: it was written or edited by hand"
            );
            return Err(whole_fault(expected, None, text));
        };
        if place < expected {
            let text = format!(
                "entry {number} of tenant {tenant} has place {place} in the chain over all tenants, which another one has: it was put there"
            );
            return Err(whole_fault(place, None, text));
        }
        if place > expected {
            self.pass(place);
        } else if link_whole(&before, entry, tenant) != said {
            let text = format!(
                "entry {number} of tenant {tenant} was edited, or its predecessor in the chain over all tenants was: its hash there does not follow from what stands before it"
            );
            return Err(whole_fault(place, None, text));
        }
        if let Some(signed) = self.signed.filter(|signed| signed.number == place)
            && signed.hash != said
        {
            let text = format!(
                "the chain over all tenants was rewritten up to place {place} (entry {number} of tenant {tenant}): its signed checkpoint has another hash"
            );
            return Err(whole_fault(place, None, text));
        }
        self.missing = self.missing.saturating_sub(entry.cut.unwrap_or(0));
        self.gap = self.gap.filter(|_| self.missing > 0);
        self.entries += 1;
        self.at = (said, place.saturating_add(1));
        Ok(())
    }

    /// Ends the check.
    ///
    /// # Errors
    /// The fault that places are empty for no reason, or that the end is missing, which a signed
    /// checkpoint covers.
    pub fn end(&self) -> Result<(), AuditFault> {
        if let Some((from, to)) = self.gap {
            return Err(gap(from, to, "cut out of the log of some tenant"));
        }
        let (_, next) = self.at;
        match self.signed.filter(|signed| signed.number >= next) {
            Some(signed) => Err(gap(
                next,
                signed.number,
                "a signed checkpoint covers them, so the end of the log of some tenant was cut off",
            )),
            None => Ok(()),
        }
    }
}

/// Makes the fault of empty places in the chain over all tenants.
fn gap(from: u64, to: u64, why: &str) -> AuditFault {
    let places = if from == to {
        format!("the entry at place {from} of the chain over all tenants is")
    } else {
        format!("the entries at places {from} to {to} of the chain over all tenants are")
    };
    whole_fault(from, (to > from).then_some(to), format!("{places} missing: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, message: &str) -> AuditRecord {
        AuditRecord {
            number,
            at: 1_795_000_000 + number,
            count: 1,
            by: "admin".into(),
            action: "workload.apply".into(),
            subject: "hello".into(),
            message: message.into(),
            ..AuditRecord::default()
        }
    }

    /// Seals entries into a chain that goes on after `before`.
    fn seal(entries: &mut [AuditRecord], before: Hash) -> Hash {
        let (mut own, mut whole) = (before, START);
        for entry in entries {
            whole = link_whole(&whole, entry, "acme");
            entry.whole = Some(hex(&whole).into());
            own = link_own(&own, entry, "acme");
            entry.hash = Some(hex(&own).into());
        }
        own
    }

    fn chain(length: u64) -> Vec<AuditRecord> {
        let mut all: Vec<_> = (0..length).map(|number| entry(number, "changed")).collect();
        seal(&mut all, START);
        all
    }

    fn check(entries: &[AuditRecord]) -> Result<Checker, AuditFault> {
        let mut checker = Checker::new("acme", None, 0..100);
        for entry in entries {
            checker.take(entry)?;
        }
        Ok(checker)
    }

    fn checkpoint(checker: &Checker, number: u64) -> Checkpoint {
        Checkpoint { number, hash: checker.hash_at(number).unwrap(), at: 7 }
    }

    #[test]
    fn an_entry_is_deterministic_cbor_of_its_json() {
        let mut full = entry(70_000, "grüße");
        full.from = Some("192.0.2.1".into());
        full.after = Some("00".repeat(32).into());
        full.before = Some("11".repeat(32).into());
        full.count = 300;
        full.until = Some(1_795_000_900);
        full.by_name = Some("Night duty".into());
        full.request = Some("r-1".into());
        full.revision = Some(24);
        full.subject_name = Some("x".into());
        full.result = crate::audit::AuditResult::Refused;
        for (entry, whole) in [(entry(0, ""), None), (full, Some("ff"))] {
            let bytes = encode(&entry, "acme", whole);
            let read: serde_json::Value =
                holdfast_base::codec::from_slice(&bytes).expect("it is CBOR");
            let mut json = serde_json::to_value(&entry).unwrap();
            json["tenant"] = "acme".into();
            if let Some(whole) = whole {
                json["whole"] = whole.into();
            }
            assert_eq!(read, json);
            let mut names: Vec<Vec<u8>> = Vec::new();
            for name in json.as_object().unwrap().keys() {
                let mut encoded = Vec::new();
                text(&mut encoded, name);
                names.push(encoded);
            }
            names.sort();
            let places: Vec<usize> = names
                .iter()
                .map(|name| bytes.windows(name.len()).position(|part| part == name).unwrap())
                .collect();
            assert!(places.is_sorted(), "keys are in the order of RFC 8949: {places:?}");
        }
    }

    #[test]
    fn an_intact_chain_is_intact() {
        let checker = check(&chain(50)).unwrap();
        assert_eq!((checker.entries, checker.first, checker.last()), (50, Some(0), Some(49)));
        checker.end(Some(50)).unwrap();
        let points: Vec<_> = [3, 30, 49].map(|number| checkpoint(&checker, number)).into();
        checker.agree(&points, "a signed checkpoint").unwrap();
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table")]
    fn whatever_is_done_to_a_chain_the_first_wrong_entry_is_named() {
        let table: &[(&str, fn(&mut Vec<AuditRecord>), u64, Option<u64>, &str)] = &[
            ("cut out", |all| drop(all.remove(20)), 20, None, "entry 20 is missing"),
            ("several cut out", |all| drop(all.drain(20..23)), 20, Some(22), "20 to 22 are"),
            ("cut from its beginning", |all| drop(all.remove(0)), 0, None, "entry 0 is missing"),
            ("two swapped", |all| all.swap(20, 21), 20, None, "entry 20 is missing"),
            ("repeated", |all| all.insert(20, all[5].clone()), 20, None, "entry 5 stands there"),
            ("message edited", |all| all[20].message = "x".into(), 20, None, "was edited"),
            ("who edited", |all| all[20].by = "other".into(), 20, None, "was edited"),
            ("time edited", |all| all[20].at += 1, 20, None, "was edited"),
            ("hash edited", |all| all[20].hash = all[3].hash.clone(), 20, None, "was edited"),
            ("whole edited", |all| all[20].whole = None, 20, None, "was edited"),
            ("hash removed", |all| all[20].hash = None, 20, None, "has no hash"),
            (
                "numbers swapped",
                |all| {
                    all.swap(20, 21);
                    (all[20].number, all[21].number) = (20, 21);
                },
                20,
                None,
                "was edited",
            ),
        ];
        for (what, damage, number, to, text) in table {
            let mut all = chain(50);
            damage(&mut all);
            let fault = check(&all).map(|_| ()).unwrap_err();
            assert_eq!((fault.number, fault.to), (*number, *to), "{what}: {fault:?}");
            assert!(fault.message.contains(text), "{what}: {fault:?}");
        }
    }

    #[test]
    fn an_end_that_was_cut_off_is_missed() {
        let checker = check(&chain(50)[..40]).unwrap();
        let fault = checker.end(Some(50)).unwrap_err();
        assert_eq!((fault.number, fault.to), (40, Some(49)));
        assert!(fault.message.contains("cut off the end"), "{fault:?}");
        // The number of the next entry was rewritten too: a checkpoint tells.
        checker.end(Some(40)).unwrap();
        let seen = checkpoint(&check(&chain(50)).unwrap(), 45);
        let fault = checker.agree(&[seen], "device gw-1").unwrap_err();
        assert_eq!((fault.number, fault.to), (40, Some(45)));
        assert!(fault.message.contains("device gw-1"), "{fault:?}");
    }

    #[test]
    fn a_history_that_was_rewritten_with_its_hashes_contradicts_whoever_saw_it() {
        let before = check(&chain(50)).unwrap();
        let seen: Vec<_> = [10, 30, 45].map(|number| checkpoint(&before, number)).into();
        let mut all = chain(50);
        all[20].message = "nothing happened".into();
        seal(&mut all, START);
        let after = check(&all).expect("the chain alone tells nothing");
        let fault = after.agree(&seen, "device gw-1").unwrap_err();
        assert_eq!((fault.number, fault.to), (11, Some(30)), "{fault:?}");
    }

    #[test]
    fn an_older_copy_that_was_put_back_and_went_on_is_seen() {
        let seen = checkpoint(&check(&chain(50)).unwrap(), 49);
        let mut all = chain(50);
        all.truncate(30);
        all.extend((30..60).map(|number| entry(number, "other")));
        seal(&mut all, START);
        let fault = check(&all).unwrap().agree(&[seen], "device gw-1").unwrap_err();
        assert_eq!((fault.number, fault.to), (0, Some(49)), "{fault:?}");
    }

    #[test]
    fn entries_without_hashes_are_covered_by_the_one_that_begins_the_chain() {
        let former: Vec<_> = (7..12).map(|number| entry(number, "old")).collect();
        let digest = former.iter().fold(START, |hash, entry| link_own(&hash, entry, "acme"));
        let mut begin = entry(12, "5 former entries");
        begin.action = BEGIN.into();
        begin.before = Some(hex(&digest).into());
        begin.count = 5;
        let mut later = vec![begin, entry(13, "new")];
        seal(&mut later, digest);
        let whole = |former: &[AuditRecord], later: &[AuditRecord]| {
            check(&[former, later].concat()).map(|checker| checker.former)
        };
        assert_eq!(whole(&former, &later).unwrap(), 5);
        let mut edited = former.clone();
        edited[2].message = "edited".into();
        assert_eq!(whole(&edited, &later).unwrap_err().number, 7);
        assert_eq!(whole(&former[1..], &later).unwrap_err().number, 8);
        assert_eq!(whole(&former[..4], &later).unwrap_err().number, 11);
        let fault = whole(&former, &later[1..]).unwrap_err();
        assert_eq!(fault.number, 12);
        let mut forged = vec![entry(12, "new")];
        seal(&mut forged, digest);
        assert!(whole(&former, &forged).unwrap_err().message.contains("the entry that began"));
    }

    #[test]
    fn a_log_that_was_cut_by_retention_goes_on_from_the_checkpoint_that_stays() {
        let all = chain(50);
        let base = checkpoint(&check(&all).unwrap(), 19);
        let mut checker = Checker::new("acme", Some(&base), [30]);
        all[20..].iter().for_each(|entry| checker.take(entry).unwrap());
        assert_eq!((checker.entries, checker.first), (30, Some(20)));
        let wrong = Checkpoint { hash: START, ..base };
        assert_eq!(Checker::new("acme", Some(&wrong), []).take(&all[20]).unwrap_err().number, 20);
        let late = Checker::new("acme", Some(&base), []).take(&all[21]).unwrap_err();
        assert_eq!(late.number, 20);
    }

    #[test]
    fn an_announced_restore_is_told_from_a_hidden_one() {
        let before = check(&chain(50)).unwrap();
        let seen = |epoch, number| Witnessed { epoch, checkpoint: checkpoint(&before, number) };
        let mut all = chain(50);
        all.truncate(30);
        let mut restore = entry(30, "restored from the backup of 2026-11-28T00:00:00Z, epoch 9");
        restore.action = RESTORE.into();
        all.push(restore);
        all.extend((31..60).map(|number| entry(number, "other")));
        seal(&mut all, START);
        let after = check(&all).unwrap();
        assert_eq!(after.restores.len(), 1);
        let judged = after.judge(&[seen(5, 10), seen(5, 45)]);
        assert_eq!((judged.agreed, judged.excused), (vec![10], 1));
        assert_eq!(judged.wrong, []);
        // Seen in the epoch of the restore, or an older one: nothing announced it.
        for (epoch, expected) in [(9, 1), (8, 0)] {
            assert_eq!(after.judge(&[seen(epoch, 45)]).wrong.len(), expected, "{epoch}");
        }
        all[30].action = "workload.apply".into();
        seal(&mut all, START);
        let hidden = check(&all).unwrap().judge(&[seen(5, 45)]);
        assert_eq!((hidden.standing(), hidden.wrong.len()), (Standing::Disagrees, 1));
    }

    #[test]
    fn a_restore_announces_its_epoch() {
        let mut restore = entry(3, "restored from the backup of 2026-11-28T00:00:00Z, epoch 1795");
        restore.action = RESTORE.into();
        assert_eq!(restored_epoch(&restore), Some(1795));
        assert_eq!(restored_epoch(&entry(3, "epoch 7")), None);
    }

    /// Returns entries of two tenants that take turns, sealed into the chain over all.
    fn two_tenants(length: u64) -> Vec<(AuditRecord, &'static str)> {
        let mut whole = START;
        let sealed = (0..length).map(|place| {
            let tenant = if place % 3 == 0 { "zeta" } else { "acme" };
            let mut entry = entry(place / 2, "changed");
            whole = link_whole(&whole, &entry, tenant);
            (entry.whole, entry.whole_number) = (Some(hex(&whole).into()), Some(place));
            (entry, tenant)
        });
        sealed.collect()
    }

    fn check_whole(
        entries: &[(AuditRecord, &str)],
        bound: (u64, u64),
        signed: Option<Checkpoint>,
    ) -> Result<u64, AuditFault> {
        let mut checker = WholeChecker::new(bound, signed);
        for (entry, tenant) in entries {
            checker.take(entry, tenant)?;
        }
        checker.end().map(|()| checker.entries)
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table")]
    fn whatever_is_done_to_the_chain_over_all_the_first_wrong_place_is_named() {
        let all = two_tenants(40);
        let hash = hash_of(all[39].0.whole.as_deref()).unwrap();
        let signed = Some(Checkpoint { number: 39, hash, at: 7 });
        assert_eq!(check_whole(&all, (0, 0), signed), Ok(40));
        let table: &[(&str, fn(&mut Vec<(AuditRecord, &'static str)>), u64, Option<u64>)] = &[
            ("one cut out", |all| drop(all.remove(20)), 20, None),
            ("several cut out", |all| drop(all.drain(20..23)), 20, Some(22)),
            ("a whole tenant", |all| all.retain(|(_, tenant)| *tenant == "acme"), 0, None),
            ("the beginning", |all| drop(all.drain(..2)), 0, Some(1)),
            ("the end", |all| drop(all.drain(38..)), 38, Some(39)),
            ("edited", |all| all[20].0.by = "x".into(), 20, None),
            ("of another tenant", |all| all[20].1 = "zeta", 20, None),
            ("twice", |all| all.insert(21, all[20].clone()), 20, None),
            ("no place", |all| all[20].0.whole_number = None, 20, None),
        ];
        for (what, damage, place, to) in table {
            let mut damaged = all.clone();
            damage(&mut damaged);
            let fault = check_whole(&damaged, (0, 0), signed).unwrap_err();
            assert_eq!((fault.number, fault.to), (*place, *to), "{what}: {fault:?}");
            assert_eq!(fault.chain, "whole");
        }
        let other = Some(Checkpoint { number: 30, hash, at: 7 });
        assert_eq!(check_whole(&all, (0, 0), other).unwrap_err().number, 30, "rewritten");
    }

    #[test]
    fn what_retention_cut_is_no_gap_and_no_more_than_that() {
        let mut all = two_tenants(40);
        all.retain(|(entry, tenant)| *tenant == "acme" || entry.whole_number > Some(12));
        assert_eq!(check_whole(&all, (5, 13), None), Ok(35));
        assert!(check_whole(&all, (4, 13), None).is_err(), "more is gone than was cut");
        assert!(check_whole(&all, (5, 12), None).is_err(), "what is gone is later");
    }

    #[test]
    fn the_log_of_a_deleted_tenant_is_gone_for_a_reason_that_the_chain_says() {
        let (mut all, mut whole) = (two_tenants(40), START);
        let gone = all.iter().filter(|(_, tenant)| *tenant == "zeta").count() as u64;
        for (entry, tenant) in &mut all {
            if entry.whole_number == Some(38) {
                (entry.action, entry.cut) = ("tenant.delete".into(), Some(gone));
            }
            whole = link_whole(&whole, entry, tenant);
            entry.whole = Some(hex(&whole).into());
        }
        // Place 39 is one of the deleted tenant's: nothing is made for it afterwards.
        assert_eq!(all.pop().unwrap().1, "zeta");
        let mut left = all.clone();
        left.retain(|(_, tenant)| *tenant == "acme");
        assert_eq!(check_whole(&left, (0, 0), None), Ok(26));
        let mut more = left.clone();
        more.drain(4..6);
        assert_eq!(check_whole(&more, (0, 0), None).unwrap_err().number, 0, "more is gone");
        let mut earlier = all;
        earlier.drain(10..12);
        let place = earlier.iter().position(|(entry, _)| entry.cut.is_some()).unwrap();
        earlier[place].0.cut = Some(30);
        assert!(check_whole(&earlier, (0, 0), None).is_err(), "the number is part of the chain");
    }
}
