//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

mod support;

mod command_line;
mod fidelity;
mod lifecycle;
mod stdin;
