//! The menu: resources that change while clients are connected.

use tokio::sync::watch;

/// Most coffees on the menu.
const MAX_COFFEES: usize = 20;

/// Longest name of a coffee, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// Start of a coffee's URI, before its number.
const URI_PREFIX: &str = "coffee://menu/";

/// The coffees, the same for everybody. Whoever holds a [`Menu::changes`] learns of new ones.
#[derive(Clone)]
pub(crate) struct Menu(watch::Sender<Vec<String>>);

/// Reasons to refuse a new coffee.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MenuError {
    #[error("a coffee has a name of 1 to {MAX_NAME_BYTES} bytes")]
    Name,
    #[error("it is on the menu already")]
    Known,
    #[error("there are {MAX_COFFEES} coffees on the menu, which is enough")]
    Full,
}

impl Default for Menu {
    fn default() -> Self {
        let coffees = ["Espresso", "Filter", "Flat white"].map(str::to_owned);
        Self(watch::Sender::new(coffees.to_vec()))
    }
}

impl Menu {
    /// Each coffee with its URI.
    pub(crate) fn coffees(&self) -> Vec<(String, String)> {
        let coffees = self.0.borrow();
        let numbered = coffees.iter().enumerate();
        numbered
            .map(|(number, name)| (format!("{URI_PREFIX}{number}"), name.clone()))
            .collect()
    }

    /// The name of the coffee with this URI.
    pub(crate) fn coffee(&self, uri: &str) -> Option<String> {
        let number: usize = uri.strip_prefix(URI_PREFIX)?.parse().ok()?;
        self.0.borrow().get(number).cloned()
    }

    /// Adds a coffee and tells everybody.
    pub(crate) fn add(&self, name: &str) -> Result<(), MenuError> {
        let mut outcome = Ok(());
        self.0.send_if_modified(|coffees| {
            outcome = may_join(coffees, name);
            if outcome.is_ok() {
                coffees.push(name.to_owned());
            }
            outcome.is_ok()
        });
        outcome
    }

    /// Learns of all that changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Vec<String>> {
        self.0.subscribe()
    }
}

fn may_join(coffees: &[String], name: &str) -> Result<(), MenuError> {
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Err(MenuError::Name);
    }
    if coffees.iter().any(|known| known == name) {
        return Err(MenuError::Known);
    }
    if coffees.len() >= MAX_COFFEES {
        return Err(MenuError::Full);
    }
    Ok(())
}
