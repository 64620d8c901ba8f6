//! A control plane: `holdfast serve` with a data folder of its own, on an address of its own, so
//! that it can be killed and come back on the same ports.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;

use super::eventually::tails;
use super::{Answer, Binaries, Cli, DEADLINE, Device, Https, Scratch, eventually, keep_log};
use super::{loopback, processes};

/// How a control plane is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Content of its `--config` file.
    pub config: Option<String>,
    /// More arguments of `holdfast serve`.
    pub arguments: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

/// What a control plane keeps to itself.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The CA's certificate, PEM.
    pub ca: String,
    /// The CA's key, PEM.
    pub ca_key: String,
    /// The key that signs what goes to devices, PKCS#8.
    pub signing_key: Vec<u8>,
}

/// A control plane and everything a test needs to talk with it.
#[derive(Debug)]
pub struct Plane {
    /// Folders of everything in this test.
    pub scratch: Scratch,
    binaries: Binaries,
    options: Options,
    data: PathBuf,
    child: Option<Child>,
    /// Of the API.
    pub api: SocketAddr,
    /// Of the gateway.
    pub mqtt: SocketAddr,
    /// sha256 of its CA, hexadecimal.
    pub ca_sha256: String,
    /// Printed at the first start.
    pub admin_token: String,
}

impl Plane {
    /// Starts one with an empty data folder.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts one with an empty data folder.
    pub fn start_with(options: Options) -> Self {
        let scratch = Scratch::new();
        let data = scratch.join("plane");
        Self::start_in(scratch, data, options)
    }

    /// Starts one in this data folder.
    pub fn start_in(scratch: Scratch, data: PathBuf, options: Options) -> Self {
        let anywhere = SocketAddr::from((loopback(), 0));
        let mut plane = Self {
            scratch,
            binaries: Binaries::find(),
            options,
            data,
            child: None,
            api: anywhere,
            mqtt: anywhere,
            ca_sha256: String::new(),
            admin_token: String::new(),
        };
        plane.up();
        plane
    }

