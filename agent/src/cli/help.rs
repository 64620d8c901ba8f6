//! Help texts of the agent's command line, laid out from the table of commands.
//!
//! See decision 0141.

use std::fmt::Write as _;

use super::arguments::shown;
use super::commands::{Command, Opt};

/// Width of the help in columns.
const WIDE: usize = 100;

/// Returns the help of the last command of `path`.
pub(super) fn help(path: &[&'static Command]) -> String {
    let Some(command) = path.last() else { return String::new() };
    let mut text = format!("{}\n\n{}\n", command.about, usage(path));
    let mut rows: Vec<(String, String)> =
        shown(command).map(|it| (it.name.to_owned(), it.about.to_owned())).collect();
    if !rows.is_empty() {
        rows.push(("help".into(), "Print this help, or that of the command named after it".into()));
    }
    section(&mut text, "Commands", &rows);
    let argument = command.argument.as_ref();
    let rows: Vec<_> =
        argument.map(|it| (format!("<{}>", it.value), it.help.to_owned())).into_iter().collect();
    section(&mut text, "Arguments", &rows);
    let mut rows: Vec<_> = command.options.iter().map(row).collect();
    rows.push(("-h, --help".into(), "Print help".into()));
    rows.push(("-V, --version".into(), "Print version".into()));
    section(&mut text, "Options", &rows);
    if !command.after.is_empty() {
        text.push('\n');
        for line in command.after.lines() {
            wrapped(&mut text, line, if line.starts_with("  ") { 2 } else { 0 });
        }
    }
    text
}

/// Returns the usage line of the last command of `path`.
pub(super) fn usage(path: &[&'static Command]) -> String {
    let names: Vec<_> = path.iter().map(|command| command.name).collect();
    let mut text = format!("Usage: {}", names.join(" "));
    let Some(command) = path.last() else { return text };
    if command.options.iter().any(|option| !option.required) {
        text.push_str(" [OPTIONS]");
    }
    for option in command.options.iter().filter(|option| option.required) {
        // Writing to a string does not fail.
        let _written = write!(text, " --{} <{}>", option.long, option.value);
    }
    if let Some(argument) = &command.argument {
        let _written = write!(text, " <{}>", argument.value);
    }
    if !command.commands.is_empty() {
        text.push_str(" <COMMAND>");
    }
    text
}

fn row(option: &Opt) -> (String, String) {
    let short = option.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let mut help = option.help.to_owned();
    if let Some(name) = option.env {
        let _written = write!(help, " [env: {name}]");
    }
    if let Some(default) = option.choices.first() {
        let choices = option.choices.join(", ");
        let _written = write!(help, " [default: {default}] [possible values: {choices}]");
    }
    (format!("{short}--{} <{}>", option.long, option.value), help)
}

fn section(text: &mut String, title: &str, rows: &[(String, String)]) {
    let Some(left) = rows.iter().map(|(name, _)| name.len()).max() else { return };
    let _written = write!(text, "\n{title}:\n");
    for (name, help) in rows {
        wrapped(text, &format!("  {name:left$}  {help}"), left + 4);
    }
}

/// Appends a line, broken between words at [`WIDE`] columns; further lines begin with `indent`
/// spaces.
fn wrapped(text: &mut String, line: &str, indent: usize) {
    let mut rest = line;
    // Spaces within the indent, or before it on the first line, are no place to break.
    let (mut room, mut least) = (WIDE, indent);
    while rest.len() > room {
        let last = rest.get(..=room).and_then(|start| start.rfind(' '));
        let cut = last.filter(|at| *at > least).and_then(|at| rest.split_at_checked(at));
        let Some((line, further)) = cut else { break };
        text.push_str(line.trim_end());
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
        rest = further.trim_start();
        (room, least) = (WIDE - indent, 0);
    }
    text.push_str(rest);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::commands::PROGRAM;
    use super::*;

    fn each(path: &[&'static Command], see: &mut impl FnMut(&[&'static Command])) {
        see(path);
        for command in path.last().into_iter().flat_map(|it| shown(it)) {
            each(&[path, &[command]].concat(), see);
        }
    }

    #[test]
    fn every_help_has_a_purpose_its_options_and_fits() {
        let mut seen = 0;
        each(&[&PROGRAM], &mut |path| {
            seen += 1;
            let (command, text) = (path[path.len() - 1], help(path));
            assert!(text.starts_with(command.about) && !command.about.is_empty(), "{text}");
            for option in command.options {
                assert!(text.contains(&format!("--{} <{}>", option.long, option.value)), "{text}");
                assert!(!option.help.is_empty(), "{}", option.long);
            }
            let long = text.lines().find(|line| line.len() > WIDE);
            assert_eq!(long, None, "{text}");
        });
        assert_eq!(seen, 8);
    }

    #[test]
    fn a_long_line_is_broken_between_words_and_indented() {
        let mut text = String::new();
        wrapped(&mut text, &format!("  --x  {}", "word ".repeat(30).trim_end()), 7);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].starts_with("       word") && lines[0].len() <= WIDE, "{text}");
        let mut text = String::new();
        wrapped(&mut text, &"x".repeat(130), 0);
        assert_eq!(text.trim_end(), "x".repeat(130));
    }
}
