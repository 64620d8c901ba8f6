//! Names of images: repositories, tags and references, such as `shop/till:1.4`.
//!
//! The form is that of the OCI distribution specification, with a registry's `HOST:PORT/` in front
//! where a copy kept it. Nothing is added to a name: `app` is not `docker.io/library/app`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use holdfast_base::ids::Digest;

/// Tag of a reference that has none.
pub const DEFAULT_TAG: &str = "latest";

/// Longest name of a repository in bytes, as other registries have it.
const MAX_NAME: usize = 255;

/// Longest tag in bytes, as the specification has it.
const MAX_TAG: usize = 128;

/// Most bytes of a reference that an error repeats.
const SHOWN: usize = 80;

/// Error for a text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Repository that is not one.
    #[error(
        "{0:?} is not the name of an image: it has parts with / between them, each of lower-case letters and digits with single . _ or - (or __) between them, such as shop/till, and at most 255 bytes"
    )]
    Repository(String),
    /// Tag that is not one.
    #[error(
        "{0:?} is not a tag: it has letters, digits, _ . and -, begins with none of the last two, and has at most 128 bytes, such as 1.4 or latest"
    )]
    Tag(String),
    /// Digest that is not one.
    #[error("{0:?} is not a digest: it is sha256: and 64 hexadecimal digits")]
    Digest(String),
}

/// Returns the beginning of a text, for an error.
fn shown(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(SHOWN).collect()
}

/// Name of a repository, such as `shop/till` or `registry.example:5000/shop/till`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(Box<str>);

impl Repository {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the registry's host (with its port, if there is one) and the path there. None: the
    /// first part is no host, as in `shop/till`.
    pub fn registry(&self) -> Option<(&str, &str)> {
        let (host, path) = self.0.split_once('/')?;
        (host.contains(['.', ':']) || host == "localhost").then_some((host, path))
    }
}

/// True if a part of a name is one: letters and digits with separators between them.
fn is_part(part: &str) -> bool {
    let good = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit();
    let mut run: Vec<u8> = Vec::new();
    let ends = part.bytes().next().is_some_and(good) && part.bytes().last().is_some_and(good);
    let mut separators = true;
    for one in part.bytes() {
        if good(one) {
            separators &= is_separator(&run);
            run.clear();
        } else {
            run.push(one);
        }
    }
    ends && separators
}

/// True if a run of characters may stand between letters and digits.
fn is_separator(run: &[u8]) -> bool {
    matches!(run, [] | b"." | b"_" | b"__") || run.iter().all(|one| *one == b'-')
}

/// True if the first part of a name is a host with a port.
fn is_host_with_port(part: &str) -> bool {
    let Some((host, port)) = part.rsplit_once(':') else { return false };
    let host_good = host.split('.').all(is_part);
    host_good && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl FromStr for Repository {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let mut parts = text.split('/');
        let first = parts.next().unwrap_or_default();
        let several = text.contains('/');
        let good = (is_part(first) || (several && is_host_with_port(first))) && parts.all(is_part);
        if good && text.len() <= MAX_NAME {
            Ok(Self(text.into()))
        } else {
            Err(BadReference::Repository(shown(text)))
        }
    }
}

impl TryFrom<String> for Repository {
    type Error = BadReference;
    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl From<Repository> for String {
    fn from(name: Repository) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tag of an image within a repository, such as `1.4`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

impl Tag {
    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let good = |one: u8| one.is_ascii_alphanumeric() || matches!(one, b'_' | b'.' | b'-');
        let first = text.bytes().next();
        let begins = first.is_some_and(|one| one.is_ascii_alphanumeric() || one == b'_');
        if begins && text.len() <= MAX_TAG && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(BadReference::Tag(shown(text)))
        }
    }
}

