//! Printable text, secrets, and tables of names: the base of the other crates, without IO and without dependencies.

pub mod name;
pub mod printable;
pub mod secret;
