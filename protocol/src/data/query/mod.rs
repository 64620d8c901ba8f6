//! Questions asked of records where they lie.

mod cbor;
mod json;
pub mod parse;
pub mod path;
pub mod sketch;
pub mod tally;

pub use path::{Found, Path, Paths};
pub use sketch::Sketch;
pub use tally::{Kept, Tally};
