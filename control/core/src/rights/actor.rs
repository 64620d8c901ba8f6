//! Whoever asks for something: a program with an access token, a person, or a device; with the roles
//! that it has, and from where it asks.

use std::net::IpAddr;

use holdfast_api::Role;
use holdfast_api::selector::Selector;
use holdfast_base::ids::{Labels, Name};
use serde::{Deserialize, Serialize};

/// Whoever asks for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Program or person with an access token; its id.
    Token(Box<str>),
    /// Person who is logged in; `user NAME` or `user NAME@PROVIDER`.
    Person(Box<str>),
    /// Device, known by its certificate.
    Device(Name),
}

/// A role of an actor, with the devices that it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Set of actions.
    pub role: Role,
    /// Devices that the role reaches. None: the whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// What gave the role, in words, such as `access token 0011223344556677`.
    pub by: Box<str>,
}

/// Place that a request came from, for the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client. None: it came from this process.
    pub address: Option<IpAddr>,
    /// Id of the request, as in the header `X-Request-Id` of its response. Empty: there is none.
    pub request: Box<str>,
}

/// Caller of the service: who asks, in which tenant, and with which roles. It may end while a long
/// response is being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Whoever asks.
    pub who: Who,
    /// Tenant that the caller belongs to. All objects that it can name are of this tenant.
    pub tenant: Name,
    /// Roles of the caller. A device has none.
    pub grants: Vec<Grant>,
    /// Digest of the login's secret, when the request came with a login's cookie.
    pub session: Option<[u8; 32]>,
    /// Place that the request came from.
    pub origin: Origin,
}

impl Actor {
    /// Makes the actor of an access token that reaches its whole tenant.
    pub fn token(tenant: Name, access: impl Into<Box<str>>, role: Role) -> Self {
        let access = access.into();
        let grant = Grant { role, selector: None, by: format!("access token {access}").into() };
        Self::new(Who::Token(access), tenant, vec![grant])
    }

    /// Makes an actor with these roles.
    pub fn new(who: Who, tenant: Name, grants: Vec<Grant>) -> Self {
        Self { who, tenant, grants, session: None, origin: Origin::default() }
    }

    /// Makes the actor of a device.
    pub fn device(tenant: Name, device: Name) -> Self {
        Self::new(Who::Device(device), tenant, Vec::new())
    }

    /// Returns the id of the access token, `user NAME`, or the name of the device, as the audit log
    /// has it.
    pub fn id(&self) -> &str {
        match &self.who {
            Who::Token(id) | Who::Person(id) => id,
            Who::Device(name) => name.as_str(),
        }
    }

    /// Returns the words for the caller in a sentence.
    pub fn named(&self) -> String {
        match &self.who {
            Who::Token(id) => format!("access token {id}"),
            Who::Person(id) => id.to_string(),
            Who::Device(name) => format!("device {name}"),
        }
    }
}

/// Devices that an actor reaches with one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight<'a> {
    /// All devices of the tenant.
    All,
    /// Devices that one of these selectors selects.
    Selected(Vec<&'a Selector>),
}

impl Sight<'_> {
    /// True if a device with these labels is reached.
    pub fn sees(&self, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Selected(selectors) => selectors.iter().any(|one| one.matches(labels)),
        }
    }

    /// True if every device that `selector` can ever select is reached: one of the actor's selectors
    /// has no condition that `selector` does not have too.
    pub fn holds(&self, selector: &Selector) -> bool {
        match self {
            Self::All => true,
            Self::Selected(selectors) => selectors.iter().any(|one| selector.implies(one)),
        }
    }

    /// True if a device with these labels is reached, whatever further labels with `open` keys it
    /// gets.
    pub fn keeps(&self, labels: &Labels, open: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Selected(selectors) => selectors.iter().any(|one| one.keeps(labels, &open)),
        }
    }

    /// Returns a selector of those devices of `selector` that are reached. `labels` are those of the
    /// only device that is meant, if it is one. None: no single selector says so, because the actor
    /// has several.
    pub fn narrowed(&self, selector: &Selector, labels: Option<&Labels>) -> Option<Selector> {
        let Self::Selected(selectors) = self else { return Some(selector.clone()) };
        if self.holds(selector) {
            return Some(selector.clone());
        }
        let fits = |one: &&&Selector| labels.is_none_or(|labels| one.matches(labels));
        let mut fitting = selectors.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Some(selector.within(one)),
            (Some(one), Some(_)) if labels.is_some() => Some(selector.within(one)),
            _ => selectors.first().filter(|_| labels.is_some()).map(|one| selector.within(one)),
        }
    }

    /// Returns the fewest conditions that would make `selector` one that is held, in words such as
    /// `site=kiel`.
    pub fn lacking(&self, selector: &Selector) -> String {
        let Self::Selected(selectors) = self else { return String::new() };
        let lacking = selectors.iter().map(|one| selector.lacks(one));
        lacking.min_by_key(|it| it.match_expressions.len()).unwrap_or_default().words()
    }

    /// True if nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// Returns the selectors in words, such as `site=kiel or site=hamburg`.
    pub fn words(&self) -> String {
        match self {
            Self::All => "all devices".into(),
            Self::Selected(selectors) => {
                selectors.iter().map(|one| one.words()).collect::<Vec<_>>().join(" or ")
            }
        }
    }
}
