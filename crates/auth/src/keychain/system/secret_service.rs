//! The keychain of Linux desktops: the Secret Service API, which GNOME Keyring, `KWallet` and `KeePassXC` have
//! on the user's D-Bus (<https://specifications.freedesktop.org/secret-service-spec/0.2>).
//!
//! Secrets pass the bus in plain: who can listen on the user's own bus can ask the keychain just as well.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use dbus::arg::{AppendAll, PropMap, ReadAll, RefArg, Variant};
use dbus::blocking::Connection;
use dbus::message::MatchRule;
use dbus::{Error, Message, Path};
use tokio::time::Instant;

use crate::desktop;
use crate::keychain::vault::Vault;

const BUS_NAME: &str = "org.freedesktop.secrets";
const SERVICE_PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROMPT: &str = "org.freedesktop.Secret.Prompt";

/// Object path for nothing, which no object of the service has.
const NOTHING: &str = "/";

/// Limit for the answer to a call. Being unlocked by a person is no call.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Limit for a person who unlocks it: a little less than the keychain is waited for, so that the
/// window goes away with us.
const PROMPT_LIMIT: Duration = Duration::from_secs(28);

/// The attributes by which entries are found; the names are those that other programs use.
const APPLICATION: &str = "mcp-bridge";

/// A secret as the service wants it: session, parameters, value, content type.
type Secret = (Path<'static>, Vec<u8>, Vec<u8>, String);

/// The keychain. Each call has a connection of its own: there are few, and the service may be restarted.
pub(crate) struct SecretService;

impl SecretService {
    /// Fails where the user has no bus, as on a server.
    pub(crate) fn open() -> Result<Self, String> {
        Bus::connect().map(|_| Self)
    }
}

impl Vault for SecretService {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let bus = Bus::connect()?;
        let Some(item) = bus.find(name)? else {
            return Ok(None);
        };
        let session = bus.open_session()?;
        let (secret,): (Secret,) = bus.call(&item, ITEM, "GetSecret", (session,))?;
        Ok(Some(secret.2))
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), String> {
        let bus = Bus::connect()?;
        let collection = bus.default_collection()?;
        bus.unlock(&collection)?;
        let session = bus.open_session()?;
        let label = format!("{APPLICATION}: {name}");
        let attributes: HashMap<String, String> = attributes(name)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut properties = PropMap::new();
        properties.insert(format!("{ITEM}.Label"), Variant(Box::new(label)));
        properties.insert(format!("{ITEM}.Attributes"), Variant(Box::new(attributes)));
        let content_type = "application/octet-stream".to_owned();
        let secret: Secret = (session, Vec::new(), secret.to_vec(), content_type);
        let replace = true;
        let (_, prompt): (Path<'static>, Path<'static>) = bus.call(
            &collection,
            COLLECTION,
            "CreateItem",
            (properties, secret, replace),
        )?;
        bus.prompt(&prompt)
    }

    fn delete(&self, name: &str) -> Result<(), String> {
        let bus = Bus::connect()?;
        let Some(item) = bus.find(name)? else {
            return Ok(());
        };
        let (prompt,): (Path<'static>,) = bus.call(&item, ITEM, "Delete", ())?;
        bus.prompt(&prompt)
    }
}

/// The user's bus, with the service on it.
struct Bus(Connection);

impl Bus {
    fn connect() -> Result<Self, String> {
        let connection = match desktop::bus_address() {
            Some(address) => Connection::new_address(&address),
            None => Connection::new_session(),
        };
        connection.map(Self).map_err(|error| describe(&error))
    }

    fn call<A: AppendAll, R: ReadAll>(
        &self,
        object: &Path<'static>,
        interface: &str,
        method: &str,
        arguments: A,
    ) -> Result<R, String> {
        let proxy = self.0.with_proxy(BUS_NAME, object.clone(), CALL_LIMIT);
        let answer = proxy.method_call(interface, method, arguments);
        answer.map_err(|error| describe(&error))
    }

    fn open_session(&self) -> Result<Path<'static>, String> {
        let nothing = Variant(Box::new(String::new()) as Box<dyn RefArg>);
        let (_, session): (Variant<Box<dyn RefArg>>, Path<'static>) = self.call(
            &SERVICE_PATH.into(),
            SERVICE,
            "OpenSession",
            ("plain", nothing),
        )?;
        Ok(session)
    }

    fn default_collection(&self) -> Result<Path<'static>, String> {
        let (collection,): (Path<'static>,) =
            self.call(&SERVICE_PATH.into(), SERVICE, "ReadAlias", ("default",))?;
        if &*collection == NOTHING {
            return Err("it has no default keyring yet".into());
        }
        Ok(collection)
    }

    /// The entry of this name, unlocked.
    fn find(&self, name: &str) -> Result<Option<Path<'static>>, String> {
        let (unlocked, locked): (Vec<Path<'static>>, Vec<Path<'static>>) = self.call(
            &SERVICE_PATH.into(),
            SERVICE,
            "SearchItems",
            (attributes(name),),
        )?;
        if let Some(item) = unlocked.into_iter().next() {
            return Ok(Some(item));
        }
        let Some(item) = locked.into_iter().next() else {
            return Ok(None);
        };
        self.unlock(&item)?;
        Ok(Some(item))
    }

    fn unlock(&self, object: &Path<'static>) -> Result<(), String> {
        let (_, prompt): (Vec<Path<'static>>, Path<'static>) = self.call(
            &SERVICE_PATH.into(),
            SERVICE,
            "Unlock",
            (vec![object.clone()],),
        )?;
        self.prompt(&prompt)
    }

    /// Has the person asked, if the service wants that, and waits for their answer.
    fn prompt(&self, prompt: &Path<'static>) -> Result<(), String> {
        if &**prompt == NOTHING {
            return Ok(());
        }
        let (sender, answer) = mpsc::channel();
        let completed =
            MatchRule::new_signal(PROMPT, "Completed").with_path(prompt.clone().into_static());
        self.0
            .add_match(completed, move |(dismissed,): (bool,), _, _: &Message| {
                let _ = sender.send(dismissed);
                true
            })
            .map_err(|error| describe(&error))?;
        let () = self.call(prompt, PROMPT, "Prompt", ("",))?;
        let deadline = Instant::now() + PROMPT_LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _: Result<(), _> = self.call(prompt, PROMPT, "Dismiss", ());
                return Err("nobody unlocked it".into());
            }
            self.0.process(left).map_err(|error| describe(&error))?;
            match answer.try_recv() {
                Ok(true) => return Err("it was not unlocked".into()),
                Ok(false) => return Ok(()),
                Err(_) => {}
            }
        }
    }
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", APPLICATION), ("username", name)])
}

/// Words of the bus, in one line.
fn describe(error: &Error) -> String {
    match (error.name(), error.message()) {
        (Some("org.freedesktop.DBus.Error.ServiceUnknown"), _) => {
            "no keychain runs in this session".into()
        }
        (_, Some(message)) => message.replace('\n', " "),
        (Some(name), None) => name.to_owned(),
        (None, None) => "the bus gave no reason".into(),
    }
}
