//! Arguments of `volume`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Actions on the volumes of a device's containers.
#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// List the volumes of a device, as the device knows them now.
    #[command(after_help = "Examples:
  holdfast volume list till-7
  holdfast volume list till-7 -o json

The device is asked, so it must be connected. A volume stays when its workload is deleted.")]
    List {
        /// Name of the device.
        device: String,
        /// Print JSON.
        #[arg(short, long, value_name = "FORMAT", value_parser = ["json", "table"], default_value = "table")]
        output: String,
    },
    /// Delete a volume for good.
    #[command(after_help = "Examples:
  holdfast volume delete till-7 till/data --yes

A volume that a container uses is not deleted: delete or pause the workload first.")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Delete it without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Back up a volume to a tar file.
    #[command(after_help = "Examples:
  holdfast volume backup till-7 till/data till-data.tar

The device uploads the files while the container runs; what it writes meanwhile is in the backup or
not. Pause the workload first for a backup of one moment: holdfast pause till --device till-7")]
    Backup {
        #[command(flatten)]
        which: Which,
        /// File to write.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Replace the content of a volume by that of a tar file.
    #[command(after_help = "Examples:
  holdfast pause till --device till-7
  holdfast volume restore till-7 till/data till-data.tar --yes
  holdfast resume till --device till-7

The volume is made if the device does not have it; the workload must be known to the device. Nothing
of what was in the volume is left.")]
    Restore {
        #[command(flatten)]
        which: Which,
        /// Tar file, as `holdfast volume backup` writes it.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Replace the content without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// Volume of a device.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name of the device.
    pub(crate) device: String,
    /// Workload and volume, as `WORKLOAD/VOLUME`.
    #[arg(value_name = "WORKLOAD/VOLUME", value_parser = split)]
    pub(crate) volume: (String, String),
}

/// Text that names no volume.
#[derive(Debug, thiserror::Error)]
#[error("not a volume: give WORKLOAD/VOLUME, such as till/data")]
pub(crate) struct NoVolume;

fn split(text: &str) -> Result<(String, String), NoVolume> {
    match text.split_once('/') {
        Some((workload, volume))
            if !workload.is_empty() && !volume.is_empty() && !volume.contains('/') =>
        {
            Ok((workload.to_owned(), volume.to_owned()))
        }
        _ => Err(NoVolume),
    }
}
