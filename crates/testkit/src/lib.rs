//! Fakes and contract suites for tests. A dev-dependency only.

pub mod backend_contract;
pub mod backend_faults;
pub mod canary;
pub mod certificates;
pub mod clock;
pub mod fault;
pub mod history;
pub mod mail;
pub mod mariadb;
pub mod openbao;
pub mod port;
pub mod postgres;
pub mod redis;
pub mod rng;
pub mod store_contract;
pub mod userkeys;
