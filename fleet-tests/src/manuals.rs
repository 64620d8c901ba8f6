//! Manual pages and completion scripts of both programs, generated from their command lines.
//! `holdfast` can write its own as well; the agent cannot, since that would make it larger on each
//! device.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

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

/// Returns the agent's command line without the hidden commands that only the agent itself calls:
/// completions would offer them.
fn agent() -> Command {
    let whole = holdfast_agent::cli::Cli::command();
    Command::new("holdfast-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about(whole.get_about().cloned().unwrap_or_default())
        .subcommands(whole.get_subcommands().filter(|one| !one.is_hide_set()).cloned())
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
