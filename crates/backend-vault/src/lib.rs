//! Secrets in HashiCorp Vault and OpenBao: the KV engines, version 1 and 2, and plain reads of
//! others (leased credentials).
//!
//! # Where a secret is
//!
//! `vault:[//[namespace@]host[:port]/][MOUNT[/PREFIX]][?options]`. An *address* is a path below
//! what the URI names, and nothing is added to it:
//!
//! | URI | address | read at |
//! |---|---|---|
//! | `vault:secret` | `jwt/secret_key` | `secret/data/jwt/secret_key` |
//! | `vault:secret/apps` | `jwt/secret_key` | `secret/data/apps/jwt/secret_key` |
//! | `vault:` | `jwt/secret_key` | `secret/data/jwt/secret_key` |
//! | `vault:` | `team/jwt`, with a KV engine mounted at `team/` | `team/data/jwt` |
//!
//! A chain maps a declared secret to an address: by `name=` where it is given; else to its path
//! (`{path}`) where the URI names a mount, because who names a place means that place; else to
//! `{project}/{profile}/{path}`, so that projects which share a server do not meet. Migration
//! copies addresses as they are. Both read the same place for the same URI.
//!
//! # When the server is asked what
//!
//! [`VaultBackend::open`] asks nothing. The first request logs in, and asks which engine is
//! mounted; [`Backend::capabilities`](strongroom_core::port::Backend::capabilities) are those of
//! KV version 2 until then (or of `kv=`). Whoever plans by capabilities calls
//! [`VaultBackend::prepare`] or `health` first.
//!
//! Every call ends within the timeout (a bulk call within that and as much again for each 200
//! secrets). There is no task in the background: tokens are renewed by the requests that use them.

mod address;
mod api;
mod backend;
mod client;
mod explain;
mod kv;
mod mounts;
mod session;
mod settings;
mod value;

pub use api::Api;
pub use api::ApiAnswer;
pub use api::As;
pub use api::Call;
pub use backend::VaultBackend;
