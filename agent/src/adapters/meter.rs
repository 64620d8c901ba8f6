//! Counts what the agent sends and receives, by class, headers estimated: around every socket to
//! the control plane. What the link's own words do not say of themselves is control.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use holdfast_protocol::data::TrafficClass;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::data::budget::{on_the_wire, sealed};

/// MQTT's own bytes in a publish, beside topic and payload.
const PUBLISH: u64 = 8;

/// Sent and received.
type Both = (u64, u64);

#[derive(Debug, Default)]
struct Counts {
    /// Of sockets that serve one class each.
    own: [Both; 5],
    /// Of the link, all classes together.
    link: Both,
    /// What of the link was for others than control.
    named: [Both; 5],
}

/// Shared by everything that sends or receives.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    counts: Arc<Mutex<Counts>>,
    /// Classes whose budget is used up, a bit each.
    held: Arc<AtomicU8>,
}

impl Meter {
    /// For a socket of one class.
    pub fn of(&self, class: TrafficClass) -> Tap {
        Tap { meter: self.clone(), class: Some(class) }
    }

    /// For the link.
    pub fn link(&self) -> Tap {
        Tap { meter: self.clone(), class: None }
    }

    /// The budget of these classes is used up: whoever is asked to begin something waits.
    pub fn hold(&self, classes: &[TrafficClass]) {
        let bits = classes.iter().fold(0, |bits, class| bits | 1 << index(*class));
        self.held.store(bits, Ordering::Relaxed);
    }

    /// A publish went up the link, or came down it, that is not control's.
    pub fn published(&self, class: TrafficClass, sent: bool, topic: usize, payload: usize) {
        let bytes = u64::try_from(topic.saturating_add(payload)).unwrap_or(u64::MAX);
        let (there, back) = on_the_wire(sealed(bytes.saturating_add(PUBLISH)));
        let mut counts = self.lock();
        if let Some(named) = counts.named.get_mut(index(class)) {
            add(named, if sent { (there, back) } else { (back, there) });
        }
    }

    /// What was counted since it was last taken, by class.
    pub fn take(&self) -> Vec<(TrafficClass, u64, u64)> {
        let mut counts = self.lock();
        let taken = std::mem::take(&mut *counts);
        let mut control = taken.link;
        // What was named and has not gone through the socket yet comes with the next.
        for named in taken.named {
            let more = (named.0.saturating_sub(control.0), named.1.saturating_sub(control.1));
            control = (control.0.saturating_sub(named.0), control.1.saturating_sub(named.1));
            if let Some(first) = counts.named.first_mut() {
                add(first, more);
            }
        }
        let class = |(at, class): (usize, TrafficClass)| {
            let own = taken.own.get(at).copied().unwrap_or_default();
            // Control's place holds what others were ahead of the socket.
            let named = taken.named.get(at).copied().filter(|_| at > 0).unwrap_or_default();
            let rest = if at == 0 { control } else { (0, 0) };
            (class, own.0 + named.0 + rest.0, own.1 + named.1 + rest.1)
        };
        let all = TrafficClass::ALL.into_iter().enumerate().map(class);
        all.filter(|(_, sent, received)| *sent + *received > 0).collect()
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

/// What a socket counts into.
#[derive(Debug, Clone, Default)]
pub struct Tap {
    meter: Meter,
    class: Option<TrafficClass>,
}

impl Tap {
    /// Nothing of this class may begin now.
    pub fn is_held(&self) -> bool {
        let held = self.meter.held.load(Ordering::Relaxed);
        self.class.is_some_and(|class| held & 1 << index(class) != 0)
    }

    fn note(&self, sent: bool, bytes: usize) {
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

    /// Around a socket.
    pub fn around<S>(self, socket: S) -> Metered<S> {
        Metered { socket, tap: self }
    }
}

/// A socket that counts.
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
        self.tap.note(false, buffer.filled().len().saturating_sub(before));
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
            self.tap.note(true, *written);
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
        let mut link = meter.link().around(near);
        // Named before it goes through the socket, as it is on the way to the link's queue.
        meter.published(TrafficClass::Data, true, 30, 10_000);
        let data = on_the_wire(sealed(10_038));
        let early = meter.take();
        assert_eq!(early, [(TrafficClass::Data, data.0, data.1)]);
        link.write_all(&vec![0; 10_060]).await.unwrap();
        link.write_all(&[0; 100]).await.unwrap();
        far.write_all(&[0; 50]).await.unwrap();
        let _read = link.read(&mut [0; 100]).await.unwrap();
        let control = meter.take();
        let [(TrafficClass::Control, sent, received)] = control.as_slice() else {
            panic!("{control:?}")
        };
        // A word of 100 bytes and one of 50, each with a segment back.
        let (there, back) = (on_the_wire(100), on_the_wire(50));
        assert!(sent.abs_diff(there.0 + back.1) < 60, "{sent}");
        assert!(received.abs_diff(there.1 + back.0) < 60, "{received}");

        let (near, mut far) = tokio::io::duplex(100_000);
        let mut download = meter.of(TrafficClass::Artifacts).around(near);
        far.write_all(&[0; 5_000]).await.unwrap();
        download.read_exact(&mut vec![0; 5_000]).await.unwrap();
        let counted = meter.take();
        assert_eq!(counted.len(), 1);
        assert!(counted[0].0 == TrafficClass::Artifacts && counted[0].2 >= 5_000);
    }
}
