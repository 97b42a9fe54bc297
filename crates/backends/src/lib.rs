//! Other places secrets live: `.env` files, the environment and secret folders.
//!
//! | module | what it reads | writes |
//! |---|---|---|
//! | [`dotenv`] | `.env` files, as Node's `dotenv` reads them | yes, only the lines that change |
//! | [`mod@env`] | variables handed in, and the files that `NAME_FILE` variables name | no |
//! | [`files`] | folders with a file per secret (Docker, Kubernetes) | no |
//! | [`import`] | what other tools keep or declare, once | no |
//!
//! No error of this crate holds a value or a line of its input: only names, positions and kinds.

#![forbid(unsafe_code)]

pub mod dotenv;
pub mod env;
pub mod file;
pub mod files;
pub mod import;

mod names;
mod pages;
