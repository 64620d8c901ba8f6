//! Output to the terminal: a standard output that may be closed at any time, colours for people
//! only, and no control sequences that a device wrote.

use std::io::{self, IsTerminal as _, Write as _};

use super::failure::{Exit, Failure, Outcome};

pub(crate) use super::clean::clean;

/// Standard output. When its reader leaves (`| head`), the command ends quietly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// True when colours are printed: standard output is a terminal and nobody asked for none.
    pub(crate) colour: bool,
}

impl Output {
    /// Makes the output. `no_color` is the environment's `NO_COLOR`, which counts when it is not
    /// empty.
    pub(crate) fn new(no_color: Option<&str>) -> Self {
        let wanted = no_color.is_none_or(str::is_empty);
        Self { colour: wanted && io::stdout().is_terminal() }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Outcome {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::said(Exit::Unread))
            }
            Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        }
    }

    /// Writes a line.
    pub(crate) fn line(self, line: &str) -> Outcome {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Returns a word in the colour of `mood`.
    pub(crate) fn painted(self, word: &str, mood: Mood) -> String {
        let code = match mood {
            Mood::Plain => return word.to_owned(),
            Mood::Good => "32",
            Mood::Busy => "33",
            Mood::Bad => "31",
            Mood::Faint => "2",
            Mood::Heading => "1",
        };
        if self.colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// Meaning of a field, which chooses its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Neutral: the usual colour.
    Plain,
    /// Everything is as it should be.
    Good,
    /// On its way to the desired state.
    Busy,
    /// An operator should look.
    Bad,
    /// Less important than the rest.
    Faint,
    /// Heading of a column.
    Heading,
}

/// Writes a line to standard error. A failure to write is ignored: nobody could be told.
pub(crate) fn note(line: &str) {
    let _nobody_reads = writeln!(io::stderr().lock(), "{}", clean(line));
}

/// Applies [`clean`] and puts the text on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
