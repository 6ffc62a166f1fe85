//! Sign-in by the program: browsers, processes, stored credentials.

#[cfg(unix)]
mod auth_command;
#[cfg(target_os = "linux")]
mod bare_environment;
mod company;
mod dpop;
#[cfg(unix)]
mod encrypted_files;
#[cfg(unix)]
mod header_command;
mod http_sse;
#[cfg(target_os = "linux")]
mod linger;
mod own_headers;
mod processes;
#[cfg(target_os = "linux")]
mod secret_service;
mod shared_sign_in;
#[cfg(unix)]
mod shared_store;
pub(crate) mod sign_in;
mod sign_in_notice;
#[cfg(target_os = "linux")]
mod stored_files;
#[cfg(windows)]
mod windows;
