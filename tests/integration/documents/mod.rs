//! Documents of the repository.

mod config_files;
mod readme_and_links;
mod requirements;
