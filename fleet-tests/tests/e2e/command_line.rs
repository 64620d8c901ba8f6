//! Command line as scripts use it: exit codes, shapes of output, choice of standard output or
//! error, and messages to a person when something is wrong.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet_tests::harness::{
    Binaries, Cli, DEADLINE, Plane, Scratch, eventually, holds_for, processes,
};
use serde_json::{Value, json};

use crate::data::{await_ledger, http, mqtt, records};
use crate::{QUICK, assert_says, marker, script, sleeper};

/// Runs a command; returns exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Returns a command without the environment variables for the control plane.
fn bare(cli: &Cli, arguments: &[&str]) -> Command {
    let mut command = cli.command(arguments);
    command.env_remove("HOLDFAST_URL").env_remove("HOLDFAST_TOKEN").env_remove("HOLDFAST_CA");
    command
}

/// Starts `holdfast serve` on this folder, stops it, and returns its standard output.
fn greeting(data: &Path) -> Vec<String> {
    let mut child = Command::new(Binaries::find().control)
        .args([
            "serve",
            "--log",
            "error",
            "--api",
            "localhost:0",
            "--mqtt",
            "localhost:0",
            "--data",
        ])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|line| !line.starts_with("ca-sha256: ")) {
        seen.push(lines.next().expect("a greeting"));
    }
    processes::terminate(child.id());
    seen.extend(lines);
    child.wait().unwrap();
    seen
}

#[test]
fn the_admin_token_is_printed_at_the_first_start_alone() {
    let keys = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let scratch = Scratch::new();
    let first = greeting(&scratch.join("plane"));
    assert_eq!(keys(&first), ["api:", "mqtt:", "ca-sha256:", "admin-token:"], "{first:?}");
    let second = greeting(&scratch.join("plane"));
    assert_eq!(keys(&second), ["api:", "mqtt:", "ca-sha256:"], "{second:?}");
    assert_eq!(second[2], first[2], "the CA stays");

    // The token stays valid. A control plane that was killed, not stopped, might not yet have noted
    // that the token was shown, and would rightly show one again.
    let mut plane = Plane::start();
    plane.stop();
    let second = greeting(plane.data());
    assert_eq!(keys(&second), ["api:", "mqtt:", "ca-sha256:"], "{second:?}");
    plane.up();
    plane.cli().run(&["get", "devices"]).ok();
}

