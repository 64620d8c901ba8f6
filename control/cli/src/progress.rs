//! One line on standard error that says how far something is, for a person at a terminal alone.

use std::io::{IsTerminal as _, Write as _};

/// The line. It is written over by the next one, and cleared at the end.
pub(crate) struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn begin() -> Self {
        Self { shown: false, terminal: std::io::stderr().is_terminal() }
    }

    fn write(text: &str) {
        let _nobody_reads = std::io::stderr().write_all(text.as_bytes());
    }

    /// Shows a text, without line breaks, in the place of the one before.
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
