//! Parser of the agent's command line: what the table of commands says, by `lexopt`.
//!
//! See decision 0141.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser};

use super::commands::{Command, Opt};

/// Command that was asked for, with its values.
#[derive(Debug)]
pub(super) struct Call {
    /// Names of the command and its subcommand.
    pub path: Vec<&'static str>,
    command: &'static Command,
    argument: Option<OsString>,
    /// Values of options by their long names, in the order in which they were given.
    values: Vec<(&'static Opt, OsString)>,
}

/// Result of reading a command line.
#[derive(Debug)]
pub(super) enum Asked {
    /// A command is to be carried out.
    Call(Call),
    /// The help of the command at this path is to be printed; true: because none was given.
    Help(Vec<&'static Command>, bool),
    /// The version is to be printed.
    Version,
}

/// Words that do not fit the table of commands, as a sentence for the person who typed them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// Fault of a command line.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Fault {
    /// Sentence that says what is wrong.
    why: String,
    /// Command at which it was noticed, with those before it; may be empty.
    pub at: Vec<&'static Command>,
}

/// Reads a command line.
///
/// # Errors
/// Returns the first [`Fault`].
pub(super) fn read(
    root: &'static Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Asked, Fault> {
    let mut reading =
        Reading { path: vec![root], command: root, argument: None, values: Vec::new() };
    match reading.words(words.into_iter().collect()) {
        Ok(asked) => Ok(asked),
        Err(Unfit(why)) => Err(Fault { why, at: reading.path }),
    }
}

struct Reading {
    path: Vec<&'static Command>,
    /// Last command of the path.
    command: &'static Command,
    argument: Option<OsString>,
    values: Vec<(&'static Opt, OsString)>,
}

impl Reading {
    fn words(&mut self, words: Vec<OsString>) -> Result<Asked, Unfit> {
        let mut parser = Parser::from_args(words);
        while let Some(word) = parser.next().map_err(|error| error.to_string())? {
            let named = match word {
                Arg::Short('h') | Arg::Long("help") => {
                    return Ok(Asked::Help(self.path.clone(), false));
                }
                Arg::Short('V') | Arg::Long("version") => return Ok(Asked::Version),
                Arg::Value(word) => {
                    if word == "help" && !self.command.commands.is_empty() {
                        return self.help(&mut parser);
                    }
                    self.word(word)?;
                    continue;
                }
                Arg::Short(letter) => {
                    self.option(&format!("-{letter}"), |it| it.short == Some(letter))?
                }
                Arg::Long(name) => self.option(&format!("--{name}"), |it| it.long == name)?,
            };
            let value = parser
                .value()
                .map_err(|_| format!("--{} needs a value: --{0} {}", named.long, named.value))?;
            self.value(named, value)?;
        }
        self.finish()
    }

    /// Takes the words after `help` as the names of commands.
    fn help(&mut self, parser: &mut Parser) -> Result<Asked, Unfit> {
        while let Some(Arg::Value(word)) = parser.next().map_err(|error| error.to_string())? {
            self.word(word)?;
        }
        Ok(Asked::Help(self.path.clone(), false))
    }

    fn option(&self, typed: &str, is: impl Fn(&Opt) -> bool) -> Result<&'static Opt, Unfit> {
        let found = self.command.options.iter().find(|option| is(option));
        found.ok_or_else(|| Unfit(format!("{typed} is no option of this command")))
    }

    fn word(&mut self, word: OsString) -> Result<(), Unfit> {
        let command = self.command;
        if !command.commands.is_empty() {
            let Some(found) = command.commands.iter().find(|it| word == it.name) else {
                let names: Vec<_> = shown(command).map(|it| it.name).collect();
                return Err(Unfit(format!(
                    "there is no command '{}'; the commands are {}",
                    word.display(),
                    names.join(", ")
                )));
            };
            self.path.push(found);
            self.command = found;
            return Ok(());
        }
        if command.argument.is_none() || self.argument.is_some() {
            return Err(Unfit(format!("'{}' is one word too many", word.display())));
        }
        self.argument = Some(word);
        Ok(())
    }

