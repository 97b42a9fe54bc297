//! The user's keyring as a key slot; here are its tests, through the command line.

#[cfg(test)]
mod tests;

pub(crate) use strongroom_chain::oskeyring::SERVICES;
pub(crate) use strongroom_chain::oskeyring::caution;
pub(crate) use strongroom_chain::oskeyring::remove;
pub(crate) use strongroom_chain::oskeyring::set;
