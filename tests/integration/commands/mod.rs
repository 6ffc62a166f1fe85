//! Commands for people: `doctor`, `login`, `tools`, `call`, `resources`, `prompts`, `install`, `migrate` and the others.

mod accounts;
#[cfg(unix)]
mod attach;
mod call;
mod doctor;
#[cfg(unix)]
mod doctor_app;
mod example_session;
#[cfg(unix)]
mod inspect;
#[cfg(unix)]
mod install;
#[cfg(unix)]
mod install_launched;
#[cfg(unix)]
mod install_repair;
#[cfg(unix)]
mod install_several;
mod login;
#[cfg(unix)]
mod login_terminal;
#[cfg(unix)]
mod migrate;
mod prompts;
mod resources;
#[cfg(unix)]
mod snapshots;
mod tools;
