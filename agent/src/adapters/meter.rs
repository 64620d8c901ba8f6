//! Meter of the agent's traffic with the control plane, by class, with headers estimated. It wraps
//! every socket. What goes through the link counts for the classes that named it; the rest is
//! control.
//!
//! See decision 0050.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use holdfast_protocol::cost::{on_the_wire, sealed};
use holdfast_records::TrafficClass;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of MQTT in a publish beside topic and payload.
const PUBLISH: u64 = 8;

/// Bytes sent and received.
type Both = (u64, u64);

#[derive(Debug, Default)]
struct Counts {
    /// Counted bytes by class.
    own: [Both; 5],
    /// Bytes of the link that are not assigned to a class yet.
    link: Both,
    /// Bytes that classes other than control have announced for the link, and that it has not
    /// carried yet.
    announced: [Both; 5],
}

impl Counts {
    /// Assigns the link's bytes to classes: first what each announced, the rest to control.
    /// Announced bytes that were not carried yet stay announced.
    fn assign(&mut self) {
        let mut rest = std::mem::take(&mut self.link);
        for (own, announced) in self.own.iter_mut().zip(&mut self.announced) {
            let gone = (announced.0.min(rest.0), announced.1.min(rest.1));
            subtract(announced, gone);
            subtract(&mut rest, gone);
            add(own, gone);
        }
        if let Some(control) = self.own.first_mut() {
            add(control, rest);
        }
    }
}

/// Meter, shared by everything that sends or receives.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    counts: Arc<Mutex<Counts>>,
    /// Classes whose budget is used up, as one bit each.
    held: Arc<AtomicU8>,
}

impl Meter {
    /// Creates the tap for a socket of one class.
    pub fn tap(&self, class: TrafficClass) -> Tap {
        Tap { meter: self.clone(), class: Some(class) }
    }

    /// Creates the tap for a new link. Announced bytes that the former link did not carry are
    /// dropped.
    pub fn link_tap(&self) -> Tap {
        let mut counts = self.lock();
        counts.assign();
        counts.announced = <[Both; 5]>::default();
        drop(counts);
        Tap { meter: self.clone(), class: None }
    }

    /// Sets the classes whose budget is used up; new transfers of those wait.
    pub fn hold(&self, classes: &[TrafficClass]) {
        let bits = classes.iter().fold(0, |bits, class| bits | 1 << index(*class));
        self.held.store(bits, Ordering::Relaxed);
    }

    /// Announces a publish on the link that is not of the control class, sent or received, with the
    /// sizes of topic and payload in bytes.
    pub fn announce(&self, class: TrafficClass, sent: bool, topic: usize, payload: usize) {
        let bytes = u64::try_from(topic.saturating_add(payload)).unwrap_or(u64::MAX);
        let (there, back) = on_the_wire(sealed(bytes.saturating_add(PUBLISH)));
        let mut counts = self.lock();
        if let Some(announced) = counts.announced.get_mut(index(class)) {
            add(announced, if sent { (there, back) } else { (back, there) });
        }
    }

    /// Takes the bytes counted since the last call, as class, sent and received.
    pub fn take(&self) -> Vec<(TrafficClass, u64, u64)> {
        let mut counts = self.lock();
        counts.assign();
        let taken = std::mem::take(&mut counts.own);
        let classes = TrafficClass::ALL.into_iter().zip(taken);
        let counted = classes.map(|(class, (sent, received))| (class, sent, received));
        counted.filter(|(_, sent, received)| *sent + *received > 0).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(class: TrafficClass) -> usize {
    TrafficClass::ALL.iter().position(|it| *it == class).unwrap_or(0)
}

fn add(to: &mut Both, more: Both) {
    *to = (to.0.saturating_add(more.0), to.1.saturating_add(more.1));
}

fn subtract(of: &mut Both, less: Both) {
    *of = (of.0.saturating_sub(less.0), of.1.saturating_sub(less.1));
}

/// Tap of one socket, which counts into its class, or into the link.
#[derive(Debug, Clone, Default)]
pub struct Tap {
    meter: Meter,
    class: Option<TrafficClass>,
}

impl Tap {
    /// True when the budget of this class is used up, so that nothing of it may begin.
    pub fn is_held(&self) -> bool {
        let held = self.meter.held.load(Ordering::Relaxed);
        self.class.is_some_and(|class| held & 1 << index(class) != 0)
    }

    fn count(&self, sent: bool, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (there, back) = on_the_wire(u64::try_from(bytes).unwrap_or(u64::MAX));
        let both = if sent { (there, back) } else { (back, there) };
        let mut counts = self.meter.lock();
        match self.class.map(index) {
            None => add(&mut counts.link, both),
            Some(at) => {
                if let Some(own) = counts.own.get_mut(at) {
                    add(own, both);
                }
            }
        }
    }

    /// Wraps a socket so that its bytes are counted.
    pub fn around<S>(self, socket: S) -> Metered<S> {
        Metered { socket, tap: self }
    }
}

/// Socket that counts its bytes.
#[derive(Debug)]
pub struct Metered<S> {
    socket: S,
    tap: Tap,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        self.tap.count(false, buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.tap.count(true, *written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_goes_through_is_counted_once_and_by_class() {
        let meter = Meter::default();
        let (near, mut far) = tokio::io::duplex(100_000);
        let mut link = meter.link_tap().around(near);
        // Named before it goes through the socket, as it is on the way to the link's queue.
        meter.announce(TrafficClass::Data, true, 30, 10_000);
        assert!(meter.take().is_empty(), "it is not gone yet");
        link.write_all(&vec![0; 10_060]).await.unwrap();
        link.write_all(&[0; 100]).await.unwrap();
        far.write_all(&[0; 50]).await.unwrap();
        let _read = link.read(&mut [0; 100]).await.unwrap();
        // A word of 100 bytes and one of 50, each with a segment back, are control's.
        let (there, back) = (on_the_wire(100), on_the_wire(50));
        let control = (TrafficClass::Control, there.0 + back.1, there.1 + back.0);
        let data = on_the_wire(sealed(10_038));
        assert_eq!(meter.take(), [control, (TrafficClass::Data, data.0, data.1)]);

        let (near, mut far) = tokio::io::duplex(100_000);
        let mut download = meter.tap(TrafficClass::Artifacts).around(near);
        far.write_all(&[0; 5_000]).await.unwrap();
        download.read_exact(&mut vec![0; 5_000]).await.unwrap();
        let counted = meter.take();
        assert_eq!(counted.len(), 1);
        assert!(counted[0].0 == TrafficClass::Artifacts && counted[0].2 >= 5_000);
    }

    #[tokio::test]
    async fn what_a_cut_link_did_not_carry_counts_for_nobody() {
        let meter = Meter::default();
        let (near, _far) = tokio::io::duplex(100_000);
        let mut link = meter.link_tap().around(near);
        meter.announce(TrafficClass::Data, true, 30, 10_000);
        link.write_all(&[0; 3_000]).await.unwrap();
        let (near, _other_far) = tokio::io::duplex(100_000);
        let mut next = meter.link_tap().around(near);
        next.write_all(&[0; 5_000]).await.unwrap();
        let (part, control) = (on_the_wire(3_000), on_the_wire(5_000));
        let counted =
            [(TrafficClass::Control, control.0, control.1), (TrafficClass::Data, part.0, part.1)];
        assert_eq!(meter.take(), counted);
    }
}
