//! `holdfast serve`: binds the sockets, starts the parts, prints their addresses, and stops them in
//! order.
//!
//! See decisions 0025, 0026 and 0096.
#![allow(
    clippy::disallowed_methods,
    reason = "the outermost layer: files, environment and tasks come together here"
)]

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_age::With;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::adapters::artifacts::Artifacts;
use crate::adapters::authority::{self, LocalAuthority, SERVER_TTL};
use crate::adapters::gateway::{Gateway, Limits};
use crate::adapters::http::{self, App, Opening, Pages, Reading, Requests, Tls};
use crate::adapters::keyring::{LocalKeyring, Place};
use crate::adapters::oidc::IdentityProviders;
use crate::adapters::passwords::Argon2id;
use crate::adapters::{clock, data_store::RedbDataStore, notify::Receivers, store::RedbStore};
use crate::config::Config;
use crate::folder::{Folder, Kept, Whole};
use crate::ports::artifacts::ArtifactSizes;
use crate::ports::authority::{Authority as _, Keys};
use crate::service::{
    Checked, Ports, Service, Settings, StartError, Threads, run_alarms, run_sinks,
};
use holdfast_cli::{ResetArgs, ServeArgs};

/// Default port of the API.
const API_PORT: u16 = 8443;

/// Default port of the device gateway.
const MQTT_PORT: u16 = 8883;

/// Interval at which the present time is stored, and so the most by which "offline since" is wrong
/// after a crash. Each costs one small transaction.
const LIVE: Duration = Duration::from_secs(60);

/// Name of the only tenant.
const TENANT: &str = "default";

/// Returns the pages to serve at `/`.
fn pages(folder: Option<&Path>) -> anyhow::Result<Pages> {
    let Some(folder) = folder else { return Ok(Pages::embedded()) };
    Pages::of_folder(folder)
        .with_context(|| format!("the pages in --pages {} cannot be served", folder.display()))
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The reason why it cannot start, with what to do about it.
#[allow(
    clippy::too_many_lines,
    reason = "the parts are made in the order in which they stand on each other"
)]
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    log_to_stderr(args.log);
    raise_file_limit();
    let new_admin_token = args.new_admin_token;
    let opening = opening(args.identity.as_deref(), args.passphrase_file.as_deref())?;
    let begin = Begin::of(args.restore, opening, args.begin_anew);
    let pages = pages(args.pages.as_deref())?;
    let config = read_config(args.config.as_deref())?;
    let folder = Folder::open(data_folder(args.data)?)?;
    let api = listen(args.api.as_deref(), API_PORT, "--api").await?;
    let mqtt = listen(args.mqtt.as_deref(), MQTT_PORT, "--mqtt").await?;
    let (stop, stopping) = watch::channel(false);

    let place = master_key(args.master_key, &folder);
    let (opened, artifacts) = open_store(&folder, &begin, place, config.max_artifact)?;
    let authority = Arc::new(LocalAuthority::new(opened.keys, &config.trust_domain)?);
    let identity = || authority.server_identity(clock::now());
    let gateway = Gateway::new(authority.ca_der(), identity()?, Limits::default())?;
    let tls = Tls::new(authority.ca_der(), identity()?)?;
    let settings = settings(&config, api.local_addr()?, mqtt.local_addr()?, args.reserve)?;
    let artifacts = Arc::new(artifacts);
    let ports = Ports {
        store: Arc::new(opened.store),
        data: Arc::new(RedbDataStore::new(&folder.data())),
        bus: Arc::new(gateway.clone()),
        authority: Arc::clone(&authority) as _,
        keyring: Arc::new(opened.keyring),
        passwords: Arc::new(Argon2id::new()?),
        artifacts: Arc::clone(&artifacts) as Arc<dyn ArtifactSizes>,
        notifier: Arc::new(Receivers),
        providers: Arc::new(IdentityProviders),
        sender: Arc::new(Receivers),
    };
    let (service, writing) =
        Service::start(ports, settings).map_err(|error| explain(error, &folder))?;
    if let Some(backup) = opened.backup {
        restore(&service, backup, &folder).await?;
    }
    service.workloads.adopt_artifacts().await?;
    if let Err(error) = service.tenancy.sweep().await {
        tracing::warn!(%error, "rows of a deleted tenant stay in the store until the next start");
    }
    let admin = match new_admin_token {
        true => Some(service.access.new_admin_token().await?),
        false => service.access.first_start().await?,
    };
    let app = App {
        service: Arc::clone(&service),
        gateway: gateway.clone(),
        artifacts: Arc::clone(&artifacts),
        requests: Arc::new(Requests::default()),
        description: Arc::new(http::openapi()),
        pages: Arc::new(pages),
        stop: stopping.clone(),
    };

    let api_address = api.local_addr()?;
    let serving = tokio::spawn(http::serve(api, tls.clone(), http::router(app), stopping));
    let mqtt_address = gateway.listen(mqtt, service.bus_ports())?;
    let mut signals = Signals::new()?;
    greet(api_address, mqtt_address, &authority.ca_sha256(), admin.as_deref())?;
    if admin.is_some() {
        service.access.admin_token_was_shown().await?;
    }
    let making = tokio::spawn(async move { artifacts.deltas.run().await });
    let renewing = tokio::spawn(renew_identity(authority, gateway.clone(), tls));
    let living = tokio::spawn(live(Arc::clone(&service)));
    let telling = tokio::spawn(run_alarms(Arc::clone(&service.alarms), stop.subscribe()));
    let forwarding = tokio::spawn(run_sinks(Arc::clone(service.audit()), stop.subscribe()));

    let writer_ended = ended(&mut signals, &service).await;
    renewing.abort();
    making.abort();
    living.abort();
    // Deliveries under way are repeated after the next start, with the same id.
    telling.abort();
    forwarding.abort();
    stop.send_replace(true);
    gateway.shutdown().await;
    serving.await?;
    service.close();
    drop(service);
    stopped(writing, writer_ended).await
}

