//! The agent's own log: one line to standard error for each event, as the journal takes it.
//!
//! See decisions 0025 and 0141.

#![allow(clippy::disallowed_methods, reason = "an adapter: it reads the clock for each line")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_base::words::date;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writer of log lines up to a level.
#[derive(Debug)]
struct LogLines {
    most: Level,
}

/// Begins to log to standard error what is at most as detailed as `most`. A second call changes
/// nothing.
pub fn to_stderr(most: Level) {
    let _first_stays = tracing::subscriber::set_global_default(LogLines { most });
}

impl Subscriber for LogLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.most.into())
    }

    // The agent has no spans; those of its libraries are not shown.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = head(now, *event.metadata().level());
        event.record(&mut Fields(&mut line));
        line.push('\n');
        // One write, so that lines of several threads do not mix. A log that cannot be written (a
        // full disk, a closed pipe) must not end the agent.
        let _lost = std::io::stderr().write_all(line.as_bytes());
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Returns the beginning of a line: the time since 1970 as RFC 3339 has it, and the level.
fn head(now: Duration, level: Level) -> String {
    let seconds = now.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = now.subsec_micros();
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z {level:>5}")
}

/// Appends the message and the fields of an event, control characters escaped: values come from
/// the link too.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push(' ');
        if field.name() != "message" {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        // Writing to a string does not fail.
        let _written = write!(Escaped(self.0), "{value:?}");
    }
}

/// Writer that escapes control characters.
struct Escaped<'a>(&'a mut String);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            if letter.is_control() {
                self.0.extend(letter.escape_default());
            } else {
                self.0.push(letter);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Subscriber that keeps the lines instead of writing them.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            LogLines { most: Level::INFO }.enabled(metadata)
        }
        fn new_span(&self, _span: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _span: &Id, _values: &Record<'_>) {}
        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line =
                head(Duration::from_micros(1_764_428_529_000_007), *event.metadata().level());
            event.record(&mut Fields(&mut line));
            self.0.lock().unwrap().push(line);
        }
        fn enter(&self, _span: &Id) {}
        fn exit(&self, _span: &Id) {}
    }

    #[test]
    fn a_line_has_time_level_message_and_fields_and_no_control_character() {
        let kept = Kept::default();
        tracing::subscriber::with_default(kept.clone(), || {
            tracing::warn!(workload = %"pump\n\u{1b}[2J", tries = 3_u64, "cannot start");
            tracing::debug!("not shown");
        });
        let lines = kept.0.lock().unwrap();
        assert_eq!(
            *lines,
            ["2025-11-29T15:02:09.000007Z  WARN cannot start workload=pump\\n\\u{1b}[2J tries=3"]
        );
    }
}
