//! Mutex without poisoning: what a panicking task leaves behind is used as it is.

use std::sync::{MutexGuard, PoisonError};

/// A [`std::sync::Mutex`] whose lock cannot fail.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the value, and returns it for as long as the guard lives.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_still_there_after_a_panic() {
        let mutex = Mutex::new(1);
        let result = std::panic::catch_unwind(|| {
            let mut value = mutex.lock();
            *value = 2;
            panic!("with the lock held");
        });
        assert!(result.is_err());
        assert_eq!(*mutex.lock(), 2);
    }
}
