//! Help for the tests of this workspace.

pub mod corpus;
