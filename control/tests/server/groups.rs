//! Tests of devices grouped by a label, of the counts of the last day, and of the overall state of
//! a workload.

use serde_json::{Value, json};

use crate::world::World;

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Makes four devices: two at the site north, of which one was never connected, one at the site
/// south, and one without a site.
async fn fleet() -> World {
    let world = World::new().await;
    for (number, name) in ["d-1", "d-2", "d-3", "d-4"].into_iter().enumerate() {
        world.device(name).await;
        if name != "d-2" {
            world.connect(name, 1 + number as u64);
        }
    }
    for (name, site) in [("d-1", "north"), ("d-2", "north"), ("d-3", "south")] {
        let labels = json!({ "labels": { "site": site } });
        world.request("PATCH", &format!("/api/v1/devices/{name}"), labels).await;
    }
    world
}

fn brief(groups: &Value) -> Vec<(Value, u64, u64, u64)> {
    let number = |group: &Value, name: &str| group[name].as_u64().unwrap();
    let items = groups["items"].as_array().unwrap().iter();
    items
        .map(|group| {
            let numbers = ["devices", "healthy", "neverSeen"].map(|name| number(group, name));
            (group["value"].clone(), numbers[0], numbers[1], numbers[2])
        })
        .collect()
}

#[tokio::test]
async fn devices_are_grouped_by_a_label_and_counted_by_state() {
    let world = fleet().await;
    let groups = get(&world, "/api/v1/groups?by=site").await;
    assert_eq!((&groups["by"], &groups["more"]), (&json!("site"), &json!(0)));
    // Groups with most trouble come first; devices without the label have a null value.
    assert_eq!(
        brief(&groups),
        [(json!("north"), 2, 1, 1), (json!(null), 1, 1, 0), (json!("south"), 1, 1, 0)]
    );
    let groups = get(&world, "/api/v1/groups?by=site&connection=online&labelSelector=site").await;
    assert_eq!(brief(&groups), [(json!("north"), 1, 1, 0), (json!("south"), 1, 1, 0)]);
    for bad in ["", "by=", "by=a%20b", "by=site&connection=bogus", "by=site&limit=3"] {
        let (status, answer) =
            world.request("GET", &format!("/api/v1/groups?{bad}"), json!(null)).await;
        assert_eq!(status, 400, "{bad}: {answer}");
    }
}

#[tokio::test]
async fn the_last_day_says_since_when_it_counts() {
    let world = fleet().await;
    let trend = get(&world, "/api/v1/fleet/trend").await;
    assert_eq!(trend["everySeconds"], 300);
    assert!(trend["since"].as_str().unwrap().ends_with('Z'), "{trend}");
    assert_eq!(trend["items"], json!([]), "nothing is counted in the first minute");
}

#[tokio::test]
async fn a_workload_has_one_state_and_the_fleet_counts_it() {
    let world = fleet().await;
    world.apply("w", "1").await.unwrap();
    let mut nowhere = crate::world::document("nowhere", "1");
    nowhere["spec"]["devices"] = json!({ "matchLabels": { "role": "none" } });
    world.request("POST", "/api/v1/apply", json!({ "documents": [nowhere] })).await;
    let state = async |name: &str| {
        get(&world, &format!("/api/v1/workloads/{name}")).await["status"]["state"].clone()
    };
    assert_eq!(
        (state("w").await, state("nowhere").await),
        (json!("progressing"), json!("unplaced"))
    );
    let list = get(&world, "/api/v1/workloads").await;
    let listed: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|item| &item["status"]["state"]).collect();
    assert_eq!(listed, ["unplaced", "progressing"]);
    let counts = get(&world, "/api/v1/fleet").await["workloads"].clone();
    assert_eq!((&counts["progressing"], &counts["unplaced"]), (&json!(1), &json!(1)), "{counts}");
}
