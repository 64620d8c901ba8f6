//! What goes to the terminal: a standard output that may be closed at any time, colours that are
//! only for people, and nothing that a device wrote to steer the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use super::failure::{Exit, Failure, Outcome};

/// Standard output. Whoever reads it may leave (`| head`): then the command ends quietly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// A person reads, and wants colours.
    pub(crate) colour: bool,
}

impl Output {
    /// `no_color`: the environment's `NO_COLOR`, which counts when it is not empty.
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

    /// A word in the colour of how things stand.
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

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nothing to say.
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Heading,
}

/// Writes a line to standard error; when nobody reads it, there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _nobody_reads = writeln!(io::stderr().lock(), "{}", clean(line));
}

/// A text without control characters: names and reasons come from devices, and must not steer
/// the terminal of who reads them. Newlines and tabs stay.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// [`clean`], on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
