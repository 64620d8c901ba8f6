//! Tells systemd that the agent is ready, alive and stopping (`sd_notify`), where it asks.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say.
    pub fn from_environment() -> Self {
        let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return Self::default() };
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        let socket = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address)?;
            Ok(socket)
        });
        let ours =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let period = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let watchdog = period.filter(|_| ours).map(|micros: u64| Duration::from_micros(micros) / 3);
        Self { socket: socket.ok(), watchdog }
    }

    /// How often [`Notifier::alive`] is expected.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// The workloads that were on disk are being started.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The loop turns.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The agent ends; its workloads go on.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // A manager that does not listen changes nothing for the workloads.
            let _unheard = socket.send(text.as_bytes());
        }
    }
}
