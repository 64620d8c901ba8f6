//! Progress of a long operation, one line on standard error, shown only on a terminal.

use std::io::{IsTerminal as _, Write as _};

/// Line of progress. The next text overwrites it, and it is cleared at the end.
pub(crate) struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    /// Begins without showing anything.
    pub(crate) fn begin() -> Self {
        Self { shown: false, terminal: std::io::stderr().is_terminal() }
    }

    fn write(text: &str) {
        let _nobody_reads = std::io::stderr().write_all(text.as_bytes());
    }

    /// Shows a text, without line breaks, in place of the one before.
    pub(crate) fn say(&mut self, text: &str) {
        if self.terminal {
            self.shown = true;
            Self::write(&format!("\r{text}\x1b[K"));
        }
    }

    /// Clears the line.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            Self::write("\r\x1b[K");
        }
    }
}
