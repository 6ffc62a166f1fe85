//! Keychains of the operating systems: macOS, Windows, and the Secret Service of Linux.

use std::sync::Arc;
use std::time::Duration;

use crate::keychain::vault::Vault;

#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

#[cfg(all(unix, not(target_os = "macos")))]
pub(super) use linux::{HINT, LARGEST_SECRET, LIMIT, open};
#[cfg(any(windows, target_os = "macos"))]
pub(super) use native::{HINT, LARGEST_SECRET, LIMIT, open};

#[cfg(all(unix, not(target_os = "macos")))]
mod linux {
    use super::secret_service::SecretService;
    use super::{Arc, Duration, Vault};

    /// There is no limit that a credential would reach.
    pub(in crate::keychain) const LARGEST_SECRET: usize = usize::MAX;

    /// Limit for an answer: a person may have to unlock it, and a bus that hangs would hang us.
    pub(in crate::keychain) const LIMIT: Duration = Duration::from_secs(30);

    pub(in crate::keychain) const HINT: &str =
        "start GNOME Keyring, KWallet or another keychain with the Secret Service interface";

    pub(in crate::keychain) fn open() -> Result<Arc<dyn Vault>, String> {
        Ok(Arc::new(SecretService::open()?))
    }
}

#[cfg(any(windows, target_os = "macos"))]
mod native {
    use keyring_core::{CredentialStore, Entry, Error};

    use super::{Arc, Duration, Vault};

    #[cfg(windows)]
    use windows_native_keyring_store::Store;

    #[cfg(target_os = "macos")]
    use apple_native_keyring_store::keychain::Store;

    /// Service that the entries belong to, as a person sees it.
    const SERVICE: &str = "mcp-bridge";

    /// `CRED_MAX_CREDENTIAL_BLOB_SIZE`.
    #[cfg(windows)]
    pub(in crate::keychain) const LARGEST_SECRET: usize = 5 * 512;

    /// Limit for an answer. Nobody is asked.
    #[cfg(windows)]
    pub(in crate::keychain) const LIMIT: Duration = Duration::from_secs(30);

    /// There is no limit that a credential would reach, and each entry may be a question to the person.
    #[cfg(target_os = "macos")]
    pub(in crate::keychain) const LARGEST_SECRET: usize = usize::MAX;

    /// Limit for an answer. After each update of the program the system asks the person for their password, in a window that
    /// may lie behind others.
    #[cfg(target_os = "macos")]
    pub(in crate::keychain) const LIMIT: Duration = Duration::from_secs(180);

    pub(in crate::keychain) const HINT: &str = "unlock the keychain and let mcp-bridge use it";

    struct Native(Arc<CredentialStore>);

    pub(in crate::keychain) fn open() -> Result<Arc<dyn Vault>, String> {
        let store = Store::new().map_err(|error| describe(&error))?;
        Ok(Arc::new(Native(store)))
    }

    impl Native {
        fn entry(&self, name: &str) -> Result<Entry, String> {
            let entry = self.0.build(SERVICE, name, None);
            entry.map_err(|error| describe(&error))
        }
    }

    impl Vault for Native {
        fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
            match self.entry(name)?.get_secret() {
                Ok(secret) => Ok(Some(secret)),
                Err(Error::NoEntry) => Ok(None),
                Err(error) => Err(describe(&error)),
            }
        }

        fn set(&self, name: &str, secret: &[u8]) -> Result<(), String> {
            let set = self.entry(name)?.set_secret(secret);
            set.map_err(|error| describe(&error))
        }

        fn delete(&self, name: &str) -> Result<(), String> {
            match self.entry(name)?.delete_credential() {
                Ok(()) | Err(Error::NoEntry) => Ok(()),
                Err(error) => Err(describe(&error)),
            }
        }
    }

    /// The error in words. Some variants hold the secret, and are not asked for it.
    fn describe(error: &Error) -> String {
        match error {
            Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::Ambiguous(_) => {
                "what lies there can't be read".into()
            }
            error => error.to_string(),
        }
    }
}
