//! The storages against their contract, and the embedded one against what happens to files.

mod contract;
mod place;
mod support;
