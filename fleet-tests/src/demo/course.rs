//! Course of the demo: control plane, devices, workloads, and then whatever people do to them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::end::{End, Outcome, failed, say};
use super::inbox::Inbox;
use super::parts::{self, Part, program, tail};
use super::stage::{Greeting, PLANE, Stage};
use super::{ports, watch, words};
use crate::harness::{Cli, Https, Outcome as Ran};

/// Longest wait for any condition; a loaded machine with a slow disk needs seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Number of lines of a log that are shown when its process ends.
const TAIL: usize = 12;

/// Devices of the demo: name and labels.
const DEVICES: [(&str, [&str; 2]); 3] = [
    ("gateway-1", ["role=gateway", "site=berlin"]),
    ("gateway-2", ["role=gateway", "site=hamburg"]),
    ("sensor-1", ["role=sensor", "site=berlin"]),
];

impl Stage {
    /// Starts everything and waits until it runs.
    pub(super) fn build(&mut self, inbox: &Inbox) -> Outcome<()> {
        let began = Instant::now();
        say(&format!("Starting a control plane and three devices in {}", self.folder.display()))?;
        self.start_plane(inbox)?;
        watch::start(self.https()?, inbox.sender.clone());
        self.start_devices(inbox)?;
        let [workloads, streams] = ["workloads", "streams"].map(examples);
        let applied = self.cli()?.run(&["apply", "-f", &workloads, "-f", &streams]);
        say(&words::indented(&worked("apply", applied)?))?;
        self.await_all(inbox)?;
        self.await_records(inbox)?;
        let devices = self.devices()?;
        let table = self.table("devices")? + "\n\n" + &self.table("workloads")?;
        say(&words::summary(self, &devices, &table, began.elapsed())?)
    }

    /// Shows changes, and restarts processes that ended.
    pub(super) fn play(&mut self, inbox: &Inbox) -> Outcome<()> {
        loop {
            if let Some(change) = inbox.next(Duration::from_millis(200))? {
                say(&change.line())?;
            }
            for part in &mut self.parts {
                if let Some(how) = part.ended() {
                    let (name, log) = (&part.name, tail(&part.log, TAIL));
                    say(&format!("\nThe {name} {how}. The end of its log:\n\n{log}\n"))?;
                    if part.is_hopeless() {
                        return failed(format!("the {name} ends again and again"));
                    }
                    let seconds = parts::AGAIN_AFTER.as_secs();
                    let others = words::what_goes_on(name);
                    say(&format!("{others} In {seconds} s the demo starts it again.\n"))?;
                } else if part.is_due() {
                    part.start()?;
                    say(&format!("The {} was started again (pid {}).\n", part.name, part.pid()))?;
                }
            }
        }
    }

