//! The people who can sign in. Nobody has a password here: pick one on the page.

/// Somebody with an account.
pub(crate) struct User {
    /// Identifier that never changes, the `sub` of other systems.
    pub(crate) id: &'static str,
    /// Full name.
    pub(crate) name: &'static str,
    /// E-mail address.
    pub(crate) email: &'static str,
    /// Their drink.
    pub(crate) favourite_coffee: &'static str,
}

/// Every account.
pub(crate) const USERS: [User; 3] = [
    User {
        id: "ada",
        name: "Ada Lovelace",
        email: "ada@example.com",
        favourite_coffee: "espresso",
    },
    User {
        id: "grace",
        name: "Grace Hopper",
        email: "grace@example.com",
        favourite_coffee: "filter",
    },
    User {
        id: "katherine",
        name: "Katherine Johnson",
        email: "katherine@example.com",
        favourite_coffee: "cappuccino",
    },
];

/// The account with this id.
pub(crate) fn find(id: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.id == id)
}
