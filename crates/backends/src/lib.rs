//! Other places secrets live: files, the environment, password managers and plugins.
//!
//! | module | what it reads | writes |
//! |---|---|---|
//! | [`dotenv`] | `.env` files, as Node's `dotenv` reads them | yes, only the lines that change |
//! | [`mod@env`] | variables handed in, and the files that `NAME_FILE` variables name | no |
//! | [`files`] | folders with a file per secret (Docker, Kubernetes, systemd) | a user's own |
//! | [`encrypted`] | files that `sops` or `age` opens | no |
//! | [`vaults`] | `pass`, Bitwarden and 1Password through their programs | `pass` |
//! | [`mod@keyring`] | the desktop's keyring and the kernel's | yes |
//! | [`exec`] | whatever a plugin reads | if it can |
//! | [`import`] | what other tools keep or declare, once | no |
//!
//! [`open`] makes each of them from its line in a chain; [`program`] runs programs of others.
//!
//! No error of this crate holds a value or a line of its input: only names, positions and kinds.

#![forbid(unsafe_code)]

pub mod dotenv;
pub mod encrypted;
pub mod env;
pub mod exec;
pub mod file;
pub mod files;
pub mod import;
pub mod keyring;
pub mod open;
pub mod program;
pub mod vaults;

mod adapter;
mod json;
mod names;
mod pages;
