//! What tells serde that a field is left out.

/// True for a value that its absence stands for.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
