//! The library as applications use it: a real store, a `.env` file, a real OpenBao.
#![expect(
    clippy::unwrap_used,
    reason = "these are tests; clippy sees only functions marked #[test] as such"
)]

mod bao;
mod local;
mod place;
mod server;
mod users;
