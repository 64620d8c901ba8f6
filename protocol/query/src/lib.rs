//! Questions over records, answered where the records are: parsed ([`parse`]), sent ([`Question`]),
//! carried out in bounded memory ([`Run`]) and merged in the control plane ([`Groups`]).
//!
//! Records are searched for the paths of the question and not built in memory. The answers of
//! devices ([`Partial`]) merge in any order: counts, least and greatest, last values and the sketch
//! of quantiles exactly, sums and deviations to within the last digits of a double. Whole numbers
//! of 64 bits keep every digit ([`Number`]).

mod answer;
mod ast;
mod cbor;
mod find;
mod groups;
mod json;
mod number;
pub mod parse;
pub mod path;
mod run;
pub mod sketch;
pub mod tally;
mod wire;
mod word;

pub use answer::{MAX_PARTIAL, MAX_ROWS, NotAnAnswer, NotPacked};
pub use ast::{
    Comparison, Condition, Exceeded, Function, MAX_BY, MAX_NESTED, MAX_SELECT, MAX_TERMS, MAX_TEXT,
    Operand, Question, Select,
};
pub use groups::{
    AT_THE_CENTRE, AT_THE_EDGE, Counted, Group, Groups, Key, Limits, MAX_KEY, Partial, Plan,
};
pub use number::Number;
pub use parse::Fault;
pub use path::{BadPath, Found, Path, Paths};
pub use run::Run;
pub use sketch::Sketch;
pub use tally::{Kept, Tally};
