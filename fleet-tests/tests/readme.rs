//! Tests that the README is true of the programs: every command parses, its questions too, every
//! document is admitted, every configuration is read and shows the defaults; its part about data is
//! carried out on a real device, word for word. The tests that ARCHITECTURE.md names exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, read files and run programs"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use fleet_tests::harness::{Binaries, DEADLINE, Plane, Scratch, eventually, target_dir};
use holdfast_control::core::admission::admit;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// Returns the fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    blocks_of(&readme(), language)
}

fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let (fence, mut found) = (format!("```{language}"), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n"));
        }
    }
    assert!(!found.is_empty(), "no {fence} block");
    found
}

/// Returns the commands that the README tells people to type, and those that it names in passing.
fn quoted() -> Vec<String> {
    let console = blocks("console").join("\n");
    let typed = console.lines().filter_map(|line| line.strip_prefix("$ ")).map(ToOwned::to_owned);
    let text = readme();
    let fenced = |line: &&str| line.starts_with("```");
    let prose: Vec<&str> = text.split_inclusive('\n').collect();
    let mut inside = false;
    let mut named = Vec::new();
    for line in prose {
        inside ^= fenced(&line);
        if !inside {
            named.extend(line.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
        }
    }
    typed.chain(named).collect()
}

/// Splits a line of shell into words. Outside of quotes `$(` and `)` separate words, and `#` ends
/// them.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.replace("$(", " ").chars() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ')') => words.extend(word.take()),
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Returns the words of our program in a line of shell, up to a redirection or a pipe.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = split(line)
        .into_iter()
        .skip_while(|word| word == "sudo" || word.contains('=') && !word.starts_with("holdfast"));
    let program = words.next().filter(|word| *word == "holdfast" || *word == "holdfast-agent")?;
    // A word that begins with `>` is a redirection; a comparison stands within a quoted word.
    let ends = |word: &String| !word.starts_with(['>', '|', '&', ';']) && !word.starts_with("2>");
    Some(std::iter::once(program).chain(words.take_while(ends)).collect())
}

fn commands() -> Vec<Vec<String>> {
    let commands: Vec<Vec<String>> = quoted().iter().filter_map(|line| words(line)).collect();
    assert!(commands.len() > 25, "{commands:?}");
    commands
}

