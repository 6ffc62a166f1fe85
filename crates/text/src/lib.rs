//! Text that strangers choose, and text that nobody may see: the base of the other crates, without IO and without
//! dependencies.

pub mod name;
pub mod printable;
pub mod secret;
