//! The door that Vault clients use: everything below `/v1/`.

pub(crate) mod approle;
pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod cubbyhole;
pub(crate) mod database;
pub(crate) mod dispatch;
pub(crate) mod error;
pub(crate) mod field;
pub(crate) mod keys;
pub(crate) mod kv1;
pub(crate) mod kv2;
pub(crate) mod login;
pub(crate) mod query;
pub(crate) mod renewal;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod spelling;
pub(crate) mod sys;
pub(crate) mod token;
pub(crate) mod userpass;
pub(crate) mod wrap;

#[cfg(test)]
pub(crate) mod tests;
