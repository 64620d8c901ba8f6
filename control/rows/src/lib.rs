//! Values of the control plane that both a port and a decision of the core know: rows of the data
//! store, fences of leases, and what a connection tells about itself. They hold no decision beyond
//! their own arithmetic.
//!
//! The crate lies below ports and core, so that neither imports the other.
//!
//! See decision 0135.

mod fence;
mod ledger;
mod line;
mod stream;

pub use fence::{Fence, Shard};
pub use ledger::{Answer, Disk, Latest, Piece, Rows, Segment, Tally, is_by_policy};
pub use line::Line;
pub use stream::{DataBatch, Head, StreamRow};
