//! `holdfast logs`: copies a workload's log to standard output, and reports what is missing of it
//! on standard error.
//!
//! See decision 0127.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::args;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::text::{Output, note};
use holdfast_api::log::{LogHead, LogPiece, LogText};

/// First and longest pause before a log whose response was cut is requested again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Seconds of a device's silence after which it is reported; then every further minute.
const SAID_AFTER: [u64; 4] = [5, 12, 30, 60];
/// Index in [`SAID_AFTER`] of the first report for a device that has replied before: a followed log
/// brings a sign of life every 10 s at least.
const SILENT: usize = 2;
/// Longest JSON line before a piece in bytes. A piece's line has some hundred bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Part of a log that was printed so far.
struct Shown {
    text: LogText,
    /// Number of the log, and the offset after what was printed.
    place: Option<(u32, u64)>,
}

/// Waits for a device and reports when it is silent for long.
struct Patience<'a> {
    device: &'a str,
    /// Time of its last sign of life, or of the request.
    since: Instant,
    answered: bool,
    /// Number of reports of the present silence.
    said: usize,
}

impl<'a> Patience<'a> {
    fn new(device: &'a str) -> Self {
        Self { device, since: Instant::now(), answered: false, said: 0 }
    }

    async fn during<T>(&mut self, coming: impl Future<Output = T>) -> T {
        let mut coming = std::pin::pin!(coming);
        loop {
            let due = self.since + Duration::from_secs(silence(self.said));
            tokio::select! {
                came = &mut coming => return came,
                () = tokio::time::sleep_until(due) => {
                    note(&self.words());
                    self.said += 1;
                }
            }
        }
    }

    fn words(&self) -> String {
        let (device, seconds) = (self.device, self.since.elapsed().as_secs());
        if self.answered {
            format!("{device} has not answered for {seconds} s")
        } else {
            format!("asked {device}, no answer yet for {seconds} s")
        }
    }

    /// Notes a sign of life from the device.
    fn heard(&mut self) {
        if self.said > if self.answered { SILENT } else { 0 } {
            note(&format!("{} answers", self.device));
        }
        (self.since, self.answered, self.said) = (Instant::now(), true, SILENT);
    }
}

/// Returns the seconds of silence after which the report with this index, from 0, is made.
fn silence(nth: usize) -> u64 {
    let beyond = nth.saturating_sub(SAID_AFTER.len() - 1);
    let last = SAID_AFTER.get(nth).or(SAID_AFTER.last()).copied().unwrap_or(60);
    last.saturating_add(u64::try_from(beyond).unwrap_or(0).saturating_mul(60))
}

/// Copies a workload's log to standard output. A followed log whose response is cut is requested
/// again from where it ended, until the user ends the command. Without `--follow` a cut is a
/// failure.
pub(crate) async fn logs(client: &Client, output: Output, wanted: &args::Logs) -> Outcome {
    let mut wait = AGAIN.0;
    let mut shown = Shown { text: LogText::new(wanted.timestamps), place: None };
    let mut begun = false;
    loop {
        let began = Instant::now();
        let cut = match log(client, output, wanted, &mut shown, &mut begun).await {
            // A followed log ends only when it is cut.
            Ok(()) if wanted.follow => Failure::failed("the control plane ended it"),
            Err(cut) if wanted.follow && begun && cut.exit == Exit::Failed => cut,
            ended => return ended,
        };
        wait = if began.elapsed() > AGAIN.1 { AGAIN.0 } else { wait };
        note(&format!(
            "the log is interrupted ({}); it is asked for again and goes on where it ended",
            cut.message
        ));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN.1);
    }
}

