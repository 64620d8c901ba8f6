//! Form of the larger parts of `Workload` documents: configuration files, health probes and
//! permissions on the local bus.
//!
//! See decision 0147.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_mqtt::is_filter;
use holdfast_protocol::workload::{Bus, Health, Probe};

use super::at::At;
use super::command::{args, openable};

/// Most bytes of all configuration files of a workload. They travel in the desired state of each
/// device, which may have 1 MiB.
pub(super) const MAX_CONFIG: usize = 128 * 1024;
/// Most configuration files of a workload.
pub(super) const MAX_FILES: usize = 256;
/// Longest file name of Linux file systems, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Longest relative path of a configuration file, in bytes. The agent puts its folder in front.
const MAX_CONFIG_PATH: usize = 1_024;
/// Longest duration of a probe, in milliseconds: a day.
const LONGEST: u64 = 24 * 3_600_000;
/// Shortest interval and timeout of a probe, in milliseconds. Probes cost CPU time.
const SHORTEST: u64 = 10;

/// Most filters of each kind of permission. Each is matched against every message of other
/// workloads.
const MAX_FILTERS: usize = 64;

/// Decodes configuration files. Faulty ones are noted and partly left out.
pub(super) fn config(at: &At<'_>) -> BTreeMap<String, String> {
    let entries = at.entries();
    if entries.len() > MAX_FILES {
        at.fault(format!("{} files, at most {MAX_FILES}", entries.len()));
        return BTreeMap::new();
    }
    let mut files = BTreeMap::new();
    let mut total = 0_usize;
    let mut paths = Vec::new();
    for (path, at) in entries {
        match config_path(path) {
            Ok(()) => paths.push(path),
            Err(why) => at.fault(why),
        }
        if let Some(content) = at.text() {
            total += content.len();
            files.insert(path.to_owned(), content.to_owned());
        }
    }
    if total > MAX_CONFIG {
        at.fault(format!(
            "{total} bytes in all, at most {MAX_CONFIG}; push large files as artifacts"
        ));
    }
    for path in &paths {
        let inside = paths
            .iter()
            .find(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
        if let Some(inside) = inside {
            at.fault(format!("{path:?} is a file and, with {inside:?}, a folder"));
        }
    }
    files
}

pub(super) fn config_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        Err("a file needs a name")
    } else if path.starts_with('/') {
        Err(
            "an absolute path; files are laid into the workload's own folder, so give a relative one",
        )
    } else if path.chars().any(char::is_control) {
        Err("a path without NUL and control characters is needed")
    } else if path.split('/').any(|part| part == "..") {
        Err("\"..\" would leave the workload's folder")
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        Err("a path has no empty part and no \".\" in it")
    } else if path.len() > MAX_CONFIG_PATH || path.split('/').any(|part| part.len() > MAX_FILE_NAME)
    {
        Err("too long: 255 bytes a name and 1024 in all")
    } else {
        Ok(())
    }
}

/// Decodes permissions on the local bus. `None` if faults were noted.
pub(super) fn bus(at: &At<'_>) -> Option<Bus> {
    let about = "Permissions on the local bus, as MQTT filters over `NAME/TOPIC`: name of another workload, and a topic of it.";
    at.object(about, "", |fields| {
        let subscribe = fields.or(
            "subscribe",
            "Filters that the workload may subscribe to, as topics `workloads/NAME/TOPIC`: `pump/#`, `+/alarm`.",
            Vec::new(),
            filters,
        );
        let publish = fields.or(
            "publish",
            "Filters that the workload may publish to, as topics `workloads/NAME/TOPIC`. Such messages are delivered and never stored.",
            Vec::new(),
            filters,
        );
        Some(Bus { subscribe: subscribe?, publish: publish? })
    })
}

fn filters(at: &At<'_>) -> Option<Vec<String>> {
    at.put("maxItems", MAX_FILTERS);
    let count = at.value().as_array().map_or(0, Vec::len);
    if count > MAX_FILTERS {
        at.fault(format!("{count} filters, at most {MAX_FILTERS}"));
        return None;
    }
    at.each(|at| at.parsed(filter)).into_iter().collect()
}