#[test]
fn serve_says_what_an_address_looks_like() {
    let program = Binaries::find().control;
    for option in ["--api", "--mqtt"] {
        let (code, _, said) = run(Command::new(&program).args(["serve", option, "8443"]));
        assert_eq!(code, 2, "{said}");
        assert_says(&said, &[option, "HOST:PORT", "localhost:8443", "[::]:8443"]);
    }
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_was() {
    let plane = Plane::start();
    let cli = plane.cli();
    for usage in [
        &["get"][..],
        &["get", "things"],
        &["get", "devices", "-l", "a b"],
        &["get", "devices", "-l", ","],
        &["get", "devices", "-o", "xml"],
        &["get", "devices", ".."],
        &["apply"],
        &["token", "create", "--ttl", "1"],
        &["token", "create", "--uses", "0"],
        &["token", "create", "--label", "novalue"],
        &["token", "create", "--approve", "maybe"],
        &["device", "label", "d-1"],
        &["device", "label", "d-1", "role"],
        &["delete", "revision", "w.1"],
        &["frobnicate"],
    ] {
        let said = cli.run(usage).fails(2);
        assert!(!said.trim().is_empty(), "{usage:?} says why");
    }
    for missing in [
        &["get", "devices", "nobody"][..],
        &["get", "device", "a/b"],
        &["get", "workloads", "nothing"],
        &["get", "revisions", "nothing"],
        &["get", "revisions", "nothing.1"],
        &["get", "tokens", "0011223344556677"],
        &["describe", "device", "nobody"],
        &["describe", "workload", "nothing"],
        &["delete", "workload", "nothing"],
        &["delete", "device", "nobody"],
        &["device", "approve", "nobody"],
        &["device", "revoke", "nobody"],
        &["device", "label", "nobody", "a=b"],
        &["token", "revoke", "0011223344556677"],
        &["logs", "nobody", "nothing"],
    ] {
        let said = cli.run(missing).fails(3);
        assert!(!said.trim().is_empty(), "{missing:?} says why");
    }
    let mut stranger = plane.cli();
    stranger.token = "hfa1.0011223344556677.00".into();
    assert_says(&stranger.run(&["get", "devices"]).fails(4), &["token", "log in"]);
    cli.run(&["apply", "-f", "/nowhere.yaml"]).fails(1);
    cli.run(&["artifact", "push", "/nowhere"]).fails(1);
    cli.run(&["--help"]).ok();
    cli.run(&["--version"]).ok();
}

#[test]
fn all_faults_of_all_documents_are_said_at_once_and_nothing_is_applied() {
    let plane = Plane::start();
    let cli = plane.cli();
    let faulty = "\
apiVersion: holdfast/v1
kind: Workload
metadata: { name: Bad_Name }
spec:
  devices: { matchLabels: { role: gateway } }
  run: { process: { path: /bin/sleep, args: [1000], comand: x } }
  resources: { memory: 12Q, cpu: fast }
  restart: { policy: sometimes }
";
    let outcome = cli.apply(faulty);
    assert_eq!(outcome.out, "");
    let said = outcome.fails(1);
    let lines: BTreeSet<&str> = said.lines().collect();
    for fault in [
        "metadata.name: \"Bad_Name\" is not a name",
        "spec.run.process.args[0]: 1000: expected text, but this is read as a number",
        "spec.run.process.comand: unknown field",
        "spec.resources.memory: \"12Q\": unknown unit",
        "spec.resources.cpu: \"fast\": not a number",
        "spec.restart.policy: \"sometimes\": unknown policy",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(fault)), "{fault:?} is missing in {said}");
    }

    // One faulty document among good ones: none of them is applied, and the message names it.
    let folder = plane.scratch.join("documents");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("1-good.yaml"), sleeper("good", "a", &marker())).unwrap();
    std::fs::write(folder.join("2-bad.yaml"), faulty).unwrap();
    let said = cli.run(&["apply", "-f", folder.to_str().unwrap()]).fails(1);
    assert_says(&said, &["2-bad.yaml: documents[1] (Workload/Bad_Name): spec.resources.memory"]);
    cli.run(&["get", "workload", "good"]).fails(3);

    let broken = cli.apply("a: [1\n").fails(1);
    assert_says(&broken, &["cannot understand -"]);
    let other = cli.apply("apiVersion: holdfast/v1\nkind: Deployment\n").fails(1);
    assert_says(&other, &["kind: \"Deployment\"", "Workload"]);
    let unknown = format!("sha256:{}", "12".repeat(32));
    let document =
        sleeper("w", "a", "1").replace("path: /bin/sleep", &format!("artifact: \"{unknown}\""));
    assert_says(&cli.apply(&document).fails(1), &["artifact", "holdfast artifact push"]);
}

#[test]
fn a_dry_run_changes_nothing_and_a_diff_shows_what_would() {
    let plane = Plane::start();
    let cli = plane.cli();
    let (first, second) = (sleeper("w", "a", "1000"), sleeper("w", "a", "2000"));
    let file = plane.scratch.write("w.yaml", &first);
    let file = file.to_str().unwrap();

    let said = cli.run(&["apply", "--dry-run", "-f", file]);
    assert_says(&said.err, &["warning: workload/w", "device"]);
    assert_eq!(said.ok(), "workload/w would be created (revision 1, 0 devices)");
    cli.run(&["get", "workloads", "w"]).fails(3);
    let diff = cli.run(&["diff", "-f", file]).ok();
    assert_says(&diff, &["--- /dev/null", "+++ workload/w", "+kind: Workload"]);

    assert_eq!(cli.apply(&first).ok(), "workload/w created (revision 1, 0 devices)");
    assert_eq!(cli.apply(&first).ok(), "workload/w unchanged (revision 1, 0 devices)");
    assert_eq!(cli.run(&["diff", "-f", file]).ok(), "", "no difference, no output");

    std::fs::write(file, &second).unwrap();
    let diff = cli.run(&["diff", "-f", file]).ok();
    let changed: Vec<&str> =
        diff.lines().skip(2).filter(|line| line.starts_with(['+', '-'])).collect();
    assert!(changed.len() == 2 && changed[0].contains("1000"), "{diff}");
    assert!(changed[1].contains("2000"), "{diff}");
    assert_eq!(
        cli.run(&["apply", "--dry-run", "-f", file]).ok(),
        "workload/w would be changed (revision 2, 0 devices)"
    );
    let now = cli.run(&["get", "workload", "w", "-o", "json"]).json();
    assert_eq!(now["status"]["revision"], 1);
    assert_eq!(now["spec"]["run"]["process"]["args"], json!(["1000"]));
}

