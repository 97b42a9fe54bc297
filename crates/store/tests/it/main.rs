//! The storages against their contract, and the embedded one against what happens to files.

mod concurrent;
mod contract;
mod damage;
mod place;
mod rows;
mod support;
mod vault;
