//! `holdfast serve`: binds, starts the parts, says where they are, and stops them in order.
#![allow(
    clippy::disallowed_methods,
    reason = "the outermost layer: files, environment and tasks come together here"
)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::adapters::artifacts::Artifacts;
use crate::adapters::authority::{Authority, Keys, SERVER_TTL};
use crate::adapters::gateway::{Gateway, Limits};
use crate::adapters::http::{self, App, Pages, Requests, Tls};
use crate::adapters::{clock, store::RedbStore};
use crate::config::Config;
use crate::core::model::AUTHORITY;
use crate::ports::{Bus, Directory};
use crate::service::{Service, Settings};
use crate::store::Store;

/// Port of the API unless told otherwise.
const API_PORT: u16 = 8443;

/// Port of the gateway unless told otherwise.
const MQTT_PORT: u16 = 8883;

/// The one tenant.
const TENANT: &str = "default";

/// How `holdfast serve` is told what to do.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of everything that is kept [default: /var/lib/holdfast, or
    /// ~/.local/share/holdfast when not root].
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the HTTPS API; port 0 takes a free one [default: every address, port 8443].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_API")]
    pub api: Option<SocketAddr>,
    /// Address of the device gateway (MQTT over TLS); port 0 takes a free one [default: every
    /// address, port 8883].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_MQTT")]
    pub mqtt: Option<SocketAddr>,
    /// What is logged to standard error: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", env = "HOLDFAST_LOG", default_value = "info")]
    pub log: tracing::Level,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, with what to do about it.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    log_to_stderr(args.log);
    let config = read_config(args.config.as_deref())?;
    let data = data_folder(args.data)?;
    let _lock = lock(&data)?;
    let api = listen(args.api, API_PORT, "--api").await?;
    let mqtt = listen(args.mqtt, MQTT_PORT, "--mqtt").await?;
    let (stop, stopping) = watch::channel(false);

    let store: Arc<dyn Store> = Arc::new(open_store(&data)?);
    let authority = Arc::new(authority(&*store, &config)?);
    let identity = || authority.server_identity(clock::now());
    let gateway = Gateway::new(authority.ca_der(), identity()?, Limits::default())?;
    let tls = Tls::new(authority.ca_der(), identity()?)?;
    let artifacts = Artifacts::open(&data.join("artifacts"), config.max_artifact)
        .context("cannot use the folder of artifacts")?;
    let bus: Arc<dyn Bus> = Arc::new(gateway.clone());
    let settings = settings(&config, api.local_addr()?, mqtt.local_addr()?)?;
    let (service, writing) = Service::start(store, bus, Arc::clone(&authority), settings)?;
    let admin = service.first_start().await?;
    let app = App {
        service: Arc::clone(&service),
        gateway: gateway.clone(),
        artifacts: Arc::new(artifacts),
        requests: Arc::new(Requests::default()),
        description: Arc::new(http::openapi()),
        pages: Arc::new(Pages::embedded()),
        stop: stopping.clone(),
    };

    let api_address = api.local_addr()?;
    let serving = tokio::spawn(http::serve(api, tls.clone(), http::router(app), stopping));
    let directory: Arc<dyn Directory> = Arc::clone(&service) as Arc<dyn Directory>;
    let mqtt_address = gateway.listen(mqtt, directory)?;
    greet(api_address, mqtt_address, &authority.ca_sha256(), admin.as_deref())?;
    let renewing = tokio::spawn(renew_identity(authority, gateway.clone(), tls));

    let signal = stop_signal().await?;
    tracing::info!(signal, "stopping");
    renewing.abort();
    stop.send_replace(true);
    gateway.shutdown().await;
    serving.await?;
    service.close().await;
    drop(service);
    if tokio::task::spawn_blocking(move || writing.join()).await?.is_err() {
        bail!("the thread that writes to the store ended badly");
    }
    tracing::info!("stopped");
    Ok(())
}