#[test]
fn what_scripts_read_has_one_shape() {
    let plane = Plane::start();
    let cli = plane.cli();
    for kind in ["devices", "workloads", "revisions", "tokens"] {
        let outcome = cli.run(&["get", kind, "-o", "json"]);
        assert_eq!(outcome.json(), json!({ "items": [] }), "{kind}");
        let table = cli.run(&["get", kind]);
        assert_says(&table.err, &["no ", kind]);
        assert_eq!(table.ok(), "", "an empty list is no line");
    }
    cli.apply(&sleeper("w", "a", "1000")).ok();
    cli.apply(&sleeper("w", "a", "2000")).ok();
    cli.apply(&sleeper("other", "a", "1")).ok();

    let one = cli.run(&["get", "workload", "w", "-o", "json"]).json();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("Workload"), &json!("w")));
    assert_eq!(one["spec"]["devices"]["matchLabels"]["role"], "a");
    let all = cli.run(&["get", "workloads", "-o", "json"]).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(all["items"][1], one, "the one alone is the one in the list");

    let revisions = cli.run(&["get", "revisions", "w", "-o", "json"]).json();
    let names: Vec<&Value> = revisions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["w.1", "w.2"]);
    let first = cli.run(&["get", "revision", "w.1", "-o", "json"]).json();
    assert_eq!(first["spec"]["run"]["process"]["args"], json!(["1000"]));

    let table = cli.run(&["get", "workloads"]).ok();
    let heading = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(heading[..3], ["NAME", "REVISION", "DEVICES"]);
    assert_eq!(table.lines().count(), 3);
    assert!(!table.contains('\u{1b}'), "no colours where no terminal is");
    assert_says(&cli.run(&["get", "workloads", "-o", "wide"]).ok(), &["/bin/sleep 2000", "role=a"]);

    // Output in YAML can be applied again.
    let yaml = cli.run(&["get", "workload", "w", "-o", "yaml"]).ok();
    assert_eq!(cli.apply(&yaml).ok(), "workload/w unchanged (revision 2, 0 devices)");
    let all = cli.run(&["get", "workloads", "-o", "json"]).ok();
    assert_eq!(cli.apply(&all).ok().matches("unchanged").count(), 2);
    assert_says(&cli.run(&["describe", "workload", "w"]).ok(), &["Revision", "/bin/sleep 2000"]);
}

