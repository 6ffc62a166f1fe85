//! Keychain in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Vault;

/// A keychain in memory.
#[derive(Default)]
pub(crate) struct MemoryVault(pub(crate) Mutex<BTreeMap<String, Vec<u8>>>);

impl Vault for MemoryVault {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), String> {
        self.0.lock().unwrap().insert(name.into(), secret.into());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), String> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}
