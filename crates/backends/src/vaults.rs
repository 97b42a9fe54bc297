//! Password managers, asked through their own command line programs.

mod bitwarden;
mod item;
mod onepassword;
mod pass;
#[cfg(test)]
mod tests;

pub use bitwarden::bitwarden;
pub use onepassword::onepassword;
pub use pass::PassValue;
pub use pass::pass;
