//! Containers of real engines, and of one that plays the dialects of others: a real agent without a
//! link, an engine of the test's own, and images of the project's own static program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test fails loudly where it stands, and deals in processes, files and clocks by trade"
)]

mod dialects;
mod features;
mod fleet;
mod group;
mod images;
mod life;
mod trouble;

use std::collections::BTreeMap;

use fleet_tests::harness::engine::{Family, RealEngine};
use fleet_tests::harness::image::TestImage;
use fleet_tests::harness::{Loner, Scratch};
use holdfast_protocol::container::{Container, Devices, Network};
use holdfast_protocol::workload::{Resources, Restart, RestartPolicy, Run, Stop, WorkloadSpec};

/// Device with an engine, and an image at it.
struct Scene {
    device: Loner,
    engine: RealEngine,
    image: TestImage,
    scratch: Scratch,
}

impl Scene {
    /// None: this machine is to have no engine.
    fn new(family: Family) -> Option<Self> {
        let scratch = Scratch::new();
        let engine = RealEngine::start(family, &scratch)?;
        let image = TestImage::new("test/program:1", "", &[]);
        engine.load(&image);
        let config = format!(
            "[containers]\nsocket = '{}'\nhost_paths = ['{}']\n",
            engine.socket.display(),
            scratch.path().display()
        );
        let device = Loner::new(&scratch, &config);
        Some(Self { device, engine, image, scratch })
    }

    /// A container that carries out these words.
    fn container(&self, words: &str) -> Container {
        container(&self.image, words)
    }
}

/// A container of an image that carries out these words.
fn container(image: &TestImage, words: &str) -> Container {
    Container {
        image: image.image.clone(),
        command: vec![],
        args: words.split(' ').map(str::to_owned).collect(),
        env: BTreeMap::new(),
        workdir: None,
        user: None,
        ports: vec![],
        mounts: vec![],
        devices: Devices::default(),
        network: Network::Host,
        writable_root: false,
        capabilities: vec![],
        seccomp_off: false,
        time_zone: None,
        dns: vec![],
        hosts: BTreeMap::new(),
        init: false,
    }
}

/// Workload of one container, restarted soon.
fn spec(container: Container) -> WorkloadSpec {
    spec_of(Run::Container(Box::new(container)))
}

fn spec_of(run: Run) -> WorkloadSpec {
    WorkloadSpec {
        run,
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart {
            policy: RestartPolicy::Always,
            backoff_initial_ms: 100,
            backoff_max_ms: 500,
        },
        health: None,
        stop: Stop { signal: 15, grace_ms: 3_000 },
        bus: Default::default(),
        windows: Default::default(),
    }
}
