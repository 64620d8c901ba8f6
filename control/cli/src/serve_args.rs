//! The options of `holdfast serve`.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use holdfast_api::units;

/// Options of `holdfast serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data folder: store, records, artifacts and keys [default: /var/lib/holdfast, or
    /// ~/.local/share/holdfast when not root].
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the HTTPS API, HOST:PORT; port 0 takes a free one [default: every address, port
    /// 8443].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_API", value_parser = address)]
    pub api: Option<String>,
    /// Address of the device gateway (MQTT over TLS), HOST:PORT; port 0 takes a free one [default:
    /// every address, port 8883].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_MQTT", value_parser = address)]
    pub mqtt: Option<String>,
    /// Disk space that streams' data must leave free in the file system of --data, such as 2Gi.
    /// With less free, devices keep their records and everything else goes on [default: a twentieth
    /// of the file system, from 16Mi to 1Gi].
    #[arg(long, value_name = "SIZE", env = "HOLDFAST_RESERVE", value_parser = units::memory)]
    pub reserve: Option<u64>,
    /// File with the master key, under which the CA's key and all secrets lie. It is made at the
    /// first start; keep it on another disk than --data, or give it as the systemd credential
    /// `holdfast-master-key` [default: that credential, or master.key in --data].
    #[arg(long, value_name = "FILE", env = "HOLDFAST_MASTER_KEY")]
    pub master_key: Option<PathBuf>,
    /// Create and print a new admin token, and revoke the former one. For a token that was lost or
    /// leaked.
    #[arg(long)]
    pub new_admin_token: bool,
    /// Begin as a new control plane after the store of the data folder was lost (missing, empty or
    /// damaged). The old files are set aside in the folder, and every device must enrol again.
    #[arg(long, conflicts_with = "restore")]
    pub begin_anew: bool,
    /// Begin from a backup made by `holdfast backup`, after the store was lost or in an empty
    /// folder. Records of streams and artifacts in the folder stay. A running control plane takes a
    /// backup with `holdfast restore`.
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// File with the identity that opens the backup of --restore (AGE-SECRET-KEY-1…, as
    /// `age-keygen -o FILE` writes it).
    #[arg(long, value_name = "FILE", requires = "restore", conflicts_with = "passphrase_file")]
    pub identity: Option<PathBuf>,
    /// File whose first line is the passphrase that opens the backup of --restore.
    #[arg(long, value_name = "FILE", requires = "restore")]
    pub passphrase_file: Option<PathBuf>,
    /// Serve the pages from this folder, read once at the start, instead of those in the program:
    /// for work on the pages.
    #[arg(long, value_name = "DIR", env = "HOLDFAST_PAGES", hide = true)]
    pub pages: Option<PathBuf>,
    /// Lowest level that is logged to standard error: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", env = "HOLDFAST_LOG", default_value = "info")]
    pub log: tracing::Level,
}

/// Options of `holdfast admin reset`.
#[derive(Debug, Clone, clap::Args)]
pub struct ResetArgs {
    /// Data folder of the control plane [default: as for `holdfast serve`].
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA")]
    pub data: Option<PathBuf>,
    /// File with the master key, if it is not in the data folder.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_MASTER_KEY")]
    pub master_key: Option<PathBuf>,
    /// Name of the user.
    #[arg(long, default_value = "admin")]
    pub user: String,
}

/// Parses HOST:PORT as far as that is possible without resolving the name.
fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_good = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', ' ']),
        };
        host_is_good && port.parse::<u16>().is_ok()
    });
    parts.map(|_| text.to_owned()).ok_or_else(|| {
        "not HOST:PORT, such as localhost:8443, 10.0.0.5:8443 or [::]:8443 (every address)".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["localhost:8443", "127.0.0.1:0", "[::]:8443", "[::1]:1", "my-host.example:1"] {
            assert_eq!(address(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "8443",
            ":8443",
            "localhost",
            "localhost:",
            "localhost:70000",
            "::1:80",
            "[::1]",
            "[localhost]:80",
            "https://localhost:8443",
            "a b:1",
            "[]:1",
        ] {
            let said = address(bad).unwrap_err();
            assert!(said.contains("localhost:8443") && said.contains("[::]:8443"), "{bad}: {said}");
        }
    }
}