#[test]
fn a_list_is_whole_however_many_pages_it_has() {
    let plane = Plane::start();
    let cli = plane.cli();
    let many: String = (0..1_000)
        .map(|number| format!("---\n{}", sleeper(&format!("w-{number:04}"), "none", "1")))
        .collect();
    cli.apply(&many).ok();
    cli.apply(&sleeper("last", "none", "1")).ok();
    let all = cli.run(&["get", "workloads", "-o", "json"]).json();
    let names: BTreeSet<&str> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 1_001);
    assert!(names.contains("last") && names.contains("w-0999"));

    // A reader may leave early: that is no failure, and no panic.
    let mut child = cli.command(&["get", "workloads", "-o", "json"]).spawn().unwrap();
    let mut one = [0];
    child.stdout.take().unwrap().read_exact(&mut one).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_login_is_checked_and_then_kept() {
    let plane = Plane::start();
    let cli = plane.cli();
    let (url, token, ca) = (&cli.url, &cli.token, &cli.ca);
    let file = cli.home.join(".config/holdfast/config.json");

    let (code, _, said) = run(&mut bare(&cli, &["get", "devices"]));
    assert_eq!(code, 1);
    assert_says(&said, &["not logged in", "holdfast login"]);
    let wrong_token = "hfa1.0011223344556677.00";
    let (code, _, said) =
        run(&mut bare(&cli, &["login", url, "--token", wrong_token, "--ca-sha256", ca]));
    assert_eq!(code, 4, "{said}");
    let wrong_ca = "ab".repeat(32);
    let (code, _, said) =
        run(&mut bare(&cli, &["login", url, "--token", token, "--ca-sha256", &wrong_ca]));
    assert_eq!(code, 4, "{said}");
    assert_says(&said, &["certificate", "ca-sha256"]);
    let enrolment = plane.token(&[]);
    let (code, _, said) =
        run(&mut bare(&cli, &["login", url, "--token", &enrolment, "--ca-sha256", ca]));
    assert_eq!(code, 2);
    assert_says(&said, &["enrolment token"]);
    assert!(!file.exists(), "what does not work is not kept");

    let (code, out, said) =
        run(&mut bare(&cli, &["login", url, "--token", token, "--ca-sha256", ca]));
    assert_eq!((code, said.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, out, said) = run(&mut bare(&cli, &["get", "devices", "-o", "json"]));
    assert_eq!(code, 0, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), json!({ "items": [] }));

    // The environment takes precedence over the stored login; a CA may be a file.
    let ca_file = plane.scratch.write("ca.pem", plane.secrets().ca);
    let mut with_file = plane.cli();
    with_file.ca = ca_file.to_str().unwrap().to_owned();
    with_file.run(&["get", "devices"]).ok();
    let (code, _, said) = run(bare(&cli, &["get", "devices"]).env("HOLDFAST_CA", &wrong_ca));
    assert_eq!(code, 1);
    assert_says(&said, &["the token is not known"]);
}

#[test]
fn what_cannot_be_reached_or_believed_is_said_with_what_to_do() {
    let mut plane = Plane::start();
    let cli = plane.cli();
    let mut wrong_ca = plane.cli();
    wrong_ca.ca = "ab".repeat(32);
    assert_says(&wrong_ca.run(&["get", "devices"]).fails(4), &["certificate", "HOLDFAST_CA"]);
    let mut gateway = plane.cli();
    gateway.url = format!("https://{}", plane.mqtt);
    assert_ne!(gateway.run(&["get", "devices"]).code, 0);
    let mut plain = plane.cli();
    plain.url = plain.url.replace("https", "http");
    assert_says(&plain.run(&["get", "devices"]).fails(2), &["HTTPS"]);

    plane.kill();
    let said = cli.run(&["get", "devices"]).fails(1);
    assert_says(&said, &["cannot reach", &plane.api.to_string(), "refused"]);
    let backup = plane.scratch.join("never.tar");
    cli.run(&["backup", backup.to_str().unwrap(), "--unencrypted"]).fails(1);
    let left: Vec<String> = std::fs::read_dir(plane.scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("never"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "a backup that failed leaves nothing");
}

#[test]
fn completions_manual_and_help_come_from_the_same_words() {
    let plane = Plane::start();
    let cli = plane.cli();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&mut bare(&cli, &["completions", shell]));
        assert_eq!(code, 0);
        assert_says(&script, &["holdfast", "artifact", "dry-run", "serve"]);
    }
    let dir = plane.scratch.join("man/man1");
    let (code, _, said) = run(&mut bare(&cli, &["man", dir.to_str().unwrap()]));
    assert_eq!(code, 0, "{said}");
    let page = std::fs::read_to_string(dir.join("holdfast-token-create.1")).unwrap();
    assert!(page.contains("ttl") && page.contains("Examples"), "{page}");
    for command in [
        "serve",
        "login",
        "apply",
        "diff",
        "delete",
        "get",
        "describe",
        "logs",
        "backup",
        "restore",
        "completions",
        "man",
        "token create",
        "token list",
        "token revoke",
        "device approve",
        "device label",
        "device revoke",
        "artifact push",
    ] {
        let page = dir.join(format!("holdfast-{}.1", command.replace(' ', "-")));
        assert!(page.is_file(), "{}", page.display());
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let (code, help, _) = run(&mut bare(&cli, &words));
        assert_eq!(code, 0);
        assert_says(&help, &["Examples:", &format!("holdfast {command}")]);
    }
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let plane = Plane::start();
    let cli = plane.cli();
    let made = cli.run(&[
        "token",
        "create",
        "--ttl",
        "30d",
        "--uses",
        "7",
        "--label",
        "site=north",
        "--label",
        "role=a",
        "--approve",
        "manual",
    ]);
    assert_eq!(made.err, "");
    let token = made.ok();
    assert!(token.starts_with("hf1.") && !token.contains(char::is_whitespace), "{token}");
    assert!(token.ends_with(&plane.ca_sha256), "{token}");
    let id = token.split('.').nth(1).unwrap();

    let listed = cli.run(&["token", "list", "-o", "json"]).json();
    let item = &listed["items"][0];
    assert_eq!(item["metadata"]["name"], id);
    assert_eq!(item["metadata"]["labels"], json!({ "site": "north", "role": "a" }));
    assert_eq!((&item["uses"], &item["used"]), (&json!(7), &json!(0)));
    assert_eq!((&item["approve"], &item["state"]), (&json!("manual"), &json!("active")));
    let secret = token.split('.').nth(2).unwrap();
    assert!(!listed.to_string().contains(secret), "the secret is never shown again");
    assert_eq!(cli.run(&["get", "token", id, "-o", "json"]).json(), *item);
    let table = cli.run(&["token", "list"]).ok();
    assert_says(&table, &["ID", id, "0/7", "role=a,site=north"]);
    // A second of the thirty days may have passed.
    assert!(table.contains("in 30d") || table.contains("in 29d"), "{table}");

    // The whole token is accepted as well as its id.
    cli.run(&["token", "revoke", &token]).ok();
    let state = cli.run(&["get", "token", id, "-o", "json"]).json()["state"].clone();
    assert_eq!(state, "revoked");
}

