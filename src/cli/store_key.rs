//! Flag of the keys that encrypt stored credentials.

use std::path::PathBuf;

use clap::Args;

use super::client::read;
use super::environment::Environment;
use super::error::FlagError;
use mcp_bridge_auth::StoreKeys;

const FLAG: &str = "--store-key-file";

/// The variable that holds the keys themselves. There is no flag for them: a command line is seen by everybody.
const VARIABLE: &str = "MCP_BRIDGE_STORE_KEY";

/// Flag of the keys that encrypt stored credentials.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct StoreKeyFlags {
    /// The file with the keys that encrypt what is stored, one in a line; the first one encrypts
    #[arg(
        long,
        value_name = "FILE",
        env = "MCP_BRIDGE_STORE_KEY_FILE",
        hide_env = true
    )]
    store_key_file: Option<PathBuf>,
}

impl StoreKeyFlags {
    /// The keys, if there are any.
    pub(super) fn keys(
        &self,
        environment: &impl Environment,
    ) -> Result<Option<StoreKeys>, FlagError> {
        let (source, text) = match &self.store_key_file {
            Some(path) => (FLAG, Some(read(FLAG, path)?)),
            None => (VARIABLE, environment.variable(VARIABLE)),
        };
        let keys = text.map(|text| StoreKeys::parse(&text)).transpose();
        keys.map_err(|error| FlagError::new(source, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::fixed::Fixed;
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    /// The names of the keys.
    fn id(keys: Option<StoreKeys>) -> String {
        format!("{:?}", keys.unwrap())
    }

    #[test]
    fn keys_come_from_a_file_or_else_from_the_environment() {
        let variables = Fixed::new(&[(VARIABLE, KEY)]);
        let none = StoreKeyFlags::default();
        assert!(none.keys(&Fixed::new(&[])).unwrap().is_none());
        let of_variable = id(none.keys(&variables).unwrap());

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), OTHER).unwrap();
        let flags = StoreKeyFlags {
            store_key_file: Some(file.path().to_owned()),
        };
        assert_ne!(id(flags.keys(&variables).unwrap()), of_variable);
    }

    #[test]
    fn a_wrong_key_is_an_error_that_names_its_source_and_not_the_key() {
        let error = StoreKeyFlags::default()
            .keys(&Fixed::new(&[(VARIABLE, "hunter2!")]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(VARIABLE), "{error}");
        assert!(!error.contains("hunter2"), "{error}");

        let flags = StoreKeyFlags {
            store_key_file: Some("/nonexistent/key".into()),
        };
        let error = flags.keys(&Fixed::new(&[])).unwrap_err().to_string();
        assert!(error.contains(FLAG), "{error}");
    }
}
