//! Shipping: decides which stream sends a batch next, one at a time, by priority, then age, within
//! the time windows of its policy and the link budget, as large as the link takes in a few seconds.
//!
//! See decision 0049.

use holdfast_records::message::MAX_BATCH;
use holdfast_records::{Order, Ship, StreamName, StreamPolicy, TrafficClass, Window};

use super::step::StreamSummary;
use crate::backoff::Entropy;

/// Smallest size that is aimed at for a batch, in bytes: below it headers and acknowledgements
/// outweigh.
pub const SMALLEST: usize = 16 * 1024;
/// Smallest rest of a link budget for which a batch is made, in bytes.
pub const LEAST: usize = SMALLEST / 8;
/// Largest size that is aimed at for a batch, in bytes: the encoded batch must stay below
/// [`MAX_BATCH`].
const LARGEST: usize = MAX_BATCH - 16 * 1024;
/// Time to an acknowledgement, in milliseconds, below which the next batch is larger.
const QUICK: u64 = 1_000;
/// Time to an acknowledgement, in milliseconds, above which the next batch is smaller. A desired
/// state waits for one batch at most.
const SLOW: u64 = 4_000;
/// First and longest time after which a batch that has arrived is redelivered if no acknowledgement
/// came, in milliseconds; it doubles each time.
const RESEND: (u64, u64) = (30_000, 300_000);
/// First back-off in milliseconds after a batch that did not arrive, or that the control plane
/// could not store and gave no time for. It doubles up to the longest one of [`RESEND`]: a batch
/// that can never be stored must not cost the link a batch a second.
const AGAIN: u64 = 1_000;
/// Longest time in milliseconds for which a record waits for others to go with it: of urgent
/// streams, of others, and of others on a link with a budget.
const LINGER: (u64, u64, u64) = (200, 2_000, 30_000);
/// Longest time in milliseconds before gaps of records that are not shipped (withheld, reduced) are
/// reported.
const LINGER_GAPS: u64 = 900_000;
/// Longest random delay after a connect, in milliseconds, so that a fleet that comes back at once
/// does not ship at once.
const JITTER: u64 = 3_000;
/// Pause of a stream whose batch was refused, in milliseconds.
const REFUSED: u64 = 300_000;

/// Pause of a stream that had no records for a batch, contrary to its offer, in milliseconds.
const NOTHING: u64 = 500;

/// Lowest priority that is urgent: such streams count as events, which may borrow from the budget.
pub const URGENT: u8 = 8;

/// Stream that has something to ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Name of the stream.
    pub stream: StreamName,
    /// Priority from 0 to 9; the highest goes first.
    pub priority: u8,
    /// Order in which its batches are shipped: oldest or newest first.
    pub order: Order,
    /// True if no record is shipped (`never`): only gaps are reported.
    pub withheld: bool,
    /// Times of the day at which records may be shipped; empty: always.
    pub windows: Vec<Window>,
    /// Number of records that wait.
    pub waiting: u64,
    /// Bytes of all its records on disk.
    pub bytes: u64,
    /// True if gaps are to be reported.
    pub unreported_gaps: bool,
    /// True if reduced or withheld records are to be shipped as they are, because of a fetch.
    pub wanted: bool,
    /// Time of the oldest record that waits, in milliseconds since 1970.
    pub oldest: Option<u64>,
    /// Time before which nothing is shipped, in milliseconds since 1970.
    pub due: Option<u64>,
}

impl Offer {
    /// Offer of a stream by its summary and its policy.
    pub fn new(summary: &StreamSummary, policy: &StreamPolicy) -> Self {
        Self {
            stream: summary.name.clone(),
            priority: policy.priority,
            order: policy.order,
            withheld: policy.ship == Ship::Never,
            windows: policy.windows.clone(),
            waiting: summary.waiting,
            bytes: summary.waiting_bytes(),
            unreported_gaps: summary.unreported_gaps,
            wanted: summary.wanted,
            oldest: summary.oldest_waiting,
            due: summary.due,
        }
    }

    /// Class of traffic that its bytes count for.
    pub fn class(&self) -> TrafficClass {
        if self.priority >= URGENT { TrafficClass::Events } else { TrafficClass::Data }
    }
}

