//! Control plane killed -9 in a storm of applies and enrolments: nothing that was acknowledged is
//! lost, and a repeated enrolment gives the same device.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_tests::harness::{Cli, DEADLINE, Https, Plane, eventually};
use fleet_tests::sim::Identity;
use fleet_tests::sim::identity::new_key;

use crate::sleeper;

/// Changes that the control plane acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Argument of each workload's last acknowledged apply.
    applied: Mutex<BTreeMap<String, u64>>,
    enrolled: Mutex<Vec<Identity>>,
    deleted: Mutex<Vec<String>>,
}

fn storm_of_applies(cli: &Cli, lane: usize, over: &AtomicBool, acknowledged: &Acknowledged) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("w-{lane}-{}", number % 5);
        let document = sleeper(&name, "nobody", &number.to_string());
        if cli.apply(&document).code == 0 {
            acknowledged.applied.lock().unwrap().insert(name, number);
        }
        if number % 7 == 0 {
            let name = format!("gone-{lane}-{number}");
            let made = cli.apply(&sleeper(&name, "nobody", "1")).code == 0;
            if made && cli.run(&["delete", "workload", &name]).code == 0 {
                acknowledged.deleted.lock().unwrap().push(name);
            }
        }
    }
}

fn storm_of_enrolments(https: &Https, token: &str, over: &AtomicBool, acknowledged: &Acknowledged) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(identity) = Identity::enrol(https, new_key(), token, None) {
            acknowledged.enrolled.lock().unwrap().push(identity);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_again_and_again() {
    let mut plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = crate::marker();
    plane.cli().apply(&sleeper("steady", "a", &marker)).ok();
    let pid = device.await_phase("steady", "running");
    let token = plane.token(&["--uses", "100000"]);
    let (cli, https) = (plane.cli(), plane.https());
    let (over, acknowledged) = (AtomicBool::new(false), Acknowledged::default());

    std::thread::scope(|scope| {
        for lane in 0..2 {
            let (cli, over, acknowledged) = (&cli, &over, &acknowledged);
            scope.spawn(move || storm_of_applies(cli, lane, over, acknowledged));
        }
        scope.spawn(|| storm_of_enrolments(&https, &token, &over, &acknowledged));
        for round in 1..=5 {
            // Kills in the middle of the storm, not before it has begun.
            eventually(DEADLINE, "the storm is acknowledged", || {
                let applied = acknowledged.applied.lock().unwrap().values().sum::<u64>();
                let enrolled = acknowledged.enrolled.lock().unwrap().len();
                if applied > round * 4 && enrolled > usize::try_from(round).unwrap() * 3 {
                    Ok(())
                } else {
                    Err(format!("{applied} applied, {enrolled} enrolled"))
                }
            });
            std::thread::sleep(Duration::from_millis(37 * round));
            plane.kill();
            plane.up();
        }
        over.store(true, Ordering::Relaxed);
    });

    for (name, number) in acknowledged.applied.lock().unwrap().iter() {
        let workload = plane.cli().run(&["get", "workloads", name, "-o", "json"]).json();
        let argument = &workload["spec"]["run"]["process"]["args"][0];
        let kept: u64 = argument.as_str().unwrap_or_default().parse().unwrap_or(0);
        // An apply without a response may have been stored too; an acknowledged one must have been.
        assert!(kept >= *number, "{name}: {number} was acknowledged, {workload}");
    }
    for name in acknowledged.deleted.lock().unwrap().iter() {
        plane.cli().run(&["get", "workloads", name]).fails(3);
    }
    let enrolled = acknowledged.enrolled.into_inner().unwrap();
    assert!(enrolled.len() > 15, "only {} enrolments", enrolled.len());
    let mut names = std::collections::BTreeSet::new();
    for identity in &enrolled {
        let again = Identity::enrol(&plane.https(), identity.key(), &token, None).unwrap();
        assert_eq!(again.enrolment.device, identity.enrolment.device);
        assert_eq!(again.enrolment.shard, identity.enrolment.shard);
        assert!(names.insert(identity.id()), "two keys were given the name {}", identity.id());
        assert_eq!(
            plane.view(identity.enrolment.device.as_str())["metadata"]["name"],
            identity.enrolment.device.as_str()
        );
    }
    device.await_link("up");
    assert_eq!(device.await_phase("steady", "running"), pid);
}

#[test]
fn an_agent_enrolling_twice_is_the_same_device_and_a_token_is_used_once() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let token = plane.token(&["--uses", "1"]);
    device.enrol(&token, &["role=a"]).ok();
    // The same key may enrol again with the used token, since the response may have been lost.
    // Another key may not.
    device.enrol(&token, &["role=a"]).ok();
    let stranger = plane.bare_device("d-2");
    let said = stranger.enrol(&token, &["role=a"]).fails(4);
    crate::assert_says(&said, &["used"]);
    device.up();
    plane.await_connection("d-1", "online");
    let listed = plane.cli().run(&["get", "devices", "-o", "json"]).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
}
