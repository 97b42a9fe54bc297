//! Applications of our own making, run for real: services are scripts of the shell.

mod control;
mod services;
mod setup;
mod world;
