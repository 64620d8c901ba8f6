//! Document that passed admission.

use holdfast_base::ids::{Digest, Labels, Name};
use holdfast_protocol::container::Image;
use holdfast_protocol::workload::WorkloadSpec;
use serde_json::Value;

use crate::images::NotResolved;
use crate::kinds::AnyKind;
use crate::records::Policy;
use crate::secrets::references::References;
use holdfast_api::selector::Selector;

/// Content of an admitted document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Program that devices run, and what it refers to.
    Workload(Box<WorkloadSpec>, Box<References>),
    /// Policy: any other kind of document.
    Policy(Box<Policy>),
}

impl What {
    /// Returns the kind of the document.
    pub fn kind(&self) -> AnyKind {
        match self {
            Self::Workload(..) => AnyKind::Workload,
            Self::Policy(policy) => AnyKind::Policy(policy.kind()),
        }
    }
}

/// Objects that are stored beside documents and named by them.
pub struct Stored<'a> {
    /// Returns the size of an artifact in bytes. None: it is not stored.
    pub artifact_size: &'a dyn Fn(&Digest) -> Option<u64>,
    /// Returns the image that a reference means, such as `shop/till:1.4`.
    pub image: &'a dyn Fn(&str) -> Result<Image, NotResolved>,
}

impl std::fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored")
    }
}

/// Document that passed admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Name of the document.
    pub name: Name,
    /// Labels of the document itself.
    pub labels: Labels,
    /// Resource version of the document that was edited. The apply is refused if the stored one
    /// differs. 0: the document must not exist yet; `None`: not checked.
    pub resource_version: Option<u64>,
    /// Devices that the document selects.
    pub devices: Selector,
    /// Content of the document, decoded.
    pub what: What,
    /// Value of `spec` as it was written, for people to read back.
    pub written: Value,
}

impl Admitted {
    /// Returns the program that devices run, if the document is a `Workload`.
    pub fn workload(&self) -> Option<&WorkloadSpec> {
        match &self.what {
            What::Workload(spec, _) => Some(spec),
            What::Policy(_) => None,
        }
    }
}
