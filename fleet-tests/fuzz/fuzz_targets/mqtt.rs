//! Fuzzes a whole MQTT session: bytes in pieces, time passing, a host that answers now, later or
//! never, and messages to the client. However the same bytes are cut, the session tells the same.
#![no_main]

use std::sync::Arc;

use holdfast_base::ids::DeviceId;
use holdfast_control_core::device_topics::DeviceTopics;
use holdfast_mqtt::{Client, Event, Fault, Limits, Message, Policy, Retain, Session};
use holdfast_protocol::topic::Channel;
use libfuzzer_sys::fuzz_target;

struct Gate {
    device: DeviceId,
    topics: DeviceTopics,
}

impl Policy for Gate {
    type Route = Channel;

    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault> {
        DeviceTopics::check_client_id(&self.device, client.id)
    }

    fn publish(&self, topic: &str) -> Option<Channel> {
        self.topics.publish(topic)
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.topics.subscribe(filter)
    }
}

fn session(lenient: bool) -> Session<Gate> {
    let device: DeviceId = "acme_dev-1".parse().expect("a device id");
    let topics = DeviceTopics::new(7, &device);
    let limits = Limits {
        max_packet: 4_096,
        inbound_in_flight: 4,
        inbound_bytes: 8_192,
        outbound_in_flight: 2,
        outbound_queue: 3,
        topic_aliases: 2,
        connect_timeout: 10_000,
        partial_timeout: 60_000,
        max_keep_alive: 3_600,
        lenient,
    };
    Session::new(Gate { device, topics }, Arc::new(limits), 0)
}

/// Events as text, and the output.
#[derive(Default, PartialEq, Eq, Debug)]
struct Told {
    events: Vec<String>,
    output: Vec<u8>,
}

/// Takes all events and output, as a host that stores at once.
fn settle(session: &mut Session<Gate>, told: &mut Told) {
    loop {
        while let Some(event) = session.poll_event() {
            told.events.push(format!("{event:?}"));
            if let Event::Published { token, .. } = event {
                session.acknowledge(token, true);
            }
        }
        let count = session.output().len();
        if count == 0 {
            return;
        }
        told.output.extend_from_slice(session.output());
        session.consume(count);
    }
}

fn in_pieces(bytes: &[u8], size: usize, lenient: bool) -> Told {
    let (mut session, mut told) = (session(lenient), Told::default());
    for piece in bytes.chunks(size) {
        session.receive(piece, 0);
        settle(&mut session, &mut told);
    }
    session.lost();
    settle(&mut session, &mut told);
    told
}

/// Runs a session with a host and a network that behave as the script says.
fn scripted(bytes: &[u8], script: &[u8]) {
    let mut session = session(script.first().is_some_and(|first| first & 1 != 0));
    let (mut now, mut rest, mut waiting) = (0_u64, bytes, Vec::new());
    for &step in script.iter().cycle().take(script.len().max(1) + bytes.len().min(256)) {
        let size = usize::from(step >> 3) + 1;
        match step & 7 {
            0..=2 if session.wants_input() => {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                session.receive(piece, now);
                rest = after;
            }
            3 => {
                now += u64::from(step) * 500;
                session.handle_timeout(now);
            }
            4 => session.consume(size),
            5 => {
                for token in waiting.drain(..) {
                    session.acknowledge(token, step & 8 != 0);
                }
            }
            6 => {
                let retain = if step & 8 == 0 { Retain::No } else { Retain::Live };
                let channel = if step & 8 == 0 { "call" } else { "desired" };
                let topic = session.policy().topics.topic(Channel::ALL[1]);
                let topic = topic.replace("call", channel).into_boxed_str();
                let payload = vec![step; size * 20].into();
                let conflate = step & 8 != 0;
                let _taken = session.deliver(Message { topic, payload, retain, conflate });
            }
            _ => {}
        }
        while let Some(event) = session.poll_event() {
            if let Event::Published { token, .. } = event {
                waiting.push(token);
            }
        }
        assert!(session.output().len() < 64 * 1024, "output without bound");
        assert!(waiting.len() <= 5, "more in flight than the limit");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (script, bytes) = bytes.split_at(bytes.len().min(8));
    for lenient in [false, true] {
        let whole = in_pieces(bytes, usize::MAX, lenient);
        for size in [1, usize::from(script.first().copied().unwrap_or(7)) + 1] {
            assert_eq!(in_pieces(bytes, size, lenient), whole, "in pieces of {size}");
        }
    }
    scripted(bytes, script);
});