fn log_to_stderr(level: tracing::Level) {
    use std::io::IsTerminal as _;
    let made = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if let Err(error) = made {
        tracing::debug!(%error, "somebody logs already");
    }
}

fn read_config(path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    Config::parse(&text).map_err(|faults| {
        anyhow::anyhow!("{} has faults:\n  {}", path.display(), faults.join("\n  "))
    })
}

fn data_folder(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/holdfast"),
        None => {
            let home = std::env::var("XDG_DATA_HOME").map(PathBuf::from).or_else(|_| {
                std::env::var("HOME").map(|home| PathBuf::from(home).join(".local/share"))
            });
            home.context("neither HOME nor XDG_DATA_HOME is set: say --data DIR")?.join("holdfast")
        }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    Ok(folder)
}

/// One process a data folder. The lock ends with the process, however it ends.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write to the data folder {}", data.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another `holdfast serve` uses the data folder {}: stop it, or say another --data",
            data.display()
        ),
        Err(error) => Err(error).context("cannot lock the data folder"),
    }
}

fn open_store(data: &Path) -> anyhow::Result<RedbStore> {
    let path = data.join("store.redb");
    // It holds keys: made for its owner alone before anything is in it.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write to {}", path.display()))?;
    RedbStore::open(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// The authority of the store, or a new one: [`Service::first_start`] stores it.
fn authority(store: &dyn Store, config: &Config) -> anyhow::Result<Authority> {
    let kept = store.read(AUTHORITY, 1)?;
    let keys = match kept.iter().find(|(key, _)| key == AUTHORITY) {
        Some((_, keys)) => serde_json::from_slice(keys)?,
        None => Keys::generate(clock::now())?,
    };
    Ok(Authority::new(keys, &config.trust_domain)?)
}

fn settings(config: &Config, api: SocketAddr, mqtt: SocketAddr) -> anyhow::Result<Settings> {
    let addresses = match config.mqtt_addresses.as_slice() {
        [] => vec![format!(":{}", mqtt.port())],
        given => given.to_vec(),
    };
    Ok(Settings {
        tenant: TENANT.parse()?,
        device_ttl: config.device_ttl,
        mqtt: addresses,
        api: Some(api.to_string()),
        clock: clock::now,
    })
}

async fn listen(given: Option<SocketAddr>, port: u16, option: &str) -> anyhow::Result<TcpListener> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let address = given.unwrap_or(everywhere);
    let bound = match TcpListener::bind(address).await {
        Err(error) if given.is_none() && error.kind() != std::io::ErrorKind::AddrInUse => {
            // A machine without IPv6.
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        other => other,
    };
    bound.with_context(|| {
        format!("cannot listen on {address}: say another address with {option} (port 0 takes a free one)")
    })
}

/// What scripts read, on standard output and nowhere else.
fn greet(
    api: SocketAddr,
    mqtt: SocketAddr,
    ca: &[u8; 32],
    admin: Option<&str>,
) -> anyhow::Result<()> {
    let mut text = format!(
        "api: https://{api}\nmqtt: mqtts://{mqtt}\nca-sha256: {}\n",
        holdfast_protocol::ids::hex(ca)
    );
    if let Some(token) = admin {
        text.push_str(&format!("admin-token: {token}\n"));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Shows a fresh certificate at two thirds of the present one's life, for ever.
async fn renew_identity(authority: Arc<Authority>, gateway: Gateway, tls: Tls) {
    let mut wait = SERVER_TTL / 3 * 2;
    loop {
        tokio::time::sleep(wait).await;
        let fresh = || authority.server_identity(clock::now());
        let replaced = (|| {
            gateway.replace_identity(fresh()?)?;
            tls.replace(authority.ca_der(), fresh()?)?;
            anyhow::Ok(())
        })();
        wait = match replaced {
            Ok(()) => SERVER_TTL / 3 * 2,
            Err(error) => {
                tracing::error!(%error, "the server's certificate cannot be replaced");
                Duration::from_secs(3_600)
            }
        };
    }
}

async fn stop_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