    /// Starts the process: the first time on free ports, later on the same.
    ///
    /// # Panics
    /// When it does not print its addresses.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = self.log_path();
        keep_log("control plane", log.clone());
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&self.binaries.control);
        command.arg("serve");
        if let Some(config) = &self.options.config {
            command.arg("--config").arg(self.scratch.write("plane.toml", config));
        }
        command
            .args(["--api", &self.api.to_string(), "--mqtt", &self.mqtt.to_string()])
            .arg("--data")
            .arg(&self.data)
            .args(&self.options.arguments)
            .env_remove("HOLDFAST_TOKEN")
            .envs(self.options.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        self.child = Some(child);
        self.read_greeting(stdout);
        self.wait_ready();
    }

    fn read_greeting(&mut self, stdout: ChildStdout) {
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _over = send.send(line);
            }
        });
        let began = Instant::now();
        let mut seen: Vec<String> = Vec::new();
        let first = self.admin_token.is_empty();
        loop {
            let has = |key: &str| seen.iter().any(|line| line.starts_with(key));
            if has("api: ")
                && has("mqtt: ")
                && has("ca-sha256: ")
                && (!first || has("admin-token: "))
            {
                break;
            }
            let left = DEADLINE.saturating_sub(began.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) => seen.push(line),
                Err(_) => panic!("no greeting from `holdfast serve`, only {seen:?}\n{}", tails()),
            }
        }
        let value = |key: &str| {
            seen.iter()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        self.api = socket_of(&value("api: "));
        self.mqtt = socket_of(&value("mqtt: "));
        self.ca_sha256 = value("ca-sha256: ");
        if first {
            self.admin_token = value("admin-token: ");
        }
    }

    fn wait_ready(&mut self) {
        let https = self.https();
        eventually(DEADLINE, "the control plane is ready", || match https.get("/readyz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// SIGTERM, and waits for the end; gives the exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        processes::terminate(child.id());
        let end =
            eventually(
                Duration::from_secs(20),
                "the control plane ends on SIGTERM",
                || match child.try_wait() {
                    Ok(Some(status)) => Ok(status),
                    other => Err(format!("{other:?}")),
                },
            );
        end.code()
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The authority's keys, as a thief of a backup would have them.
    ///
    /// # Panics
    /// When the backup does not hold them.
    pub fn secrets(&self) -> Secrets {
        let file = self.scratch.join("secrets.tar");
        self.cli().run(&["backup", file.to_str().unwrap()]).ok();
        let read = Command::new("tar").arg("-xOf").arg(&file).arg("authority.json").output();
        let authority: Value =
            serde_json::from_slice(&read.unwrap().stdout).expect("a backup holds authority.json");
        let text = |key: &str| authority[key].as_str().unwrap_or_default().to_owned();
        let signing_key = base64::engine::general_purpose::STANDARD.decode(text("signingKey"));
        Secrets { ca: text("caPem"), ca_key: text("caKeyPem"), signing_key: signing_key.unwrap() }
    }

    /// Changes what the next [`Plane::up`] starts with.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its standard error goes.
    pub fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The programs it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A client of its API with the admin token.
    pub fn https(&self) -> Https {
        Https::new(self.api, &self.ca_sha256, Some(&self.admin_token))
    }

    /// `GET` with the admin token.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Answer {
        self.https().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", tails()))
    }

    /// A metric's value summed over its labels; a part of `name{labels}` chooses among them.
    pub fn metric(&self, prefix: &str) -> f64 {
        let metrics = self.get("/metrics").text();
        metrics
            .lines()
            .filter(|line| line.starts_with(prefix))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// The command line, logged in as admin.
    pub fn cli(&self) -> Cli {
        let home = self.scratch.join("home");
        std::fs::create_dir_all(&home).unwrap();
        Cli {
            program: self.binaries.control.clone(),
            url: format!("https://{}", self.api),
            token: self.admin_token.clone(),
            ca: self.ca_sha256.clone(),
            home,
        }
    }

    /// A token; devices may give themselves any labels with it.
    pub fn token(&self, arguments: &[&str]) -> String {
        let mut all = vec!["token", "create", "--allow-label", "*"];
        all.extend(arguments);
        self.cli().run(&all).ok()
    }

    /// A device with a link of its own, enrolled and running.
    pub fn device(&self, name: &str, labels: &[&str]) -> Device {
        let mut device = self.bare_device(name);
        device.enrol(&self.token(&["--uses", "1"]), labels).ok();
        device.up();
        device
    }

    /// A device with a link of its own, not enrolled.
    pub fn bare_device(&self, name: &str) -> Device {
        Device::new(self, name)
    }

    /// The control plane's view of a device.
    pub fn view(&self, name: &str) -> Value {
        match self.https().get(&format!("/api/v1/devices/{name}")) {
            Ok(answer) => answer.json(),
            Err(error) => Value::String(error.to_string()),
        }
    }

    /// Waits until the control plane says this of a device's workload.
    pub fn await_phase(&self, device: &str, workload: &str, phase: &str) -> Value {
        eventually(DEADLINE, &format!("{device} reports {workload} as {phase}"), || {
            let view = self.view(device);
            let seen = &view["status"]["workloads"][workload];
            if seen["phase"] == phase { Ok(seen.clone()) } else { Err(view["status"].to_string()) }
        })
    }

    /// Waits until the device is `online`, `offline`, `pending` or `revoked`.
    pub fn await_connection(&self, device: &str, connection: &str) {
        eventually(DEADLINE, &format!("{device} is {connection}"), || {
            let view = self.view(device);
            if view["status"]["connection"] == connection { Ok(()) } else { Err(view.to_string()) }
        });
    }

    /// Waits until the device has applied all that is desired of it, and says so.
    pub fn await_settled(&self, device: &str) -> Value {
        eventually(DEADLINE, &format!("{device} has applied what is desired"), || {
            let view = self.view(device);
            let generation = &view["status"]["generation"];
            let settled =
                generation["desired"].is_u64() && generation["desired"] == generation["applied"];
            if settled { Ok(view) } else { Err(view["status"].to_string()) }
        })
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `127.1.2.3:443` of `https://127.1.2.3:443` or `mqtts://...`.
fn socket_of(url: &str) -> SocketAddr {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    authority.parse().unwrap_or_else(|_| panic!("not an address: {url:?}"))
}

impl Plane {
    /// The loopback address it listens on.
    pub fn address(&self) -> Ipv4Addr {
        match self.api.ip() {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        }
    }
}
