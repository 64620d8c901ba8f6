//! Store full of devices that were never enrolled, to try out a large fleet without having one:
//! `holdfast serve` reads it as its own. None of the devices has a key, so none can connect.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use holdfast_base::ids::{Labels, Name};
use holdfast_control::adapters::authority;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::core::admission::admit;
use holdfast_control::core::model::{AUTHORITY, key};
use holdfast_control::core::records::{
    DesiredRecord, DeviceRecord, Issued, ReportRecord, RevisionRecord, Standing, WorkloadRecord,
};
use holdfast_control::core::timeline::{Counts, Recent, What};
use holdfast_control::ports::store::{Batch, Store as _};
use holdfast_protocol::message::{AgentInfo, Detail, Phase, Problem, WorkloadReport};
use serde::Serialize;
use serde_json::{Value, json};

const DAY: u64 = 86_400;

/// Number of rows in one transaction.
const AT_ONCE: usize = 10_000;

const CITIES: [&str; 12] = [
    "berlin", "hamburg", "munich", "porto", "lyon", "gdansk", "turin", "oslo", "ghent", "graz",
    "brno", "malmo",
];

const ROLES: [&str; 4] = ["gateway", "camera", "pump", "meter"];

/// Workload, role of its devices, and its failures: number of devices in a hundred on which it
/// fails.
const WORKLOADS: [(&str, &str, u64); 4] = [
    ("edge-proxy", "gateway", 1),
    ("frame-grabber", "camera", 3),
    ("pump-control", "pump", 0),
    ("meter-reader", "meter", 0),
];

const PROBLEMS: [(&str, &str); 3] = [
    ("disk-full", "less than 1 % of the disk is free: make room, or workloads will fail"),
    ("clock-behind", "the clock is 3 h behind what is known to have been reached"),
    ("artifact-refused", "an artifact does not have its digest: it is fetched again"),
];

/// Writes `devices` devices into `DATA/store.redb`, which must not exist yet. `now` is in seconds
/// since 1970.
///
/// # Errors
/// Returns errors of the disk, and one if the store exists.
pub fn seed(data: &Path, devices: u64, now: u64) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let path = data.join("store.redb");
    if path.exists() {
        bail!("{} is there already: seed an empty folder", path.display());
    }
    let store = RedbStore::open(&path)?;
    let mut writing = Writing { store, tenant: "default".parse()?, batch: Batch::default() };
    // A store without an authority counts as damaged.
    writing.batch.put(AUTHORITY.into(), serde_json::to_vec(&authority::generate(now)?)?);
    for (name, role, _) in WORKLOADS {
        workload(&mut writing, name, role, now)?;
    }
    for number in 0..devices {
        device(&mut writing, number, now)?;
    }
    writing.commit()
}

struct Writing {
    store: RedbStore,
    tenant: Name,
    batch: Batch,
}

impl Writing {
    fn put(&mut self, key: String, value: &impl Serialize) -> anyhow::Result<()> {
        let key = key::of(&self.tenant, &key);
        self.batch.put(key, serde_json::to_vec(value)?);
        if self.batch.writes.len() >= AT_ONCE { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.store.commit(&[std::mem::take(&mut self.batch)])?;
        Ok(())
    }
}

fn workload(writing: &mut Writing, name: &str, role: &str, now: u64) -> anyhow::Result<()> {
    let document: Value = json!({
        "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": name },
        "spec": {
            "devices": { "matchLabels": { "role": role } },
            "run": { "process": { "path": "/bin/sleep", "args": ["1000000"] } },
        },
    });
    let mut admitted =
        admit(&[document], &|_| None).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let admitted = admitted.pop().context("one document was admitted")?;
    let spec = admitted.workload().context("a workload was admitted")?.clone();
    let record = WorkloadRecord {
        name: admitted.name,
        labels: admitted.labels,
        devices: admitted.devices,
        spec,
        references: Default::default(),
        written: admitted.written,
        revision: 1,
        created_at: now - 30 * DAY,
        updated_at: now - 30 * DAY,
        version: 1,
        paused: Default::default(),
    };
    let revision = RevisionRecord {
        workload: record.name.clone(),
        revision: 1,
        created_at: record.created_at,
        created_by: "admin".into(),
        created_by_name: None,
        version: 1,
        labels: Labels::new(),
        written: record.written.clone(),
    };
    writing.put(key::revision(&record.name, 1), &revision)?;
    writing.put(key::workload(&record.name), &record)
}

