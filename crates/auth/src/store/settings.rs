//! Settings of the credential store (`settings.json`): files or keychain, so that no configuration of an app has to
//! say it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::store::credential::without_query;
use crate::store::record::Place;
use mcp_bridge_net::private_file::{private_directory, read_trusted, write_private};

const FILE: &str = "settings.json";

/// The file, as the log names it.
const KIND: &str = "the file of settings";

/// Choices of the user.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// For servers that are not named below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Place>,
    /// By the server's URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    servers: BTreeMap<String, ServerSettings>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServerSettings {
    store: Place,
}

/// Servers that a choice is for.
#[derive(Debug, Clone, Copy)]
pub enum Servers<'a> {
    /// All, those of the future as well.
    All,
    /// This one.
    One(&'a Url),
}

impl Settings {
    /// Reads the choices of the user; what cannot be read is no choice.
    pub(crate) fn read(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let Some(text) = read_trusted(&path, KIND) else {
            return Self::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|problem| {
            tracing::warn!(file = %path.display(), %problem, "{KIND} is ignored");
            Self::default()
        })
    }

    /// The place that was chosen for this server alone.
    pub(crate) fn place_for(&self, server: &Url) -> Option<Place> {
        let server = without_query(server.clone());
        Some(self.servers.get(server.as_str())?.store)
    }
}

/// Place for the secrets of a server that nothing is known of.
#[must_use]
pub fn place_of_new(directory: &Path) -> Place {
    Settings::read(directory).store.unwrap_or_default()
}

/// Writes down that secrets belong at `place` from now on.
pub fn choose_place(directory: &Path, servers: Servers<'_>, place: Place) -> io::Result<()> {
    private_directory(directory)?;
    let mut settings = Settings::read(directory);
    match servers {
        Servers::All => {
            settings = Settings {
                store: Some(place),
                ..Settings::default()
            };
        }
        Servers::One(server) => {
            let server = without_query(server.clone());
            settings
                .servers
                .insert(server.into(), ServerSettings { store: place });
        }
    }
    write_private(&directory.join(FILE), &settings)
}
