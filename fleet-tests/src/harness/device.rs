//! Device of a test: `holdfast-agent` with a data folder and a link of its own, that can be killed,
//! restarted and "rebooted".

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::cli::finish;
use super::publisher::Access;
use super::{DEADLINE, Link, Outcome, Plane, eventually, keep_log, loopback, processes};

/// Device with its agent, link and files.
#[derive(Debug)]
pub struct Device {
    /// Name that it enrols with.
    pub name: String,
    /// Link to the control plane.
    pub link: Link,
    /// Environment variables of the agent; `HOLDFAST_...` for tests.
    pub env: BTreeMap<String, String>,
    /// Program of the agent, and what comes before it (an emulator).
    pub program: Vec<OsString>,
    /// Content of the `--config` file.
    pub config: Option<String>,
    url: String,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    boots: u32,
}

impl Device {
    /// Creates a device that is not enrolled and not running, with its data folder in the plane's
    /// scratch folder.
    pub fn new(plane: &Plane, name: &str) -> Self {
        let link = Link::new(loopback(), &[plane.api, plane.mqtt]);
        let mut device = Self {
            name: name.to_owned(),
            url: format!("https://{}:{}", link.address(), plane.api.port()),
            link,
            env: BTreeMap::new(),
            program: vec![plane.binaries().agent.clone().into()],
            config: None,
            data: plane.scratch.join(name),
            log: plane.scratch.join(&format!("{name}.log")),
            child: None,
            boots: 0,
        };
        device.new_boot();
        device
    }

