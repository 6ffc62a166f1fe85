//! Standard input and output, and the life of the process.

mod fidelity;
mod lifecycle;
#[cfg(windows)]
mod named_pipe;
mod stdin;