    fn value(&mut self, option: &'static Opt, value: OsString) -> Result<(), Unfit> {
        if !option.repeats && self.values.iter().any(|(known, _)| known.long == option.long) {
            return Err(Unfit(format!("--{} stands twice", option.long)));
        }
        if !option.choices.is_empty() && !option.choices.iter().any(|choice| value == *choice) {
            return Err(Unfit(not_a_choice(option, &value)));
        }
        self.values.push((option, value));
        Ok(())
    }

    fn finish(&mut self) -> Result<Asked, Unfit> {
        let command = self.command;
        if !command.commands.is_empty() {
            return Ok(Asked::Help(self.path.clone(), true));
        }
        let has = |long: &str| self.values.iter().any(|(known, _)| known.long == long);
        for option in command.options {
            if option.required && !has(option.long) {
                return Err(Unfit(format!("--{} {} is missing", option.long, option.value)));
            }
            if let Some(other) = option.excludes
                && has(option.long)
                && has(other)
            {
                return Err(Unfit(format!(
                    "--{} and --{other} cannot be given together",
                    option.long
                )));
            }
        }
        if let Some(argument) = &command.argument
            && self.argument.is_none()
        {
            return Err(Unfit(format!("{} is missing", argument.value)));
        }
        let path = self.path.iter().skip(1).map(|command| command.name).collect();
        let values = std::mem::take(&mut self.values);
        Ok(Asked::Call(Call { path, command, argument: self.argument.take(), values }))
    }
}

/// Commands below this one that people use.
pub(super) fn shown(command: &'static Command) -> impl Iterator<Item = &'static Command> {
    command.commands.iter().filter(|command| !command.hidden)
}

fn not_a_choice(option: &Opt, value: &OsString) -> String {
    let choices = option.choices.join(", ");
    format!("--{} is one of {choices}, not '{}'", option.long, value.display())
}

fn text(of: &str, value: OsString) -> Result<String, Unfit> {
    value.into_string().map_err(|value| Unfit(format!("{of} is no UTF-8: {}", value.display())))
}

impl Call {
    /// Takes the value of an option out: the one given, else that of its environment variable.
    fn take(&mut self, long: &str) -> Option<OsString> {
        if let Some(at) = self.values.iter().position(|(option, _)| option.long == long) {
            return Some(self.values.remove(at).1);
        }
        let option = self.command.options.iter().find(|option| option.long == long)?;
        std::env::var_os(option.env?).filter(|value| !value.is_empty())
    }

    /// Returns the path that the option gives.
    pub(super) fn path(&mut self, long: &str) -> Option<PathBuf> {
        self.take(long).map(PathBuf::from)
    }

    /// Returns the text that the option gives.
    ///
    /// # Errors
    /// Returns a sentence when it is no UTF-8.
    pub(super) fn text(&mut self, long: &str) -> Result<Option<String>, Unfit> {
        self.take(long).map(|value| text(&format!("--{long}"), value)).transpose()
    }

    /// Returns every value of an option that repeats, each read by `read`.
    ///
    /// # Errors
    /// Returns a sentence that names the option and the fault of a value.
    pub(super) fn each<T>(
        &mut self,
        long: &str,
        read: impl Fn(&str) -> Result<T, Unfit>,
    ) -> Result<Vec<T>, Unfit> {
        let all = std::mem::take(&mut self.values);
        let (those, others) = all.into_iter().partition(|(option, _)| option.long == long);
        self.values = others;
        let those: Vec<_> = those;
        let one = |(_, value)| {
            let value = text(&format!("--{long}"), value)?;
            read(&value).map_err(|why| Unfit(format!("--{long} '{value}': {why}")))
        };
        those.into_iter().map(one).collect()
    }

    /// Returns the chosen value of an option with choices, or its default.
    pub(super) fn choice(&mut self, long: &str) -> &'static str {
        let option = self.command.options.iter().find(|option| option.long == long);
        let choices = option.map_or(&[][..], |option| option.choices);
        let given = self.take(long);
        let chosen = choices.iter().find(|choice| given.as_ref().is_some_and(|it| it == **choice));
        chosen.or(choices.first()).copied().unwrap_or_default()
    }

    /// Returns the positional argument, read as a `T`.
    ///
    /// # Errors
    /// Returns a sentence that names the argument and its fault.
    pub(super) fn argument<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, Unfit> {
        let name = self.command.argument.as_ref().map_or("", |argument| argument.value);
        let given = text(name, self.argument.take().unwrap_or_default())?;
        given.parse().map_err(|error| Unfit(format!("{name} '{given}': {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::PROGRAM;
    use super::*;

    fn of(line: &str) -> Result<Asked, Fault> {
        read(&PROGRAM, line.split_whitespace().map(OsString::from))
    }

    fn call(line: &str) -> Call {
        match of(line) {
            Ok(Asked::Call(call)) => call,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn values_reach_their_options_however_they_are_written() {
        for line in [
            "status -o json",
            "status -ojson",
            "status --output json",
            "status --output=json",
            "status -o=json",
        ] {
            assert_eq!(call(line).choice("output"), "json", "{line}");
        }
        assert_eq!(call("status").choice("output"), "text");
        let mut enrol = call("enroll --url=https://h:1 --label a=b --label c=d --data /x");
        assert_eq!(enrol.path, ["enroll"]);
        assert_eq!(enrol.text("url").unwrap().as_deref(), Some("https://h:1"));
        assert_eq!(enrol.each("label", |it| Ok(it.to_owned())).unwrap(), ["a=b", "c=d"]);
        assert_eq!(enrol.path("data"), Some("/x".into()));
        let mut create = call("local-access create --subscribe a/# -o env -- viewer");
        assert_eq!(create.path, ["local-access", "create"]);
        assert_eq!(create.argument::<String>().unwrap(), "viewer");
    }

    #[test]
    fn each_fault_is_said() {
        for (line, why) in [
            (
                "enrol",
                "there is no command 'enrol'; the commands are enroll, run, status, local-access",
            ),
            (
                "local-access make",
                "there is no command 'make'; the commands are create, list, remove",
            ),
            ("enroll", "--url URL is missing"),
            ("enroll --url", "--url needs a value: --url URL"),
            ("enroll --url a --url b", "--url stands twice"),
            (
                "enroll --url a --token b --token-file c",
                "--token and --token-file cannot be given together",
            ),
            ("enroll --url a --frob", "--frob is no option of this command"),
            ("status -x", "-x is no option of this command"),
            ("status -o yaml", "--output is one of text, json, not 'yaml'"),
            ("status all", "'all' is one word too many"),
            ("local-access create", "NAME is missing"),
            ("local-access remove a b", "'b' is one word too many"),
        ] {
            assert_eq!(of(line).unwrap_err().to_string(), why, "{line}");
        }
        let bad = call("local-access remove A!").argument::<holdfast_base::ids::Name>();
        assert!(bad.unwrap_err().to_string().starts_with("NAME 'A!': "));
        let bad =
            call("enroll --url a --label x").each("label", |_| Err::<(), _>(Unfit("no".into())));
        assert_eq!(bad.unwrap_err().to_string(), "--label 'x': no");
    }

    #[test]
    fn help_and_version_are_asked_for_anywhere() {
        for (line, path, missing) in [
            ("--help", &["holdfast-agent"][..], false),
            ("-h", &["holdfast-agent"], false),
            ("help", &["holdfast-agent"], false),
            ("", &["holdfast-agent"], true),
            ("enroll --url", &[], false),
            ("enroll -h", &["holdfast-agent", "enroll"], false),
            ("help enroll", &["holdfast-agent", "enroll"], false),
            ("local-access", &["holdfast-agent", "local-access"], true),
            ("local-access help create", &["holdfast-agent", "local-access", "create"], false),
        ] {
            match of(line) {
                Ok(Asked::Help(found, bare)) => {
                    assert_eq!(found.iter().map(|it| it.name).collect::<Vec<_>>(), path, "{line}");
                    assert_eq!(bare, missing, "{line}");
                }
                Err(fault) if path.is_empty() => assert_eq!(fault.at.len(), 2),
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(matches!(of("--version"), Ok(Asked::Version)));
        assert!(matches!(of("run -V"), Ok(Asked::Version)));
    }
}
