//! Tests of paged lists that are not ordered by name alone: every item comes once and in order, and
//! none is skipped when the last item of a page is deleted.

use serde_json::{Value, json};

use crate::world::World;

/// Reads a list page by page. Returns all items, and the token of each page but the last.
async fn pages(world: &World, path: &str, limit: usize) -> (Vec<Value>, Vec<String>) {
    let (mut items, mut tokens) = (Vec::new(), Vec::new());
    let mut after = String::new();
    loop {
        let (status, page) =
            world.request("GET", &format!("{path}limit={limit}{after}"), json!(null)).await;
        assert_eq!(status, 200, "{path}{after}: {page}");
        let found = page["items"].as_array().unwrap();
        assert!(page["metadata"]["resourceVersion"].is_u64(), "{page}");
        items.extend(found.iter().cloned());
        match page["metadata"]["continue"].as_str() {
            Some(token) => {
                assert_eq!(found.len(), limit, "a page that another one follows is full");
                after = format!("&continue={token}");
                tokens.push(token.to_owned());
            }
            None => {
                assert!((1..=limit).contains(&found.len()), "no page is empty: {page}");
                return (items, tokens);
            }
        }
    }
}

/// Function that returns the key by which an item is ordered.
type Key = fn(&Value) -> (String, u64);

/// Makes a control plane with more than one page of everything.
async fn filled() -> World {
    let world = World::new().await;
    // More than nine revisions, since 10 sorts before 2 as text. The names begin alike, and the '.'
    // that page tokens contain sorts between '-' and '0'.
    for (name, revisions) in [("w", 11), ("w-1", 2), ("w0", 3)] {
        for number in 0..revisions {
            world.apply(name, &number.to_string()).await.unwrap();
        }
    }
    for _ in 0..7 {
        world.token(json!({})).await;
    }
    // Reading the audit log is an entry, and further readings are counted for five minutes.
    world.request("GET", "/api/v1/audit?limit=1", Value::Null).await;
    world
}

#[tokio::test]
async fn every_item_comes_once_and_in_order_whatever_the_page() {
    let world = filled().await;
    let orders: [(&str, usize, Key); 4] = [
        ("/api/v1/revisions?", 16, |it| {
            let (name, number) = (&it["workload"], &it["revision"]);
            (name.as_str().unwrap().to_owned(), number.as_u64().unwrap())
        }),
        ("/api/v1/revisions?workload=w&", 11, |it| {
            (String::new(), it["revision"].as_u64().unwrap())
        }),
        ("/api/v1/tokens?", 7, |it| (it["metadata"]["name"].as_str().unwrap().to_owned(), 0)),
        ("/api/v1/audit?", 23, |it| (String::new(), it["number"].as_u64().unwrap())),
    ];
    for (path, least, key) in orders {
        let (whole, tokens) = pages(&world, path, 5_000).await;
        assert!(whole.len() >= least && tokens.is_empty(), "{path}: {} items", whole.len());
        let keys: Vec<_> = whole.iter().map(key).collect();
        assert!(keys.is_sorted_by(|one, next| one < next), "{path}: {keys:?}");
        // The last limit is the length of the list: no empty page may follow.
        for limit in [1, 2, 3, whole.len()] {
            let (items, tokens) = pages(&world, path, limit).await;
            assert_eq!(items, whole, "{path}limit={limit}");
            assert_eq!(tokens.len(), (whole.len() - 1) / limit, "{path}limit={limit}");
        }
    }
}

#[tokio::test]
async fn a_page_follows_one_whose_last_item_is_gone() {
    let world = filled().await;
    let (_, tokens) = pages(&world, "/api/v1/revisions?", 1).await;
    let (status, _) = world.request("DELETE", "/api/v1/workloads/w", json!(null)).await;
    assert_eq!(status, 204);
    let path = format!("/api/v1/revisions?continue={}", tokens[4]);
    let (_, rest) = world.request("GET", &path, json!(null)).await;
    let names: Vec<&str> = rest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["w-1.1", "w-1.2", "w0.1", "w0.2", "w0.3"]);
}

#[tokio::test]
async fn a_token_that_is_none_of_ours_is_refused() {
    let world = filled().await;
    for path in [
        "/api/v1/revisions?continue=w",
        "/api/v1/revisions?continue=w.x",
        "/api/v1/revisions?continue=W.1",
        "/api/v1/audit?continue=w",
        "/api/v1/audit?continue=-1",
    ] {
        let (status, answer) = world.request("GET", path, json!(null)).await;
        assert_eq!(status, 400, "{path}: {answer}");
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.starts_with("continue: not a value that a page gave"), "{path}: {said}");
    }
}
