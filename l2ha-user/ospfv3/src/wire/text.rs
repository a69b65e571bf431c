//! Values that are shown as text, read again.

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// Reads a text by `read`, which knows all that may be there.
pub(super) fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom(format_args!("`{text}` is not known")))
}