/// Checks an MQTT filter over `NAME/TOPIC`, whose first level is the name of a workload, `+` or
/// `#`.
fn filter(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "not an MQTT filter over NAME/TOPIC, the topic of another workload behind its name, such as pump/#, pump/state or +/alarm";
    let (first, rest) = match text.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    };
    let named = first == "+" || first.parse::<Name>().is_ok();
    let good = is_filter(text)
        && (text == "#" || (named && rest.is_some_and(|rest| !rest.starts_with('$'))));
    if good { Ok(text.to_owned()) } else { Err(WRONG) }
}

/// Decodes a health probe. `None` if faults were noted.
pub(super) fn health(at: &At<'_>) -> Option<Health> {
    let about = "Health probe: exactly one of `http`, `tcp` and `exec`, and its times.";
    at.object(about, "", |fields| {
        let forms = [
            ("http", "Sends a `GET`; a status of 200 to 399 is success."),
            ("tcp", "Opens a TCP connection; success if it opens."),
            (
                "exec",
                "Runs a command in the workload's folder and as its user; exit code 0 is success.",
            ),
        ];
        let probe = fields.one_of("a probe", &forms, |which, at| match which {
            "http" => http(at),
            "tcp" => tcp(at),
            _ => exec(at),
        });
        let start_period = fields.or(
            "startPeriod",
            "Time after the start in which failures do not count. Default: `0s`.",
            0,
            |at| at.duration(0, LONGEST),
        );
        let interval = fields.or(
            "interval",
            "Time from the end of a probe to the next one. Default: `10s`.",
            10_000,
            |at| at.duration(SHORTEST, LONGEST),
        );
        let timeout = fields.or(
            "timeout",
            "Time after which a probe has failed. Default: `3s`.",
            3_000,
            |at| at.duration(SHORTEST, LONGEST),
        );
        let failures = fields.or(
            "failures",
            "Failures in a row after which the workload is restarted. Default: 3.",
            3,
            |at| u32::try_from(at.whole(1, 1_000)?).ok(),
        );
        Some(Health {
            probe: probe?,
            start_period_ms: start_period?,
            interval_ms: interval?,
            timeout_ms: timeout?,
            failures: failures?,
        })
    })
}

const HOST: &str = "Host name or address. Default: `127.0.0.1`.";
const PORT: &str = "TCP port, 1 to 65535.";

fn http(at: &At<'_>) -> Option<Probe> {
    at.object("Probe by HTTP `GET`.", "", |fields| {
        let host = fields.maybe("host", HOST, host);
        let port = fields.required("port", PORT, "a TCP port", port);
        let path = fields.or("path", "Path with query. Default: `/`.", "/".to_owned(), url_path);
        Some(Probe::Http { host: host?, port: port?, path: path? })
    })
}

fn url_path(at: &At<'_>) -> Option<String> {
    at.put("pattern", "^/").parsed(|path| {
        let good = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
        if good && path.len() <= MAX_CONFIG_PATH {
            Ok(path.to_owned())
        } else {
            Err("not the path of a URL: it begins with '/', without spaces, such as /healthz")
        }
    })
}

fn tcp(at: &At<'_>) -> Option<Probe> {
    at.object("Probe by a TCP connection.", "", |fields| {
        let host = fields.maybe("host", HOST, host);
        let port = fields.required("port", PORT, "a TCP port", port);
        Some(Probe::Tcp { host: host?, port: port? })
    })
}

fn exec(at: &At<'_>) -> Option<Probe> {
    at.object("Probe by a command.", "", |fields| {
        let command = fields.required(
            "command",
            "Program and its arguments, such as `[\"/bin/true\"]`.",
            "a program and its arguments, such as [\"/bin/true\"]",
            command,
        );
        Some(Probe::Exec { command: command? })
    })
}

fn command(at: &At<'_>) -> Option<Vec<String>> {
    at.put("minItems", 1);
    let command = args(at);
    at.value().get(0).into_iter().for_each(|program| openable(&at.item(0, program)));
    if command.first().is_none_or(String::is_empty) {
        // A value that is not a list has been noted by `args`.
        if at.value().is_array() {
            at.fault("a program and its arguments are needed, such as [\"/bin/true\"]");
        }
        return None;
    }
    Some(command)
}

fn host(at: &At<'_>) -> Option<String> {
    at.parsed(|host| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_');
        if !host.is_empty() && host.len() <= 253 && host.bytes().all(inner) {
            Ok(host.to_owned())
        } else {
            Err("not a host's name or address")
        }
    })
}

fn port(at: &At<'_>) -> Option<u16> {
    at.whole(1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}
