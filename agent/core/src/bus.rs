//! Rules of the local bus: the meaning of a topic, and which client may read and write it.
//!
//! Every topic belongs to a workload. A client sees its own topics by their plain names (`temp`),
//! and those of others as `workloads/OWNER/TOPIC`, as far as its workload's document allows it.
//!
//! See decision 0054.

use holdfast_base::ids::Name;
use holdfast_mqtt::{is_filter, is_topic_name, matches};
use holdfast_protocol::workload::Bus;
use holdfast_records::StreamName;

/// Prefix of the topics of other workloads.
const OTHERS: &str = "workloads/";
/// Prefix of the topics that are delivered and never stored.
const LOCAL: &str = "local/";
/// Optional prefix of a stream's name: `streams/temp` and `temp` are the same topic.
const STREAMS: &str = "streams/";

/// Identity of a bus client, and its rights beyond its own topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Name of the client's workload or local access.
    pub name: Name,
    /// Filters over other workloads' topics that the document or the local access allows.
    pub bus: Bus,
}

/// Destination of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Message that is stored as a data record of this stream, and delivered as the client's own
    /// topic of that name.
    Stream(StreamName),
    /// Message that is delivered as a topic of this workload and not stored.
    Local {
        /// Workload that owns the topic.
        owner: Name,
        /// Topic without the `workloads/OWNER/` prefix.
        topic: Box<str>,
    },
}

/// Reason for which a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The topic cannot be the name of a stream.
    #[error(
        "that topic names no stream: use at most 128 bytes, without '*' and control characters, with no '$' at the beginning and no '.' or '..' between slashes; local/... is delivered without being stored"
    )]
    NoStream,
    /// The topic begins with `workloads/` and has no valid owner or no topic behind it.
    #[error("not workloads/NAME/TOPIC")]
    NoTopic,
    /// The topic belongs to another workload, and the rights do not allow it.
    #[error("another workload's topic, which spec.bus.publish does not allow")]
    NotAllowed,
}

impl Rights {
    /// Resolves the topic of a publish to a stream or a local topic, if the client may write it.
    ///
    /// # Errors
    /// Returns the [`Refusal`] with the reason.
    pub fn route(&self, topic: &str) -> Result<Route, Refusal> {
        if let Some(rest) = topic.strip_prefix(OTHERS) {
            let (owner, topic) = rest.split_once('/').ok_or(Refusal::NoTopic)?;
            let owner: Name = owner.parse().map_err(|_| Refusal::NoTopic)?;
            if topic.is_empty() || topic.starts_with('$') || !is_topic_name(topic) {
                return Err(Refusal::NoTopic);
            }
            let allowed = owner == self.name || any_matches(&self.bus.publish, rest);
            let topic = topic.into();
            return if allowed {
                Ok(Route::Local { owner, topic })
            } else {
                Err(Refusal::NotAllowed)
            };
        }
        if topic.starts_with(LOCAL) && topic.len() > LOCAL.len() && is_topic_name(topic) {
            return Ok(Route::Local { owner: self.name.clone(), topic: topic.into() });
        }
        let name = topic.strip_prefix(STREAMS).unwrap_or(topic);
        name.parse().map(Route::Stream).map_err(|_| Refusal::NoStream)
    }

    /// True if the client may subscribe to this filter: each topic that it can match must be
    /// allowed.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        if filter.starts_with('$') {
            return false;
        }
        let Some(rest) = filter.strip_prefix(OTHERS) else { return true };
        let own = rest.split_once('/').is_some_and(|(owner, _)| owner == self.name.as_str());
        own || self.bus.subscribe.iter().any(|allowed| covers(allowed, rest))
    }

    /// True if the client may read this topic now. Asked for each message, because the document may
    /// have changed since the subscription.
    pub fn may_read(&self, owner: &Name, topic: &str) -> bool {
        *owner == self.name || any_matches(&self.bus.subscribe, &format!("{owner}/{topic}"))
    }

    /// All names by which the client may have subscribed to this topic. `stream`: the topic is that
    /// of a stream, which has the `streams/` name too.
    pub fn names_of(&self, owner: &Name, topic: &str, stream: bool) -> Vec<String> {
        let full = format!("{OTHERS}{owner}/{topic}");
        if *owner != self.name {
            return vec![full];
        }
        let mut names = vec![topic.to_owned()];
        names.extend(stream.then(|| format!("{STREAMS}{topic}")));
        names.push(full);
        names
    }
}

