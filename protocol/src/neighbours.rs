//! Neighbours of a device: the JSON document by which the control plane says which other devices of
//! its site share what they have downloaded, and what they say to each other about a file.
//!
//! See decision 0179.

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

/// Path for `GET` with a device's certificate, answered with [`Neighbours`].
pub const NEIGHBOURS_PATH: &str = "/api/v1/neighbours";

/// Path at a neighbour in front of a digest, for `HEAD` and `GET` with `Range`.
pub const FILES_PATH: &str = "/holdfast/v1/files/";

/// Header in which a neighbour says what it offers of a file: `has`, `fetches BYTES`, `begins`,
/// `waits` or `none`. Who asks says the same of itself.
pub const OFFER_HEADER: &str = "holdfast-offer";

/// Most neighbours that a device is told of. A larger site is shared by groups.
pub const MAX_NEIGHBOURS: usize = 64;

/// Most addresses of one device.
pub const MAX_ADDRESSES: usize = 4;

/// Other devices of a device's site that share downloads, at most [`MAX_NEIGHBOURS`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The devices, in no order.
    pub neighbours: Vec<Neighbour>,
}

/// Another device of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Name of the device within its tenant.
    pub device: Name,
    /// Addresses with port at which it serves its neighbours, as it reported them.
    pub addresses: Vec<String>,
}
