//! Place for small secrets, as the operating system has one.

/// A place for small secrets, as operating systems have one. Its methods block, perhaps for as long as a
/// person takes to unlock it. Errors are sentences without secrets.
pub trait Vault: Send + Sync + 'static {
    /// The secret of this name; none if there is none.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String>;
    /// Makes or replaces the secret of this name.
    fn set(&self, name: &str, secret: &[u8]) -> Result<(), String>;
    /// Removes the secret of this name, if there is one.
    fn delete(&self, name: &str) -> Result<(), String>;
}