#[test]
fn documents_come_from_files_folders_and_standard_input() {
    let plane = Plane::start();
    let cli = plane.cli();
    let folder = plane.scratch.join("all");
    std::fs::create_dir(&folder).unwrap();
    let two = format!("{}---\n{}", sleeper("a", "x", "1"), sleeper("b", "x", "1"));
    std::fs::write(folder.join("two.yaml"), two).unwrap();
    std::fs::write(folder.join("notes.txt"), "not: [a document").unwrap();
    let json = json!({
        "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": "c" },
        "spec": {
            "devices": { "matchExpressions": [{ "key": "role", "operator": "Exists" }] },
            "run": { "process": { "path": "/bin/true" } },
        },
    });
    let file = plane.scratch.write("c.json", json.to_string());
    let arguments =
        ["apply", "-f", folder.to_str().unwrap(), "-f", file.to_str().unwrap(), "-f", "-"];
    let said = cli.run_with(&arguments, &sleeper("d", "x", "1")).ok();
    let names: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["workload/a", "workload/b", "workload/c", "workload/d"]);
    let said = cli.run(&["delete", "workloads", "a", "nothing", "b"]);
    assert_eq!(said.out, "workload/a deleted\nworkload/b deleted\n");
    assert_says(&said.fails(3), &["nothing"]);
    let empty = plane.scratch.join("empty");
    std::fs::create_dir(&empty).unwrap();
    cli.run(&["apply", "-f", empty.to_str().unwrap()]).fails(1);
}

#[test]
fn artifacts_and_backups_are_whole() {
    let plane = Plane::start();
    let cli = plane.cli();
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = plane.scratch.write("program", &bytes);
    let file = file.to_str().unwrap();
    let sum = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    let pushed = cli.run(&["artifact", "push", file]);
    assert_eq!(pushed.err, "", "no progress where no terminal is");
    assert_eq!(pushed.ok(), format!("sha256:{}", &sum[..64]));
    let empty = plane.scratch.write("empty-program", "");
    let outcome = cli.run(&["artifact", "push", empty.to_str().unwrap()]);
    assert!(outcome.code == 0 || outcome.code == 1, "{outcome}");

    let backup = plane.scratch.write("backup.tar", "an older one");
    cli.run(&["backup", backup.to_str().unwrap(), "--unencrypted"]).ok();
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = Command::new("tar").arg("-tf").arg(&backup).output().unwrap();
    assert!(listed.status.success() && !listed.stdout.is_empty());
    // A file that is no backup is not even sent: that would take long, and here it would get a
    // response.
    let not_one = plane.scratch.write("not-one.tar", b"\x7fELF\x1b[2J\x00\xff".repeat(99));
    for nowhere in ["https://127.0.0.1:1", &cli.url] {
        let asked = Cli { url: nowhere.to_owned(), ..cli.clone() };
        let said = asked.run(&["restore", not_one.to_str().unwrap(), "--yes"]).fails(1);
        let wanted = format!("error: {} is not a backup of holdfast: ", not_one.display());
        assert!(said.starts_with(&wanted) && said.lines().count() == 1, "{said:?}");
    }
    cli.run(&["get", "devices"]).ok();
}

