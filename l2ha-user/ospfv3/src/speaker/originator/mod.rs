//! Our own LSAs.

pub(crate) mod desired;
mod external;
mod ids;
pub(crate) mod originate;
mod summary;
