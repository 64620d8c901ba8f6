//! Audit log of a tenant as a chain of hashes: sealing of entries, when a checkpoint is due, which
//! checkpoints stay, and what retention may cut. The newest entries are in memory, all are in the
//! store.
//!
//! See decisions 0169 and 0170.

use std::collections::BTreeMap;

use holdfast_api::chain::{self, Hash, START};
use holdfast_api::count::either;
use holdfast_api::{AuditCheckpoint, AuditRecord};
use holdfast_base::ids::{hex, unhex};
use holdfast_protocol::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};

pub use super::rights::Origin;

/// Most entries of a tenant that are in memory, the newest ones: about a megabyte.
pub const RECENT: usize = 1_000;

/// Most entries of a tenant that are stored. With some 600 bytes each they take 600 MB.
pub const MAX_KEPT: u64 = 1_000_000;

/// Age after which entries go, in seconds: three years.
pub const MAX_AGE: u64 = 3 * 365 * 86_400;

/// Most entries of a data folder from before the chain: it kept no more.
pub const MAX_FORMER: u64 = 10_000;

/// Seconds between two checkpoints of a chain.
pub const CHECKPOINT_EVERY: u64 = 60;

/// Number of entries after which one checkpoint stays for ever (until retention passes it).
const SPACING: u64 = 10_000;

/// Age difference after which one checkpoint stays, in seconds: thirty days.
const SPACING_SECONDS: u64 = 30 * 86_400;

/// Most entries that one change cuts, so that no change waits long behind it.
pub const CUT_AT_ONCE: u64 = 500;

/// Entries of a version before the chain, which the next entry is to begin it behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// Number of the first of them that is stored.
    pub first: u64,
    /// Number of the last of them.
    pub last: u64,
    /// Number of entries.
    pub count: u64,
}

/// Signed checkpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointRecord {
    /// Number of the entry.
    pub number: u64,
    /// Hash of the chain at the entry, hexadecimal.
    pub hash: Box<str>,
    /// Time of the checkpoint, in seconds since 1970.
    pub at: u64,
    /// COSE_Sign1 object, in base64.
    pub signed: Box<str>,
    /// Place of the entry in the chain over all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_number: Option<u64>,
    /// Hash of the chain over all tenants there, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Box<str>>,
}

impl CheckpointRecord {
    /// Returns the checkpoint. None: its hash cannot be read.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint { number: self.number, hash: unhex(&self.hash)?, at: self.at })
    }

    /// Returns the API's form.
    pub fn document(&self) -> AuditCheckpoint {
        let Self { number, at, .. } = *self;
        AuditCheckpoint { number, hash: self.hash.to_string(), at, signed: self.signed.to_string() }
    }
}

/// Chain of a tenant's audit log: its newest hash, and the checkpoints that are stored.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Hash at the newest entry.
    pub hash: Hash,
    /// Place and hash of the newest entry in the chain over all tenants.
    pub whole: Option<(u64, Hash)>,
    /// Entries without hashes that nothing covers yet.
    pub former: Option<Former>,
    /// Number of the oldest stored entry. None: there is none.
    pub first: Option<u64>,
    /// Stored checkpoints by their numbers.
    pub checkpoints: BTreeMap<u64, CheckpointRecord>,
    /// Newest checkpoint that is durable, which desired states carry.
    pub shown: Option<Checkpoint>,
}

impl Chain {
    /// Takes in a stored entry while the store is read; entries come in order.
    pub fn read(&mut self, entry: &AuditRecord, tenant: &str) {
        self.first.get_or_insert(entry.number);
        if let Some(hash) = chain::hash_of(entry.hash.as_deref()) {
            (self.hash, self.former) = (hash, None);
            let whole = chain::hash_of(entry.whole.as_deref());
            self.whole = entry.whole_number.zip(whole);
            return;
        }
        self.hash = chain::link_own(&self.hash, entry, tenant);
        let number = entry.number;
        let former = self.former.get_or_insert(Former { first: number, last: number, count: 0 });
        (former.last, former.count) = (number, former.count + 1);
    }

    /// Takes in a stored checkpoint while the store is read.
    pub fn read_checkpoint(&mut self, record: CheckpointRecord) {
        self.shown = record.checkpoint();
        self.checkpoints.insert(record.number, record);
    }

    /// Seals an entry, whose place in the chain over all it has already.
    pub fn seal(&mut self, entry: &mut AuditRecord, tenant: &str) {
        self.first.get_or_insert(entry.number);
        self.hash = chain::link_own(&self.hash, entry, tenant);
        entry.hash = Some(hex(&self.hash).into());
        let whole = chain::hash_of(entry.whole.as_deref());
        self.whole = entry.whole_number.zip(whole);
    }

