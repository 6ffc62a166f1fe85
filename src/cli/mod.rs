//! The command line.
pub mod sign_in;