/// Next step of shipping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Make a batch of this stream, of about `bytes` bytes.
    Ship {
        /// Stream to read from.
        stream: StreamName,
        /// Size that is aimed at, encoded.
        bytes: usize,
        /// Class of traffic that the batch counts for.
        class: TrafficClass,
    },
    /// Ask again at this time if nothing changes before, in milliseconds of the monotonic clock.
    Wait(u64),
    /// Nothing is to be shipped.
    Nothing,
}

#[derive(Debug, Clone)]
struct Flight {
    number: u64,
    stream: StreamName,
    from: u64,
    to: u64,
    size: usize,
    sent: u64,
    /// Time of the batch's PUBACK. None: it may still be on its way.
    arrived: Option<u64>,
}

/// Present time by the two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds of the monotonic clock.
    pub uptime: u64,
    /// Milliseconds since 1970, by the system's clock.
    pub wall: u64,
}

/// State of shipping: the batch on its way, the size that the link takes, and back-offs.
#[derive(Debug)]
pub struct Shipper {
    connected: bool,
    not_before: u64,
    size: usize,
    flight: Option<Flight>,
    /// Number of batches sent so far.
    sent: u64,
    /// True while a batch is being made, even if the link is lost meanwhile.
    making: bool,
    late: u32,
    refused: Vec<(StreamName, u64)>,
    entropy: Entropy,
}

