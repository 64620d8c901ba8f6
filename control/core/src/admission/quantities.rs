//! Form of CPU time and of sizes.

use super::at::Quantity;
use holdfast_api::units;

/// Regular expressions of CPU time and sizes, for the schema.
pub(crate) const CPU: &str = r"^[0-9]+(\.[0-9]{1,3})?m?$";
const MEMORY: &str = r"^[0-9]+(\.[0-9]{1,3})?(Ki|Mi|Gi|k|M|G)?$";

/// Size in bytes. A number without a unit is bytes.
pub(crate) const SIZE: Quantity<u64> =
    Quantity { parse: units::memory, pattern: MEMORY, bare: "integer" };