/// True if a subscription to `filter` covers the topic that a client calls `name`. Topics of others
/// are matched only by filters that begin with `workloads/`, and not by a plain `#`.
pub fn means(filter: &str, name: &str) -> bool {
    (filter.starts_with(OTHERS) || !name.starts_with(OTHERS)) && matches(filter, name)
}

/// Explains why a filter over other workloads' topics, as written in a document or a local access,
/// can never match, and names the form that does. None: the filter is valid.
pub fn fault_of_filter(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix(OTHERS) {
        let form = if fault_of_filter(rest).is_none() { rest } else { "pump/#" };
        return Some(format!(
            "give NAME/TOPIC alone, such as {form}: `{OTHERS}` is what the client itself puts before it"
        ));
    }
    if !is_filter(text) || text.starts_with('$') {
        return Some("an MQTT filter over NAME/TOPIC is needed, such as pump/#".into());
    }
    match text.split_once('/') {
        None if text == "#" => None,
        None => Some(format!(
            "it has no topic: give NAME/TOPIC, such as {text}/# for every topic of {text}"
        )),
        Some(("+", _)) => None,
        Some((owner, _)) => owner.parse::<Name>().err().map(|_| {
            format!("{owner:?} is no workload's name: give NAME/TOPIC, such as pump/{text}")
        }),
    }
}

/// Rights of a local access that is requested again with these filters: a kind (subscribe, publish)
/// that has filters replaces the former ones, and a kind without keeps them, so that asking for the
/// password again takes no right away.
pub fn asked_for(known: &Bus, asked: Bus) -> Bus {
    let or = |asked: Vec<String>, known: &Vec<String>| {
        if asked.is_empty() { known.clone() } else { asked }
    };
    Bus {
        subscribe: or(asked.subscribe, &known.subscribe),
        publish: or(asked.publish, &known.publish),
    }
}

fn any_matches(filters: &[String], name: &str) -> bool {
    filters.iter().any(|filter| matches(filter, name))
}

