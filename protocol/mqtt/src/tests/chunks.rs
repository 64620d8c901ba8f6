//! A session behaves the same however a stream of bytes is cut into pieces; and no bytes make it
//! panic or hold more than its limits allow.

use proptest::collection::vec;
use proptest::prelude::*;

use super::wire::{self, Connect, NAME, packet, topic};
use super::{Rig, Told, limits};
use crate::Limits;

/// Generates one packet of a client, valid or not.
fn any_packet(version: u8) -> impl Strategy<Value = Vec<u8>> {
    let channel = prop::sample::select(vec!["state", "reply", "presence", "desired", "none"]);
    let id = prop_oneof![9 => 1_u16..20, 1 => Just(0_u16)];
    let payload = vec(any::<u8>(), 0..300);
    let publish = (channel.clone(), id.clone(), payload).prop_map(move |(channel, id, payload)| {
        wire::publish1(version, &topic(channel), id, &payload)
    });
    let subscribe = (channel, id.clone(), 0_u8..4).prop_map(move |(channel, id, options)| {
        wire::subscribe(version, id, &[(&topic(channel), options), (&topic("#"), 1)])
    });
    prop_oneof![
        8 => publish,
        4 => subscribe,
        2 => id.clone().prop_map(move |id| wire::unsubscribe(version, id, &[&topic("#")])),
        2 => id.prop_map(wire::puback),
        4 => Just(vec![0xc0, 0]),
        1 => Just(wire::publish1(version, &topic("state"), 7, &[0; 20_000])),
        1 => Just(wire::publish1(version, "hf/v1/7/acme_other/state", 7, b"x")),
        1 => Just(wire::publish(version, 4, &topic("state"), Some(3), &[], b"two")),
        1 => Just(vec![0x62, 2, 0, 3]),
        1 => Just(wire::publish1(version, &topic("state"), 8, &[0; 70_000])),
        1 => Just(vec![0xe0, 0]),
        1 => (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(first, body)| packet(first, &body)),
        1 => vec(any::<u8>(), 1..40),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![4_u8, 5]).prop_flat_map(|version| {
        vec(any_packet(version), 0..12).prop_map(move |packets| {
            let connect = Connect::will(version, NAME, &topic("presence"), b"gone").bytes();
            std::iter::once(connect).chain(packets).flatten().collect()
        })
    })
}

/// Returns a bound far above what one packet and its answers need, far below what could be claimed.
fn bound() -> usize {
    2 * limits().max_packet + limits().inbound_bytes + 64 * 1024
}

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, lenient: bool) -> (Vec<Told>, Vec<u8>) {
    let mut rig = Rig::with(Limits { lenient, ..limits() }, None);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(rig.answer(piece));
        assert!(rig.session.held() <= bound(), "holds {} bytes", rig.session.held());
    }
    rig.session.lost();
    out.extend(rig.answer(b""));
    (rig.told, out)
}

/// Cuts bytes into pieces of these sizes, which are used in turn.
fn pieces<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        out.push(piece);
        rest = after;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same(bytes in stream(), sizes in vec(1_usize..200, 1..8)) {
        for lenient in [false, true] {
            let whole = run(std::iter::once(&bytes[..]), lenient);
            prop_assert_eq!(&run(pieces(&bytes, &sizes).into_iter(), lenient), &whole);
            prop_assert_eq!(&run(bytes.chunks(1), lenient), &whole);
        }
    }

    #[test]
    fn damaged_streams_end_or_go_on(
        mut bytes in stream(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sizes in vec(1_usize..500, 1..8),
    ) {
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for lenient in [false, true] {
            let whole = run(std::iter::once(&bytes[..]), lenient);
            prop_assert_eq!(&run(pieces(&bytes, &sizes).into_iter(), lenient), &whole);
        }
    }

    #[test]
    fn noise_is_survived(bytes in vec(any::<u8>(), 0..2_000), sizes in vec(1_usize..500, 1..8)) {
        run(pieces(&bytes, &sizes).into_iter(), false);
        for (version, lenient) in [(4, false), (5, false), (4, true), (5, true)] {
            let bytes = [&wire::connect(version, NAME)[..], &bytes].concat();
            run(pieces(&bytes, &sizes).into_iter(), lenient);
        }
    }
}

/// A claimed length reserves no memory; the bytes that arrive for it are bounded by the limit.
#[test]
fn a_large_claim_costs_nothing() {
    let mut rig = Rig::connected(5);
    rig.give(&[0x30, 0xff, 0xff, 3]); // 65,535 and header: just over the limit of 64 KiB
    assert!(rig.ending().is_some());
    let mut rig = Rig::connected(5);
    rig.give(&[0x30, 0xf0, 0xff, 3]);
    assert!(rig.ending().is_none());
    assert!(rig.session.held() < 100, "{}", rig.session.held());
}
