//! Faults of the parameters of a request's query.
//!
//! See decision 0144.

/// Fault of one parameter. Its text follows the parameter's name, but for those that name it
/// themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// Text of more characters than the limit that it holds.
    #[error("at most {0} characters")]
    Characters(usize),
    /// Text of more bytes than the limit that it holds.
    #[error("at most {0} bytes")]
    Bytes(usize),
    /// Text that is no time; names the parameter itself.
    #[error("{name}={text}: RFC 3339, or a length of time before now such as 2h")]
    Time {
        /// Name of the parameter.
        name: String,
        /// Text that was given.
        text: String,
    },
    /// Word of a list that is none of the known ones.
    #[error("{word}: one or more of {}", known.join(", "))]
    Word {
        /// Word that was given.
        word: String,
        /// Words that are known.
        known: Vec<&'static str>,
    },
    /// Word of a list that is none of these.
    #[error("of {0}, with commas")]
    NoneOf(String),
    /// Sort key that is none of the known ones.
    #[error("one of {}, with - before it for the greatest first", .0.join(", "))]
    Order(Vec<&'static str>),
    /// Fault of the parameter of this name.
    #[error("{0}: {1}")]
    Of(&'static str, Box<BadParameter>),
}

impl BadParameter {
    /// Returns a function that says of which parameter a fault is.
    pub(super) fn of(name: &'static str) -> impl Fn(Self) -> Self {
        move |fault| Self::Of(name, Box::new(fault))
    }
}
