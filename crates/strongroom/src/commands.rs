//! One file per command: its arguments, whose docs are the help text, and one function.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod carry;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod meta;
pub(crate) mod migrate;
pub(crate) mod operator;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod tag;
