//! Crash points: in debug builds `HOLDFAST_CRASH_AT=<name>` kills the agent there as `kill -9`
//! would. `holdfast-agent crash-points` lists them, so that a test can try every one.

/// Crash points after every step of an apply that leaves something on the machine.
pub const POINTS: &[&str] = &[
    "desired-verified",
    "desired-stored",
    "artifact-stored",
    "signal-sent",
    "swept",
    "folder-laid",
    "launched",
    "workload-saved",
    "gate-opened",
    "folder-removed",
    "workload-removed",
];

/// Crash points after every step of a record's way from a workload to the control plane.
pub const DATA_POINTS: &[&str] =
    &["records-stored", "journal-settled", "batch-sent", "shipped-stored"];

/// Crash points after every step of a container's start that leaves something at the engine.
pub const CONTAINER_POINTS: &[&str] = &["image-loaded", "container-created", "container-started"];

/// Crash points of secrets that change while their workload runs.
pub const SECRET_POINTS: &[&str] = &["secrets-laid"];

/// Kills the agent here if `HOLDFAST_CRASH_AT` names this point.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    static AT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let lists = [POINTS, DATA_POINTS, SECRET_POINTS, CONTAINER_POINTS];
    debug_assert!(lists.iter().any(|list| list.contains(&name)), "{name} is not listed");
    let at = AT.get_or_init(|| std::env::var("HOLDFAST_CRASH_AT").ok());
    if at.as_deref() == Some(name)
        && let Some(this) =
            i32::try_from(std::process::id()).ok().and_then(rustix::process::Pid::from_raw)
    {
        let _never_returns = rustix::process::kill_process(this, rustix::process::Signal::KILL);
        std::thread::sleep(std::time::Duration::from_secs(5));
    }
}

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}
