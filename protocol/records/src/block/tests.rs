use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Generates values that resemble JSON, so that templates arise, and some that do not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1000..1000i32, 0usize..5).prop_map(|(n, d)| format!("{:.*}", d, f64::from(n) / 7.0)),
        (-1000..1000i32).prop_map(|n| format!("{:?}", f64::from(n) / 8.0)),
        any::<f64>().prop_map(|n| n.to_string()),
        "-?[0-9]{1,20}(\\.[0-9]{1,20})?(e[0-9])?",
    ];
    let text = prop_oneof![
        proptest::sample::select(vec!["run", "stop", "", "a\\\"b", "x:y"]).prop_map(str::to_owned),
        "[^\"\\\\]{0,8}",
        (0..200_000u32, 0..1000u32).prop_map(|(s, ms)| {
            format!("2026-11-{:02}T{:02}:{:02}:07.{ms:03}Z", 1 + s % 30, s % 24, s / 7 % 60)
        }),
    ];
    let json = (number.clone(), number, text, any::<bool>(), 0..3u8).prop_map(
        |(a, b, text, flag, form)| match form {
            0 => format!("{{\"a\":{a},\"b\":{b},\"s\":\"{text}\",\"ok\":{flag}}}"),
            1 => format!("{{ \"a\" : {a}, \"s\": \"{text}\" }}"),
            _ => format!("{text} INFO took={a} {b}"),
        },
    );
    prop_oneof![
        4 => json.prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..50),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let step = prop_oneof![3 => Just(1u64), 1 => 1u64..1000];
    let time = prop_oneof![3 => 1_795_000_000_000u64..1_795_000_100_000, 1 => any::<u64>()];
    let one = (step, time, prop_oneof![9 => Just(false), 1 => Just(true)], value());
    proptest::collection::vec(one, 0..40).prop_map(|all| {
        let mut seq = 0;
        all.into_iter()
            .map(|(step, time, cbor, value)| {
                seq += step;
                let format = if cbor { Format::Cbor } else { Format::Plain };
                Record { seq, time, format, value }
            })
            .collect()
    })
}

/// Packs records in columns, whether or not that is smaller.
fn in_columns(records: &[Record]) -> Option<Vec<u8>> {
    let mut out = vec![COLUMNS, STORED];
    columns::write(records, &mut out).then_some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_packed_comes_back(records in records(), compress: bool) {
        for layout in [Layout::Rows, Layout::Smallest] {
            let packed = pack(&records, layout, compress);
            prop_assert_eq!(unpack(&packed).unwrap(), records.clone());
        }
        if let Some(packed) = in_columns(&records) {
            prop_assert_eq!(unpack(&packed).unwrap(), records);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        layout in 0u8..3,
        compression in 0u8..3,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _any = unpack(&[&[layout, compression], &bytes[..]].concat());
        let _any = unpack(&bytes);
    }

    /// A changed block is refused or gives other records; the reader never panics.
    #[test]
    fn no_change_makes_it_panic(
        records in records(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let Some(mut packed) = in_columns(&records) else { return Ok(()) };
        for (at, byte) in changes {
            let at = at.index(packed.len());
            packed[at] = byte;
        }
        for bytes in [&packed[..], &packed[..cut.index(packed.len())]] {
            if let Ok(records) = unpack(bytes) {
                let bytes: usize = records.iter().map(|record| record.value.len()).sum();
                prop_assert!(records.len() <= MAX_RECORDS && bytes <= MAX_UNPACKED);
                prop_assert!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq));
            }
        }
    }
}

fn refused(content: &[u8]) -> BlockError {
    unpack(&[&[COLUMNS, STORED], content].concat()).unwrap_err()
}

#[test]
fn little_that_claims_much_is_refused() {
    // A block with one run of 2^40 records.
    assert_eq!(refused(b"\x01\x01\x80\x80\x80\x80\x80\x40"), BlockError::TooLarge);
    // A block with 60,000 records of a template of 60,000 bytes.
    let mut content = b"\x01\x01\xe0\xd4\x03".to_vec();
    let mut times = vec![1];
    times.extend([0; 60_000]);
    columns::write_framed(&mut content, &times);
    content.push(1);
    columns::write_framed(&mut content, &[b'x'; 60_000]);
    content.extend(b"\x01\xe0\xd4\x03");
    assert_eq!(refused(&content), BlockError::TooLarge);
    // A zstd frame that claims a size of 2^60 bytes.
    let bomb = b"\x01\x01\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x10";
    assert_eq!(unpack(bomb), Err(BlockError::TooLarge));
    let zeros = zstd::bulk::compress(&vec![0; MAX_UNPACKED + 1], 3).unwrap();
    assert_eq!(unpack(&[&[ROWS, ZSTD], &zeros[..]].concat()), Err(BlockError::TooLarge));
    assert_eq!(unpack(&[9, 0]), Err(BlockError::Unknown(9)));
}

/// Pseudo-random numbers that are the same on every run (xorshift).
struct Noise(u64);