/// True if `allowed` matches every topic that `wanted` matches.
fn covers(allowed: &str, wanted: &str) -> bool {
    let (mut allowed, mut wanted) = (allowed.split('/'), wanted.split('/'));
    loop {
        match (allowed.next(), wanted.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(level)) if one == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn rights(subscribe: &[&str], publish: &[&str]) -> Rights {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let bus = Bus { subscribe: owned(subscribe), publish: owned(publish) };
        Rights { name: name("me"), bus }
    }

    #[test]
    fn what_a_topic_means() {
        let rights = rights(&[], &["pump/set/+"]);
        let stream = |text: &str| Ok(Route::Stream(text.parse().unwrap()));
        let local =
            |owner: &str, topic: &str| Ok(Route::Local { owner: name(owner), topic: topic.into() });
        for (topic, route) in [
            ("temp", stream("temp")),
            ("streams/temp", stream("temp")),
            ("pump/temp", stream("pump/temp")),
            ("streams/streams/temp", Err(Refusal::NoStream)),
            ("local/a b", local("me", "local/a b")),
            ("local/", Err(Refusal::NoStream)),
            ("local", Err(Refusal::NoStream)),
            ("workloads/me/x", local("me", "x")),
            ("workloads/pump/set/speed", local("pump", "set/speed")),
            ("workloads/pump/get/speed", Err(Refusal::NotAllowed)),
            ("workloads/other/set/speed", Err(Refusal::NotAllowed)),
            ("workloads/pump", Err(Refusal::NoTopic)),
            ("workloads/pump/", Err(Refusal::NoTopic)),
            ("workloads/me/$x", Err(Refusal::NoTopic)),
            ("workloads/Not A Name/x", Err(Refusal::NoTopic)),
            ("$SYS/x", Err(Refusal::NoStream)),
            ("a b", stream("a b")),
            ("/temp", stream("/temp")),
            ("streams//temp", stream("/temp")),
            ("a*", Err(Refusal::NoStream)),
            ("a/../b", Err(Refusal::NoStream)),
            ("a/+", Err(Refusal::NoStream)),
            ("local/a+", Err(Refusal::NoStream)),
            ("workloads/pump/set/+", Err(Refusal::NoTopic)),
            (&"x".repeat(129), Err(Refusal::NoStream)),
        ] {
            assert_eq!(rights.route(topic), route, "{topic}");
        }
    }

    #[test]
    fn who_may_subscribe_to_what() {
        let rights = rights(&["pump/#", "+/state", "fan/a/+"], &[]);
        for (filter, yes) in [
            ("#", true),
            ("+/x", true),
            ("temp", true),
            ("streams/temp", true),
            ("local/#", true),
            ("workloads/me/#", true),
            ("workloads/pump/#", true),
            ("workloads/pump/x/+", true),
            ("workloads/+/state", true),
            ("workloads/fan/state", true),
            ("workloads/fan/a/+", true),
            ("workloads/fan/a/b", true),
            ("workloads/fan/a/#", false),
            ("workloads/fan/+/b", false),
            ("workloads/fan/#", false),
            ("workloads/+/#", false),
            ("workloads/#", false),
            ("workloads/me", false),
            ("workloads/fan/x", false),
            ("$SYS/#", false),
        ] {
            assert_eq!(rights.may_subscribe(filter), yes, "{filter}");
        }
    }

    #[test]
    fn a_filter_that_can_never_match_is_refused_with_the_form_that_does() {
        for good in ["pump/#", "pump/a/+", "+/state", "#", "pump/workloads/x", "pump/a b"] {
            assert_eq!(fault_of_filter(good), None, "{good}");
        }
        for (bad, form) in [
            ("workloads/sensors/+", "sensors/+"),
            ("workloads/workloads/x", "pump/#"),
            ("foo", "foo/#"),
            ("+", "+/#"),
            ("Pump/#", "pump/Pump/#"),
            ("/x", "pump/"),
            ("", "pump/#"),
            ("a/#/b", "pump/#"),
            ("$SYS/x", "pump/#"),
        ] {
            let fault = fault_of_filter(bad).unwrap_or_default();
            assert!(fault.contains(form), "{bad}: {fault}");
        }
    }

    #[test]
    fn what_is_asked_for_again_keeps_its_rights() {
        let bus = |subscribe: &[&str], publish: &[&str]| rights(subscribe, publish).bus;
        let known = bus(&["sensors/+"], &["pump/set/+"]);
        assert_eq!(asked_for(&known, bus(&[], &[])), known);
        let more = asked_for(&known, bus(&["fan/#"], &[]));
        assert_eq!(more, bus(&["fan/#"], &["pump/set/+"]), "of each kind by itself");
        assert_eq!(asked_for(&bus(&[], &[]), known.clone()), known);
    }

    #[test]
    fn others_topics_are_reached_by_their_names_alone() {
        assert!(means("workloads/pump/#", "workloads/pump/x"));
        assert!(!means("#", "workloads/pump/x") && !means("+/pump/x", "workloads/pump/x"));
        assert!(means("#", "x") && means("#", "streams/x"));
        let rights = rights(&["pump/#"], &[]);
        assert!(rights.may_read(&name("pump"), "x") && !rights.may_read(&name("fan"), "x"));
        assert_eq!(rights.names_of(&name("pump"), "x", true), ["workloads/pump/x"]);
        assert_eq!(rights.names_of(&name("me"), "x", true), ["x", "streams/x", "workloads/me/x"]);
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("+"), Just("a"), Just("b"), Just("c")];
        (proptest::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, all)| {
            if all {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        /// Checks that a filter covered by the allowed one matches nothing that the allowed one
        /// does not.
        #[test]
        fn what_is_covered_reaches_nothing_more(
            allowed in filter(),
            wanted in filter(),
            topic in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("d")], 1..5),
        ) {
            let topic = topic.join("/");
            if covers(&allowed, &wanted) && matches(&wanted, &topic) {
                prop_assert!(matches(&allowed, &topic), "{allowed} {wanted} {topic}");
            }
        }
    }
}
