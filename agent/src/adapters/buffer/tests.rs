//! On real files: what is acknowledged is there again, whatever was done to the file.

use std::path::Path;

use holdfast_protocol::data::Format;

use super::*;

const SMALL: Limits = Limits { quota: Some(64 * 1024 * 1024), reserve: Some(0), endurance: None };

fn open(data: &Path) -> Buffer {
    Buffer::new(data, SMALL, Time::default())
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

/// `count` records that begin with their number.
fn records(from: u64, count: u64, size: usize) -> Vec<(Format, Vec<u8>)> {
    (from..from + count)
        .map(|number| {
            let mut value = number.to_string().into_bytes();
            value.push(b' ');
            let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            while value.len() < size {
                noise = noise.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(13);
                value.push(noise.to_le_bytes()[0]);
            }
            (Format::Plain, value)
        })
        .collect()
}

async fn all(buffer: &Buffer, name: &StreamName, window: Window) -> Vec<Record> {
    let (mut all, mut window) = (Vec::new(), window);
    loop {
        let page = buffer.read(name, window, 100_000).await;
        all.extend(page.records);
        match page.next {
            Some(next) => window.from = next,
            None => return all,
        }
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_numbers_go_on() {
    let scratch = tempfile::tempdir().unwrap();
    let name = stream("pump/temp");
    let buffer = open(scratch.path());
    assert!(!buffer.is_in_use(), "nothing was published");
    assert_eq!(buffer.summary().await, Summary::default());
    let range = buffer.append(name.clone(), 1_000, records(1, 1_000, 200)).await.unwrap();
    assert_eq!(range, Range { from: 1, to: 1_000 });
    let many: Vec<_> = (0..50)
        .map(|at| buffer.try_append(name.clone(), 2_000 + at, records(1_001 + at, 1, 20)).unwrap())
        .collect();
    for (at, one) in (1_001..).zip(many) {
        assert_eq!(one.await.unwrap().unwrap(), Range { from: at, to: at });
    }
    buffer.append(stream("other"), 5, records(1, 1, 70_000)).await.unwrap_err();
    buffer.append(stream("other"), 5, records(1, 3, 65_536)).await.unwrap();
    buffer.close().await;
    assert_eq!(buffer.append(name.clone(), 1, records(1, 1, 1)).await, Err(Refused::Closed));

    let buffer = open(scratch.path());
    assert!(buffer.is_in_use());
    let found = all(&buffer, &name, Window::default()).await;
    assert_eq!(found.len(), 1_050);
    for (seq, record) in (1..).zip(&found) {
        assert_eq!(record.seq, seq);
        assert!(record.value.starts_with(format!("{seq} ").as_bytes()));
    }
    let window = Window { from: 900, to: 1_020, since: 2_000, until: 2_009 };
    let some = all(&buffer, &name, window).await;
    assert_eq!((some[0].seq, some.len()), (1_001, 10));
    let next = buffer.append(name.clone(), 3_000, records(1_051, 1, 9)).await.unwrap();
    assert_eq!(next.from, 1_051);
    let summary = buffer.summary().await;
    let pump = summary.streams.iter().find(|it| it.name == name).unwrap();
    assert_eq!((pump.last, pump.waiting, pump.count), (1_051, 1_051, 1_051));
    assert_eq!(pump.oldest, Some(1_000));
    buffer.close().await;
}

/// What it costs: `cargo test --release -p holdfast-agent --lib buffer::tests::measure -- --ignored
/// --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure() {
    let line = |n: u64| {
        let text = format!(
            "{{\"ts\":{},\"pump\":\"p-{}\",\"temp\":{}.{},\"rpm\":{},\"flow\":{}.{},\"state\":\"running\"}}",
            1_700_000_000_000 + n * 1_000,
            n % 7,
            40 + n % 13,
            n * 31 % 100,
            1_480 + n * 7 % 41,
            n % 5,
            n * 17 % 1_000
        );
        (Format::Plain, format!("{text:<200}").into_bytes())
    };
    for noise in [true, false] {
        for (posts, each, flight) in [(200_u64, 1_000_u64, 4_usize), (20_000, 1, 100)] {
            let scratch = tempfile::tempdir_in("/work").unwrap();
            let limits = Limits { quota: Some(1 << 30), ..SMALL };
            let buffer = Buffer::new(scratch.path(), limits, Time::default());
            let name = stream("pump");
            buffer.append(name.clone(), 1, records(0, 1, 1)).await.unwrap();
            let before = (buffer.summary().await.written, io_written());
            let began = std::time::Instant::now();
            let mut open = std::collections::VecDeque::new();
            for post in 0..posts {
                let batch = if noise {
                    records(post * each, each, 200)
                } else {
                    (post * each..(post + 1) * each).map(line).collect()
                };
                open.push_back(buffer.try_append(name.clone(), post, batch).unwrap());
                if open.len() >= flight {
                    open.pop_front().unwrap().await.unwrap().unwrap();
                }
            }
            for one in open {
                one.await.unwrap().unwrap();
            }
            let took = began.elapsed();
            let after = (buffer.summary().await.written, io_written());
            let payload = (posts * each * 200) as f64;
            let rate = (posts * each) as f64 / took.as_secs_f64();
            println!(
                "noise {noise} {posts}x{each}, {flight} in flight: {rate:.0} records/s, counted {:.3} a payload byte ({} records {} bookkeeping), kernel {:.3}",
                (after.0.total() - before.0.total()) as f64 / payload,
                after.0.records - before.0.records,
                after.0.bookkeeping - before.0.bookkeeping,
                (after.1 - before.1) as f64 / payload,
            );
            buffer.close().await;
        }
    }
}

fn io_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}
