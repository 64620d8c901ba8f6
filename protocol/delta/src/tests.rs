use std::io::Read;

use proptest::prelude::*;

use crate::coder::Decoder;
use crate::header::LENGTH;
use crate::layout::{Kind, Layout, Range, Segment, address_of, get, offset_of, put};
use crate::sites::{Form, put as put_value, taken};
use crate::{DeltaError, Header, Limits, Method, apply};

fn header(method: Method) -> Header {
    Header { method, memory: 24 << 20, old_size: 1, new_size: 3, old: [1; 32], new: [2; 32] }
}

fn limits() -> Limits {
    Limits { memory: 24 << 20, size: 3, new: [2; 32], old: Some([1; 32]) }
}

fn refused(header: &Header, limits: &Limits, rest: &[u8]) -> DeltaError {
    let bytes = [header.bytes(), rest.to_vec()].concat();
    let old: &[u8] = b"o";
    apply(&mut bytes.as_slice(), &old, limits, &mut Vec::new()).expect_err("refused")
}

#[test]
fn a_header_is_read_as_it_was_written() {
    for method in [Method::Whole, Method::Prefix, Method::Patch] {
        let header = header(method);
        let bytes = header.bytes();
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(Header::read(&mut bytes.as_slice()).expect("a header"), header);
        for length in 0..LENGTH {
            let mut short = bytes.get(..length).expect("shorter");
            assert!(matches!(Header::read(&mut short), Err(DeltaError::Delta(_))));
        }
    }
}

#[test]
fn what_is_no_delta_or_another_one_is_refused_before_it_is_read() {
    let mut bytes = header(Method::Patch).bytes();
    bytes[3] = b'2';
    assert!(matches!(Header::read(&mut bytes.as_slice()), Err(DeltaError::NotADelta)));
    let mut bytes = header(Method::Patch).bytes();
    bytes[4] = 9;
    assert!(matches!(Header::read(&mut bytes.as_slice()), Err(DeltaError::UnknownMethod(9))));
    let mut bytes = header(Method::Patch).bytes();
    bytes[5] = 1;
    assert!(matches!(Header::read(&mut bytes.as_slice()), Err(DeltaError::UnknownMethod(2))));
    for limits in [
        Limits { size: 4, ..limits() },
        Limits { new: [3; 32], ..limits() },
        Limits { old: Some([3; 32]), ..limits() },
        Limits { old: None, ..limits() },
    ] {
        let error = refused(&header(Method::Patch), &limits, &[0; 64]);
        assert!(matches!(error, DeltaError::Damaged(_)), "{error}");
    }
    let error = refused(&header(Method::Patch), &Limits { memory: 1 << 20, ..limits() }, &[0; 64]);
    assert!(matches!(error, DeltaError::Memory { needed: 25_165_824, limit: 1_048_576 }));
}

#[test]
fn a_delta_that_lies_about_its_memory_is_refused() {
    // The header says little; the body wants many targets to be kept.
    let mut rest = Vec::new();
    put(&mut rest, u64::from(u32::MAX));
    put(&mut rest, 20);
    rest.extend([0; 64]);
    let error = refused(&header(Method::Patch), &limits(), &rest);
    assert!(matches!(error, DeltaError::Damaged(why) if why.contains("memory")), "{error}");
    // A base to be held that is larger than what the header says is needed.
    let lies = Header { memory: 1 << 20, old_size: 1 << 40, ..header(Method::Prefix) };
    let error = refused(&lies, &limits(), &[0; 64]);
    assert!(matches!(error, DeltaError::Damaged(_)), "{error}");
}

#[test]
fn a_layout_is_read_as_it_was_written_and_bounded() {
    let segment = Segment { offset: 64, address: 0x40_1000, filed: 4_096, sized: 8_192 };
    let range = Range { start: 64, end: 128, kind: Kind::Arm, old_base: 5, new_base: 1 << 40 };
    let layout = Layout { old: vec![segment], new: vec![segment; 2], ranges: vec![range] };
    let mut bytes = Vec::new();
    layout.write(&mut bytes);
    assert_eq!(Layout::read(&mut bytes.as_slice()).expect("a layout"), layout);
    let twice = Layout { ranges: vec![range; 2], ..layout };
    let mut bytes = Vec::new();
    twice.write(&mut bytes);
    assert!(Layout::read(&mut bytes.as_slice()).is_err(), "ranges that overlap");
    let mut many: &[u8] = &[200, 1];
    assert!(Layout::read(&mut many).is_err(), "200 segments");
    assert_eq!(address_of(&[segment], 64), Some(0x40_1000));
    assert_eq!(address_of(&[segment], 63), None);
    assert_eq!(offset_of(&[segment], 0x40_1fff), Some(4_159));
    assert_eq!(offset_of(&[segment], 0x40_2000), None);
}

#[test]
fn the_end_of_a_delta_is_an_error_and_no_zeros() {
    let mut decoder = Decoder::new([0; 8].as_slice()).expect("begun");
    let read = (0..1_000).map(|_| decoder.bit(1 << 15)).take_while(Result::is_ok).count();
    assert!((32..=64).contains(&read), "{read} bits out of eight bytes");
    assert!(Decoder::new([0; 3].as_slice()).is_err());
}

/// A reader that gives one byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(1);
        self.0.read(&mut into[..length])
    }
}

#[test]
fn a_delta_may_come_in_drops() {
    let new = b"abcabcabcabc".repeat(100);
    let digest = ring::digest::digest(&ring::digest::SHA256, &new);
    let mut header = header(Method::Whole);
    header.new.copy_from_slice(digest.as_ref());
    header.new_size = new.len() as u64;
    let delta = [header.bytes(), zstd::encode_all(new.as_slice(), 3).expect("packed")].concat();
    let limits = Limits { size: header.new_size, new: header.new, old: None, ..limits() };
    let (old, mut out): (&[u8], _) = (&[], Vec::new());
    apply(&mut Drops(&delta), &old, &limits, &mut out).expect("applied");
    assert_eq!(out, new);
}

proptest! {
    #[test]
    fn numbers_are_read_as_they_were_written(number in any::<u64>().prop_map(|it| it >> 2)) {
        let mut bytes = Vec::new();
        put(&mut bytes, number);
        prop_assert_eq!(get(&mut bytes.as_slice(), u64::MAX).expect("read"), number);
        if number > 0 {
            prop_assert!(get(&mut bytes.as_slice(), number - 1).is_err());
        }
    }

    #[test]
    fn a_value_goes_into_its_bits_alone(word: u32, value: u32) {
        for (form, bits) in [(Form::Branch, 26), (Form::Page, 21), (Form::Within, 12)] {
            let value = value & ((1 << bits) - 1);
            let put = put_value(form, word, value);
            prop_assert_eq!(taken(form, put), value);
            prop_assert_eq!(put_value(form, put, taken(form, word)), word);
        }
    }

    #[test]
    fn any_bytes_behind_a_header_give_an_error(
        method in prop_oneof![Just(Method::Whole), Just(Method::Prefix), Just(Method::Patch)],
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let _error = refused(&header(method), &limits(), &rest);
    }
}
