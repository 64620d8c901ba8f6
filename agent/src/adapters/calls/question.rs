//! Query over the buffer: answered page by page, in the time that other work leaves.
//!
//! See decision 0061.

use std::time::Duration;

use holdfast_protocol::message::{MAX_REPLY_BODY, ReplyCode, ReplyError};
use holdfast_query::{AT_THE_EDGE, Partial, Run};
use holdfast_records::block::pack;
use holdfast_records::{Layout, Record};

use super::{QueryCall, Responder};
use crate::adapters::buffer::{Buffer, Window};
use crate::adapters::clock::uptime_ms;

/// Bytes of values in a page: a few milliseconds of work, between which everything else goes on.
const PAGE: usize = 128 * 1024;
/// Most bytes of values that one query may look at: what flash reads in some ten seconds.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Longest time for one query, in milliseconds.
const MAX_MILLIS: u64 = 120_000;
/// Longest rest after a page, in milliseconds. It is as long as the page took, so that a query uses
/// at most half of the processor.
const MAX_REST: u64 = 50;
/// Interval of the signs of life, in milliseconds.
const SIGN_INTERVAL: u64 = 5_000;
/// Interval of the pages that are packed, to estimate what shipping would cost.
const SAMPLE_EVERY: u64 = 16;
/// Records in a batch, and the bytes that it takes beside its block: envelope, headers,
/// acknowledgement.
const BATCH: (u64, u64) = (1_000, 400);

/// Estimated cost of shipping the records that a query looks at, from a sample of the pages.
#[derive(Default)]
struct Cost {
    pages: u64,
    plain: u64,
    packed: u64,
}

impl Cost {
    fn page(&mut self, records: &[Record]) {
        if self.pages.is_multiple_of(SAMPLE_EVERY) && !records.is_empty() {
            let plain: usize = records.iter().map(|record| record.value.len()).sum();
            self.plain += u64::try_from(plain).unwrap_or(0);
            let packed = pack(records, Layout::Smallest, true).len();
            self.packed += u64::try_from(packed).unwrap_or(0);
        }
        self.pages += 1;
    }

    fn estimate(&self, (records, bytes): (u64, u64)) -> u64 {
        let whole = u128::from(self.packed) * u128::from(bytes) / u128::from(self.plain.max(1));
        let batches = records.div_ceil(BATCH.0);
        u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(batches * BATCH.1)
    }
}

impl Responder {
    /// Answers a query, or replies why it cannot.
    pub(super) async fn question(&mut self, buffer: &Buffer, call: &QueryCall) {
        let partial = match self.run(buffer, call).await {
            Ok(Some(partial)) => partial,
            Ok(None) => return, // Nobody reads any more.
            Err(why) => return self.refuse(why).await,
        };
        let packed = match partial.pack(&call.question) {
            Ok(packed) => packed,
            Err(why) => return self.fail(ReplyCode::Failed, why.to_string()).await,
        };
        let mut pieces = packed.chunks(MAX_REPLY_BODY).peekable();
        while let Some(piece) = pieces.next() {
            if !self.send(piece.to_vec(), pieces.peek().is_none(), None).await {
                return;
            }
        }
    }

    async fn run(
        &mut self,
        buffer: &Buffer,
        call: &QueryCall,
    ) -> Result<Option<Partial>, ReplyError> {
        let question = &*call.question;
        let mut run = Run::new(question, AT_THE_EDGE)
            .map_err(|why| ReplyError::new(ReplyCode::Unsupported, why.to_string()))?;
        let mut cost = Cost::default();
        // Records that are published from now on do not count, so that the query comes to an end.
        let busy = || {
            let why = "busy: its buffer has much to do, or is closing; try again";
            ReplyError::new(ReplyCode::Busy, why)
        };
        let streams = buffer.summary().await.ok_or_else(busy)?.streams;
        let last = streams.iter().find(|stream| stream.name == call.stream);
        let to = last.map_or(0, |stream| stream.last);
        drop(streams);
        let until = if question.until == 0 { u64::MAX } else { question.until - 1 };
        let mut window = Window { from: 1, to, since: question.since, until };
        let begun = uptime_ms();
        let within = u64::from(call.within_ms).min(MAX_MILLIS);
        let (mut last_sign, mut note, mut damaged) = (begun, String::new(), 0u64);
        while window.from <= window.to {
            let at = uptime_ms();
            let page = buffer.read(&call.stream, window, PAGE).await;
            let page = page.ok_or_else(busy)?;
            if page.failed {
                let why = "its buffer cannot be read now; see the device's problems";
                return Err(ReplyError::new(ReplyCode::Failed, why));
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
            if now - begun > within || bytes > MAX_BYTES {
                note = format!(
                    "its time or work for a question was used up: only the first {records} records were looked at"
                );
                break;
            }
            if now - last_sign > SIGN_INTERVAL {
                last_sign = now;
                if !self.send(Vec::new(), false, None).await {
                    return Ok(None);
                }
            }
            tokio::time::sleep(Duration::from_millis((now - at).min(MAX_REST))).await;
        }
        let shipping = cost.estimate(run.scanned());
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
