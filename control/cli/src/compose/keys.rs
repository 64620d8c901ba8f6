//! Keys of the Compose specification that are read nowhere else, and what is said of each.

use super::node::Known;
use super::notes::Level::{Note, Unsupported, Warning};

/// Text of keys by which a container would be in a namespace of the device or of another container.
pub(super) const NAMESPACE: &str =
    "not honoured: a container has namespaces of its own, but for network_mode: host";
/// Text of finer limits.
const FINER: &str = "not honoured: limits are cpus, memory and pids";

/// Keys of a service.
pub(super) const SERVICE: [Known; 50] = [
    // Of no consequence.
    ("annotations", Warning, "not honoured: the containers have no annotations of their own"),
    ("attach", Warning, ""),
    ("develop", Warning, ""),
    ("expose", Note, ""),
    ("profiles", Note, ""),
    ("extends", Note, ""),
    ("isolation", Warning, ""),
    (
        "pull_policy",
        Warning,
        "not honoured: a tag is resolved when the document is applied, and a device fetches what it lacks",
    ),
    ("pull_refresh_after", Warning, "not honoured: a tag is resolved when the document is applied"),
    (
        "platform",
        Warning,
        "not honoured: each device takes the part of the image that is for its processor",
    ),
    ("hostname", Warning, "not honoured: the container has a host name of its own"),
    ("domainname", Warning, "not honoured"),
    (
        "logging",
        Warning,
        "not honoured: logs are kept on the device in bounds, and read by holdfast logs",
    ),
    ("tty", Warning, "not honoured: no terminal is attached"),
    (
        "stdin_open",
        Warning,
        "not honoured: nothing is attached to standard input, so a shell that waits for it ends at once",
    ),
    ("mac_address", Warning, "not honoured: the engine assigns it"),
    ("dns_search", Warning, "not honoured"),
    ("dns_opt", Warning, "not honoured"),
    ("mem_reservation", Warning, "not honoured: nothing is reserved on a device"),
    ("mem_swappiness", Warning, FINER),
    (
        "memswap_limit",
        Warning,
        "not honoured: a container with a limit of memory has no swap beside it",
    ),
    ("oom_kill_disable", Warning, FINER),
    ("oom_score_adj", Warning, FINER),
    ("blkio_config", Warning, FINER),
    ("cpu_count", Warning, FINER),
    ("cpu_percent", Warning, FINER),
    ("cpu_shares", Warning, FINER),
    ("cpu_quota", Warning, "not honoured: write cpus"),
    ("cpu_period", Warning, "not honoured: write cpus"),
    ("cpu_rt_period", Warning, FINER),
    ("cpu_rt_runtime", Warning, FINER),
    ("cpuset", Warning, FINER),
    ("ulimits", Warning, "not honoured: those of the engine hold"),
    ("storage_opt", Warning, "not honoured: those of the engine hold"),
    ("cgroup", Warning, "not honoured: the engine's own settings hold"),
    ("cgroup_parent", Warning, "not honoured: the engine's own settings hold"),
    ("userns_mode", Warning, "not honoured: the engine's own settings hold"),
    // Of consequence.
    (
        "group_add",
        Unsupported,
        "not honoured: the container has the groups of its user alone; write user: UID:GID with the group that is needed",
    ),
    ("device_cgroup_rules", Unsupported, "not honoured: name each device by devices:"),
    ("sysctls", Unsupported, "not honoured: kernel settings are the device's own; set them there"),
    ("pid", Unsupported, NAMESPACE),
    ("uts", Unsupported, NAMESPACE),
    ("volumes_from", Unsupported, "not honoured: name the volumes in both services"),
    (
        "external_links",
        Unsupported,
        "not honoured: workloads find each other in a network that both name (networks:, external: true)",
    ),
    ("credential_spec", Unsupported, "not honoured: devices run Linux"),
    ("post_start", Unsupported, "not honoured: write it as a service that another waits for"),
    ("pre_stop", Unsupported, "not honoured: let the program act on the signal"),
    ("provider", Unsupported, "not honoured: nothing provides it on a device"),
    ("models", Unsupported, "not honoured: nothing provides models on a device"),
    (
        "use_api_socket",
        Unsupported,
        "not honoured: bind the engine's socket as a volume where it is needed",
    ),
];

/// Keys of a file.
pub(super) const FILE: [Known; 8] = [
    ("version", Note, ""),
    ("name", Note, ""),
    ("services", Note, ""),
    ("volumes", Note, ""),
    ("networks", Note, ""),
    ("configs", Note, ""),
    ("secrets", Note, ""),
    ("models", Unsupported, "not honoured: nothing provides models on a device"),
];