#[test]
fn every_command_parses() {
    let binaries = Binaries::find();
    let mut wrong = Vec::new();
    for command in commands() {
        let program = if command[0] == "holdfast" { &binaries.control } else { &binaries.agent };
        // The option `--help` stops before anything is done; errors in the words before it are
        // reported all the same.
        let mut arguments = command[1..].to_vec();
        if arguments.first().is_none_or(|first| first != "help") {
            arguments.push("--help".into());
        }
        let ran = Command::new(program)
            .args(&arguments)
            .env_remove("HOLDFAST_TOKEN")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if !ran.status.success() {
            wrong.push(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every question and every time in the README parses, which `--help` does not check.
#[test]
fn every_question_is_understood() {
    let mut questions = 0;
    for command in commands() {
        let value = |option: &str| {
            let at = command.iter().position(|word| word == option);
            at.map_or("", |at| command[at + 1].as_str())
        };
        if command[1..].starts_with(&["query".to_owned()]) && command.len() > 2 {
            questions += 1;
            let [select, filter, by, every] = ["--select", "--where", "--by", "--every"].map(value);
            assert_ne!(select, "", "{command:?}");
            holdfast_query::parse::question(select, filter, by, every)
                .unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
        }
        for time in ["--since", "--until"].map(value).into_iter().filter(|time| !time.is_empty()) {
            holdfast_query::parse::duration(time.trim_start_matches('-'))
                .unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
        }
    }
    assert!(questions > 0);
}

#[test]
fn every_document_is_admitted() {
    for block in blocks("yaml") {
        let document: serde_json::Value = serde_saphyr::from_str(&block).unwrap();
        admit(&[document], &|_| None).unwrap_or_else(|faults| panic!("{faults:#?} in\n{block}"));
    }
}

/// Place where the README's commands are typed.
struct Shell {
    plane: Plane,
    scratch: Scratch,
    env: Vec<(&'static str, String)>,
}

impl Shell {
    /// Returns `text` as a shell command, with this control plane's addresses in place of the
    /// tour's.
    fn command(&self, text: &str) -> Command {
        let (api, mqtt) = (self.plane.api, self.plane.mqtt);
        // The certificate does not name an address of this test's own.
        let here = format!("--insecure -h {} -p {}", mqtt.ip(), mqtt.port());
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", &text.replace("-h 127.0.0.1 -p 8883", &here)]);
        self.scratch.write(".curlrc", format!("connect-to = \"127.0.0.1:8443:{api}\"\n"));
        let tools = target_dir().parent().unwrap().join("tools/python/bin");
        let programs = self.plane.binaries().control.parent().unwrap();
        let path = format!("{}:{}:/usr/bin:/bin", programs.display(), tools.display());
        let cli = self.plane.cli();
        command.env_clear().env("PATH", path).env("HOME", self.scratch.join("")).env("TZ", "UTC");
        command.env("HOLDFAST_URL", cli.url).env("HOLDFAST_TOKEN", cli.token);
        command.env("HOLDFAST_CA", cli.ca).envs(self.env.iter().cloned());
        command.current_dir(self.scratch.join("")).stdin(Stdio::null());
        command
    }

    fn run(&self, text: &str) -> String {
        let ran = self.command(text).output().unwrap();
        assert!(ran.status.success(), "{text}\n{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

/// Returns a line without its numbers and the values of one run, for comparison.
fn form(line: &str) -> String {
    let mut form = String::new();
    for letter in line.chars() {
        if !letter.is_ascii_digit() {
            form.push(letter);
        } else if !form.ends_with('0') {
            form.push('0');
        }
    }
    form.replace("0.0}", "0}").replace("0.0 ", "0 ")
}

/// Carries out the part about data like a person who pastes it: every document, every command, and
/// one line of each export as it is shown. (The commands that make `ca.pem` and `sensors.env` have
/// tests of their own, and must parse.)
#[test]
fn what_it_says_about_data_works_on_a_real_device() {
    let text = readme();
    let text = text.split("\n## ").find(|part| part.starts_with("Data that stays")).unwrap();
    let [shell, shown] = ["sh", "text"].map(|language| blocks_of(text, language));
    let [publish, follow, scrape, duckdb] = &shell[..] else { panic!("{shell:#?}") };
    let [followed, scraped] = &shown[..] else { panic!("{shown:#?}") };

    let plane = Plane::start();
    let device = plane.device("pump-7", &["role=gateway"]);
    let access = device.access("sensors");
    let scratch = Scratch::new();
    scratch.write("ca.pem", plane.secrets().ca);
    let env = vec![
        ("HOLDFAST_MQTT_HOST", access.mqtt.ip().to_string()),
        ("HOLDFAST_MQTT_PORT", access.mqtt.port().to_string()),
        ("HOLDFAST_MQTT_USERNAME", access.user),
        ("HOLDFAST_MQTT_PASSWORD", access.password),
        ("HOLDFAST_SOCKET", access.socket.display().to_string()),
    ];
    let here = Shell { plane, scratch, env };
    for document in blocks_of(text, "yaml") {
        here.plane.cli().apply(&document).ok();
    }
    device.await_status("the agent takes records in", |_| access.socket.exists());

    let follow = &mut here.command(&format!("{follow} -C 1 -W 60"));
    let mut reader = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually(DEADLINE, "a record comes to the reader", || {
        let answers = here.run(publish);
        assert_eq!(answers.matches("\"stored\":").count(), 4, "{answers}");
        if reader.try_wait().unwrap().is_some() { Ok(()) } else { Err(answers) }
    });
    let came = reader.wait_with_output().unwrap();
    let line = String::from_utf8(came.stdout.clone()).unwrap();
    assert_eq!(form(line.trim_end()), form(followed), "{came:?}");

    let typed = blocks_of(text, "console").join("\n");
    let typed = typed.lines().filter_map(|line| line.strip_prefix("$ holdfast "));
    let typed: Vec<&str> = typed.filter(|line| !line.starts_with("ca ")).collect();
    assert_eq!(typed.len(), 5, "{typed:?}");
    for line in typed {
        here.run(&format!("holdfast {line}"));
    }
    let values = here.run(scrape);
    let value = values.lines().find(|line| line.starts_with("holdfast_stream_value{")).unwrap();
    assert_eq!(form(value), form(scraped));
    let table = here.run(duckdb);
    assert!(table.contains("21.5"), "{table}");
}

#[test]
fn every_configuration_says_the_defaults() {
    let blocks = blocks("toml");
    let [control, agent] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(holdfast_control::config::Config::parse(control), Ok(Default::default()));
    assert_eq!(holdfast_agent::config::Config::parse(agent), Ok(Default::default()));
}

#[test]
fn the_table_of_options_is_that_of_serve() {
    let options = |text: &str, lead: &str| -> std::collections::BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(lead));
        let names = lines.flat_map(|line| {
            let cell = line.split(" |").next().unwrap_or_default();
            cell.split("--").skip(1).map(|rest| rest.split([' ', '`', ',']).next().unwrap())
        });
        names.map(ToOwned::to_owned).collect()
    };
    let text = readme();
    let table = text.split("| option of `holdfast serve`").nth(1).unwrap();
    let told = options(table.split("\n\n").next().unwrap(), "| `");
    let help = Command::new(Binaries::find().control).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // Options stand behind six blanks; a line of a description may begin with one, further in.
    let said = help.lines().filter_map(|line| line.strip_prefix("      "));
    let said = said.filter(|line| line.starts_with("--"));
    let said: std::collections::BTreeSet<String> = said
        .map(|line| line.trim_start_matches("--").split([' ', '<']).next().unwrap().to_owned())
        .collect();
    assert!(told.len() > 5, "{told:?}");
    assert_eq!(told, said);
}

/// Collects the name of every `fn` under a folder.
fn functions(folder: &Path, found: &mut std::collections::BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            functions(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(after.map(ToOwned::to_owned));
        }
    }
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = std::collections::BTreeSet::new();
    for part in ["fleet-tests", "agent", "control", "protocol"] {
        functions(&root.join(part), &mut known);
    }
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= 3 || *word == "clock_at_1970_on_boot")
        .filter(|word| {
            word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect();
    assert!(named.len() > 25, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
