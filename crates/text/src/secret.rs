//! Secret values, which can be sent but not printed.

use std::fmt;

/// A token, code, verifier or client secret.
///
/// There is no `Display`, and `Debug` prints `REDACTED`, so a secret cannot reach a log by accident.
/// [`Secret::expose`] marks each place that really needs the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value that must not be printed.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the place that sends or stores it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_redacted() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "REDACTED");
    }
}