    fn new_boot(&mut self) {
        self.boots += 1;
        let boot = format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), self.boots);
        self.env.insert("HOLDFAST_TEST_BOOT_ID".into(), boot);
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Connects directly to the control plane, without a link that could be cut.
    pub fn direct(&mut self, plane: &Plane) {
        self.url = format!("https://{}", plane.api);
    }

    /// Connects to the control plane over another link.
    pub fn set_link(&mut self, link: Link, plane: &Plane) {
        self.url = format!("https://{}:{}", link.address(), plane.api.port());
        self.link = link;
    }

    /// Moves the data folder elsewhere (to a small disk).
    pub fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// Returns the URL that it enrols at, through its link.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns `holdfast-agent ARGUMENTS --data DIR` with the device's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (program, before) = self.program.split_first().unwrap();
        let mut command = Command::new(program);
        command
            .args(before)
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .env_remove("HOLDFAST_TOKEN")
            .env_remove("NOTIFY_SOCKET")
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Runs `holdfast-agent enroll` with this token, which goes by the environment, as it should.
    pub fn enrol(&self, token: &str, labels: &[&str]) -> Outcome {
        let url = self.url.clone();
        let mut arguments = vec!["enroll", "--url", &url, "--name", &self.name];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        let mut command = self.command(&arguments);
        command.env("HOLDFAST_TOKEN", token);
        finish(command, "")
    }

    /// Starts the agent.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        keep_log(&self.name, self.log.clone());
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = match &self.config {
            Some(config) => {
                let path = self.log.with_extension("toml");
                std::fs::write(&path, config).unwrap();
                self.command(&["run", "--config", path.to_str().unwrap()])
            }
            None => self.command(&["run"]),
        };
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Returns the agent's process id; None: it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the agent alone with SIGKILL; its workloads go on.
    pub fn kill_agent(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// Sends SIGTERM to the agent alone, and waits for its end.
    pub fn stop_agent(&mut self) -> Option<i32> {
        let child = self.child.as_ref()?;
        processes::terminate(child.id());
        self.await_end()
    }

    /// Waits until the agent has ended by itself (at a crash point) and returns its exit code.
    ///
    /// # Panics
    /// Panics if it does not end.
    pub fn await_end(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let what = format!("the agent of {} ends", self.name);
        let end = eventually(DEADLINE, &what, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        end.code()
    }

    /// Returns true while the agent's process exists.
    pub fn is_up(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the agent with SIGKILL and starts it again.
    pub fn restart(&mut self) {
        self.kill_agent();
        self.up();
    }

    /// Switches power off: agent and workloads are killed at once, and the next start has another
    /// boot id.
    pub fn power_off(&mut self) {
        self.kill_agent();
        self.kill_workloads();
        self.new_boot();
    }

    /// Kills everything that the agent ever started, launchers included.
    pub fn kill_workloads(&self) {
        processes::kill_folder(&self.data);
    }

    /// Returns `holdfast-agent status -o json`.
    ///
    /// # Errors
    /// Returns a text for a person if the agent does not answer.
    pub fn status(&self) -> Result<Value, String> {
        let outcome = finish(self.command(&["status", "-o", "json"]), "");
        if outcome.code != 0 {
            return Err(outcome.to_string());
        }
        serde_json::from_str(&outcome.out).map_err(|error| format!("{error}: {}", outcome.out))
    }

    /// Waits until the status is as wanted, and returns it.
    pub fn await_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.await_status_within(DEADLINE, what, wanted)
    }

    /// Waits at most `within` until the status is as wanted, and returns it.
    pub fn await_status_within(
        &self,
        within: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(within, &format!("status of {}: {what}", self.name), || {
            let status = self.status()?;
            if wanted(&status) { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// Waits until the device itself shows a workload in this phase, and returns its process id (0:
    /// none).
    pub fn await_phase(&self, workload: &str, phase: &str) -> u32 {
        let status = self.await_status(&format!("{workload} is {phase}"), |status| {
            status["workloads"][workload]["phase"] == phase
        });
        pid_of(&status, workload)
    }

    /// Waits for a link that is `up` or `down`.
    pub fn await_link(&self, state: &str) {
        self.await_status(&format!("link is {state}"), |status| status["link"] == state);
    }

    /// Waits for a problem with this code and returns its message.
    pub fn await_problem(&self, code: &str) -> String {
        let status = self.await_status(&format!("problem {code} is said"), |status| {
            problem(status, code).is_some()
        });
        problem(&status, code).unwrap_or_default()
    }

    /// Waits until the problem with this code is gone.
    pub fn await_healed(&self, code: &str) {
        self.await_status(&format!("problem {code} is gone"), |status| {
            status["problems"].is_array() && problem(status, code).is_none()
        });
    }

    /// Returns local access for a program that the agent does not run, created if need be.
    ///
    /// # Panics
    /// Panics if the agent's program gives none.
    pub fn access(&self, name: &str) -> Access {
        let created = self.command(&["local-access", "create", name, "-o", "json"]);
        let entry = finish(created, "").json();
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let port = entry["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let host: IpAddr = text("host").parse().expect("an address");
        Access {
            mqtt: (host, port.expect("a port")).into(),
            user: text("username"),
            password: text("password"),
            socket: text("socket").into(),
        }
    }

    /// Returns the agent's log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Plane {
    /// Returns a device with a link of its own, enrolled and running.
    pub fn device(&self, name: &str, labels: &[&str]) -> Device {
        let mut device = self.bare_device(name);
        device.enrol(&self.token(&["--uses", "1"]), labels).ok();
        device.up();
        device
    }

    /// Returns a device with a link of its own, not enrolled.
    pub fn bare_device(&self, name: &str) -> Device {
        Device::new(self, name)
    }
}

/// Returns the messages of the problems with this code.
pub(crate) fn problem(status: &Value, code: &str) -> Option<String> {
    let problems = status["problems"].as_array()?;
    let found = problems.iter().filter(|problem| problem["code"] == code);
    let texts: Vec<&str> = found.filter_map(|problem| problem["message"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Returns the process id of a workload in a status; 0: none.
fn pid_of(status: &Value, workload: &str) -> u32 {
    let pid = status["workloads"][workload]["pid"].as_u64().unwrap_or(0);
    u32::try_from(pid).unwrap_or(0)
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill_agent();
        self.kill_workloads();
    }
}