/// Makes a local user an admin with a new password, in the data folder of a control plane that is
/// stopped. Returns the password.
///
/// # Errors
/// The reason why it cannot be done, with what to do about it.
pub async fn reset(args: ResetArgs) -> anyhow::Result<String> {
    let name = args.user.parse().with_context(|| format!("--user {}", args.user))?;
    let path = data_folder(args.data)?;
    if !path.join("store.redb").is_file() {
        bail!("{} holds no control plane: is --data right?", path.display());
    }
    let folder = Folder::open(path)?;
    let place = master_key(args.master_key, &folder);
    let config = Config::default();
    let (opened, artifacts) = open_store(&folder, &Begin::Usual, place, config.max_artifact)?;
    let authority = Arc::new(LocalAuthority::new(opened.keys, &config.trust_domain)?);
    let identity = authority.server_identity(clock::now())?;
    let gateway = Gateway::new(authority.ca_der(), identity, Limits::default())?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let ports = Ports {
        store: Arc::new(opened.store),
        data: Arc::new(RedbDataStore::new(&folder.data())),
        bus: Arc::new(gateway),
        authority: authority as _,
        keyring: Arc::new(opened.keyring),
        passwords: Arc::new(Argon2id::new()?),
        artifacts: Arc::new(artifacts) as Arc<dyn ArtifactSizes>,
        notifier: Arc::new(Receivers),
        providers: Arc::new(IdentityProviders),
        sender: Arc::new(Receivers),
    };
    let settings = settings(&config, nowhere, nowhere, None)?;
    let (service, writing) =
        Service::start(ports, settings).map_err(|error| explain(error, &folder))?;
    let host = service.access.host();
    let made = service.people.reset_admin(&host, &name).await;
    let made = match made {
        Ok(password) => service.workloads.make_admin(&host, &name).await.map(|()| password),
        failed => failed,
    };
    service.close();
    drop(service);
    stopped(writing, false).await?;
    made.map_err(Into::into)
}

/// Waits for a signal, or until nothing can be stored any more: then it returns true.
async fn ended(signals: &mut Signals, service: &Service) -> bool {
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            false
        }
        () = service.documents.closed() => true,
    }
}

/// Waits for the threads that write, and returns how the run ended.
async fn stopped(writing: Threads, writer_ended: bool) -> anyhow::Result<()> {
    if tokio::task::spawn_blocking(move || writing.join()).await?.is_err() {
        bail!("a thread that writes to a store ended badly");
    }
    if writer_ended {
        bail!("nothing can be stored any more: start again");
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
        // A log that cannot be written (a full disk, a closed pipe) must end nothing: the library
        // would report it on the same standard error, and panic.
        .log_internal_errors(false)
        .try_init();
    if let Err(error) = made {
        tracing::debug!(%error, "somebody logs already");
    }
}

/// Raises the limit of open files to its maximum: each device and each request holds a file
/// descriptor, and a shell often gives 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
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
    Ok(folder)
}

/// Returns where the master key lies: in the file that was given, else among the credentials from
/// systemd, else in the data folder.
fn master_key(given: Option<PathBuf>, folder: &Folder) -> Place {
    Place::find(given, std::env::var_os("CREDENTIALS_DIRECTORY"), folder.master())
}

/// Returns what opens the backup to begin from.
fn opening(identity: Option<&Path>, passphrase: Option<&Path>) -> anyhow::Result<Opening> {
    let text = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    if let Some(path) = identity {
        let all = holdfast_age::identities(&text(path)?);
        let all = all.with_context(|| format!("cannot use {}", path.display()))?;
        return Ok(Opening::With(With::Identities(all)));
    }
    let Some(path) = passphrase else { return Ok(Opening::Nothing) };
    let text = text(path)?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    Ok(Opening::With(With::Passphrase(line)))
}

