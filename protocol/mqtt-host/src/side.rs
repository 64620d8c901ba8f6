//! The program's side of a connection: what its events mean and what is sent.

use std::task::Context;

use holdfast_mqtt::{Event, Policy, Session};

/// What the host does when the peer closes its sending direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// Publishes that were accepted are answered first: the peer may have said that this is all.
    AnswerFirst,
    /// The connection is lost: the peer sends nothing that waits for an answer.
    Lost,
}

/// Program's side of one connection, which the host calls with the session. Times are milliseconds
/// of the side's own clock.
///
/// No method may block. Whatever should wake the connection's task later is registered with the
/// `cx` of [`Side::take_inbox`], [`Side::events_handled`] or [`Side::offer`].
pub trait Side {
    /// Rights of the peer, which its session asks for.
    type Policy: Policy;

    /// Most turns (each with at most one read) in one poll; then other tasks get theirs.
    const TURNS_A_POLL: usize;

    /// Rule for a peer that closes its sending direction.
    const HALF_CLOSE: HalfClose;

    /// Time of the side's monotonic clock, in milliseconds.
    fn now(&self) -> u64;

    /// Time in milliseconds after which a peer that takes no output is cut.
    fn stall_limit(&self) -> u64;

    /// Takes what other tasks left for this connection. Called at the start of each turn.
    fn take_inbox(&mut self, session: &mut Session<Self::Policy>, cx: &mut Context<'_>);

    /// Handles one event of the session.
    fn event(
        &mut self,
        session: &mut Session<Self::Policy>,
        event: Event<<Self::Policy as Policy>::Route>,
    );

    /// Completes a group of events that were handled one after the other, for example by storing
    /// their records together.
    fn events_handled(&mut self, _session: &mut Session<Self::Policy>, _cx: &mut Context<'_>) {}

    /// Hands messages to the session for as long as they go out at once
    /// ([`Session::is_ready`]). The host asks again after each complete write.
    fn offer(&mut self, session: &mut Session<Self::Policy>, now: u64, cx: &mut Context<'_>);

    /// Notes that bytes were read and given to the session. Their events come after this call.
    fn received(&mut self, _bytes: usize, _now: u64) {}

    /// Notes that the session's output was written as far as the transport took it; `bytes` may be
    /// 0. Called once a turn, also when the write failed.
    fn sent(&mut self, _session: &Session<Self::Policy>, _bytes: usize) {}

    /// Time at which the side wants [`Side::offer`] to be called without any other cause.
    fn next_due(&self) -> Option<u64> {
        None
    }

    /// Notes that the peer took no output for [`Side::stall_limit`]. The connection is closed at
    /// once after that, and the session tells no end.
    fn stalled(&mut self, session: &mut Session<Self::Policy>);

    /// Notes that the task is gone: it has ended, or was aborted at any point.
    fn dropped(&mut self, _session: &mut Session<Self::Policy>) {}
}
