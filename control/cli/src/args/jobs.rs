//! Arguments of `rollback`, `history`, `restart`, `pause` and `resume`.

use clap::Args;

use super::format::{Format, LedgerFormat, checked_selector};

pub(crate) const ROLLBACK_HELP: &str = "Examples:
  holdfast rollback hello --dry-run     # what would change, and on how many devices
  holdfast rollback hello               # to the last revision that differs from the present one
  holdfast rollback hello --to 3

The former document (labels and spec) is applied again, as a new revision: `holdfast history hello`
lists what there is to go back to. Nothing that was applied since is lost.";

pub(crate) const HISTORY_HELP: &str = "Examples:
  holdfast history hello
  holdfast history hello -o json
  holdfast history hello 3              # the whole document of revision 3, as YAML
  holdfast history hello 3 > old.yaml   # can be applied again";

pub(crate) const RESTART_HELP: &str = "Examples:
  holdfast restart hello --device gw-1
  holdfast restart hello --device gw-1 --device gw-2
  holdfast restart hello -l site=north
  holdfast restart hello --all          # on every device that should run it

The workload is stopped with its own signal and grace, then the same revision is started; a job that
has ended runs again. Devices that are offline, or where it is paused, are not asked, are named, and
are not restarted later. The exit code is 0 when all devices have restarted it, 1 otherwise.";

pub(crate) const PAUSE_HELP: &str = "Examples:
  holdfast pause hello --device gw-1
  holdfast pause hello -l site=north    # the devices that have this label now
  holdfast pause hello --all            # everywhere, also on devices that come later

The workload is stopped and stays stopped, through new revisions, reboots and times without a link,
until `holdfast resume`. Its folder and its log stay. A device that is offline follows when it is
back.";

pub(crate) const RESUME_HELP: &str = "Examples:
  holdfast resume hello --device gw-1   # also one of those where it is paused everywhere
  holdfast resume hello --all";

/// Revision to go back to.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Name of the workload.
    pub(crate) workload: String,
    /// Number of the revision [default: the last one that differs from the present one].
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Workload whose revisions are listed.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Name of the workload.
    pub(crate) workload: String,
    /// Revision whose whole document is shown [default: list all revisions].
    #[arg(value_name = "N")]
    pub(crate) revision: Option<u64>,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Choice of devices. One must be made, so that a forgotten option does not restart a fleet.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Where {
    /// Name of a device; may be repeated.
    #[arg(long = "device", value_name = "NAME")]
    pub(crate) devices: Vec<String>,
    /// Labels of the devices: k=v, k!=v, k (present), !k (absent), separated by commas.
    #[arg(short = 'l', long, value_parser = checked_selector, allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
    /// Choose every device that should run the workload.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Workload to restart, and the devices.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Name of the workload.
    pub(crate) workload: String,
    #[command(flatten)]
    pub(crate) on: Where,
    /// Output format of the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LedgerFormat,
}

/// Workload to pause or resume, and the devices.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Name of the workload.
    pub(crate) workload: String,
    #[command(flatten)]
    pub(crate) on: Where,
    /// Output format of the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LedgerFormat,
}
