//! Signs of a download under way: its progress for people, the room that it still needs, and what
//! neighbours are told of it.

use holdfast_base::ids::Digest;
use holdfast_protocol::message::Origin;
use tokio::sync::mpsc;

use crate::adapters::clock::uptime_ms;
use crate::adapters::neighbours::Fetching;
use crate::adapters::room::Claim;
use crate::core::effect::Observed;
use crate::core::progress::Pace;

/// Signs of one transfer.
pub(super) struct Signs<'a> {
    digest: Digest,
    from: Origin,
    pace: Pace,
    have: u64,
    claim: Option<Claim>,
    fetching: Option<&'a Fetching>,
    tell: &'a mpsc::Sender<Observed>,
}

impl<'a> Signs<'a> {
    /// Begins with `have` of `size` bytes.
    pub(super) fn new(
        (digest, from): (Digest, Origin),
        (have, size): (u64, u64),
        claim: Option<Claim>,
        (fetching, tell): (Option<&'a Fetching>, &'a mpsc::Sender<Observed>),
    ) -> Self {
        let pace = Pace::new(size, have, uptime_ms());
        Self { digest, from, pace, have, claim, fetching, tell }
    }

    /// Notes bytes that were written.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let count = u64::try_from(bytes.len()).unwrap_or(0);
        self.have = self.have.saturating_add(count);
        if let Some(claim) = &self.claim {
            claim.written(count);
        }
        if let Some(fetching) = self.fetching {
            fetching.note(self.have);
        }
        if let Some(progress) = self.pace.note(self.have, self.from, uptime_ms()) {
            // A figure that finds no place is followed by another.
            let _full_or_over = self.tell.try_send(Observed::Progress(self.digest, progress));
        }
    }
}