/// Hashes a number: the same number gives the same device, and neighbours have nothing in common.
fn mix(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

fn pick<T: Copy>(of: &[T], number: u64) -> Option<T> {
    of.get(usize::try_from(number % of.len().max(1) as u64).ok()?).copied()
}

fn device(writing: &mut Writing, number: u64, now: u64) -> anyhow::Result<()> {
    let mixed = mix(number);
    let (role, city) = (pick(&ROLES, mixed), pick(&CITIES, mixed / 7));
    let (role, city) = (role.unwrap_or("gateway"), city.unwrap_or("berlin"));
    let site = format!("{city}-{:02}", mixed / 91 % 20);
    let name: Name = format!("{role}-{number:05}").parse()?;
    let standing = match mixed % 1_000 {
        0..3 => Standing::Pending,
        3..6 => Standing::Revoked,
        _ => Standing::Approved,
    };
    let labels: Labels = [("role", role), ("site", &site), ("country", country(city))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let not_after =
        now + 9 * DAY + mixed % (20 * DAY) - if mixed.is_multiple_of(500) { 8 * DAY } else { 0 };
    let record = DeviceRecord {
        name: name.clone(),
        shard: 0,
        public_key: format!("none-{number}").into(),
        labels,
        standing,
        created_at: now - 60 * DAY - mixed % (300 * DAY),
        updated_at: now - mixed % (30 * DAY),
        version: 1 + number,
        token: "seed".into(),
        uncounted: Vec::new(),
        certificate: Some(Issued { serial: "00".into(), not_after }),
        sealing_key: None,
    };
    writing.put(key::device(&name), &record)?;
    if standing == Standing::Pending {
        return Ok(());
    }
    let report = report(writing, &name, role, mixed, now, not_after)?;
    writing.put(key::report(&name), &report)
}

fn country(city: &str) -> &'static str {
    match city {
        "berlin" | "hamburg" | "munich" => "de",
        "porto" => "pt",
        "lyon" => "fr",
        "gdansk" => "pl",
        "turin" => "it",
        "oslo" => "no",
        "ghent" => "be",
        "graz" => "at",
        "brno" => "cz",
        _ => "se",
    }
}

/// Writes a device's desired state, its report, and when it connected and disconnected.
fn report(
    writing: &mut Writing,
    name: &Name,
    role: &str,
    mixed: u64,
    now: u64,
    not_after: u64,
) -> anyhow::Result<ReportRecord> {
    let runs = WORKLOADS.iter().find(|(_, of, _)| *of == role);
    let mut desired = DesiredRecord { generation: 1, ..DesiredRecord::default() };
    let mut report = ReportRecord {
        last_seen: now - mixed % (3 * 3_600),
        address: Some(
            std::net::Ipv4Addr::from_bits(0x0a00_0000 | (mixed as u32 & 0x00ff_ffff)).into(),
        ),
        agent: Some(Box::new(AgentInfo {
            version: "0.1.0".into(),
            arch: if mixed.is_multiple_of(3) { "x86_64" } else { "aarch64" }.into(),
            kernel: "6.12.9".into(),
            certificate_not_after: Some(not_after),
            refused: 0,
            witness: false,
            engine: None,
            neighbours: Vec::new(),
        })),
        ..ReportRecord::default()
    };
    if let Some((workload, _, failing)) = runs {
        let fails = mixed / 13 % 100 < *failing;
        let said = WorkloadReport {
            revision: 1,
            phase: if fails { Phase::Backoff } else { Phase::Running },
            restarts: if fails { 12 } else { 0 },
            run: (!fails).then_some(1_234),
            detail: (!fails).then_some(Detail::Process(1_234)),
            reason: if fails { "it ended with exit code 1".into() } else { String::new() },
            progress: None,
        };
        let workload: Name = workload.parse()?;
        desired.workloads.push((workload.clone(), 1));
        report.workloads.push((workload, said));
    }
    if mixed.is_multiple_of(97)
        && let Some((code, message)) = pick(&PROBLEMS, mixed / 97)
    {
        report.problems.push(Problem { code: code.into(), message: message.into() });
    }
    writing.put(key::desired(name), &desired)?;
    let (mut recent, mut fleet) = (Recent::default(), Counts::default());
    for round in 0..mixed % 4 {
        let at = now - (4 - round) * 8 * 3_600;
        for (at, what) in [
            (at, What::Connected { address: report.address }),
            (at + 3_600, What::ended("the link fell")),
        ] {
            let kept = recent.keep(&mut report.events, &mut fleet, (at, false), what);
            writing.put(key::history(name, kept.ring, kept.place), &kept.record)?;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_control::core::desired::{Documents, project};
    use holdfast_control::core::tenants::{AllLate, Tenants};

    #[test]
    fn a_control_plane_can_read_what_was_seeded() {
        let folder = tempfile::tempdir().unwrap();
        seed(folder.path(), 500, 1_795_000_000).unwrap();
        assert!(seed(folder.path(), 1, 1_795_000_000).is_err(), "nothing is written over");
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let tenant: Name = "default".parse().unwrap();
        let (mut tables, mut late) = (Tenants::new(tenant.clone()), AllLate::default());
        let mut take = |key: &str, value: &[u8]| {
            tables.take(&mut late, key, value).map_err(std::io::Error::other)
        };
        store.snapshot().unwrap().visit(&[key::HISTORIES], &mut take).unwrap();
        tables.settle(late);
        let model = tables.of(&tenant);
        assert_eq!((model.devices.len(), model.workloads.len()), (500, WORKLOADS.len()));
        for device in model.devices.values() {
            if device.record.standing == Standing::Approved {
                let wanted = project(&Documents::of(model), device);
                assert_eq!(
                    device.desired.workloads, wanted.workloads,
                    "it is what an apply would have given"
                );
            }
        }
    }
}
