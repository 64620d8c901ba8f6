//! Manual pages and completion scripts of both programs, generated from their command lines.
//! `holdfast` can write its own as well; the agent cannot, since that would make it larger on each
//! device.

use std::io;
use std::path::Path;

use clap::{Arg, ArgAction, Command, ValueEnum as _};
use clap_complete::Shell;
use holdfast_agent::cli::commands::{self, PROGRAM};

/// Writes the files below `dir`, into `man/` and `completions/`.
///
/// # Errors
/// Returns errors of the file system.
pub fn write(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    for mut program in [holdfast_cli::command(), agent()] {
        clap_mangen::generate_to(program.clone(), &man)?;
        let name = program.get_name().to_owned();
        for shell in Shell::value_variants() {
            clap_complete::generate_to(*shell, &mut program, &name, &completions)?;
        }
    }
    Ok(())
}

/// Returns the agent's command line, made from its table, without the hidden commands that only the
/// agent itself calls: completions would offer them.
fn agent() -> Command {
    clap_command(&PROGRAM).version(env!("CARGO_PKG_VERSION")).propagate_version(true)
}

fn clap_command(of: &'static commands::Command) -> Command {
    let mut command = Command::new(of.name).about(of.about);
    if !of.after.is_empty() {
        command = command.after_help(of.after);
    }
    if let Some(argument) = &of.argument {
        command = command.arg(
            Arg::new(argument.value).value_name(argument.value).help(argument.help).required(true),
        );
    }
    command
        .args(of.options.iter().map(clap_option))
        .subcommands(of.commands.iter().filter(|it| !it.hidden).map(clap_command))
}

fn clap_option(of: &'static commands::Opt) -> Arg {
    let action = if of.repeats { ArgAction::Append } else { ArgAction::Set };
    let mut option = Arg::new(of.long)
        .long(of.long)
        .value_name(of.value)
        .help(of.help)
        .required(of.required)
        .action(action);
    if let Some(letter) = of.short {
        option = option.short(letter);
    }
    if let Some(name) = of.env {
        option = option.env(name);
    }
    if let Some(default) = of.choices.first() {
        option = option.value_parser(of.choices.to_vec()).default_value(*default);
    }
    match of.excludes {
        Some(other) => option.conflicts_with(other),
        None => option,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_have_their_pages_and_completions() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        for (path, words) in [
            ("man/holdfast-agent.1", &["Runs the workloads of this device", "enroll(1)"][..]),
            ("man/holdfast-agent-enroll.1", &["token\\-file", "Examples:"]),
            ("man/holdfast-agent-run.1", &["HOLDFAST_AGENT_DATA"]),
            ("man/holdfast-apply.1", &["dry\\-run", "Examples:"]),
            ("completions/holdfast-agent.bash", &["enroll", "--token-file"]),
            ("completions/_holdfast-agent", &["enroll", "--token-file"]),
            ("completions/holdfast-agent.fish", &["enroll", "token-file"]),
            ("completions/holdfast.bash", &["artifact", "--dry-run"]),
        ] {
            let text = read(path);
            words.iter().for_each(|word| assert!(text.contains(word), "{word} in {path}:\n{text}"));
        }
        for path in ["man/holdfast-agent.1", "completions/holdfast-agent.bash"] {
            assert!(!read(path).contains("launch"), "{path} tells of what nobody is to call");
        }
    }
}
