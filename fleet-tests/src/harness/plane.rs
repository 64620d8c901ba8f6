//! Control plane of a test: `holdfast serve` with a data folder and an address of its own, so that
//! it can be killed and come back on the same ports.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use holdfast_age::{Decrypting, Head, Identity, With};
use serde_json::Value;

use super::eventually::tails;
use super::{Answer, Binaries, Cli, DEADLINE, Https, Scratch, eventually, keep_log};
use super::{loopback, processes};

/// Configuration, arguments and environment for the start of a control plane.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Content of the `--config` file.
    pub config: Option<String>,
    /// Additional arguments of `holdfast serve`.
    pub arguments: Vec<String>,
    /// Additional environment variables.
    pub env: Vec<(String, String)>,
}

/// Secret keys of a control plane.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Certificate of the CA, PEM.
    pub ca: String,
    /// Private key of the CA, PEM.
    pub ca_key: String,
    /// Private key that signs messages to devices, PKCS#8.
    pub signing_key: Vec<u8>,
}

/// Control plane and everything that a test needs to talk with it.
#[derive(Debug)]
pub struct Plane {
    /// Folder for all files of this test.
    pub scratch: Scratch,
    binaries: Binaries,
    options: Options,
    data: PathBuf,
    child: Option<Child>,
    /// Address of the API.
    pub api: SocketAddr,
    /// Address of the gateway.
    pub mqtt: SocketAddr,
    /// SHA-256 of the CA, hexadecimal.
    pub ca_sha256: String,
    /// Administrator's token, printed at the first start.
    pub admin_token: String,
}

impl Plane {
    /// Starts a control plane with an empty data folder.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a control plane with an empty data folder and these options.
    pub fn start_with(options: Options) -> Self {
        let scratch = Scratch::new();
        let data = scratch.join("plane");
        Self::start_in(scratch, data, options)
    }

    /// Starts a control plane in this data folder.
    pub fn start_in(scratch: Scratch, data: PathBuf, options: Options) -> Self {
        let anywhere = SocketAddr::from((loopback(), 0));
        let mut plane = Self::closed_in(scratch, data, options, (anywhere, anywhere));
        plane.up();
        plane
    }

    /// Returns a control plane that does not run yet, with this data folder and these addresses of
    /// the API and the gateway.
    pub fn closed_in(
        scratch: Scratch,
        data: PathBuf,
        options: Options,
        (api, mqtt): (SocketAddr, SocketAddr),
    ) -> Self {
        Self {
            scratch,
            binaries: Binaries::find(),
            options,
            data,
            child: None,
            api,
            mqtt,
            ca_sha256: String::new(),
            admin_token: String::new(),
        }
    }

    /// Starts the process: the first time on free ports, later on the same ones.
    ///
    /// # Panics
    /// Panics if it does not print its addresses.
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

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// Sends SIGTERM, waits for the end and returns the exit code.
    ///
    /// # Panics
    /// Panics if the process does not end.
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

    /// Returns the process id; None: it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns the authority's keys, as a thief of an encrypted backup and of its identity would
    /// have them.
    ///
    /// # Panics
    /// Panics if the backup does not hold them.
    pub fn secrets(&self) -> Secrets {
        let (encrypted, file) =
            (self.scratch.join("secrets.age"), self.scratch.join("secrets.tar"));
        let identity = Identity::make().unwrap();
        let to = identity.recipient().to_string();
        self.cli().run(&["backup", encrypted.to_str().unwrap(), "--recipient", &to]).ok();
        let mut from = std::fs::File::open(&encrypted).unwrap();
        let head = Head::read(&mut from).unwrap();
        let key = head.file_key(&With::Identities(vec![identity])).unwrap();
        let mut opened = Decrypting::begin(&head, &key, from).unwrap();
        std::io::copy(&mut opened, &mut std::fs::File::create(&file).unwrap()).unwrap();
        let read = Command::new("tar").arg("-xOf").arg(&file).arg("authority.json").output();
        let authority: Value =
            serde_json::from_slice(&read.unwrap().stdout).expect("a backup holds authority.json");
        let text = |key: &str| authority[key].as_str().unwrap_or_default().to_owned();
        let signing_key = base64::engine::general_purpose::STANDARD.decode(text("signingKey"));
        Secrets { ca: text("caPem"), ca_key: text("caKeyPem"), signing_key: signing_key.unwrap() }
    }

    /// Returns the options for the next [`Plane::up`], to be changed.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the file that standard error is written to.
    pub fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Returns the standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Returns the paths of the programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Returns a client of the API with the administrator's token.
    pub fn https(&self) -> Https {
        Https::new(self.api, &self.ca_sha256, Some(&self.admin_token))
    }

    /// Sends a `GET` with the administrator's token.
    ///
    /// # Panics
    /// Panics if no response arrives.
    pub fn get(&self, path: &str) -> Answer {
        self.https().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", tails()))
    }

    /// Returns a metric's value summed over all lines that begin with `prefix`, a part of
    /// `name{labels}`.
    pub fn metric(&self, prefix: &str) -> f64 {
        let metrics = self.get("/metrics").text();
        metrics
            .lines()
            .filter(|line| line.starts_with(prefix))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Returns the command line with the administrator's token.
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

    /// Creates an enrolment token that permits devices any labels.
    pub fn token(&self, arguments: &[&str]) -> String {
        let mut all = vec!["token", "create", "--allow-label", "*"];
        all.extend(arguments);
        self.cli().run(&all).ok()
    }

    /// Returns the API's document of a device.
    pub fn view(&self, name: &str) -> Value {
        match self.https().get(&format!("/api/v1/devices/{name}")) {
            Ok(answer) => answer.json(),
            Err(error) => Value::String(error.to_string()),
        }
    }

    /// Waits until the control plane shows a device's workload in this phase.
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

    /// Waits until the device has applied its desired state and reported that.
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

/// Returns `127.1.2.3:443` of `https://127.1.2.3:443` or `mqtts://...`.
fn socket_of(url: &str) -> SocketAddr {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    authority.parse().unwrap_or_else(|_| panic!("not an address: {url:?}"))
}

impl Plane {
    /// Returns the loopback address that the control plane listens on.
    pub fn address(&self) -> Ipv4Addr {
        match self.api.ip() {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        }
    }
}