#[test]
fn devices_are_shown_labelled_and_their_logs_read() {
    let plane = Plane::start();
    let device = plane.device("gw-1", &["role=a"]);
    let cli = plane.cli();
    let lines =
        "for n in 1 2 3 4 5; do echo line $n; done; while true; do sleep 0.2; echo more; done";
    cli.apply(&script("chatty", "a", lines, QUICK)).ok();
    plane.await_phase("gw-1", "chatty", "running");
    plane.await_settled("gw-1");

    let table = cli.run(&["get", "devices"]).ok();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["gw-1", "online"], "{table}");
    assert!(row.contains(&"1/1"), "{table}");
    assert_says(&cli.run(&["get", "device", "gw-1", "-o", "wide"]).ok(), &["LABELS", "role=a"]);
    assert_says(
        &cli.run(&["describe", "device", "gw-1"]).ok(),
        &["online", "chatty", "running", "DESIRED", "REPORTED"],
    );

    let tail = cli.run(&["logs", "gw-1", "chatty", "--tail", "2"]).ok();
    assert_eq!(tail.lines().count(), 2, "{tail}");
    cli.run(&["logs", "gw-1", "nothing"]).fails(3);
    let mut following = cli.command(&["logs", "gw-1", "chatty", "-f"]).spawn().unwrap();
    let mut seen = BufReader::new(following.stdout.take().unwrap()).lines();
    let first = seen.find(|line| line.as_ref().is_ok_and(|line| line == "line 5"));
    assert!(first.is_some(), "what was written before");
    let after = (0..3).filter(|_| seen.next().is_some_and(|line| line.unwrap() == "more")).count();
    assert_eq!(after, 3, "what is written now");
    following.kill().unwrap();
    following.wait().unwrap();

    cli.run(&["device", "label", "gw-1", "role=b", "site=north"]).ok();
    let labels =
        cli.run(&["get", "device", "gw-1", "-o", "json"]).json()["metadata"]["labels"].clone();
    assert_eq!(labels, json!({ "role": "b", "site": "north" }));
    cli.run(&["device", "label", "gw-1", "site-"]).ok();
    let chosen = cli.run(&["get", "devices", "-l", "role=b,!site", "-o", "json"]).json();
    assert_eq!(chosen["items"].as_array().unwrap().len(), 1);
    let none = cli.run(&["get", "devices", "-l", "role!=b", "-o", "json"]).json();
    assert_eq!(none, json!({ "items": [] }));
    let said = cli.run(&["device", "revoke", "gw-1", "nobody"]);
    assert_eq!(said.out, "device/gw-1 revoked\n");
    said.fails(3);
    plane.await_connection("gw-1", "revoked");
    drop(device);
}

