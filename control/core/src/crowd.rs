//! Chooses the connection that is closed when a new one needs its place: those that send nothing
//! before those that work, unauthenticated ones ("strangers") before authenticated ones, the oldest
//! first, and those of the newcomer's own network before all others. A newcomer is never refused in
//! favour of a silent connection.
//!
//! See decision 0095.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::throttle::network;

/// Progress of a connection. Ordered as connections are closed to make room: `Silent` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepted, and no byte has arrived. A TLS client sends as soon as it is connected.
    Silent,
    /// In the TLS handshake. At the gateway this stage lasts until CONNECT.
    Handshake,
    /// Between two requests, or before the head of the first one is complete.
    Idle,
    /// In a request or its reply.
    Busy,
}

const STAGES: [Stage; 4] = [Stage::Silent, Stage::Handshake, Stage::Idle, Stage::Busy];

/// Milliseconds after which a connection that has sent nothing counts as stalled. The first packet
/// of a client follows its connection at once, whatever the round trip.
const SILENT: u64 = 100;

/// Milliseconds after which a stranger's request counts as stalled. An enrolment is a few
/// kilobytes.
const BUSY: u64 = 10_000;

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most connections, authenticated or not.
    pub all: usize,
    /// Most connections that have not authenticated.
    pub strangers: usize,
    /// Strangers of one network below which stalled ones are tolerated. From this number on,
    /// stalled strangers of that network are closed when another one arrives from it.
    pub each: usize,
    /// Milliseconds after which a handshake, or the wait for a request, counts as stalled.
    pub stalled_after: u64,
}

/// Sort key of connections, in the order in which they are closed: stage, time at which the stage
/// began (milliseconds), number of the connection.
type Place = (Stage, u64, u64);

#[derive(Debug)]
struct Member {
    network: IpAddr,
    known: bool,
    place: Place,
}

#[derive(Debug, Default)]
struct Network {
    strangers: BTreeSet<Place>,
    known: BTreeSet<Place>,
}

/// Possibility of admitting another stranger.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// A place is free.
    Free,
    /// No place is free, but the connection of this number has stalled and should be closed.
    Stalled(u64),
    /// No place becomes free for this many milliseconds, unless a connection ends.
    After(u64),
}

/// Connections of one listener.
#[derive(Debug)]
pub struct Crowd {
    bounds: Bounds,
    members: BTreeMap<u64, Member>,
    strangers: BTreeSet<Place>,
    networks: BTreeMap<IpAddr, Network>,
}