/// Kind of start that was asked for.
enum Begin {
    Usual,
    /// Begin as a new control plane where the store was lost.
    Anew,
    /// Begin from this backup, where the store was lost or is not there yet.
    Restored(PathBuf, Opening),
}

impl Begin {
    fn of(restore: Option<PathBuf>, opening: Opening, anew: bool) -> Self {
        match restore {
            Some(file) => Self::Restored(file, opening),
            None if anew => Self::Anew,
            None => Self::Usual,
        }
    }
}

/// The store to serve from.
struct Opened {
    store: RedbStore,
    keys: Keys,
    keyring: LocalKeyring,
    /// Backup to fill the store with. The store is empty until then.
    backup: Option<Checked>,
}

/// Opens the store, or creates one where that is right: in a new folder, or where the store was
/// lost and an option says what to do.
fn open_store(
    folder: &Folder,
    begin: &Begin,
    place: Place,
    max_artifact: u64,
) -> anyhow::Result<(Opened, Artifacts)> {
    let artifacts = Artifacts::open(&folder.artifacts(), max_artifact)
        .context("cannot use the folder of artifacts")?;
    let kept = folder.kept(place.clone(), clock::now())?;
    if let Kept::Whole(whole) = kept {
        // Damage inside the store shows only when all of it is read.
        let why = match begin {
            Begin::Usual => None,
            Begin::Anew | Begin::Restored(..) => {
                Service::check(&whole.store, &TENANT.parse()?).err()
            }
        };
        let Some(why) = why else {
            if !matches!(begin, Begin::Usual) {
                bail!(
                    "the store of this data folder is whole: --begin-anew and --restore are for one that was lost. Start without them; a control plane that runs takes a backup with `holdfast restore FILE`"
                );
            }
            let Whole { store, keys, keyring } = *whole;
            return Ok((Opened { store, keys, keyring, backup: None }, artifacts));
        };
        drop(whole);
        return replace_store(folder, begin, place, Some(why.to_string()), artifacts);
    }
    let lost = match kept {
        Kept::Lost(why) => Some(why),
        _ => None,
    };
    replace_store(folder, begin, place, lost, artifacts)
}

/// Creates the first store, or one in place of a lost one.
fn replace_store(
    folder: &Folder,
    begin: &Begin,
    place: Place,
    lost: Option<String>,
    artifacts: Artifacts,
) -> anyhow::Result<(Opened, Artifacts)> {
    let aside = |everything| -> anyhow::Result<()> {
        let aside = folder.set_aside(clock::now(), everything)?;
        tracing::warn!(aside = %aside.display(), "the old files are set aside");
        Ok(())
    };
    if let Begin::Restored(file, opening) = begin {
        let tenant = TENANT.parse()?;
        let keyring = LocalKeyring::begin(place, clock::now())?;
        // The old files are not touched before the backup is known to be good.
        let one = std::sync::Mutex::new(());
        let with = Reading { artifacts: &artifacts, tenant: &tenant, keyring: &keyring, one: &one };
        let backup = http::read_backup(file, opening, &with)
            .with_context(|| format!("cannot restore {}", file.display()))?;
        if lost.is_some() {
            aside(false)?;
        }
        folder.restoring()?;
        let keys = backup.keys().clone();
        let store = folder.begin(&keys, &keyring)?;
        return Ok((Opened { store, keys, keyring, backup: Some(backup) }, artifacts));
    }
    let artifacts = match lost {
        Some(why) if !matches!(begin, Begin::Anew) => bail!("{}", folder.advice(&why)),
        Some(_) => {
            let max = artifacts.max;
            aside(true)?;
            Artifacts::open(&folder.artifacts(), max)
                .context("cannot use the folder of artifacts")?
        }
        None => artifacts,
    };
    let keys = authority::generate(clock::now())?;
    let keyring = LocalKeyring::begin(place, clock::now())?;
    let store = folder.begin(&keys, &keyring)?;
    Ok((Opened { store, keys, keyring, backup: None }, artifacts))
}

/// Fills a store that was created for a backup.
async fn restore(service: &Service, backup: Checked, folder: &Folder) -> anyhow::Result<()> {
    let restored = service.archive.restore(&service.access.host(), backup).await?;
    service.workloads.adopt_artifacts().await?;
    folder.restored()?;
    tracing::warn!(
        devices = restored.devices,
        workloads = restored.workloads,
        "restored: the access tokens of the backup count from now on (--new-admin-token makes one)"
    );
    Ok(())
}