    /// Makes the entry that begins the chain behind former entries. None: there are none.
    pub fn begin(&mut self, now: u64) -> Option<AuditRecord> {
        let Former { first, last, count: many } = self.former.take()?;
        Some(AuditRecord {
            at: now,
            count: many,
            by: "holdfast".into(),
            action: chain::BEGIN.into(),
            subject: "audit log".into(),
            before: Some(hex(&self.hash).into()),
            message: format!(
                "the chain begins behind {} of an earlier version ({first} to {last}), which have no hashes of their own; their digest is {}",
                either(many, "entry", "entries"),
                hex(&self.hash)
            ),
            ..AuditRecord::default()
        })
    }

    /// True if a checkpoint is due at this time; `next` is the number that the next entry gets.
    pub fn is_due(&self, next: u64, now: u64) -> bool {
        let (Some(last), None) = (next.checked_sub(1), self.former) else { return false };
        match self.checkpoints.values().next_back() {
            None => self.hash != START,
            // A clock that was set back lets it wait no longer than usual.
            Some(newest) => newest.number < last && newest.at.abs_diff(now) >= CHECKPOINT_EVERY,
        }
    }

    /// Adds a checkpoint, and returns the number of the one that it makes superfluous: of those
    /// between two that stay, only the newest is stored.
    pub fn add(&mut self, record: CheckpointRecord) -> Option<u64> {
        let mut back = self.checkpoints.values().rev();
        let (newest, before) = (back.next(), back.next());
        let goes = newest.filter(|newest| {
            before.is_some_and(|before| {
                newest.number / SPACING == before.number / SPACING
                    && newest.at.saturating_sub(before.at) < SPACING_SECONDS
            })
        });
        let goes = goes.map(|record| record.number);
        if let Some(goes) = goes {
            self.checkpoints.remove(&goes);
        }
        self.checkpoints.insert(record.number, record);
        goes
    }

    /// Checkpoint behind which everything was cut: it stands for the entries that are gone. None:
    /// nothing was cut.
    pub fn base(&self) -> Option<&CheckpointRecord> {
        self.checkpoints.get(&self.first?.checked_sub(1)?)
    }

    /// Last entry that retention may cut at this time, with everything before it: the newest
    /// checkpoint that lies behind `kept` entries or is older than `age` seconds. None: nothing.
    pub fn cut(&self, next: u64, now: u64, kept: u64, age: u64) -> Option<u64> {
        let by_count = next.saturating_sub(kept);
        let goes = |record: &&CheckpointRecord| {
            record.number < by_count || record.at.saturating_add(age) < now
        };
        // The newest checkpoint stays, and something behind it.
        let (first, newest) = (self.first?, *self.checkpoints.keys().next_back()?);
        let older = self.checkpoints.range(first..newest.max(first)).map(|(_, record)| record);
        older.filter(goes).map(|record| record.number).max()
    }
}

/// Chain over the entries of all tenants.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Place that the next entry gets.
    pub next: u64,
    /// Hash at the newest entry.
    pub hash: Hash,
    /// Newest stored checkpoint of it.
    pub checkpoint: Option<CheckpointRecord>,
}

impl Whole {
    /// Gives an entry of a tenant its place and hash.
    pub fn seal(&mut self, entry: &mut AuditRecord, tenant: &str) {
        self.hash = chain::link_whole(&self.hash, entry, tenant);
        entry.whole = Some(hex(&self.hash).into());
        entry.whole_number = Some(self.next);
        self.next += 1;
    }

    /// Goes on behind the newest entry of a tenant.
    pub fn read(&mut self, newest: Option<(u64, Hash)>) {
        if let Some((number, hash)) = newest
            && number >= self.next
        {
            (self.next, self.hash) = (number.saturating_add(1), hash);
        }
    }

    /// True if a checkpoint is due at this time.
    pub fn is_due(&self, now: u64) -> bool {
        let Some(last) = self.next.checked_sub(1) else { return false };
        self.checkpoint.as_ref().is_none_or(|newest| {
            newest.number != last && newest.at.abs_diff(now) >= CHECKPOINT_EVERY
        })
    }
}

fn sha256(bytes: &[u8]) -> ring::digest::Digest {
    ring::digest::digest(&ring::digest::SHA256, bytes)
}

