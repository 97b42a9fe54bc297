//! The command line as its users try it: the real binary, in a place of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are tests; clippy sees only functions marked #[test] as such"
)]

#[path = "../../examples/support/attacks.rs"]
mod attacks;
mod scan;
mod served;
mod support;

mod acceptance;
mod administer;
mod audit_files;
mod aws_clients;
mod bad_input;
mod bundle;
mod cache;
mod catalogue;
mod check;
mod clients;
mod desktop_app;
mod durability;
mod export;
mod first_use;
mod hostile;
mod hostile_more;
mod images;
mod init_import;
mod json_reference;
mod keys;
mod leases;
mod ledger;
mod migrate;
mod on_server;
mod peers;
mod plan;
mod remote;
mod remote_verbs;
mod requirement_003;
mod rotate;
mod rotate_kill;
mod run;
mod supervise;
mod userkeys;
mod values;
mod vendors;
mod watch;