impl Shipper {
    /// Creates the state with a seed for its jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            connected: false,
            not_before: 0,
            size: SMALLEST,
            flight: None,
            sent: 0,
            making: false,
            late: 0,
            refused: Vec::new(),
            entropy: Entropy::new(seed),
        }
    }

    /// Notes that the link is up; `now` in milliseconds of the monotonic clock.
    pub fn connected(&mut self, now: u64) {
        self.connected = true;
        self.flight = None;
        self.late = 0;
        self.not_before = self.not_before.max(now + self.entropy.draw() % JITTER);
    }

    /// Notes that the link is down: the batch on its way is redelivered later.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.flight = None;
    }

    /// Decides the next step. `allowed` gives the bytes that a class may still use; None: no bound.
    pub fn next(
        &mut self,
        offers: &[Offer],
        allowed: impl Fn(TrafficClass) -> Option<u64>,
        now: Now,
    ) -> Next {
        if !self.connected || self.making {
            return Next::Nothing;
        }
        if let Some(flight) = &self.flight {
            // Its arrival is not confirmed: on a slow link that may take long, and another batch
            // would only queue behind it.
            let Some(arrived) = flight.arrived else { return Next::Nothing };
            let due = arrived + self.patience();
            if now.uptime < due {
                return Next::Wait(due);
            }
            self.flight = None;
            self.late = self.late.saturating_add(1);
            self.size = SMALLEST;
        }
        if now.uptime < self.not_before {
            let any = offers.iter().any(Offer::has_something);
            return if any { Next::Wait(self.not_before) } else { Next::Nothing };
        }
        self.refused.retain(|(_, until)| *until > now.uptime);
        let mut offers: Vec<&Offer> = offers.iter().filter(|offer| offer.has_something()).collect();
        offers.sort_by_key(|offer| (u8::MAX - offer.priority, offer.oldest.unwrap_or(u64::MAX)));
        let mut wake = u64::MAX;
        for offer in offers {
            match self.ready(offer, &allowed, now) {
                Ok(bytes) => {
                    self.making = true;
                    let (stream, class) = (offer.stream.clone(), offer.class());
                    return Next::Ship { stream, bytes, class };
                }
                Err(later) => wake = wake.min(later),
            }
        }
        if wake == u64::MAX { Next::Nothing } else { Next::Wait(wake) }
    }

    /// Returns the largest size of a batch of this stream now, or the time to ask again.
    fn ready(
        &self,
        offer: &Offer,
        allowed: impl Fn(TrafficClass) -> Option<u64>,
        now: Now,
    ) -> Result<usize, u64> {
        if let Some((_, until)) = self.refused.iter().find(|(name, _)| *name == offer.stream) {
            return Err(*until);
        }
        let until_window = until_window(&offer.windows, now.wall);
        if until_window > 0 && !offer.has_gaps_alone() {
            return Err(now.uptime + until_window);
        }
        if let Some(due) = offer.due.filter(|due| *due > now.wall) {
            // The wait is bounded by an hour, because the clock may be set meanwhile.
            return Err(now.uptime + (due - now.wall).min(3_600_000));
        }
        let budget = allowed(offer.class());
        let linger = match (offer.class(), budget) {
            (_, _) if offer.withheld && !offer.wanted => LINGER_GAPS,
            (TrafficClass::Events, _) => LINGER.0,
            (_, None) => LINGER.1,
            (_, Some(_)) => LINGER.2,
        };
        let full =
            usize::try_from(offer.bytes).unwrap_or(usize::MAX) >= self.size * 2 && !offer.withheld;
        // A record from the future (the clock was set back) has no age: it does not wait for
        // others.
        let age = offer.oldest.and_then(|oldest| now.wall.checked_sub(oldest)).unwrap_or(linger);
        let wait = linger.saturating_sub(age);
        if wait > 0 && !full {
            return Err(now.uptime + wait);
        }
        let left = budget.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        if left < LEAST {
            return Err(now.uptime + 60_000);
        }
        // Outside its time windows a batch reports gaps alone. A record that came since the offer
        // goes with it, so the batch is kept small.
        let most = if until_window > 0 { LEAST } else { self.size };
        Ok(most.min(left))
    }

    fn patience(&self) -> u64 {
        (RESEND.0 << self.late.min(8)).min(RESEND.1)
    }

    /// Notes that there was nothing to make a batch of: the stream is left alone for a moment.
    pub fn nothing(&mut self, stream: StreamName, now: u64) {
        self.making = false;
        self.refused.push((stream, now + NOTHING));
    }

    /// Notes that a batch of `size` bytes was sent. Returns its number, for [`Shipper::arrived`].
    pub fn sent(&mut self, stream: StreamName, from: u64, to: u64, size: usize, now: u64) -> u64 {
        self.making = false;
        self.sent += 1;
        let number = self.sent;
        self.flight = Some(Flight { number, stream, from, to, size, sent: now, arrived: None });
        number
    }

    /// Notes that the batch that was made could not be sent.
    pub fn not_sent(&mut self) {
        self.making = false;
    }

    /// Notes that the batch of this number has arrived at the broker, or has not and is redelivered
    /// after a back-off.
    pub fn arrived(&mut self, number: u64, arrived: bool, now: u64) {
        // A late result of an earlier connection says nothing about the batch that is on its way.
        let Some(flight) = self.flight.as_mut().filter(|it| it.number == number) else { return };
        if arrived {
            flight.arrived = Some(now);
        } else {
            self.flight = None;
            self.size = SMALLEST;
            let pause = (AGAIN << self.late.min(16)).min(RESEND.1);
            self.late = self.late.saturating_add(1);
            self.not_before = self.not_before.max(now + pause);
        }
    }

    /// Notes that the control plane acknowledged or refused a batch. Returns true if it was the one
    /// on its way.
    pub fn acknowledged(
        &mut self,
        stream: &StreamName,
        from: u64,
        to: u64,
        refused: bool,
        now: u64,
    ) -> bool {
        let mine =
            |flight: &Flight| flight.stream == *stream && flight.from == from && flight.to == to;
        let Some(flight) = self.flight.take_if(|flight| mine(flight)) else { return false };
        if refused {
            self.refused.push((stream.clone(), now + REFUSED));
            return true;
        }
        self.late = 0;
        let took = now.saturating_sub(flight.sent);
        if took > SLOW {
            self.size = (self.size / 2).max(SMALLEST);
        } else if took < QUICK && flight.size * 2 > self.size {
            self.size = (self.size * 2).min(LARGEST);
        }
        true
    }

    /// Pauses shipping for `ms` milliseconds, as the control plane asked.
    pub fn hold(&mut self, ms: u32, now: u64) {
        if ms > 0 {
            // Up to a quarter of jitter, so that a fleet does not come again at once.
            let ms = u64::from(ms);
            let until = now + ms + self.entropy.draw() % (ms / 4 + 1);
            // The control plane chose the time itself: the back-off starts anew.
            self.late = 0;
            self.not_before = self.not_before.max(until);
        }
    }
}

/// True if a class may use too little to begin anything. `left`: bytes it may use; None: no bound.
pub fn is_used_up(class: TrafficClass, left: Option<u64>) -> bool {
    let least = match class {
        TrafficClass::Events | TrafficClass::Data => LEAST as u64,
        TrafficClass::Control | TrafficClass::Logs | TrafficClass::Artifacts => 1,
    };
    left.is_some_and(|left| left < least)
}

