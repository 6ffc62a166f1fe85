//! Standard input and output, and the life of the process.

mod fidelity;
mod lifecycle;
mod stdin;