/// Documents with every field about data.
const ABOUT_DATA: &str = "\
apiVersion: holdfast/v1
kind: Stream
metadata: { name: pumps, labels: { team: water } }
spec:
  devices: { matchLabels: { role: a } }
  streams: [\"pump/*\", \"yes\"]
  priority: 7
  ttl: 30d
  quota: 1Mi
  overflow: { thin: { keepEvery: 10 } }
  ship: { window: { every: 5m, fields: [temp, \"\"], aggregates: [min, p99.9] } }
  order: newest-first
  compress: false
  durability: 50ms
  windows: [\"01:00-04:00\"]
  retention: { age: 90d, bytes: 1Gi }
---
apiVersion: holdfast/v1
kind: LinkBudget
metadata: { name: sim }
spec:
  devices: { matchExpressions: [{ key: role, operator: Exists }] }
  per: month
  bytes: 100Mi
  shares: { control: 30%, data: 40% }
  interfaces: [{ name: \"wwan*\", metered: true }]
";

#[test]
fn documents_about_data_are_applied_shown_and_deleted_like_others() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let cli = plane.cli();
    for kind in ["streams", "linkbudgets"] {
        assert_eq!(cli.run(&["get", kind, "-o", "json"]).json(), json!({ "items": [] }));
        let table = cli.run(&["get", kind]);
        assert_says(&table.err, &["no ", kind]);
        assert_eq!(table.ok(), "");
    }
    for missing in [
        &["get", "stream", "pumps"][..],
        &["get", "linkbudgets", "sim", "-o", "yaml"],
        &["describe", "stream", "pumps"],
        &["describe", "linkbudget", "sim"],
        &["delete", "stream", "pumps"],
        &["delete", "linkbudgets", "sim"],
    ] {
        let said = cli.run(missing).fails(3);
        assert!(!said.trim().is_empty(), "{missing:?} says why");
    }
    let dry = cli.run_with(&["apply", "--dry-run", "-f", "-"], ABOUT_DATA).ok();
    assert_says(&dry, &["stream/pumps would be created", "linkbudget/sim would be created"]);
    assert_eq!(cli.run(&["get", "streams", "-o", "json"]).json(), json!({ "items": [] }));
    let said = cli.apply(ABOUT_DATA).ok();
    assert_says(&said, &["stream/pumps created", "linkbudget/sim created"]);
    plane.await_settled("d-1");

    // The output is what was written, and can be applied again: nothing changes.
    for (kind, name) in [("stream", "pumps"), ("linkbudget", "sim")] {
        let one = cli.run(&["get", kind, name, "-o", "json"]).json();
        assert_eq!(one["metadata"]["name"], name, "{one}");
        let list = cli.run(&["get", &format!("{kind}s"), "-o", "json"]).json();
        assert_eq!(list["items"], json!([one]), "the one alone is the one in the list");
        let unchanged = format!("{kind}/{name} unchanged");
        for format in ["yaml", "json"] {
            for what in [&["get", kind, name, "-o", format][..], &["get", kind, "-o", format]] {
                let text = cli.run(what).ok();
                let said = cli.apply(&text).ok();
                assert!(said.starts_with(&unchanged) && said.lines().count() == 1, "{said}");
                let diff = cli.run_with(&["diff", "-f", "-"], &text).ok();
                assert_eq!(diff, "", "{what:?}");
            }
        }
        // The same into a control plane that has never seen it.
        let yaml = cli.run(&["get", kind, name, "-o", "yaml"]).ok();
        let other = Plane::start();
        assert_says(&other.cli().apply(&yaml).ok(), &[&format!("{kind}/{name} created")]);
        let there = other.cli().run(&["get", kind, name, "-o", "json"]).json();
        assert_eq!(
            (&there["spec"], &there["metadata"]["labels"]),
            (&one["spec"], &one["metadata"]["labels"])
        );
        let described = cli.run(&["describe", kind, name]).ok();
        assert_says(&described, &["in force on 1 of 1 device (", name, "role"]);
    }
    let pumps = cli.run(&["get", "stream", "pumps", "-o", "json"]).json();
    assert_eq!(pumps["spec"]["streams"], json!(["pump/*", "yes"]), "text stays text");
    let status = &pumps["status"];
    assert_eq!((&status["devices"], &status["applied"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!((&status["problems"], &status["names"]), (&json!(0), &json!(["d-1"])), "{status}");
    let table = cli.run(&["get", "streams"]).ok();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["pumps", "pump/*,yes", "7", "window", "30d", "1Mi"], "{table}");
    assert_says(&cli.run(&["get", "linkbudgets", "-o", "wide"]).ok(), &["month", "100Mi", "role"]);
    let labelled = cli.run(&["get", "streams", "-l", "team=water", "-o", "json"]).json();
    assert_eq!(labelled["items"].as_array().unwrap().len(), 1);
    assert_eq!(cli.run(&["get", "streams", "-l", "team!=water"]).ok(), "");

    // A change, shown before it is made; and faults, all of them, with nothing applied.
    let changed = ABOUT_DATA.replace("priority: 7", "priority: 8");
    let diff = cli.run_with(&["diff", "-f", "-"], &changed).ok();
    assert_says(&diff, &["-  priority: 7", "+  priority: 8"]);
    let faulty = changed.replace("ttl: 30d", "ttl: soon").replace("per: month", "per: week");
    let said = cli.apply(&faulty).fails(1);
    assert_says(&said, &["Stream/pumps", "spec.ttl", "LinkBudget/sim", "spec.per"]);
    assert_eq!(cli.run(&["get", "stream", "pumps", "-o", "json"]).json()["spec"]["priority"], 7);
    let said = cli.apply(&changed).ok();
    assert_says(&said, &["stream/pumps changed", "linkbudget/sim unchanged"]);

    let folder = plane.scratch.join("policies");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("all.yaml"), ABOUT_DATA).unwrap();
    let said = cli.run(&["delete", "-f", folder.to_str().unwrap()]).ok();
    assert_says(&said, &["stream/pumps deleted", "linkbudget/sim deleted"]);
    for (kind, name) in [("stream", "pumps"), ("linkbudget", "sim")] {
        cli.run(&["get", kind, name]).fails(3);
    }
    plane.await_settled("d-1");
    device.await_status("no budget holds any more", |status| {
        status["data"]["link"]["budget"].is_null()
    });
}

#[test]
fn a_deleted_stream_policy_leaves_the_device_with_the_defaults() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let policy = |name: &str, spec: &str| {
        format!(
            "apiVersion: holdfast/v1\nkind: Stream\nmetadata: {{ name: {name} }}\nspec: {{ devices: {{ matchLabels: {{ role: a }} }}, {spec} }}\n"
        )
    };
    let kept = policy("kept", "streams: [\"raw/*\"], ship: never");
    let figures =
        policy("figures", "streams: [device/metrics], source: { metrics: { every: 1s } }");
    plane.cli().apply(&format!("{kept}---\n{figures}")).ok();
    plane.await_settled("d-1");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    let values: Vec<Vec<u8>> = (0..100).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
    assert_eq!(http(&access).publish("raw/camera", &values, 50).count(), 100);
    await_ledger(&plane, "d-1", "device/metrics", "figures come", |it| {
        it["received"].as_u64() > Some(2)
    });
    // Had they been stored later than those figures, the records would have been shipped by now.
    device.await_status("the policy holds", |status| {
        let stream = &status["data"]["streams"]["raw/camera"];
        stream["policy"] == "kept" && stream["last"] == 100
    });
    holds_for(Duration::from_secs(5), "what is withheld stays on the device", || {
        let found = records(&plane, "d-1", "raw/camera");
        if found.is_empty() { Ok(()) } else { Err(format!("{} came", found.len())) }
    });

    let cli = plane.cli();
    assert_eq!(cli.run(&["delete", "stream", "kept"]).ok(), "stream/kept deleted");
    cli.run(&["delete", "stream", "figures"]).ok();
    plane.await_settled("d-1");
    let found = eventually(DEADLINE, "what was withheld is shipped by default", || {
        let found = records(&plane, "d-1", "raw/camera");
        if found.len() == 100 { Ok(found) } else { Err(format!("{}", found.len())) }
    });
    let came: Vec<&[u8]> = found.iter().map(|got| got.value.as_bytes()).collect();
    assert_eq!(came, values.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let status = device.await_status("no policy holds", |status| {
        let streams = status["data"]["streams"].as_object();
        streams.is_some_and(|all| all.values().all(|stream| stream["policy"].is_null()))
    });
    // No further figures are recorded; existing ones are kept.
    let last = |status: &Value| status["data"]["streams"]["device/metrics"]["last"].clone();
    let before = last(&status);
    assert!(before.as_u64() > Some(2), "{status}");
    holds_for(Duration::from_secs(4), "its source has ended with it", || {
        let now = device.status().map(|status| last(&status))?;
        if now == before { Ok(()) } else { Err(format!("{now} after {before}")) }
    });
    assert!(records(&plane, "d-1", "device/metrics").len() > 2, "what came stays");
}
