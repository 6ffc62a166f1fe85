//! Flags of the place of stored credentials: `--store`, and the keys that encrypt what is there.

use std::ffi::OsStr;
use std::path::Path;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, ValueEnum};

use super::choices::PlaceFlag;
use super::client::read;
use super::data_directory::DataDirectory;
use super::environment::{Environment, ProcessEnvironment};
use super::error::FlagError;
use super::store_key::StoreKeyFlags;
use mcp_bridge_auth::{self as auth, SharedPlace, Store, StoreAddress, StoreKeys};
use mcp_bridge_text::secret::Secret;

const FLAG: &str = "--store";

/// A place that has a name, or the address of a store that several machines share.
#[derive(Debug, Clone)]
pub enum PlaceOrAddress<P> {
    /// A place on this machine.
    Place(P),
    /// An address, or `@` and the file that holds it.
    Address(AddressText),
}

/// An address as it was given.
#[derive(Debug, Clone)]
pub struct AddressText {
    text: Secret<String>,
    source: AddressSource,
}

/// Source of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressSource {
    /// Everybody sees it who lists processes or reads a configuration.
    Arguments,
    /// A variable.
    Environment,
}

/// Reads a [`PlaceOrAddress`].
#[derive(Debug, Clone)]
pub struct PlaceOrAddressParser<P: ValueEnum + Clone + Send + Sync + 'static>(EnumValueParser<P>);

/// Flags of the place of stored credentials.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreFlags {
    /// Place for tokens: by default where they are now, or where `mcp-bridge store` moved them. Several machines can
    /// share a Redis: `redis://HOST/DB`, `rediss://HOST` or @FILE with such an address
    #[arg(
        long,
        value_name = "WHERE",
        value_parser = PlaceOrAddressParser::<PlaceFlag>::new(),
        env = "MCP_BRIDGE_STORE",
        hide_env = true,
        hide_env_values = true
    )]
    store: Option<PlaceOrAddress<PlaceFlag>>,

    #[command(flatten)]
    store_key: StoreKeyFlags,
}

impl<P: ValueEnum + Clone + Send + Sync + 'static> PlaceOrAddressParser<P> {
    /// A parser.
    #[must_use]
    pub fn new() -> Self {
        Self(EnumValueParser::new())
    }
}

impl<P: ValueEnum + Clone + Send + Sync + 'static> Default for PlaceOrAddressParser<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for PlaceOrAddressParser<P> {
    type Value = PlaceOrAddress<P>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, clap::Error> {
        let text = value.to_string_lossy();
        if !text.contains("://") && !text.starts_with('@') {
            let place = self.0.parse_ref(command, arg, value)?;
            return Ok(PlaceOrAddress::Place(place));
        }
        if !text.starts_with('@') && !StoreAddress::is_meant_by(&text) {
            // It is not repeated, since it may hold a password.
            let problem = "the address of a store begins with redis:// or rediss://\n";
            return Err(clap::Error::raw(ErrorKind::ValueValidation, problem));
        }
        Ok(PlaceOrAddress::Address(AddressText {
            text: Secret::new(text.into_owned()),
            source: match source {
                ValueSource::EnvVariable => AddressSource::Environment,
                _ => AddressSource::Arguments,
            },
        }))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

impl AddressText {
    /// The address. A password that everybody sees is refused.
    pub fn address(&self, flag: &'static str) -> Result<StoreAddress, FlagError> {
        let wrong = |problem: String| FlagError::new(flag, problem);
        let text = self.text.expose();
        let (text, is_seen) = match text.strip_prefix('@') {
            Some(path) => (read(flag, Path::new(path))?, false),
            None => (text.clone(), self.source == AddressSource::Arguments),
        };
        let address = StoreAddress::parse(&text).map_err(|error| wrong(error.to_string()))?;
        if is_seen && address.has_password() {
            let problem = "has a password that everybody sees who lists processes: put the address into a file \
                           and pass @FILE, or into MCP_BRIDGE_STORE";
            return Err(wrong(problem.to_owned()));
        }
        Ok(address)
    }
}

impl StoreFlags {
    /// The place, if it was chosen, and the keys, if there are any.
    pub(super) fn choices(
        &self,
        environment: &impl Environment,
    ) -> Result<(Option<Store>, Option<StoreKeys>), FlagError> {
        let keys = self.store_key.keys(environment)?;
        let address = match &self.store {
            None => return Ok((None, keys)),
            Some(PlaceOrAddress::Place(place)) => return Ok((Some((*place).into()), keys)),
            Some(PlaceOrAddress::Address(text)) => text.address(FLAG)?,
        };
        let Some(keys) = keys else {
            let problem = "with an address needs --store-key-file or MCP_BRIDGE_STORE_KEY: what others keep for us is \
                           encrypted (mcp-bridge store key prints a key)";
            return Err(FlagError::new(FLAG, problem));
        };
        let store = Store::Shared(Box::new(SharedPlace {
            address,
            keys: keys.clone(),
        }));
        Ok((Some(store), Some(keys)))
    }

    /// A configuration that says where accounts are stored, and nothing else.
    pub fn config(&self) -> Result<auth::Config, FlagError> {
        let (store, store_keys) = self.choices(&ProcessEnvironment)?;
        Ok(auth::Config {
            directory: DataDirectory::of(&ProcessEnvironment).path(),
            store,
            store_keys,
            ..auth::Config::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::environment::fixed::Fixed;
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: StoreFlags,
    }

    fn store(value: &str, key: Option<&'static str>) -> Result<Option<Store>, String> {
        let line = Line::try_parse_from(["mcp-bridge", "--store", value]);
        let line = line.map_err(|error| error.to_string())?;
        let variables: Vec<_> = key
            .map(|key| ("MCP_BRIDGE_STORE_KEY", key))
            .into_iter()
            .collect();
        let choices = line.flags.choices(&Fixed::new(&variables));
        choices.map(|it| it.0).map_err(|error| error.to_string())
    }

    #[test]
    fn a_place_has_a_name_or_an_address() {
        assert_eq!(store("file", None), Ok(Some(Store::File)));
        let shared = store("redis://h/1", Some(KEY)).unwrap();
        assert!(matches!(shared, Some(Store::Shared(_))));
        assert!(store("fil", None).unwrap_err().contains("file"));
    }

    #[test]
    fn what_is_stored_at_an_address_is_always_encrypted() {
        let error = store("rediss://h", None).unwrap_err();
        assert!(error.contains("--store-key-file"), "{error}");
    }

    #[test]
    fn a_password_among_the_arguments_is_refused_and_taken_from_a_file() {
        let address = "redis://:hunter2@h";
        let error = store(address, Some(KEY)).unwrap_err();
        assert!(error.contains("@FILE"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{address}\n")).unwrap();
        let path = format!("@{}", file.path().display());
        assert!(store(&path, Some(KEY)).is_ok());
        let error = store("postgres://:hunter2@h", Some(KEY)).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