impl TryFrom<String> for Tag {
    type Error = BadReference;
    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0.into()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reference to an image, as people write it: `NAME`, `NAME:TAG`, `NAME@DIGEST` or
/// `NAME:TAG@DIGEST`. With a digest, the tag says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Repository of the image.
    pub repository: Repository,
    /// Tag that was written.
    pub tag: Option<Tag>,
    /// Digest that was written.
    pub digest: Option<Digest>,
}

/// Image of a repository that a reference means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Image that has this tag now.
    Tag(Tag),
    /// Image with this digest.
    Digest(Digest),
}

impl Reference {
    /// Returns which image of the repository is meant.
    pub fn wanted(&self) -> Wanted {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Wanted::Digest(*digest),
            (None, Some(tag)) => Wanted::Tag(tag.clone()),
            (None, None) => Wanted::Tag(Tag(DEFAULT_TAG.into())),
        }
    }

    /// Returns the tag that is written, or the usual one. None: there is a digest and no tag.
    pub fn tag_to_set(&self) -> Option<Tag> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag.clone()),
            (None, None) => Some(Tag(DEFAULT_TAG.into())),
            (None, Some(_)) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let bad = |_| BadReference::Digest(shown(digest));
                (rest, Some(digest.parse().map_err(bad)?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // What has a slash behind it is a port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.repository.as_str())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd";

    #[test]
    fn references_are_read_as_engines_read_them() {
        let with = format!("app@{DIGEST}");
        let both = format!("r.example:5000/shop/app:1@{DIGEST}");
        for (text, repository, tag, digest) in [
            ("app", "app", None, false),
            ("app:1.2", "app", Some("1.2"), false),
            ("shop/till:1.4-rc.1", "shop/till", Some("1.4-rc.1"), false),
            ("registry.example/app:V_2", "registry.example/app", Some("V_2"), false),
            ("localhost:5000/app", "localhost:5000/app", None, false),
            ("localhost:5000/a__b/c--d", "localhost:5000/a__b/c--d", None, false),
            ("a.b_c-d/0", "a.b_c-d/0", None, false),
            (with.as_str(), "app", None, true),
            (both.as_str(), "r.example:5000/shop/app", Some("1"), true),
        ] {
            let read: Reference = text.parse().unwrap_or_else(|bad| panic!("{text}: {bad}"));
            assert_eq!(read.repository.as_str(), repository, "{text}");
            assert_eq!(read.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(read.digest.is_some(), digest, "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "b".repeat(129));
        for text in [
            "",
            "App",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:",
            "a:.x",
            "a:b c",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "../a",
            "a/../b",
            "a:1:2",
            "x:70000/a",
            "x:0/a",
            "a%2fb",
            "ä",
            "a:ä",
            "a\n",
            ":1",
            "@",
            long.as_str(),
            long_tag.as_str(),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_digest_says_more_than_a_tag_and_no_tag_is_the_usual_one() {
        let read = |text: &str| text.parse::<Reference>().unwrap();
        assert_eq!(read("app").wanted(), Wanted::Tag("latest".parse().unwrap()));
        assert_eq!(read("app:1").wanted(), Wanted::Tag("1".parse().unwrap()));
        let digest = Wanted::Digest(DIGEST.parse().unwrap());
        assert_eq!(read(&format!("app:1@{DIGEST}")).wanted(), digest);
        assert_eq!(read(&format!("app@{DIGEST}")).tag_to_set(), None);
        assert_eq!(read("app").tag_to_set().unwrap().as_str(), "latest");
    }

    #[test]
    fn a_registry_is_told_from_a_folder() {
        let of = |text: &str| {
            let name: Repository = text.parse().unwrap();
            name.registry().map(|(host, path)| (host.to_owned(), path.to_owned()))
        };
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(of("shop/till"), None);
        assert_eq!(of("r.example/till"), pair("r.example", "till"));
        assert_eq!(of("localhost/till"), pair("localhost", "till"));
        assert_eq!(of("box:5000/a/b"), pair("box:5000", "a/b"));
        assert_eq!(of("till"), None);
    }
}
