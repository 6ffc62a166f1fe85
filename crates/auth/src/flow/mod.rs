//! Flow of a sign-in and of a refresh: the [`policy`], and the steps that it takes.

pub(crate) mod attempt;
pub(crate) mod browser;
pub(crate) mod callback_address;
pub(crate) mod client_choice;
pub(crate) mod command;
pub(crate) mod device_code;

pub(crate) mod examination;
pub(crate) mod external_token;
pub(crate) mod header_program;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod order;
pub(crate) mod overview;
pub(crate) mod own_headers;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod program;
pub(crate) mod proof_of_possession;
pub(crate) mod refresh_pause;
pub(crate) mod renewal;
pub(crate) mod renewal_refusal;
pub(crate) mod secret_headers;
pub(crate) mod session;
pub(crate) mod shared_sign_in;
mod sign_in_elsewhere;
pub(crate) mod sign_in_history;
pub(crate) mod sign_in_lock;
pub(crate) mod sign_out;
pub(crate) mod takeover;
pub(crate) mod unattended;
