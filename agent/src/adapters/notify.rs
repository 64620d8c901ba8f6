//! Notification of systemd that the agent is ready, alive and stopping (`sd_notify`), where it asks
//! for that.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Shortest interval of the watchdog's messages, whatever is asked for: each takes a turn of the
/// loop.
const SHORTEST: Duration = Duration::from_millis(10);
/// Longest interval of the watchdog's messages.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Socket to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Creates a notifier from `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
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
        let period = std::env::var("WATCHDOG_USEC").ok();
        let watchdog = period.filter(|_| ours).and_then(|text| pace(&text));
        Self { socket: socket.ok(), watchdog }
    }

    /// Interval at which [`Notifier::alive`] is expected; `None` when it is not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// Reports that the workloads found on disk are being started.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that the event loop is running.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Reports that the agent ends, while its workloads go on.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sets the line that `systemctl status` shows.
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

/// Interval of the watchdog's messages: a third of the period that is asked for, in microseconds.
/// `None` for 0, or for text that is not a number.
fn pace(text: &str) -> Option<Duration> {
    let micros = text.parse().ok().filter(|&micros| micros > 0)?;
    Some((Duration::from_micros(micros) / 3).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_in_time_and_none_is_where_none_is_wanted() {
        assert_eq!(pace("300000"), Some(Duration::from_millis(100)));
        for none in ["0", "", "soon", "-1", "18446744073709551616"] {
            assert_eq!(pace(none), None, "{none:?}");
        }
        assert_eq!(pace("1"), Some(SHORTEST));
        assert_eq!(pace(&u64::MAX.to_string()), Some(LONGEST));
    }
}
