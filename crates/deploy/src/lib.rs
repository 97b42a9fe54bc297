//! What happens to an application's secrets when it is shipped: what is left out, drawn, asked
//! for or fetched in each tier, and why.
//!
//! Everything here is a pure function over data: no IO, no clock, no randomness, no runtime. No
//! secret's value is ever here; manifests, registries and bundles hold declarations.

pub mod assemble;
pub mod build;
pub mod bundle;
pub mod cascade;
pub mod deployment;
pub mod fitness;
pub mod identify;
pub mod json;
pub mod lint;
pub mod need;
pub mod plan;
pub mod registry;
pub mod resource;
pub mod service;
pub mod strategy;
pub mod swap;
pub mod template;
pub mod tier;