impl Offer {
    fn has_something(&self) -> bool {
        self.waiting > 0 || self.unreported_gaps || self.wanted
    }

    /// True if the stream has gaps to report and no record to ship. The few bytes of gaps wait for
    /// no time window, because until then nobody would know of the loss.
    fn has_gaps_alone(&self) -> bool {
        self.unreported_gaps && self.waiting == 0 && !self.wanted
    }
}

/// Milliseconds until the next of these times of the day begins; 0: within one, or none is set.
pub fn until_window(windows: &[Window], wall: u64) -> u64 {
    const DAY: u64 = 1_440;
    if windows.is_empty() {
        return 0;
    }
    let minute = wall / 60_000 % DAY;
    if windows.iter().any(|window| window.contains(u16::try_from(minute).unwrap_or(0))) {
        return 0;
    }
    let wait = |window: &Window| (u64::from(window.from) + DAY - minute) % DAY;
    let minutes = windows.iter().map(wait).min().unwrap_or(DAY).max(1);
    (minutes * 60_000).saturating_sub(wall % 60_000).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Now = Now { uptime: 100_000, wall: 1_000_000_000 };

    fn offer(name: &str, priority: u8, oldest: u64) -> Offer {
        Offer {
            stream: name.parse().unwrap(),
            priority,
            order: Order::OldestFirst,
            withheld: false,
            windows: Vec::new(),
            waiting: 10,
            bytes: 10_000_000,
            unreported_gaps: false,
            wanted: false,
            oldest: Some(oldest),
            due: None,
        }
    }

    fn up() -> Shipper {
        let mut shipper = Shipper::new(1);
        shipper.connected(0);
        shipper
    }

    fn ships(next: Next) -> Option<String> {
        match next {
            Next::Ship { stream, .. } => Some(stream.to_string()),
            _ => None,
        }
    }

    #[test]
    fn priority_then_age_and_one_at_a_time() {
        let offers = [offer("old", 5, 1), offer("new", 5, 9), offer("alarm", 9, 999)];
        let mut shipper = up();
        assert_eq!(ships(shipper.next(&offers, |_| None, NOW)).as_deref(), Some("alarm"));
        assert_eq!(shipper.next(&offers, |_| None, NOW), Next::Nothing, "it is being made");
        let number = shipper.sent("alarm".parse().unwrap(), 1, 5, 100, NOW.uptime);
        assert_eq!(shipper.next(&offers, |_| None, NOW), Next::Nothing, "it is on its way");
        shipper.arrived(number, true, NOW.uptime);
        assert_eq!(shipper.next(&offers, |_| None, NOW), Next::Wait(NOW.uptime + RESEND.0));
        assert!(!shipper.acknowledged(&"alarm".parse().unwrap(), 1, 4, false, NOW.uptime));
        assert!(shipper.acknowledged(&"alarm".parse().unwrap(), 1, 5, false, NOW.uptime));
        let offers = [offer("old", 5, 1), offer("new", 5, 9)];
        assert_eq!(ships(shipper.next(&offers, |_| None, NOW)).as_deref(), Some("old"));
    }

    #[test]
    fn what_is_not_acknowledged_goes_again_ever_less_often() {
        let offers = [offer("a", 5, 1)];
        let mut shipper = up();
        let (mut now, mut sent) = (NOW, 0);
        while now.uptime < NOW.uptime + 3_600_000 {
            match shipper.next(&offers, |_| None, now) {
                Next::Ship { stream, .. } => {
                    sent += 1;
                    let number = shipper.sent(stream, 1, 2, 10, now.uptime);
                    shipper.arrived(number, true, now.uptime);
                }
                Next::Wait(until) => now.uptime = until,
                Next::Nothing => panic!("it waits for ever"),
            }
        }
        assert!((12..20).contains(&sent), "{sent} times an hour");
    }

    #[test]
    fn batches_grow_on_a_quick_link_and_shrink_on_a_slow_one() {
        let (mut shipper, name) = (up(), "a".parse::<StreamName>().unwrap());
        let offers = [offer("a", 5, 1)];
        let mut now = NOW;
        let mut go = |took: u64| {
            let Next::Ship { bytes, .. } = shipper.next(&offers, |_| None, now) else { panic!() };
            shipper.sent(name.clone(), 1, 2, bytes, now.uptime);
            now.uptime += took;
            assert!(shipper.acknowledged(&name, 1, 2, false, now.uptime));
            bytes
        };
        let quick: Vec<_> = (0..8).map(|_| go(50)).collect();
        assert_eq!((quick.first(), quick.last()), (Some(&SMALLEST), Some(&LARGEST)));
        let slow: Vec<_> = (0..8).map(|_| go(20_000)).collect();
        assert_eq!(slow.last(), Some(&SMALLEST));
    }

    #[test]
    fn windows_budgets_and_holds_are_obeyed() {
        let mut night = offer("night", 9, 1);
        // 1970-01-12T13:46:40Z: minute 826.
        night.windows = vec![Window { from: 60, to: 240 }];
        let mut shipper = up();
        let Next::Wait(until) = shipper.next(&[night.clone()], |_| None, NOW) else { panic!() };
        let wall = NOW.wall + until - NOW.uptime;
        assert_eq!(wall / 60_000 % 1_440, 60);
        let then = Now { uptime: until, wall };
        assert!(ships(shipper.next(&[night.clone()], |_| None, then)).is_some());
        night.windows = vec![Window { from: 1_380, to: 840 }];
        let mut shipper = up();
        assert!(ships(shipper.next(&[night.clone()], |_| None, NOW)).is_some(), "past midnight");

        // What is lost is told at any time, in a batch that has room for little else.
        night.windows = vec![Window { from: 60, to: 240 }];
        let lost = Offer { waiting: 0, unreported_gaps: true, oldest: None, ..night.clone() };
        let told = up().next(std::slice::from_ref(&lost), |_| None, NOW);
        let Next::Ship { bytes, .. } = told else { panic!() };
        assert_eq!(bytes, LEAST);
        for held in [Offer { waiting: 1, ..lost.clone() }, Offer { wanted: true, ..lost }] {
            let next = up().next(&[held], |_| None, NOW);
            assert!(matches!(next, Next::Wait(_)), "records wait for their window: {next:?}");
        }

        let mut shipper = up();
        let some = |class| Some(if class == TrafficClass::Data { 0 } else { 5_000 });
        let offers = [offer("data", 7, 1), offer("event", 8, 2)];
        let Next::Ship { stream, bytes, .. } = shipper.next(&offers, some, NOW) else { panic!() };
        assert_eq!((stream.as_str(), bytes), ("event", 5_000));

        let mut shipper = up();
        shipper.hold(60_000, NOW.uptime);
        let Next::Wait(until) = shipper.next(&offers, |_| None, NOW) else { panic!() };
        assert!((60_000..=75_000).contains(&(until - NOW.uptime)), "{until}");
    }

    #[test]
    fn what_could_not_be_stored_goes_again_when_it_was_said_or_ever_less_often() {
        let offers = [offer("a", 5, 1)];
        let name: StreamName = "a".parse().unwrap();
        let (mut shipper, mut now) = (up(), NOW);
        let mut refuse = |hold| {
            let Next::Ship { bytes, .. } = shipper.next(&offers, |_| None, now) else { panic!() };
            let number = shipper.sent(name.clone(), 1, 2, bytes, now.uptime);
            shipper.hold(hold, now.uptime);
            shipper.arrived(number, false, now.uptime);
            let Next::Wait(until) = shipper.next(&offers, |_| None, now) else { panic!() };
            let waited = until - now.uptime;
            now.uptime = until;
            waited
        };
        let waits: Vec<u64> = (0..10).map(|_| refuse(0)).collect();
        assert_eq!((&waits[..3], waits[9]), ([1_000, 2_000, 4_000].as_slice(), RESEND.1));
        for _ in 0..3 {
            let wait = refuse(5_000);
            assert!((5_000..=6_250).contains(&wait), "{wait}");
        }
        assert_eq!(refuse(0), 2_000, "and it begins anew");
    }

    #[test]
    fn a_budget_that_leaves_less_than_a_batch_is_used_up() {
        let mut shipper = up();
        let offers = [offer("a", 5, 1)];
        let class = TrafficClass::Data;
        for left in [0, 1, LEAST as u64 - 1] {
            assert!(is_used_up(class, Some(left)));
            assert!(matches!(shipper.next(&offers, |_| Some(left), NOW), Next::Wait(_)));
        }
        assert!(!is_used_up(class, Some(LEAST as u64)) && !is_used_up(class, None));
        assert!(ships(shipper.next(&offers, |_| Some(LEAST as u64), NOW)).is_some());
        assert!(
            is_used_up(TrafficClass::Logs, Some(0)) && !is_used_up(TrafficClass::Logs, Some(1))
        );
    }

    #[test]
    fn a_few_records_wait_for_others_and_a_refused_stream_waits_longer() {
        let mut few = offer("few", 5, NOW.wall - 500);
        few.bytes = 100;
        let mut shipper = up();
        assert_eq!(shipper.next(&[few.clone()], |_| None, NOW), Next::Wait(NOW.uptime + 1_500));
        few.oldest = Some(NOW.wall + 1_000_000_000);
        assert!(
            ships(up().next(&[few.clone()], |_| None, NOW)).is_some(),
            "the clock was set back"
        );
        few.oldest = Some(NOW.wall - 2_000);
        assert!(ships(shipper.next(&[few.clone()], |_| None, NOW)).is_some());
        shipper.sent(few.stream.clone(), 1, 1, 10, NOW.uptime);
        assert!(shipper.acknowledged(&few.stream, 1, 1, true, NOW.uptime));
        let other = offer("other", 1, 1);
        assert_eq!(ships(shipper.next(&[few, other], |_| None, NOW)).as_deref(), Some("other"));
    }

    /// Event of a batch and its link.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Ask,
        Made,
        Unmade,
        Arrive(usize),
        Fail(usize),
        Acknowledge,
        Down,
        Up,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Ask),
            4 => Just(Step::Made),
            1 => Just(Step::Unmade),
            2 => (0usize..3).prop_map(Step::Arrive),
            1 => (0usize..3).prop_map(Step::Fail),
            2 => Just(Step::Acknowledge),
            1 => Just(Step::Down),
            2 => Just(Step::Up),
        ]
    }

    proptest! {
        /// Checks that, however slow the link is and however often it ends, one batch at most is
        /// being made or on its way.
        #[test]
        fn one_batch_at_a_time(steps in proptest::collection::vec((step(), 0u64..90_000), 0..200)) {
            let name: StreamName = "a".parse().unwrap();
            let offers = [offer("a", 5, 1)];
            let mut shipper = Shipper::new(1);
            let (mut up, mut now, mut making) = (false, NOW, 0);
            // Numbers of those that were sent and of which nothing was heard, and the connection
            // of each.
            let (mut flying, mut connection) = (Vec::<(u64, u32)>::new(), 0);
            for (step, passed) in steps {
                now.uptime += passed;
                now.wall += passed;
                match step {
                    Step::Ask => {
                        let next = shipper.next(&offers, |_| None, now);
                        making += u32::from(matches!(next, Next::Ship { .. }));
                    }
                    Step::Made if making > 0 && up => {
                        making -= 1;
                        let number = shipper.sent(name.clone(), 1, 2, 10, now.uptime);
                        flying.push((number, connection));
                    }
                    Step::Unmade if making > 0 && up => {
                        making -= 1;
                        shipper.nothing(name.clone(), now.uptime);
                    }
                    Step::Made | Step::Unmade if making > 0 => {
                        making -= 1;
                        shipper.not_sent();
                    }
                    Step::Arrive(at) if at < flying.len() => {
                        let (number, of) = flying.remove(at);
                        shipper.arrived(number, of == connection, now.uptime);
                    }
                    Step::Fail(at) if at < flying.len() => {
                        shipper.arrived(flying.remove(at).0, false, now.uptime);
                    }
                    Step::Acknowledge if up && flying.iter().any(|it| it.1 == connection) => {
                        shipper.acknowledged(&name, 1, 2, false, now.uptime);
                        flying.retain(|it| it.1 != connection);
                    }
                    Step::Down => {
                        (up, connection) = (false, connection + 1);
                        shipper.disconnected();
                    }
                    Step::Up if !up => {
                        up = true;
                        shipper.connected(now.uptime);
                    }
                    _ => {}
                }
                let here = flying.iter().filter(|it| it.1 == connection).count();
                prop_assert!(making as usize + here <= 1, "{} made, {} on the way", making, here);
            }
        }
    }
}
