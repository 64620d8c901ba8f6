//! `holdfast logs`: a workload's log on standard output, and what is missing of it on standard
//! error.

use std::time::Duration;

use bytes::Bytes;

use super::args;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::text::{Output, note};
use crate::core::log::{LogHead, LogPiece, LogText};

/// Waits before a log whose answer was cut is asked for again, first and longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Longest line of JSON before a piece, in bytes: a piece has at most some hundred times.
const MAX_HEAD: usize = 64 * 1024;

/// What was shown of a log so far.
struct Shown {
    text: LogText,
    /// Number of the log, and the offset behind what was shown.
    place: Option<(u32, u64)>,
}

/// Copies a workload's log to standard output. One that is followed is asked for again whenever
/// its answer is cut, from where it ended, until whoever reads it ends this; another whose answer
/// is cut is a failure.
pub(crate) async fn logs(client: &Client, output: Output, wanted: &args::Logs) -> Outcome {
    let mut wait = AGAIN.0;
    let mut shown = Shown { text: LogText::new(wanted.timestamps), place: None };
    let mut begun = false;
    loop {
        let began = tokio::time::Instant::now();
        let cut = match log(client, output, wanted, &mut shown, &mut begun).await {
            // Followed, it ends only when it is cut.
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

/// Copies a log until its answer ends. `begun`: it was there at all.
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
    let mut response = client.stream(&path, &query).await?;
    *begun = true;
    let mut frames = Frames::default();
    while let Some(chunk) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        frames.push(&chunk);
        while let Some(piece) = frames.next()? {
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

/// Cuts an answer into its pieces.
#[derive(Debug, Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole piece. None: the rest of it is still to come.
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
