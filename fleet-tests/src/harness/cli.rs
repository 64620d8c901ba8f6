//! Runs `holdfast` as a script would: with `HOLDFAST_URL`, `HOLDFAST_TOKEN` and `HOLDFAST_CA`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Command line with its configuration.
#[derive(Debug, Clone)]
pub struct Cli {
    /// Path of the program.
    pub program: PathBuf,
    /// URL of the API, `https://...`.
    pub url: String,
    /// Token of the administrator.
    pub token: String,
    /// SHA-256 of the CA, or a file with its certificate.
    pub ca: String,
    /// Home folder of its own, so that no user's login is read or written.
    pub home: PathBuf,
}

/// Result of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code; -1: ended by a signal.
    pub code: i32,
    /// Complete standard output.
    pub out: String,
    /// Complete standard error.
    pub err: String,
    command: String,
}

impl Outcome {
    /// Returns the standard output, trimmed.
    ///
    /// # Panics
    /// Panics if the command failed.
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{self}");
        self.out.trim().to_owned()
    }

    /// Returns the standard output as JSON.
    ///
    /// # Panics
    /// Panics if the command failed or the output is not JSON.
    pub fn json(self) -> Value {
        let shown = self.to_string();
        serde_json::from_str(&self.ok())
            .unwrap_or_else(|error| panic!("not JSON ({error}): {shown}"))
    }

    /// Returns the standard error of a command that must fail.
    ///
    /// # Panics
    /// Panics if the command did not fail with this code.
    pub fn fails(self, code: i32) -> String {
        assert!(self.code == code, "expected exit code {code}: {self}");
        self.err
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, out, err, command } = self;
        write!(f, "`{command}` ended with code {code}\nstdout: {out}\nstderr: {err}")
    }
}

impl Cli {
    /// Runs the program with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, "")
    }

    /// Runs the program with these arguments and this standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finish(command, input)
    }

    /// Returns the command, for callers that start it themselves.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("HOLDFAST_URL", &self.url)
            .env("HOLDFAST_TOKEN", &self.token)
            .env("HOLDFAST_CA", &self.ca)
            .current_dir(&self.home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `apply -f -` with this document.
    pub fn apply(&self, document: &str) -> Outcome {
        self.run_with(&["apply", "-f", "-"], document)
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command, input: &str) -> Outcome {
    let shown = format!("{command:?}");
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is no error.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: shown,
    }
}
