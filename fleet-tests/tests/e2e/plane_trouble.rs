//! Trouble around a control plane: its log is not read, its greeting is lost, a client does not
//! read the response, a log is cut on its way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet_tests::harness::{
    Binaries, Cli, DEADLINE, Https, Plane, Scratch, eventually, loopback, processes,
};

use crate::{assert_says, script};

/// Process of `holdfast serve` with streams that the test chooses; ended when dropped.
struct Bare {
    child: Child,
    scratch: Scratch,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
    }
}

fn serve(scratch: &Scratch, more: &[&str]) -> Command {
    let mut command = Command::new(Binaries::find().control);
    let anywhere = format!("{}:0", loopback());
    command
        .args(["serve", "--api", &anywhere, "--mqtt", &anywhere, "--data"])
        .arg(scratch.join("plane"))
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Starts the command and reads its greeting to the end of the line that begins with `last`.
fn greeted(mut command: Command, scratch: Scratch, last: &str) -> (Bare, Vec<String>) {
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let bare = Bare { child, scratch };
    let mut said = Vec::new();
    for line in lines {
        said.push(line.unwrap());
        if said.last().unwrap().starts_with(last) {
            return (bare, said);
        }
    }
    panic!("it ended after {said:?}");
}

fn value(said: &[String], key: &str) -> String {
    said.iter().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
}

fn cli(bare: &Bare, said: &[String], token: &str) -> Cli {
    Cli {
        program: Binaries::find().control,
        url: value(said, "api: "),
        token: token.to_owned(),
        ca: value(said, "ca-sha256: "),
        home: bare.scratch.join(""),
    }
}

fn ended(bare: &mut Bare) -> Option<i32> {
    eventually(DEADLINE, "it ends", || match bare.child.try_wait() {
        Ok(Some(status)) => Ok(status.code()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let scratch = Scratch::new();
    let mut command = serve(&scratch, &["--log", "debug"]);
    command.stderr(Stdio::piped());
    let (mut bare, said) = greeted(command, scratch, "admin-token: ");
    drop(bare.child.stderr.take());
    let cli = cli(&bare, &said, &value(&said, "admin-token: "));
    // Each of these requests is logged, on the threads that respond and on the one that stores.
    for number in 0..3 {
        cli.apply(&script(&format!("w-{number}"), "nobody", "true", "")).ok();
    }
    let refused = cli.run(&["token", "revoke", "0011223344556677"]);
    assert_eq!(refused.code, 3, "{refused}");
    processes::terminate(bare.child.id());
    assert_eq!(ended(&mut bare), Some(0), "it stops in good order");
}

#[test]
fn an_admin_token_that_nobody_could_read_is_made_again() {
    let scratch = Scratch::new();
    let mut lost = serve(&scratch, &[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = lost.stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let (bare, said) = greeted(serve(&scratch, &[]), scratch, "admin-token: ");
    let token = value(&said, "admin-token: ");
    cli(&bare, &said, &token).run(&["get", "devices"]).ok();
    // The greeting was read this time: the next start does not show the token, and it stays valid.
    // Storing that it was shown comes before the next change, whose response is awaited here.
    cli(&bare, &said, &token).run(&["token", "create"]).ok();
    let mut bare = bare;
    processes::terminate(bare.child.id());
    ended(&mut bare);
    let again = serve(&bare.scratch, &[]);
    let (second, said) = greeted_quietly(again);
    assert_eq!(value(&said, "admin-token: "), "", "once is once");
    let known = Bare { child: second, scratch: Scratch::new() };
    cli(&known, &said, &token).run(&["get", "devices"]).ok();
    drop(known);
    // A lost or leaked token is replaced.
    let (third, said) =
        greeted(serve(&bare.scratch, &["--new-admin-token"]), Scratch::new(), "admin-token: ");
    let newer = value(&said, "admin-token: ");
    assert_ne!(newer, token);
    cli(&third, &said, &newer).run(&["get", "devices"]).ok();
    let said = cli(&third, &said, &token).run(&["get", "devices"]).fails(4);
    assert_says(&said, &["not known"]);
}

/// Starts a control plane that may print no token: its greeting is complete when it serves.
fn greeted_quietly(mut command: Command) -> (Child, Vec<String>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.by_ref().take(3).map(Result::unwrap).collect();
    let (api, ca) = (value(&said, "api: https://"), value(&said, "ca-sha256: "));
    let https = Https::new(api.parse().unwrap(), &ca, None);
    eventually(DEADLINE, "it is ready", || match https.get("/readyz") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Further output is complete when the process has ended.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    assert!(!rest.is_finished(), "it says no more and lives");
    (child, said)
}

#[test]
fn a_stop_right_after_the_greeting_is_a_graceful_one() {
    for _ in 0..6 {
        let scratch = Scratch::new();
        let (mut bare, _) = greeted(serve(&scratch, &[]), scratch, "api: ");
        processes::terminate(bare.child.id());
        assert_eq!(ended(&mut bare), Some(0));
    }
}

#[test]
fn a_backup_replaces_files_and_nothing_else() {
    let plane = Plane::start();
    let cli = plane.cli();
    let socket = plane.scratch.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let link = plane.scratch.join("link");
    std::os::unix::fs::symlink(plane.scratch.join("elsewhere"), &link).unwrap();
    for (path, said) in [
        (socket.to_str().unwrap(), "not a regular file"),
        (link.to_str().unwrap(), "a link"),
        (plane.scratch.join("").to_str().unwrap(), "a folder"),
        ("-", "standard output"),
    ] {
        assert_says(&cli.run(&["backup", path, "--unencrypted"]).fails(2), &[said]);
    }
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(socket.exists() && !socket.is_file());
    let file = plane.scratch.join("backup");
    for _ in 0..2 {
        cli.run(&["backup", file.to_str().unwrap(), "--unencrypted"]).ok();
    }
}

/// A response that is not read occupies its place for a while, not for ever.
#[test]
fn who_never_reads_an_answer_is_cut() {
    let plane = Plane::start();
    let mut stream = plane.https().dial().unwrap();
    stream.sock.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let began = Instant::now();
    // Sends requests until even these are not accepted: the server waits for its responses to be
    // read.
    let question = b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    while stream.write_all(&question).is_ok() {
        assert!(began.elapsed() < DEADLINE, "it takes questions without end");
    }
    eventually(Duration::from_secs(60), "the connection is reset", || {
        match stream.sock.take_error() {
            Ok(Some(error)) => Ok(error),
            // Only a write reports a reset.
            _ => match (&stream.sock).write(&[0]) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Ok(error),
                other => Err(format!("{other:?}")),
            },
        }
    });
    assert!(began.elapsed() > Duration::from_secs(25), "{:?}", began.elapsed());
}

/// A client that sends all of a body before it reads still learns why it is refused.
#[test]
fn a_refusal_reaches_who_sends_all_before_it_reads() {
    let plane = Plane::start();
    let body = vec![b'x'; 20 * 1024 * 1024];
    let known = format!("authorization: Bearer {}\r\n", plane.admin_token);
    let packed = format!("{known}content-encoding: gzip\r\n");
    for (target, headers, wanted) in [
        ("PUT /api/v1/artifacts", "", 401),
        ("PUT /api/v1/artifacts", packed.as_str(), 415),
        ("POST /api/v1/restore", "", 401),
        ("POST /api/v1/restore", packed.as_str(), 415),
        ("POST /api/v1/apply", known.as_str(), 413),
    ] {
        let mut stream = plane.https().dial().unwrap();
        let length = body.len();
        let head =
            format!("{target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n");
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        sent.unwrap_or_else(|error| panic!("{target}, {wanted}: {error}"));
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {wanted}"), "{target}");
    }
}

/// A client without the right to send a large body learns why at once, however much is still to
/// send.
#[test]
fn a_refusal_arrives_before_the_end_of_what_is_refused() {
    let plane = Plane::start();
    let file = plane.scratch.join("large");
    std::fs::File::create(&file).unwrap().set_len(48 * 1024 * 1024).unwrap();
    let mut cli = plane.cli();
    cli.token = "hfa1.admin.".to_owned() + &"0".repeat(64);
    for _ in 0..8 {
        let said = cli.run(&["artifact", "push", file.to_str().unwrap()]).fails(4);
        assert_says(&said, &["not known"]);
    }
}

#[test]
fn a_log_that_is_followed_goes_on_after_the_device_was_away() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let counting = "n=0; while :; do n=$((n+1)); echo line-$n; sleep 0.2; done";
    plane.cli().apply(&script("w", "a", counting, "")).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");
    let mut following = plane.cli().command(&["logs", "d-1", "w", "-f"]).spawn().unwrap();
    let out = following.stdout.take().unwrap();
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _over = send.send(line);
        }
    });
    let counted = || {
        let line = lines.recv_timeout(DEADLINE).expect("a line of the log");
        line.strip_prefix("line-").and_then(|number| number.parse::<u64>().ok())
    };
    let first = counted().expect("lines alone on standard output");
    assert_eq!((counted(), counted()), (Some(first + 1), Some(first + 2)));
    device.restart();
    // Long enough to reach beyond the interruption, which is reported on standard error alone.
    for number in first + 3..first + 40 {
        assert_eq!(counted(), Some(number), "none is missing, none comes twice");
    }
    let _gone = following.kill();
    let _code = following.wait();

    // A stream of log that was cut must not look like a complete one.
    let path = "/api/v1/devices/d-1/workloads/w/logs?tail=1&follow=true";
    let https = plane.https();
    let ended = https.lines(path, |line| {
        if line.starts_with("line-") && device.is_up() {
            device.kill_agent();
        }
        true
    });
    ended.expect_err("its answer is cut, too");
}

#[test]
fn offline_since_is_right_after_the_control_plane_was_killed() {
    let mut plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    plane.await_connection("d-1", "online");
    plane.await_settled("d-1");
    let seen = plane.view("d-1")["status"]["heardAt"].as_str().unwrap().to_owned();
    // The control plane stores something, seconds after the device's last message.
    let later = eventually(DEADLINE, "the control plane's clock goes on", || {
        let token = plane.cli().run(&["token", "create", "--ttl", "1h"]).ok();
        let id = token.split('.').nth(1).unwrap().to_owned();
        let made = plane.cli().run(&["get", "tokens", &id, "-o", "json"]).json();
        let at = made["metadata"]["createdAt"].as_str().unwrap().to_owned();
        if at > seen { Ok(at) } else { Err(at) }
    });
    device.link.cut();
    plane.kill();
    plane.up();
    let status = &plane.view("d-1")["status"];
    assert_eq!(status["connection"], "offline");
    let said = status["connectionSince"].as_str().unwrap();
    assert!(said >= later.as_str(), "seen {seen}, there until {later} at least, said {said}");
}

/// Silent connections make room: for other addresses at once, and for the same address (a NAT, a
/// proxy, this machine) as well.
#[test]
fn who_says_nothing_shuts_nobody_out() {
    let plane = Plane::start();
    let https = plane.https();
    let mut silent = Vec::new();
    for number in 0..400 {
        let stream = TcpStream::connect(plane.api).unwrap();
        stream.set_nonblocking(true).unwrap();
        if number % 2 == 1 {
            // The beginning of a handshake whose rest never comes.
            (&stream).write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
        }
        silent.push(stream);
    }
    let mut half = Vec::new();
    for _ in 0..20 {
        // The beginning of a request, and of a body, whose rest never comes.
        let mut stream = https.dial().unwrap();
        let begun = if half.len() % 2 == 0 {
            "GET / HTTP/1.1\r\nhost: x"
        } else {
            "POST /api/v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"
        };
        stream.write_all(begun.as_bytes()).unwrap();
        stream.flush().unwrap();
        half.push(stream);
    }
    let began = Instant::now();
    assert_eq!(https.get("/healthz").unwrap().status, 200);
    // All of them are less than ten seconds old, the age at which a handshake is given up anyway.
    let cut = eventually(Duration::from_secs(6), "silent ones make room for new ones", || {
        assert_eq!(https.get("/healthz").unwrap().status, 200);
        let over = |stream: &&TcpStream| match stream.peek(&mut [0]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        let cut = silent.iter().filter(over).count();
        if cut >= 100 { Ok(cut) } else { Err(format!("{cut} were cut")) }
    });
    assert!(cut < 400 && began.elapsed() < Duration::from_secs(8), "{cut} {:?}", began.elapsed());
}

/// Runs a command that must refuse to start, and returns its output.
fn refuses(mut command: Command) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > DEADLINE {
            let _gone = child.kill();
            panic!("it serves");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "no address and no token: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_lost_store_never_becomes_a_new_control_plane() {
    let scratch = Scratch::new();
    let (mut bare, said) = greeted(serve(&scratch, &[]), scratch, "admin-token: ");
    let (ca, token) = (value(&said, "ca-sha256: "), value(&said, "admin-token: "));
    cli(&bare, &said, &token).apply(&script("w", "a", "true", "")).ok();
    let backup = bare.scratch.join("backup.tar");
    cli(&bare, &said, &token).run(&["backup", backup.to_str().unwrap(), "--unencrypted"]).ok();
    let stop = |bare: &mut Bare| {
        processes::terminate(bare.child.id());
        assert_eq!(ended(bare), Some(0));
    };
    stop(&mut bare);
    let data = bare.scratch.join("plane");
    let store = data.join("store.redb");
    let restore = ["--restore", backup.to_str().unwrap()];
    for wrong in [&["--begin-anew"][..], &restore] {
        assert_says(&refuses(serve(&bare.scratch, wrong)), &["is whole"]);
    }
    let marker = std::fs::read(data.join("served")).unwrap();
    for (what, lost) in [("missing", None), ("empty", Some("")), ("damaged", Some("nonsense"))] {
        for marked in [true, false] {
            match lost {
                None => std::fs::remove_file(&store).unwrap(),
                Some(text) => std::fs::write(&store, text.repeat(2_000)).unwrap(),
            }
            // Without the marker the files beside the store tell it as well.
            if marked {
                std::fs::write(data.join("served"), &marker).unwrap();
            } else {
                std::fs::remove_file(data.join("served")).unwrap();
            }
            for _ in 0..2 {
                let said = refuses(serve(&bare.scratch, &[]));
                assert_says(&said, &[what, "--restore", "--begin-anew", "holdfast backup"]);
            }
            let said = refuses(serve(&bare.scratch, &["--restore", "/dev/null"]));
            assert_says(&said, &["cannot restore /dev/null", "not a backup"]);
            let (child, greeting) = greeted_quietly(serve(&bare.scratch, &restore));
            bare.child = child;
            assert_eq!(value(&greeting, "ca-sha256: "), ca, "devices know it again");
            let workloads =
                cli(&bare, &greeting, &token).run(&["get", "workload", "w", "-o", "json"]);
            assert_eq!(workloads.json()["metadata"]["name"], "w");
            stop(&mut bare);
        }
    }
    std::fs::write(&store, "").unwrap();
    let fresh = serve(&bare.scratch, &["--begin-anew"]);
    let (mut anew, said) = greeted(fresh, Scratch::new(), "admin-token: ");
    assert_ne!(value(&said, "ca-sha256: "), ca);
    stop(&mut anew);
    let aside = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.join("data.redb").exists()).collect();
    assert_eq!(aside.len(), 1, "nothing of the old one is deleted");
}
