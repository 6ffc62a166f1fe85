//! Printable text, secrets, random strings, and tables of names: the base of the other crates, without IO.

pub mod name;
pub mod printable;
pub mod random;
pub mod redaction;
pub mod secret;
