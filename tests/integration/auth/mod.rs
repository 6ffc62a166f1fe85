//! Sign-in by the program: browsers, processes, stored credentials.

#[cfg(unix)]
mod auth_command;
#[cfg(target_os = "linux")]
mod bare_environment;
#[cfg(unix)]
mod http_sse;
#[cfg(target_os = "linux")]
mod linger;
#[cfg(unix)]
mod processes;
#[cfg(unix)]
mod secret_service;
pub(crate) mod sign_in;
#[cfg(unix)]
mod sign_in_notice;
#[cfg(target_os = "linux")]
mod stored_files;
