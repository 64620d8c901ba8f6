//! Groups: containers that start in order, find each other by name, end together, and are adopted
//! only whole.

use fleet_tests::harness::engine::Family;
use fleet_tests::harness::{DEADLINE, eventually};
use holdfast_protocol::container::{After, Container, Group, Member, Network, Until};
use holdfast_protocol::workload::{Health, Probe, Run, WorkloadSpec};

use crate::{Scene, spec_of};

fn member(name: &str, container: Container, after: &[(&str, Until)]) -> Member {
    let after =
        after.iter().map(|(name, until)| After { name: name.parse().unwrap(), until: *until });
    Member { name: name.parse().unwrap(), container, probe: None, after: after.collect() }
}

fn group(containers: Vec<Member>) -> WorkloadSpec {
    spec_of(Run::Group(Box::new(Group { containers })))
}

impl Scene {
    fn bridged(&self, words: &str) -> Container {
        Container { network: Network::Bridge, ..self.container(words) }
    }

    fn names(&self) -> Vec<String> {
        let list = self.engine.containers();
        let running = list.iter().filter(|it| it["State"] == "running");
        let names = running.map(|it| {
            let name = it["Names"][0].as_str().unwrap_or_default();
            name.trim_start_matches('/').split('-').nth(2).unwrap_or_default().to_owned()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn await_names(&self, wanted: &[&str]) {
        eventually(DEADLINE, &format!("{wanted:?} run"), || match self.names() {
            names if names == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn a_group_starts_in_order_finds_itself_by_name_and_ends_together() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let mut db = member("db", scene.bridged("sleep 700 serve 5432 say db-up wait"), &[]);
    db.probe = Some(Probe::Tcp { host: None, port: 5_432 });
    let migrate = member(
        "migrate",
        scene.bridged("reach db:5432 say migrated exit 0"),
        &[("db", Until::Healthy)],
    );
    let mut web = member(
        "web",
        scene.bridged("reach db:5432 serve 80 say web-up wait"),
        &[("migrate", Until::Completed), ("db", Until::Healthy)],
    );
    web.probe = Some(Probe::Exec { command: vec!["/t".into(), "exit".into(), "0".into()] });
    let mut spec = group(vec![db, migrate, web]);
    spec.health = Some(Health {
        probe: Probe::Members,
        start_period_ms: 30_000,
        interval_ms: 300,
        timeout_ms: 5_000,
        failures: 3,
    });
    scene.device.wants("shop", Some(spec));
    scene.device.up();
    let log = scene.device.await_log("shop", "web | web-up");
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    assert!(at("db | db-up") < at("migrate | migrated"), "{log}");
    assert!(at("migrate | migrated") < at("web | web-up"), "{log}");
    assert!(log.contains("migrate | db:5432: reached"), "{log}");
    scene.device.await_phase("shop", "running");
    scene.await_names(&["db", "web"]);
    let before = scene.engine.running();

    // The agent is restarted: the group goes on, and the end of one of it is still noticed.
    scene.device.restart();
    scene.device.await_phase("shop", "running");
    assert_eq!(scene.engine.running(), before);
    let list = scene.engine.containers();
    let db = list.iter().find(|it| it["Names"][0].as_str().unwrap().contains("-db-")).unwrap();
    let id = db["Id"].as_str().unwrap();
    scene.engine.call("POST", &format!("/containers/{id}/kill")).unwrap();
    scene.device.await_log("shop", "holdfast: container db was stopped at the engine");
    scene.device.await_status("it is started again, whole", |status| {
        let it = &status["workloads"]["shop"];
        it["restarts"] == 1 && it["phase"] == "running"
    });
    scene.await_names(&["db", "web"]);
    assert!(scene.engine.running().iter().all(|it| !before.contains(it)));

    scene.device.kill();
    scene.device.wants("shop", None);
    scene.device.up();
    eventually(DEADLINE, "nothing is left of it", || {
        let text = scene.engine.get("/networks").unwrap().to_string();
        match scene.engine.containers().len() {
            0 if !text.contains("hf-group.shop") => Ok(()),
            other => Err(format!("{other} {text}")),
        }
    });
}

#[test]
fn a_group_of_which_one_is_gone_is_made_anew() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let one = member("one", scene.container("say one-up wait"), &[]);
    let two = member("two", scene.container("say two-up wait"), &[("one", Until::Started)]);
    scene.device.wants("pair", Some(group(vec![one, two])));
    scene.device.up();
    scene.await_names(&["one", "two"]);
    let before = scene.engine.running();
    scene.device.kill();
    scene.engine.call("DELETE", &format!("/containers/{}?force=1", before[0])).unwrap();
    scene.device.up();
    eventually(DEADLINE, "both are new", || {
        let running = scene.engine.running();
        let new = running.iter().all(|it| !before.contains(it));
        if running.len() == 2 && new { Ok(()) } else { Err(format!("{running:?}")) }
    });
    scene.device.await_phase("pair", "running");
}

#[test]
fn a_group_that_died_in_the_middle_of_its_start_goes_on_from_there() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let one = member("one", scene.container("say one-up wait"), &[]);
    let two = member("two", scene.container("say two-up wait"), &[("one", Until::Started)]);
    scene.device.wants("pair", Some(group(vec![one, two])));
    scene.device.env.insert("HOLDFAST_CRASH_AT".into(), "container-started".into());
    scene.device.up();
    scene.device.await_end();
    scene.device.env.remove("HOLDFAST_CRASH_AT");
    scene.await_names(&["one"]);
    let first = scene.engine.running();
    scene.device.up();
    scene.await_names(&["one", "two"]);
    assert!(scene.engine.running().contains(&first[0]), "what ran goes on");
    scene.device.await_log("pair", "two | two-up");
}