/// Returns the digest of a document for the audit log, hexadecimal. None: it has no JSON.
pub fn digest<T: Serialize>(document: &T) -> Option<Box<str>> {
    serde_json::to_vec(document).ok().map(|bytes| hex(sha256(&bytes).as_ref()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(number: u64, at: u64) -> CheckpointRecord {
        let hash = hex(&[7; 32]).into();
        CheckpointRecord { number, hash, at, signed: "".into(), whole_number: None, whole: None }
    }

    #[test]
    fn a_checkpoint_is_due_once_a_minute_with_entries() {
        let mut chain = Chain::default();
        assert!(!chain.is_due(0, 1_000), "no entry");
        chain.hash = [1; 32];
        assert!(chain.is_due(1, 1_000), "the first at once");
        chain.add(checkpoint(0, 1_000));
        for (next, now, due) in
            [(1, 5_000, false), (2, 1_059, false), (2, 1_060, true), (2, 100, true)]
        {
            assert_eq!(chain.is_due(next, now), due, "{next} {now}");
        }
        chain.former = Some(Former { first: 0, last: 0, count: 1 });
        assert!(!chain.is_due(2, 2_000), "nothing is signed that has no hash");
    }

    #[test]
    fn of_many_checkpoints_few_stay() {
        let mut chain = Chain::default();
        let mut stored = std::collections::BTreeSet::new();
        for minute in 0..100_000 {
            let record = checkpoint(minute * 3, minute * 60);
            stored.insert(record.number);
            if let Some(goes) = chain.add(record) {
                stored.remove(&goes);
            }
        }
        assert!(chain.checkpoints.keys().eq(&stored));
        assert!(stored.len() < 40, "{stored:?}");
        assert!(stored.contains(&0) && stored.contains(&299_997), "the first and the last");
    }

    #[test]
    fn retention_cuts_behind_a_checkpoint_that_stays() {
        let mut chain = Chain { first: Some(0), ..Chain::default() };
        for (number, at) in [(10, 100), (20, 200), (30, 300)] {
            chain.checkpoints.insert(number, checkpoint(number, at));
        }
        for (next, now, kept, age, cut) in [
            (31, 400, 100, 1_000, None),
            (40, 400, 25, 1_000, Some(10)),
            (40, 400, 15, 1_000, Some(20)),
            (40, 400, 0, 1_000, Some(20)),
            (31, 400, 100, 250, Some(10)),
            (31, 9_000, 100, 250, Some(20)),
        ] {
            let found = chain.cut(next, now, kept, age);
            assert_eq!(found, cut, "{next} {now} {kept} {age}");
        }
        chain.first = Some(11);
        assert_eq!(chain.base().map(|base| base.number), Some(10));
        assert_eq!(chain.cut(40, 400, 25, 1_000), None, "that is cut already");
    }

    #[test]
    fn former_entries_get_an_entry_that_says_so() {
        let mut chain = Chain::default();
        for number in 3..6 {
            let entry = AuditRecord { number, count: 1, ..AuditRecord::default() };
            chain.read(&entry, "acme");
        }
        let digest = hex(&chain.hash);
        let begin = chain.begin(9).unwrap();
        assert_eq!((begin.count, begin.before.as_deref()), (3, Some(&*digest)));
        assert!(begin.message.contains("3 entries") && begin.message.contains("(3 to 5)"));
        assert_eq!(chain.begin(9), None, "once");
    }

    #[test]
    fn the_chain_over_all_goes_on_behind_the_newest_entry_of_any_tenant() {
        let mut whole = Whole::default();
        for newest in [Some((4, [4; 32])), Some((9, [9; 32])), None, Some((7, [7; 32]))] {
            whole.read(newest);
        }
        assert_eq!((whole.next, whole.hash), (10, [9; 32]));
    }

    /// Prints what an entry costs in bytes of its row and in time (decision 0169). Run it with
    /// `cargo test --release -p holdfast-control-core -- --ignored --nocapture cost_of_an_entry`.
    #[test]
    #[ignore = "measures"]
    fn cost_of_an_entry() {
        let (mut chain, mut whole) = (Chain::default(), Whole::default());
        let many = 100_000_u64;
        let (mut sealed, mut bare) = (0, 0);
        let entry = |number| AuditRecord {
            number,
            at: 1_795_000_000 + number,
            count: 1,
            by: "3f2a9c0d1b7e4455".into(),
            by_name: Some("night duty".into()),
            from: Some("192.0.2.17".into()),
            request: Some("b2c1a09f3e5d7788".into()),
            action: "workload.apply".into(),
            subject: "pump".into(),
            revision: Some(7),
            before: Some("00".repeat(32).into()),
            after: Some("11".repeat(32).into()),
            message: "changed, revision 7, for 40 devices".into(),
            ..AuditRecord::default()
        };
        let mut entries: Vec<AuditRecord> = (0..many).map(entry).collect();
        bare += entries.iter().map(|it| serde_json::to_vec(it).unwrap().len()).sum::<usize>();
        #[allow(clippy::disallowed_methods, reason = "it measures")]
        let began = std::time::Instant::now();
        for entry in &mut entries {
            whole.seal(entry, "default");
            chain.seal(entry, "default");
        }
        let took = began.elapsed();
        sealed += entries.iter().map(|it| serde_json::to_vec(it).unwrap().len()).sum::<usize>();
        let each = |bytes: usize| bytes as u64 / many;
        println!(
            "{} bytes an entry, {} of them for the chains; sealed in {:.2} us",
            each(sealed),
            each(sealed - bare),
            took.as_secs_f64() * 1e6 / many as f64
        );
    }
}
