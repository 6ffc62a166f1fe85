//! The bridge as an app sees it: the built binary, real pipes, real HTTP.

mod support;

mod stdin;
