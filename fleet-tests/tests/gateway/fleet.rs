//! Simulated fleet against the real gateway: each device accepts its desired states and answers
//! with amending reports; it refuses forged ones; after a cut it connects again.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_tests::sim::{Fleet, Identity};
use holdfast_base::codec;
use holdfast_control::ports::bus::Bus as _;
use holdfast_protocol::enrol::Enrolment;
use holdfast_protocol::message::{DesiredState, DesiredWorkload, StateReport};
use holdfast_protocol::signing::Signer;
use holdfast_protocol::topic::{Channel, prefix};
use holdfast_protocol::workload::{
    Executable, Process, Resources, Restart, Run, Stop, WorkloadSpec,
};
use rcgen::KeyPair;

use crate::world::{SHARD, Seen, World, id, value};

const DEVICES: usize = 100;

fn name(number: usize) -> String {
    format!("acme_sim-{number}")
}

fn signer(seed: u8) -> Signer {
    let mut document = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    document.extend([seed; 32]);
    Signer::from_pkcs8(&document).unwrap()
}

fn identity(world: &World, name: &str) -> Identity {
    let credentials = world.pki.device(name);
    let device = id(name);
    let enrolment = Enrolment {
        shard: SHARD,
        topic_prefix: prefix(SHARD, &device),
        tenant: device.tenant,
        device: device.device,
        certificate: credentials.cert_pem,
        not_before: 0,
        not_after: 0,
        ca: world.pki.ca_pem.clone(),
        signing_key: STANDARD.encode(signer(1).public_key()),
        mqtt: vec![world.address.to_string()],
        server_time: 0,
        held_labels: Vec::new(),
        sealing_key: None,
    };
    Identity::of(KeyPair::from_pem(&credentials.key_pem).unwrap(), enrolment)
}

fn desired(name: &str, generation: u64, workloads: &[(&str, u64)]) -> DesiredState {
    let spec = WorkloadSpec {
        run: Run::Process(Process {
            executable: Executable::Path("/bin/true".into()),
            args: Vec::new(),
            env: BTreeMap::new(),
            user: None,
            workdir: None,
        }),
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart::default(),
        health: None,
        stop: Stop::default(),
        bus: Default::default(),
        windows: Default::default(),
    };
    let workloads = workloads.iter().map(|&(name, revision)| {
        (
            name.parse().unwrap(),
            DesiredWorkload { revision, paused: false, spec: spec.clone(), sealed: None },
        )
    });
    DesiredState {
        v: 1,
        device: id(name),
        epoch: 1,
        generation,
        workloads: workloads.collect(),
        data: None,
        audit: None,
    }
}

/// Returns the last report of every device, once all have reported this generation.
async fn all_at(world: &World, generation: u64) -> BTreeMap<String, StateReport> {
    world
        .directory
        .wait(&format!("generation {generation} of all"), |seen| {
            let mut last = BTreeMap::new();
            for seen in seen {
                if let Seen::Received(who, Channel::State, payload) = seen {
                    let report: StateReport = codec::decode(payload).unwrap();
                    last.insert(who.clone(), report);
                }
            }
            let there = last.values().filter(|report| report.generation == generation).count();
            (there == DEVICES).then_some(last)
        })
        .await
}

fn apply(world: &World, signer: &Signer, generation: u64, workloads: &[(&str, u64)]) {
    for number in 0..DEVICES {
        let name = name(number);
        let signed = signer.sign(&desired(&name, generation, workloads)).unwrap();
        world.directory.set_desired(&name, signed);
        world.gateway.desired_changed(&id(&name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_fleet_does_as_agents_do() {
    let world = World::new().await;
    let identities = (0..DEVICES).map(|number| identity(&world, &name(number))).collect();
    let fleet = Fleet::start(identities, world.address, 300);
    for report in all_at(&world, 0).await.into_values() {
        assert!(report.full && report.workloads.is_empty());
    }
    apply(&world, &signer(1), 1, &[("one", 1), ("two", 1)]);
    for report in all_at(&world, 1).await.into_values() {
        assert_eq!((report.full, report.workloads.len()), (false, 2));
    }
    apply(&world, &signer(1), 2, &[("one", 2)]);
    for report in all_at(&world, 2).await.into_values() {
        let revisions: Vec<_> = report
            .workloads
            .iter()
            .map(|(name, it)| (name.as_str(), it.as_ref().map(|it| it.revision)))
            .collect();
        assert_eq!(revisions, [("one", Some(2)), ("two", None)], "only what changed");
    }
    let reported = &fleet.stats().reported;
    world.until("all acknowledged", |_| value(reported) == 3 * DEVICES as u64).await;

    apply(&world, &signer(2), 3, &[]);
    world
        .until("the forged are refused", |_| value(&fleet.stats().refused) == DEVICES as u64)
        .await;
    apply(&world, &signer(1), 2, &[("one", 2)]);
    for number in 0..DEVICES {
        world.gateway.disconnect(&id(&name(number)));
    }
    let connections = &world.gateway.counters().connected;
    world.until("all are back", |_| value(connections) == 2 * DEVICES as u64).await;
    world.until("all say so", |_| value(&fleet.stats().connected) == DEVICES as u64).await;
    fleet.stop().await;
    let open = &world.gateway.counters().connections;
    world.until("all are gone", |_| value(open) == 0).await;
}
