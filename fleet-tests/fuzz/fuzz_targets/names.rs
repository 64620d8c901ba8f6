//! Fuzzes texts from the network that become names: topics, ids, digests, labels, filters.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use holdfast_base::ids::{DeviceId, Digest, Name, check_label_key, check_label_value};
use holdfast_mqtt::{is_filter, is_topic_name, matches};
use holdfast_protocol::topic::Topic;
use libfuzzer_sys::fuzz_target;

/// Asserts that a text that parses is the only spelling of its value.
fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

fuzz_target!(|text: &str| {
    one_spelling::<Topic>(text);
    one_spelling::<DeviceId>(text);
    one_spelling::<Name>(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert!(digest.to_string().eq_ignore_ascii_case(text));
    }
    let _checked = (check_label_key(text), check_label_value(text));
    if let Some((filter, name)) = text.split_once('\n')
        && is_filter(filter)
        && is_topic_name(name)
    {
        let literal = !filter.contains(['+', '#']);
        assert!(!literal || matches(filter, name) == (filter == name));
    }
});
