//! Files that nobody would write: they are refused, and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::notes::Level;
use super::{of, said, with};

#[test]
fn a_file_has_bounds() {
    let bomb: String = (1..12).fold("x-a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        text + &format!("x-a{level}: &a{level} [{aliases}]\n")
    });
    let chain: String = (1..80).fold("x-a0: &a0 [x]\n".to_owned(), |text, level| {
        text + &format!("x-a{level}: &a{level} [*a{}]\n", level - 1)
    });
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    let long = format!("a: {}", "x".repeat(1_100_000));
    let many: String = (0..33).map(|number| format!("  s{number}: {{ image: a }}\n")).collect();
    let row: String = (0..20)
        .map(|number| format!("  s{number}: {{ image: a, extends: s{} }}\n", number + 1))
        .collect();
    let base = format!("  base: {{ image: a, command: [{}] }}\n", "x,".repeat(9_000));
    let copies: String =
        (0..10).map(|number| format!("  s{number}: {{ extends: base }}\n")).collect();
    for (text, expected) in [
        (format!("services:\n{row}  s20: {{ image: a }}\n"), "more than 8 services extend"),
        (format!("services:\n{base}{copies}"), "services that are extended have more than"),
        (bomb, "more than 50000 values"),
        (chain, "too deep: more than 64"),
        (deep, "too deep: more than 64"),
        (long, "1100003 bytes, at most"),
        (format!("services:\n{many}"), "33 services, at most 32"),
    ] {
        let all = said(&of(&text));
        assert!(all.iter().any(|said| said.contains(expected)), "{text:.60}: {all:?}");
    }
    let wrong: String = (0..500).map(|number| format!("    key{number}: 1\n")).collect();
    let imported = of(&format!("services:\n  web:\n    image: a\n{wrong}"));
    assert_eq!(
        (imported.messages.len(), imported.more),
        (200, 301),
        "{:?}",
        said(&imported).last()
    );
}

/// Words out of which hostile files are made.
const WORDS: [&str; 40] = [
    "services",
    "web",
    "image",
    "ports",
    "volumes",
    "environment",
    "healthcheck",
    "test",
    "deploy",
    "resources",
    "limits",
    "networks",
    "secrets",
    "configs",
    "depends_on",
    "extends",
    "include",
    "devices",
    "gpus",
    "command",
    "8080:80",
    "a:b:c",
    "::",
    "${A:-",
    "}",
    "$$",
    "/a/../b",
    "-1",
    "true",
    "null",
    "[::1]:80-90:80/udp",
    "1h5x",
    "99999999999999999999g",
    "é",
    "'",
    "\"",
    "CMD",
    "default",
    "file",
    "condition",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = with(&bytes, |_| {});
    }

    #[test]
    fn no_object_makes_it_panic(value in value(), at in 0_usize..4) {
        let whole = match at {
            0 => value,
            1 => json!({ "services": value }),
            2 => json!({ "services": { "web": value } }),
            _ => json!({ "services": { "web": { "image": "a" } }, "volumes": value.clone(), "networks": value.clone(), "secrets": value }),
        };
        let imported = with(whole.to_string().as_bytes(), |_| {});
        let faulty = imported.messages.iter().any(|message| message.level == Level::Fault);
        prop_assert_eq!(faulty, imported.documents.is_empty());
        prop_assert!(imported.messages.iter().all(|message| message.line == 1));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(&WORDS[..]);
    let leaf = prop_oneof![
        word().prop_map(|word| json!(word)),
        Just(Value::Null),
        any::<i32>().prop_map(|it| json!(it))
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(word().prop_map(ToOwned::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
