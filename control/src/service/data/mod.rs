//! Records of streams: received and stored by a thread of their own, kept for as long as policies
//! say, read and followed.
//!
//! See decisions 0059 and 0155.

mod blocks;
mod export;
mod feeds;
mod ingest;
mod latest;
mod ledger;
mod maintenance;
mod part;
mod queue;
mod records;
mod streams;

pub use feeds::{DataFeed, Feeds};
pub(super) use ingest::run as store;
pub use ingest::{Took, take_batch};
pub use latest::{Horizons, WITHIN};
pub use ledger::LedgerPart;
pub use part::Data;
pub use records::{Visitor, Window};
pub use streams::Readable;
pub(super) use streams::no_stream;
