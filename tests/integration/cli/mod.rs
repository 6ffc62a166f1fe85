//! Command lines, flags in files, and help.

mod drop_in;
mod flag_file;
mod help;
mod refused_arguments;
mod suggestions;