impl Noise {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a roughly normal number with a mean of 0 and a deviation of 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Returns records like those that a press publishes each second: temperatures that drift under
/// noise, a motor's current and speed, vibration, counters, a state and its own clock. About 200
/// bytes each.
fn telemetry(many: usize, form: u8) -> Vec<Record> {
    let mut noise = Noise(42);
    let start = 1_795_467_600_000u64;
    let (mut oil, mut strokes, mut energy) = (41.2, 812_345u64, 5_512.25);
    let mut state = "running";
    (0..many as u64)
        .map(|at| {
            let own = start + at * 1_000 + (noise.unit() * 12.0) as u64;
            if noise.unit() < 0.01 {
                state = ["running", "idle", "setup"][(noise.unit() * 3.0) as usize];
            }
            let busy = f64::from(u8::from(state == "running"));
            oil += noise.normal() * 0.02;
            strokes += busy as u64;
            energy += 0.011 * busy + 0.001 * noise.unit();
            let pressure = 182.0 * busy + 3.0 + noise.normal() * 0.4;
            let current = 12.4 * busy + 0.8 + noise.normal() * 0.15;
            let speed = (1_480.0 * busy + noise.normal() * 3.0).max(0.0);
            let vibration = 2.1 * busy + noise.unit() * 0.3;
            let mut text = String::new();
            let (second, ms) = (own / 1_000 % 86_400, own % 1_000);
            let clock = format!(
                "2026-11-23T{:02}:{:02}:{:02}.{ms:03}Z",
                second / 3_600,
                second / 60 % 60,
                second % 60
            );
            let _always = match form {
                0 => write!(
                    text,
                    "{{\"ts\":\"{clock}\",\"machine\":\"press-07\",\"state\":\"{state}\",\
                     \"oilTemp\":{oil:.2},\"pressureBar\":{pressure:.1},\"currentA\":{current:.2},\
                     \"speedRpm\":{speed:.0},\"vibration\":{vibration:.3},\"strokes\":{strokes},\
                     \"energyKwh\":{energy:.3}}}"
                ),
                _ => write!(
                    text,
                    "{{\"time\": {own}, \"machine\": \"press-07\", \"state\": \"{state}\", \
                     \"oil\": {:?}, \"pressure\": {:?}, \"current\": {:?}, \"speed\": {}, \
                     \"vibration\": {:?}, \"strokes\": {strokes}, \"ok\": true, \
                     \"recipe\": \"A-{}\", \"energy\": {:?}}}",
                    (oil * 100.0).round() / 100.0,
                    (pressure * 10.0).round() / 10.0,
                    (current * 100.0).round() / 100.0,
                    speed.round(),
                    (vibration * 1000.0).round() / 1000.0,
                    at / 400,
                    (energy * 1000.0).round() / 1000.0,
                ),
            };
            let time = own + (noise.unit() * 4.0) as u64;
            Record { seq: at + 1, time, format: Format::Plain, value: text.into_bytes() }
        })
        .collect()
}

/// Returns the bytes of the records as a publish of QoS 1 each, without TLS and TCP.
fn as_json_over_mqtt(records: &[Record]) -> usize {
    let topic = "plant/line-3/press-07/telemetry";
    // Fixed header of three bytes, the topic with its length, packet id, property length.
    records.iter().map(|record| 3 + 2 + topic.len() + 2 + 1 + record.value.len()).sum()
}

#[test]
fn a_thousand_records_cost_a_tenth_of_themselves() {
    for form in [0, 1] {
        let records = telemetry(1_000, form);
        let packed = pack(&records, Layout::Smallest, true);
        assert_eq!(unpack(&packed).unwrap(), records);
        let rows = pack(&records, Layout::Rows, true);
        let json: usize = records.iter().map(|record| record.value.len()).sum();
        let mqtt = as_json_over_mqtt(&records);
        let share = |bytes: usize| bytes as f64 / records.len() as f64;
        println!(
            "form {form}: JSON {:.1} B a record, over MQTT {:.1}; rows {:.1}, smallest {:.1}: \
             1/{:.1} of JSON over MQTT, 1/{:.1} of JSON alone",
            share(json),
            share(mqtt),
            share(rows.len()),
            share(packed.len()),
            mqtt as f64 / packed.len() as f64,
            json as f64 / packed.len() as f64,
        );
        assert_eq!(packed[0], COLUMNS);
        assert!(packed.len() * 10 <= json, "{} of {json}", packed.len());
        assert!(packed.len() * 3 <= rows.len() * 2, "columns are worth it: {}", rows.len());
    }
}

/// Measures packing: `cargo test -p holdfast-protocol --profile release -- --ignored how_fast
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn how_fast() {
    let records = telemetry(1_000, 0);
    for layout in [Layout::Rows, Layout::Smallest] {
        let begun = std::time::Instant::now();
        let mut bytes = 0;
        for _ in 0..200 {
            bytes += pack(&records, layout, true).len();
        }
        let packing = begun.elapsed();
        let packed = pack(&records, layout, true);
        let begun = std::time::Instant::now();
        for _ in 0..200 {
            bytes += unpack(&packed).unwrap().len();
        }
        let rate = |took: std::time::Duration| 200_000.0 / took.as_secs_f64() / 1_000.0;
        println!(
            "{layout:?}: packs {:.0}k, unpacks {:.0}k records a second ({bytes})",
            rate(packing),
            rate(begun.elapsed())
        );
    }
}
