//! Lists of tools, prompts and resources.

mod pages;
#[cfg(unix)]
mod provisional_lists;
mod tool_filters;