/// Copies a log until the response ends. `begun` is set once the response has begun.
async fn log(
    client: &Client,
    output: Output,
    wanted: &args::Logs,
    shown: &mut Shown,
    begun: &mut bool,
) -> Outcome {
    let mut query = vec![("framed", "true".to_owned())];
    let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
    add("tail", wanted.tail.map(|tail| tail.to_string()));
    add("since", wanted.since.clone());
    add("until", wanted.until.clone());
    add("previous", wanted.previous.map(|runs| runs.to_string()));
    add("timestamps", wanted.timestamps.then(|| "true".into()));
    add("follow", wanted.follow.then(|| "true".into()));
    add("after", shown.place.map(|(log, offset)| format!("{log}-{offset}")));
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, &**value)).collect();
    let path = ["devices", &wanted.device, "workloads", &wanted.workload, "logs"];
    let mut patience = Patience::new(&wanted.device);
    let mut response = patience.during(client.stream(&path, &query)).await?;
    *begun = true;
    let mut frames = Frames::default();
    loop {
        let chunk = patience.during(response.chunk()).await;
        let Some(chunk) = chunk.map_err(|error| client.unreachable(&error))? else { break };
        frames.push(&chunk);
        while let Some(piece) = frames.next()? {
            if piece.head.silent == 0 {
                patience.heard();
            }
            show(output, shown, &piece)?;
        }
    }
    Ok(())
}

fn show(output: Output, shown: &mut Shown, piece: &LogPiece) -> Outcome {
    let head = &piece.head;
    if let Some(why) = &head.error {
        return Err(Failure::failed(why.clone()));
    }
    if let Some(missing) = head.missing() {
        output.bytes(shown.text.end_line().as_bytes())?;
        note(&missing);
    }
    output.bytes(&shown.text.render(piece))?;
    if head.log != 0 {
        shown.place = Some((head.log, head.offset.saturating_add(head.length)));
    }
    Ok(())
}

/// Splits a response into its pieces.
#[derive(Debug, Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Returns the next whole piece. None: the rest of it has not arrived yet.
    fn next(&mut self) -> Outcome<Option<LogPiece>> {
        let wrong = || Failure::failed("the control plane answered what is no log");
        let Some(end) = self.0.iter().take(MAX_HEAD).position(|byte| *byte == b'\n') else {
            return if self.0.len() < MAX_HEAD { Ok(None) } else { Err(wrong()) };
        };
        let line = self.0.get(..end).unwrap_or_default();
        let head: LogHead = serde_json::from_slice(line).map_err(|_| wrong())?;
        let length = usize::try_from(head.length).map_err(|_| wrong())?;
        let Some(body) = self.0.get(end + 1..).and_then(|rest| rest.get(..length)) else {
            return Ok(None);
        };
        let body = Bytes::copy_from_slice(body);
        self.0.drain(..end + 1 + length);
        Ok(Some(LogPiece { body, head }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_device_is_told_of_before_its_first_word_and_after_it() {
        let times: Vec<u64> = (0..6).map(silence).collect();
        assert_eq!(times, [5, 12, 30, 60, 120, 180]);
        let soon = || tokio::time::sleep(Duration::from_millis(20));
        let mut patience = Patience::new("gw-7");
        patience.since = Instant::now() - Duration::from_secs(13);
        patience.during(soon()).await;
        assert_eq!(patience.said, 2);
        assert_eq!(patience.words(), "asked gw-7, no answer yet for 13 s");
        patience.heard();
        patience.since = Instant::now() - Duration::from_secs(29);
        patience.during(soon()).await;
        assert_eq!(patience.said, SILENT, "its next word is not late yet");
        patience.since = Instant::now() - Duration::from_secs(32);
        patience.during(soon()).await;
        assert_eq!(patience.said, SILENT + 1);
        assert_eq!(patience.words(), "gw-7 has not answered for 32 s");
    }

    #[test]
    fn pieces_are_whole_however_they_come() {
        let answer =
            b"{\"log\":7,\"offset\":5,\"length\":4}\na\n{}{\"length\":0}\n{\"error\":\"why\"}\n";
        for step in 1..answer.len() {
            let (mut frames, mut pieces) = (Frames::default(), Vec::new());
            for chunk in answer.chunks(step) {
                frames.push(chunk);
                while let Some(piece) = frames.next().unwrap() {
                    pieces.push(piece);
                }
            }
            let [one, two, three] = pieces.as_slice() else { panic!("{pieces:?}") };
            assert_eq!((&*one.body, one.head.log, one.head.offset), (&b"a\n{}"[..], 7, 5));
            assert_eq!((two.body.len(), three.head.error.as_deref()), (0, Some("why")));
        }
        let mut frames = Frames::default();
        frames.push(b"<html>\n");
        assert!(frames.next().is_err());
    }
}
