//! A question answered from the buffer: page by page, in the time that others leave.

use std::time::Duration;

use holdfast_protocol::message::MAX_REPLY_BODY;
use holdfast_query::{AT_THE_EDGE, Partial, Run};
use holdfast_records::block::pack;
use holdfast_records::{Layout, Record};

use super::{Answer, QueryCall};
use crate::adapters::buffer::{Buffer, Window};
use crate::adapters::clock::uptime_ms;

/// Bytes of values of a page: a few milliseconds' work, between which everything else goes on.
const PAGE: usize = 128 * 1024;
/// Bytes of values that one question may look at: what a flash reads in some ten seconds.
const MOST: u64 = 1024 * 1024 * 1024;
/// Longest that one may take, in milliseconds.
const LONGEST: u64 = 120_000;
/// After each page it rests for as long as the page took, at most so many milliseconds: half of
/// the processor at most.
const REST: u64 = 50;
/// How often it says that it is still at work, in milliseconds.
const SIGN: u64 = 5_000;
/// Every so many pages one is packed, to know what shipping would cost.
const SAMPLE: u64 = 16;
/// What a batch of so many records costs beside its block: envelope, headers, acknowledgement.
const BATCH: (u64, u64) = (1_000, 400);

/// What shipping what is looked at would cost, from some of the pages.
#[derive(Default)]
struct Cost {
    pages: u64,
    plain: u64,
    packed: u64,
}

impl Cost {
    fn page(&mut self, records: &[Record]) {
        if self.pages.is_multiple_of(SAMPLE) && !records.is_empty() {
            let plain: usize = records.iter().map(|record| record.value.len()).sum();
            self.plain += u64::try_from(plain).unwrap_or(0);
            let packed = pack(records, Layout::Smallest, true).len();
            self.packed += u64::try_from(packed).unwrap_or(0);
        }
        self.pages += 1;
    }

    fn of(&self, (records, bytes): (u64, u64)) -> u64 {
        let whole = u128::from(self.packed) * u128::from(bytes) / u128::from(self.plain.max(1));
        let batches = records.div_ceil(BATCH.0);
        u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(batches * BATCH.1)
    }
}

impl Answer {
    /// Answers; says so when it cannot.
    pub(super) async fn question(&mut self, buffer: &Buffer, call: &QueryCall) {
        let partial = match self.look(buffer, call).await {
            Ok(Some(partial)) => partial,
            Ok(None) => return, // Nobody reads any more.
            Err(why) => return self.fail(&why).await,
        };
        let packed = match partial.pack(&call.question) {
            Ok(packed) => packed,
            Err(why) => return self.fail(&why).await,
        };
        let mut pieces = packed.chunks(MAX_REPLY_BODY).peekable();
        while let Some(piece) = pieces.next() {
            if !self.send(piece.to_vec(), pieces.peek().is_none(), None).await {
                return;
            }
        }
    }

    async fn look(&mut self, buffer: &Buffer, call: &QueryCall) -> Result<Option<Partial>, String> {
        let question = &*call.question;
        let mut run = Run::new(question, AT_THE_EDGE)?;
        let mut cost = Cost::default();
        // What is published from now on does not count: the question must come to an end.
        let busy = "busy: its buffer has much to do, or is closing; try again";
        let streams = buffer.summary().await.ok_or(busy)?.streams;
        let last = streams.iter().find(|stream| stream.name == call.stream);
        let to = last.map_or(0, |stream| stream.last);
        drop(streams);
        let until = if question.until == 0 { u64::MAX } else { question.until - 1 };
        let mut window = Window { from: 1, to, since: question.since, until };
        let begun = uptime_ms();
        let within = u64::from(call.within_ms).min(LONGEST);
        let (mut told, mut note, mut damaged) = (begun, String::new(), 0u64);
        while window.from <= window.to {
            let at = uptime_ms();
            let page = buffer.read(&call.stream, window, PAGE).await;
            let page = page.ok_or(busy)?;
            if page.failed {
                return Err("its buffer cannot be read now; see the device's problems".into());
            }
            for record in &page.records {
                run.feed(record);
            }
            cost.page(&page.records);
            damaged += page.damaged.iter().map(holdfast_records::Range::len).sum::<u64>();
            let Some(next) = page.next else { break };
            window.from = next;
            let now = uptime_ms();
            let (records, bytes) = run.scanned();
            if now - begun > within || bytes > MOST {
                note = format!(
                    "its time or work for a question was used up: only the first {records} records were looked at"
                );
                break;
            }
            if now - told > SIGN {
                told = now;
                if !self.send(Vec::new(), false, None).await {
                    return Ok(None);
                }
            }
            tokio::time::sleep(Duration::from_millis((now - at).min(REST))).await;
        }
        let shipping = cost.of(run.scanned());
        let mut partial = run.finish();
        partial.shipping = shipping;
        if damaged > 0 {
            note = format!("{damaged} records could not be read: damaged");
        }
        if !note.is_empty() {
            partial.note = note;
        }
        Ok(Some(partial))
    }
}