impl Crowd {
    /// Creates an empty crowd.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            members: BTreeMap::new(),
            strangers: BTreeSet::new(),
            networks: BTreeMap::new(),
        }
    }

    /// Returns the number of connections.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns true if there are no connections.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns true if the connection of this number is still counted.
    pub fn has(&self, number: u64) -> bool {
        self.members.contains_key(&number)
    }

    fn patience(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Silent => SILENT.min(self.bounds.stalled_after),
            Stage::Handshake | Stage::Idle => self.bounds.stalled_after,
            Stage::Busy => BUSY.max(self.bounds.stalled_after),
        }
    }

    /// Returns the oldest connection of each stage, in the order in which they are closed.
    fn oldest(places: &BTreeSet<Place>) -> impl Iterator<Item = Place> + '_ {
        STAGES.into_iter().filter_map(|stage| {
            places.range((stage, 0, 0)..=(stage, u64::MAX, u64::MAX)).next().copied()
        })
    }

    fn stalled(&self, places: &BTreeSet<Place>, now: u64) -> Option<u64> {
        let mut oldest = Self::oldest(places);
        oldest
            .find(|(stage, since, _)| now.saturating_sub(*since) >= self.patience(*stage))
            .map(|(_, _, number)| number)
    }

    /// Decides whether another stranger may connect at `now`, in milliseconds. For a listener that
    /// lets newcomers wait rather than close connections that have not stalled.
    pub fn room(&self, now: u64) -> Room {
        if self.strangers.len() < self.bounds.strangers {
            return Room::Free;
        }
        if let Some(number) = self.stalled(&self.strangers, now) {
            return Room::Stalled(number);
        }
        let left = Self::oldest(&self.strangers)
            .map(|(stage, since, _)| (since + self.patience(stage)).saturating_sub(now));
        Room::After(left.min().unwrap_or(0).max(1))
    }

    /// Admits a newcomer and returns the connections that the caller must close for it. They are no
    /// longer counted: one whose place is needed, and strangers of the newcomer's network that have
    /// stalled, if that network has [`Bounds::each`] or more.
    pub fn enter(&mut self, number: u64, address: IpAddr, stage: Stage, now: u64) -> Vec<u64> {
        let network = network(address);
        let mut ended = Vec::new();
        while let Some(one) = self.makes_room(network, now, ended.is_empty()) {
            self.leave(one);
            ended.push(one);
        }
        let place = (stage, now, number);
        self.members.insert(number, Member { network, known: false, place });
        self.set(network, false).insert(place);
        self.strangers.insert(place);
        ended
    }

    fn makes_room(&self, network: IpAddr, now: u64, needed: bool) -> Option<u64> {
        let own = self.networks.get(&network).map(|network| &network.strangers);
        let own = own.filter(|own| own.len() >= self.bounds.each);
        if needed && self.strangers.len() >= self.bounds.strangers {
            let first = own.unwrap_or(&self.strangers).first();
            return first.map(|(_, _, number)| *number);
        }
        if let Some(stalled) = own.and_then(|own| self.stalled(own, now)) {
            return Some(stalled);
        }
        (needed && self.members.len() >= self.bounds.all).then(|| self.of_the_greatest()).flatten()
    }

    /// Returns the connection that is closed first in the network with the most authenticated
    /// connections.
    fn of_the_greatest(&self) -> Option<u64> {
        let greatest = self.networks.values().max_by_key(|network| network.known.len())?;
        greatest.known.first().map(|(_, _, number)| *number)
    }

    /// Returns the connection to close if the machine has no room for another one: a stranger if
    /// there is one.
    pub fn least(&self) -> Option<u64> {
        self.strangers.first().map(|(_, _, number)| *number).or_else(|| self.of_the_greatest())
    }

    fn set(&mut self, network: IpAddr, known: bool) -> &mut BTreeSet<Place> {
        let network = self.networks.entry(network).or_default();
        if known { &mut network.known } else { &mut network.strangers }
    }

    /// Removes a connection, however it ended. Returns false if it was removed before.
    pub fn leave(&mut self, number: u64) -> bool {
        let Some(member) = self.members.remove(&number) else { return false };
        self.take_out(&member);
        true
    }

    fn take_out(&mut self, member: &Member) {
        self.set(member.network, member.known).remove(&member.place);
        if !member.known {
            self.strangers.remove(&member.place);
        }
        let left = self.networks.get(&member.network);
        if left.is_some_and(|left| left.strangers.is_empty() && left.known.is_empty()) {
            self.networks.remove(&member.network);
        }
    }

    fn put(&mut self, number: u64, change: impl FnOnce(&mut Member)) {
        let Some(mut member) = self.members.remove(&number) else { return };
        self.take_out(&member);
        change(&mut member);
        self.set(member.network, member.known).insert(member.place);
        if !member.known {
            self.strangers.insert(member.place);
        }
        self.members.insert(number, member);
    }

    /// Notes that a connection has reached this stage at `now`, in milliseconds.
    pub fn at(&mut self, number: u64, stage: Stage, now: u64) {
        self.put(number, |member| member.place = (stage, now, number));
    }

    /// Notes that a connection has authenticated by an access token, a login or a device's
    /// certificate.
    pub fn known(&mut self, number: u64) {
        self.put(number, |member| member.known = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { all: 8, strangers: 4, each: 2, stalled_after: 2_000 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn crowd(members: &[(&str, Stage, u64)]) -> Crowd {
        let mut crowd = Crowd::new(Bounds { strangers: 99, each: 99, ..BOUNDS });
        for (number, (address, stage, at)) in members.iter().enumerate() {
            assert!(crowd.enter(number as u64, ip(address), *stage, *at).is_empty());
        }
        crowd.bounds = BOUNDS;
        crowd
    }

    #[test]
    fn who_ends_for_a_newcomer() {
        use Stage::{Busy, Handshake, Idle, Silent};
        let (one, other, third) = ("192.0.2.1", "192.0.2.2", "2001:db8::1");
        for (members, newcomer, now, ended, why) in [
            (&[(one, Idle, 0)][..], one, 9_000, None, "there is room"),
            (&[(one, Idle, 0), (one, Idle, 1)], one, 1_999, None, "they are still in time"),
            (&[(one, Idle, 0), (one, Idle, 1)], one, 2_000, Some(0), "its own network's oldest"),
            (&[(one, Idle, 0), (one, Idle, 1)], other, 9_000, None, "another network's stay"),
            (&[(one, Idle, 0), (one, Silent, 1)], one, 2_001, Some(1), "the silent one first"),
            (
                &[(one, Busy, 0), (one, Silent, 1)],
                one,
                50,
                None,
                "its first packet may be on the way",
            ),
            (&[(one, Busy, 0), (one, Silent, 1)], one, 101, Some(1), "no packet is so late"),
            (&[(one, Busy, 0), (one, Busy, 1)], one, 9_999, None, "a request takes its time"),
            (&[(one, Busy, 0), (one, Busy, 1)], one, 10_000, Some(0), "but not for ever"),
            (
                &[(one, Idle, 0), (one, Handshake, 1), (other, Silent, 2), (other, Silent, 3)],
                one,
                10,
                Some(1),
                "all places are taken: whoever has the most gives one",
            ),
            (
                &[(one, Idle, 0), (one, Handshake, 1), (other, Silent, 2), (other, Silent, 3)],
                third,
                10,
                Some(2),
                "all places are taken: the silent one, the oldest",
            ),
            (
                &[("2001:db8::2", Idle, 0), ("2001:db8::3", Idle, 1)],
                third,
                2_000,
                Some(0),
                "one IPv6 network counts as one",
            ),
        ] {
            let mut crowd = crowd(members);
            let ended: Vec<u64> = ended.into_iter().collect();
            let said = crowd.enter(100, ip(newcomer), Silent, now);
            assert_eq!(said, ended, "{why}: {members:?}");
            assert_eq!(crowd.len(), members.len() + 1 - ended.len());
        }
    }

    #[test]
    fn who_has_shown_a_right_keeps_a_place_that_strangers_do_not_get() {
        let mut crowd = crowd(&[]);
        for number in 0..4 {
            crowd.enter(number, ip("192.0.2.1"), Stage::Idle, 0);
            crowd.known(number);
        }
        for number in 10..1_000 {
            crowd.enter(number, ip("192.0.2.1"), Stage::Silent, number);
            assert!(crowd.len() <= BOUNDS.all);
        }
        assert!((0..4).all(|number| crowd.members.contains_key(&number)), "{crowd:?}");
        assert_eq!(crowd.strangers.len(), 4);
    }

    #[test]
    fn known_ones_are_bounded_too_and_never_shut_a_newcomer_out() {
        let mut crowd = crowd(&[]);
        for number in 0..100 {
            crowd.enter(number, ip("192.0.2.1"), Stage::Busy, number);
            crowd.known(number);
        }
        assert_eq!(crowd.len(), BOUNDS.all);
        crowd.at(99, Stage::Idle, 100);
        assert_eq!(crowd.enter(100, ip("192.0.2.2"), Stage::Silent, 101), [99], "an idle one");
        crowd.known(100);
        assert_eq!(crowd.enter(101, ip("192.0.2.3"), Stage::Silent, 102), [92], "the oldest");
    }

    #[test]
    fn many_that_came_at_once_go_when_they_have_stalled() {
        let mut crowd = Crowd::new(Bounds { all: 100, strangers: 50, ..BOUNDS });
        for number in 0..40 {
            assert!(crowd.enter(number, ip("192.0.2.1"), Stage::Handshake, 0).is_empty());
        }
        let ended = crowd.enter(40, ip("192.0.2.1"), Stage::Silent, 2_000);
        assert_eq!((ended.len(), crowd.len()), (39, BOUNDS.each));
    }

    #[test]
    fn one_that_waits_is_told_how_long() {
        let members = [("192.0.2.1", Stage::Handshake, 0); 4];
        let crowd = crowd(&members);
        assert_eq!(crowd.room(500), Room::After(1_500));
        assert_eq!(crowd.room(2_000), Room::Stalled(0));
        assert_eq!(Crowd::new(BOUNDS).room(0), Room::Free);
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let mut crowd = crowd(&[]);
        for number in 0..1_000_u64 {
            let address = format!("192.0.{}.{}", number % 7, number % 11);
            crowd.enter(number, ip(&address), Stage::Silent, number);
            if number % 3 == 0 {
                crowd.known(number);
            }
            crowd.at(number, Stage::Busy, number);
        }
        for number in 0..1_000 {
            crowd.leave(number);
            assert!(!crowd.leave(number));
        }
        assert!(crowd.is_empty() && crowd.strangers.is_empty() && crowd.networks.is_empty());
    }
}
