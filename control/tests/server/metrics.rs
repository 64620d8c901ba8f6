//! Tests of `/metrics`, as Prometheus reads it.

use std::collections::BTreeSet;

use axum::body::Body;

use crate::world::World;

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && text.bytes().all(inner) && !text.as_bytes()[0].is_ascii_digit()
}

/// Splits `NAME{LABEL="VALUE",...} NUMBER` into the name and the text within the braces.
fn sample(line: &str) -> (&str, &str) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
    let Some((name, labels)) = series.split_once('{') else { return (series, "") };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no closing brace: {line}"));
    for label in labels.split(',') {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let plain = value.is_some_and(|value| !value.contains(['"', '\\', '\n']));
        assert!(is_name(name) && plain, "{line}");
    }
    (name, labels)
}

#[tokio::test]
async fn every_line_is_of_the_text_format_and_every_family_stands_once() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let answer = world.answer("GET", "/metrics", &[], Body::empty()).await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (_, text) = world.send("GET", "/metrics", &[], Body::empty()).await;
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.ends_with('\n'));

    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut helped, mut family) = ("", ("", ""));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.trim().is_empty(), "{line}");
            assert!(families.insert(name), "{name} stands twice");
            (helped, family) = (name, ("", ""));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert_eq!(family.0, helped, "{line}");
            assert!(matches!(family.1, "counter" | "gauge"), "{line}");
            assert_eq!(family.0.ends_with("_total"), family.1 == "counter", "{line}");
        } else {
            let (name, labels) = sample(line);
            assert_eq!(name, family.0, "a sample stands below its family: {line}");
            assert!(series.insert((name, labels)), "{line} stands twice");
        }
    }
    assert!(families.len() > 20, "{families:?}");
    for wanted in [
        ("holdfast_devices", "connection=\"offline\",tenant=\"default\""),
        ("holdfast_enrolments_total", ""),
        ("holdfast_http_requests_total", "status=\"2xx\""),
    ] {
        assert!(series.contains(&wanted), "{wanted:?}: {series:?}");
    }
}