    fn start_plane(&mut self, inbox: &Inbox) -> Outcome<()> {
        let (api, mqtt) = (ports::choose(ports::API), ports::choose(ports::MQTT));
        let mut plane = self.plane(api, mqtt)?;
        plane.start()?;
        self.parts.push(plane);
        if let Err(end) = self.await_greeting(inbox) {
            // Two demos were started at once, and the other one was faster.
            drop(self.parts.pop());
            let taken = |wanted: std::net::SocketAddr| ports::choose(wanted.port()) != wanted;
            let lost = [api, mqtt].into_iter().any(taken);
            if !matches!(end, End::Failed(_)) || !lost {
                return Err(end);
            }
            let mut plane = self.plane(ports::any(), ports::any())?;
            plane.start()?;
            self.parts.push(plane);
            self.await_greeting(inbox)?;
        }
        let found = self.greeting.clone();
        for (wanted, address, of) in
            [(ports::API, &found.api, "API"), (ports::MQTT, &found.mqtt, "device gateway")]
        {
            if !address.ends_with(&format!(":{wanted}")) {
                say(&format!("  port {wanted} is busy: the {of} is at {address} instead"))?;
            }
        }
        // A restarted control plane must keep its addresses.
        let (api, mqtt) = (socket(&found.api)?, socket(&found.mqtt)?);
        let arguments = self.plane_arguments(api, mqtt);
        self.parts.iter_mut().for_each(|plane| plane.use_arguments(arguments.clone()));
        let https = self.https()?;
        self.until(inbox, "the control plane is ready", |_| match https.get("/readyz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        })?;
        say(&format!("  control plane at {}", found.api))
    }

    fn plane(&self, api: std::net::SocketAddr, mqtt: std::net::SocketAddr) -> Outcome<Part> {
        let arguments = self.plane_arguments(api, mqtt);
        Ok(Part::new(PLANE, &self.folder, &program("holdfast")?, arguments))
    }

    fn plane_arguments(
        &self,
        api: std::net::SocketAddr,
        mqtt: std::net::SocketAddr,
    ) -> Vec<std::ffi::OsString> {
        vec![
            "serve".into(),
            "--data".into(),
            self.folder.join("control-plane").into(),
            "--api".into(),
            api.to_string().into(),
            "--mqtt".into(),
            mqtt.to_string().into(),
        ]
    }

    fn await_greeting(&mut self, inbox: &Inbox) -> Outcome<()> {
        self.greeting = self.until(inbox, "the control plane greets", |stage| {
            let printed = stage.parts.first().map(Part::printed).unwrap_or_default();
            Greeting::of(&printed).ok_or(printed)
        })?;
        Ok(())
    }

    fn start_devices(&mut self, inbox: &Inbox) -> Outcome<()> {
        let agent = program("holdfast-agent")?;
        let uses = DEVICES.len().to_string();
        let token = self.cli()?.run(&[
            "token",
            "create",
            "--allow-label",
            "*",
            "--uses",
            &uses,
            "--ttl",
            "1h",
        ]);
        let token = worked("token create", token)?;
        for (name, labels) in DEVICES {
            // A Ctrl-C is noticed between two commands.
            inbox.pause(Duration::ZERO)?;
            let data = self.folder.join(name);
            let mut enroll = parts::clean(&agent);
            enroll.args(["enroll", "--url", &self.greeting.api, "--name", name]);
            enroll.args(labels.iter().flat_map(|label| ["--label", label]));
            // The token goes by the environment, since the process list shows arguments.
            enroll.arg("--data").arg(&data).env("HOLDFAST_TOKEN", &token);
            let output = enroll.output();
            let output = output.map_err(|error| End::Failed(format!("{name}: {error}")))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                return failed(format!("{name} was not enrolled: {}", why.trim()));
            }
            let arguments = vec!["run".into(), "--data".into(), data.into()];
            let mut part = Part::new(&words::agent_of(name), &self.folder, &agent, arguments);
            part.start()?;
            say(&format!("  {name} enrolled ({})", labels.join(", ")))?;
            self.parts.push(part);
        }
        Ok(())
    }

    /// Waits until every device runs (or has finished) its desired workloads in the desired
    /// revisions, and changes are being told.
    fn await_all(&mut self, inbox: &Inbox) -> Outcome<()> {
        let settled = self.until(inbox, "all workloads run", |stage| {
            let devices = stage.devices().map_err(|end| words::ending(&end))?;
            match devices.iter().find_map(unsettled) {
                Some(what) => Err(what),
                None if inbox.changes.get() == 0 => Err("no change was told yet".into()),
                None if devices.len() < DEVICES.len() => Err("a device is missing".into()),
                None => Ok(()),
            }
        });
        if let Err(End::Failed(why)) = settled {
            let words = DEVICES.map(|(name, _)| match self.cli() {
                Ok(cli) => cli.run(&["describe", "device", name]).out,
                Err(_) => String::new(),
            });
            return failed(format!("{why}\n{}", words.join("\n")));
        }
        settled
    }

    /// Waits until the first data records have arrived: a command proposed to the user shows some.
    fn await_records(&mut self, inbox: &Inbox) -> Outcome<()> {
        let [device, stream] = words::RECORDS;
        self.until(inbox, "records arrive", |stage| {
            let cli = stage.cli().map_err(|end| words::ending(&end))?;
            let ran = cli.run(&["data", "get", device, stream, "--limit", "1"]);
            if ran.code == 0 && !ran.out.is_empty() { Ok(()) } else { Err(ran.to_string()) }
        })
    }

    /// Repeats `look` until it returns a value. A process that ends meanwhile ends the demo.
    fn until<T>(
        &mut self,
        inbox: &Inbox,
        what: &str,
        look: impl Fn(&Self) -> Result<T, String>,
    ) -> Outcome<T> {
        let began = Instant::now();
        loop {
            let seen = match look(self) {
                Ok(found) => return Ok(found),
                Err(seen) => seen,
            };
            for part in &mut self.parts {
                if let Some(how) = part.ended() {
                    let log = tail(&part.log, TAIL);
                    let name = &part.name;
                    return failed(format!("the {name} {how}. The end of its log:\n{log}"));
                }
            }
            if began.elapsed() > DEADLINE {
                let seconds = DEADLINE.as_secs();
                return failed(format!("not within {seconds} s: {what}; last seen: {seen}"));
            }
            inbox.pause(LOOK)?;
        }
    }

    fn https(&self) -> Outcome<Https> {
        let Greeting { api, ca, token, .. } = &self.greeting;
        Ok(Https::new(socket(api)?, ca, Some(token)))
    }

    /// Returns the real command line, with a home of its own, so that no user's login is read.
    fn cli(&self) -> Outcome<Cli> {
        let Greeting { api, ca, token, .. } = self.greeting.clone();
        let home = self.folder.clone();
        Ok(Cli { program: program("holdfast")?, url: api, token, ca, home })
    }

    fn table(&self, kind: &str) -> Outcome<String> {
        worked(kind, self.cli()?.run(&["get", kind]))
    }

    fn devices(&self) -> Outcome<Vec<Value>> {
        let list = worked("get devices", self.cli()?.run(&["get", "devices", "-o", "json"]))?;
        let list: Value = serde_json::from_str(&list).unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

/// Returns the first thing, in words, in which a device differs from its desired state.
fn unsettled(device: &Value) -> Option<String> {
    let (name, status) = (&device["metadata"]["name"], &device["status"]);
    let generation = &status["generation"];
    if status["connection"] != "online" || generation["desired"] != generation["applied"] {
        return Some(format!("{name} is {}, at {generation}", status["connection"]));
    }
    let wanted = device["desired"].as_object()?;
    if wanted.is_empty() {
        return Some(format!("{name} is to run nothing"));
    }
    wanted.iter().find_map(|(workload, wanted)| {
        let is = &status["workloads"][workload];
        let there = is["phase"] == "running" || is["phase"] == "stopped";
        let right = there && is["revision"] == wanted["revision"];
        (!right).then(|| format!("{name}: {workload} is {is}"))
    })
}

/// Returns a folder of examples of the repository that this program was built in.
fn examples(of: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images").join(of);
    std::fs::canonicalize(&folder).unwrap_or(folder).display().to_string()
}

fn worked(what: &str, ran: Ran) -> Outcome<String> {
    if ran.code == 0 {
        return Ok(ran.out.trim_end().to_owned());
    }
    failed(format!("`holdfast {what}` failed: {}", ran.err.trim()))
}

fn socket(url: &str) -> Outcome<std::net::SocketAddr> {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    address.parse().map_err(|_| End::Failed(format!("not an address: {url}")))
}
