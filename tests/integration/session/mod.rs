//! Sessions with the server, and what the app gets while there is none.

mod concurrency;
mod keep_alive;
mod lost_session;
mod provisional_answers;
mod unreachable_server;
mod waiting;
