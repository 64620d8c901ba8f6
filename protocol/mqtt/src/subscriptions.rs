//! Subscriptions of a client.

use super::packet::{Wanted, Wish};

/// Most subscriptions of one client. A device needs two.
const MAX_SUBSCRIPTIONS: usize = 32;

struct Subscription {
    filter: Box<str>,
    qos: u8,
    retain_as_published: bool,
    no_local: bool,
}

/// Subscriptions of one connection.
#[derive(Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
}

/// Options for sending a message to a topic.
#[derive(Clone, Copy, Default)]
pub(super) struct Grant {
    pub(super) qos: u8,
    pub(super) retain_as_published: bool,
}

impl Subscriptions {
    /// Adds or replaces a subscription. `Ok(true)`: retained messages are to be sent. `Err`: too
    /// many.
    pub(super) fn add(&mut self, wish: &Wish) -> Result<bool, ()> {
        let new = Subscription {
            filter: wish.filter.as_str().into(),
            qos: wish.qos,
            retain_as_published: wish.retain_as_published,
            no_local: wish.no_local,
        };
        let full = self.list.len() >= MAX_SUBSCRIPTIONS;
        let known = self.list.iter_mut().find(|known| *known.filter == *wish.filter);
        let is_new = known.is_none();
        match known {
            Some(known) => *known = new,
            None if full => return Err(()),
            None => {
                self.list.reserve_exact(1);
                self.list.push(new);
            }
        }
        Ok(match wish.retained {
            Wanted::Always => true,
            Wanted::IfNew => is_new,
            Wanted::Never => false,
        })
    }

    /// Removes a subscription. Returns false if there was none.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|known| &*known.filter != filter);
        before != self.list.len()
    }

    /// Returns the filters of all subscriptions.
    pub(super) fn filters(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|known| &*known.filter)
    }

    /// Returns the options for a topic. None: no filter `means` the topic. If several do, the
    /// highest QoS counts, and retain-as-published if one has it. `own`: the client published the
    /// message.
    pub(super) fn grant(&self, own: bool, means: impl Fn(&str) -> bool) -> Option<Grant> {
        let wanted = |known: &&Subscription| !(own && known.no_local) && means(&known.filter);
        self.list.iter().filter(wanted).fold(None, |best, known| {
            let best: Grant = best.unwrap_or_default();
            Some(Grant {
                qos: best.qos.max(known.qos),
                retain_as_published: best.retain_as_published || known.retain_as_published,
            })
        })
    }

    pub(super) fn clear(&mut self) {
        self.list = Vec::new();
    }
}
