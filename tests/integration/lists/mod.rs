//! Lists of tools, prompts and resources.

mod pages;
mod provisional_lists;
mod tool_filters;