/// Returns why the service could not start, with advice when the store is damaged.
fn explain(error: StartError, folder: &Folder) -> anyhow::Error {
    let damaged = matches!(error, StartError::Record(_) | StartError::Read(_));
    let error = anyhow::Error::from(error);
    if damaged { anyhow::anyhow!("{}", folder.advice(&format!("{error:#}"))) } else { error }
}

fn settings(
    config: &Config,
    api: SocketAddr,
    mqtt: SocketAddr,
    reserve: Option<u64>,
) -> anyhow::Result<Settings> {
    let addresses = match config.mqtt_addresses.as_slice() {
        [] => vec![format!(":{}", mqtt.port())],
        given => given.to_vec(),
    };
    Ok(Settings {
        tenant: TENANT.parse()?,
        device_ttl: config.device_ttl,
        addresses: reachable(&addresses, api),
        mqtt: addresses,
        api: Some(api.to_string()),
        reserve,
        clock: clock::now,
        uptime: clock::uptime,
    })
}

/// Returns addresses of the API that other machines may reach: by the hosts that devices are told
/// for MQTT, and by the address that the API listens on or, where that is every address, the
/// addresses of this machine.
fn reachable(mqtt: &[String], api: SocketAddr) -> Vec<String> {
    let hosts = mqtt.iter().filter_map(|address| address.rsplit_once(':').map(|(host, _)| host));
    let mut all: Vec<String> = hosts
        .filter(|host| !host.is_empty())
        .map(|host| format!("https://{host}:{}", api.port()))
        .collect();
    let listens = if api.ip().is_unspecified() { own_addresses() } else { vec![api.ip()] };
    for ip in listens.into_iter().filter(|ip| !ip.is_loopback()) {
        all.push(format!("https://{}", SocketAddr::new(ip, api.port())));
    }
    all.dedup();
    all
}

/// Returns the addresses from which this machine sends to others. A UDP socket connected to an
/// address reserved for documentation tells them without sending anything.
fn own_addresses() -> Vec<IpAddr> {
    let far = [
        (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))),
        (
            IpAddr::from(Ipv6Addr::UNSPECIFIED),
            IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ),
    ];
    let own = |(any, other)| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(other, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    far.into_iter().filter_map(own).collect()
}

/// Listens on the given address (the first of a name's addresses that can be bound), or on every
/// address.
async fn listen(given: Option<&str>, port: u16, option: &str) -> anyhow::Result<TcpListener> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).to_string();
    let address = given.unwrap_or(&everywhere);
    let bound = match TcpListener::bind(address).await {
        Err(error) if given.is_none() && error.kind() != std::io::ErrorKind::AddrInUse => {
            // A machine without IPv6 cannot bind `[::]`.
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        other => other,
    };
    bound.with_context(|| {
        format!("cannot listen on {address}: say another address with {option} (port 0 takes a free one)")
    })
}

/// Prints the addresses, the CA's digest and, if there is one, the admin token. Scripts read them;
/// nothing else goes to standard output.
fn greet(
    api: SocketAddr,
    mqtt: SocketAddr,
    ca: &[u8; 32],
    admin: Option<&str>,
) -> anyhow::Result<()> {
    let mut text = format!(
        "api: https://{api}\nmqtt: mqtts://{mqtt}\nca-sha256: {}\n",
        holdfast_base::ids::hex(ca)
    );
    if let Some(token) = admin {
        text.push_str(&format!("admin-token: {token}\n"));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Stores the present time every minute, and reports due events every second.
async fn live(service: Arc<Service>) {
    let mut turns = tokio::time::interval(LIVE);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for timer in [&mut turns, &mut seconds] {
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = turns.tick() => {
                service.fleet.live();
                let counting = Arc::clone(&service);
                drop(tokio::task::spawn_blocking(move || counting.fleet.count_trend()));
            }
            _ = seconds.tick() => {
                service.documents.tell_due();
                service.directory.tell_withheld();
                service.audit().tick();
            }
        }
    }
}

/// Replaces the server's certificate at two thirds of its life, for ever.
async fn renew_identity(authority: Arc<LocalAuthority>, gateway: Gateway, tls: Tls) {
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

/// Signals that ask the process to stop. They are caught before the addresses are printed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_resolved_and_what_cannot_be_had_says_what_to_do() {
        let listener = listen(Some("localhost:0"), 0, "--api").await.unwrap();
        let taken = listener.local_addr().unwrap();
        assert!(taken.ip().is_loopback(), "{taken}");
        for bad in [taken.to_string(), "no-such-name.invalid:8443".to_owned()] {
            let said = format!("{:#}", listen(Some(&bad), 0, "--api").await.unwrap_err());
            let wanted = format!("cannot listen on {bad}: say another address with --api");
            assert!(said.starts_with(&wanted), "{said}");
        }
    }
}
