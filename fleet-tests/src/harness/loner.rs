//! Device without a control plane: the test signs its desired state and puts it on its disk, as if it
//! had come before the link was cut.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::Name;
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_protocol::sealing::Sealed;
use holdfast_protocol::signing::Signer;
use holdfast_protocol::workload::WorkloadSpec;
use serde_json::{Value, json};

use super::cli::finish;
use super::device::problem;
use super::{Binaries, DEADLINE, Scratch, eventually, keep_log, processes};

/// Device that no control plane knows.
#[derive(Debug)]
pub struct Loner {
    /// Environment variables of the agent.
    pub env: BTreeMap<String, String>,
    /// Content of its configuration file.
    pub config: String,
    data: PathBuf,
    agent: PathBuf,
    signer: Signer,
    generation: u64,
    wanted: BTreeMap<Name, DesiredWorkload>,
    child: Option<Child>,
    boots: u32,
}

impl Loner {
    /// Makes a device with its folder in a scratch folder. Its agent does not run.
    pub fn new(scratch: &Scratch, config: &str) -> Self {
        let mut key: Vec<u8> = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        key.extend([5; 32]);
        let signer = Signer::from_pkcs8(&key).expect("a key");
        let data = scratch.join("device");
        std::fs::create_dir_all(&data).expect("a scratch folder can be made");
        let identity = json!({
            "url": "https://127.0.0.1:9",
            "caSha256": "00".repeat(32),
            "key": "AAAA",
            "name": "d-1",
            "enrolment": {
                "tenant": "default",
                "device": "d-1",
                "shard": 1,
                "topicPrefix": "hf/v1/1/default_d-1/",
                "certificate": "none",
                "notBefore": 0,
                "notAfter": 4_000_000_000_u64,
                "ca": "none",
                "signingKey": STANDARD.encode(signer.public_key()),
                "mqtt": ["127.0.0.1:9"],
                "serverTime": 0,
            },
        });
        let text = serde_json::to_vec(&identity).expect("a value is JSON");
        std::fs::write(data.join("identity.json"), text).expect("a scratch file can be written");
        let mut device = Self {
            env: BTreeMap::new(),
            config: config.to_owned(),
            data,
            agent: Binaries::find().agent,
            signer,
            generation: 0,
            wanted: BTreeMap::new(),
            child: None,
            boots: 0,
        };
        device.new_boot();
        device
    }

    /// Gives the next start of the agent another boot.
    pub fn new_boot(&mut self) {
        self.boots += 1;
        let boot = format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), self.boots);
        self.env.insert("HOLDFAST_TEST_BOOT_ID".into(), boot);
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Wants a workload from the next start of the agent on, or wants it no more.
    pub fn wants(&mut self, name: &str, spec: Option<WorkloadSpec>) {
        self.wants_sealed(name, spec, None, false);
    }

    /// Wants a workload with secrets, or paused.
    pub fn wants_sealed(
        &mut self,
        name: &str,
        spec: Option<WorkloadSpec>,
        sealed: Option<Sealed>,
        paused: bool,
    ) {
        self.generation += 1;
        let name: Name = name.parse().expect("a name");
        match spec {
            Some(spec) => {
                let revision = self.generation;
                let sealed = sealed.map(Box::new);
                let wanted = DesiredWorkload { revision, paused, spec, sealed };
                self.wanted.insert(name, wanted);
            }
            None => {
                self.wanted.remove(&name);
            }
        }
        let state = DesiredState {
            v: WIRE_VERSION,
            device: "default_d-1".parse().expect("a device"),
            epoch: 1,
            generation: self.generation,
            workloads: self.wanted.clone(),
            data: None,
            audit: None,
        };
        let bytes = self.signer.sign(&state).expect("it can be signed");
        std::fs::write(self.data.join("desired.cose"), bytes).expect("it can be stored");
    }

    /// Number of the revision that the next wanted workload gets.
    pub fn next_revision(&self) -> u64 {
        self.generation + 1
    }

    /// Starts the agent.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = self.data.with_extension("log");
        keep_log("agent", log.clone());
        let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let config = self.data.with_extension("toml");
        std::fs::write(&config, &self.config).expect("a scratch file can be written");
        let mut command = self.command(&["run", "--config", config.to_str().expect("a path")]);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(command.spawn().expect("the agent can be started"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .env_remove("NOTIFY_SOCKET")
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Returns the agent's process id; None: it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the agent alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// Kills the agent and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.up();
    }

    /// Waits until the agent has ended by itself, at a crash point.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn await_end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        eventually(DEADLINE, "the agent ends", || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Returns the agent's status.
    ///
    /// # Errors
    /// A text for a person if it does not answer.
    pub fn status(&self) -> Result<Value, String> {
        let outcome = finish(self.command(&["status", "-o", "json"]), "");
        if outcome.code != 0 {
            return Err(outcome.to_string());
        }
        serde_json::from_str(&outcome.out).map_err(|error| format!("{error}: {}", outcome.out))
    }

    /// Waits until the status is as wanted, and returns it.
    pub fn await_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(DEADLINE, what, || {
            let status = self.status()?;
            if wanted(&status) { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// Waits until a workload is in this phase, and returns its part of the status.
    pub fn await_phase(&self, workload: &str, phase: &str) -> Value {
        let status = self.await_status(&format!("{workload} is {phase}"), |status| {
            status["workloads"][workload]["phase"] == phase
        });
        status["workloads"][workload].clone()
    }

    /// Waits for a problem with this code, and returns its message.
    pub fn await_problem(&self, code: &str) -> String {
        let status =
            self.await_status(&format!("problem {code}"), |status| problem(status, code).is_some());
        problem(&status, code).unwrap_or_default()
    }

    /// Waits until the problem with this code is gone.
    pub fn await_healed(&self, code: &str) {
        self.await_status(&format!("problem {code} is gone"), |status| {
            status["problems"].is_array() && problem(status, code).is_none()
        });
    }

    /// Returns a workload's log.
    pub fn log(&self, workload: &str) -> String {
        let log = std::fs::read(self.data.join("workloads").join(workload).join("log"));
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    /// Waits until a workload's log has this text, and returns the log.
    pub fn await_log(&self, workload: &str, text: &str) -> String {
        eventually(DEADLINE, &format!("{workload} says {text:?}"), || {
            let log = self.log(workload);
            if log.contains(text) { Ok(log) } else { Err(log) }
        })
    }

    /// Returns the agent's own log.
    pub fn own_log(&self) -> String {
        let log = std::fs::read(self.data.with_extension("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Lets time pass: for what must not happen.
    pub fn waits(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Drop for Loner {
    fn drop(&mut self) {
        self.kill();
        processes::kill_folder(&self.data);
    }
}
