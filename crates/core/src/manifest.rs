//! The manifest, `strongroom.toml`: what a project declares, and how its profiles differ.

mod raw;
mod read;
mod validate;

use std::collections::BTreeMap;
use std::fmt;

pub use raw::OverlapWait;
pub use raw::Prompt;
pub use raw::Rotation;
pub use raw::TierStrategy;

use crate::registry::Declaration;

/// Largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// Most declarations of one manifest.
pub const DECLARATIONS_MAX: usize = 10_000;
/// Longest chain of `inherits`.
pub const INHERITS_MAX: usize = 8;
/// The profile that is taken when nobody names one.
pub const PROFILE_DEFAULT: &str = "development";

/// A text to read a manifest from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// A project's declarations, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The project's name: the first segment of its secrets' places in a store.
    pub project: String,
    /// What the project is.
    pub description: Option<String>,
    /// The profile that is taken when nobody names one.
    pub default_profile: String,
    profiles: BTreeMap<String, Profile>,
    declarations: Vec<Declaration>,
    rotations: BTreeMap<String, Rotation>,
    places: BTreeMap<String, Place>,
}

/// A profile with everything it inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The backends that are asked, in order; `None` for detection.
    pub chain: Option<Vec<String>>,
    /// Placeholders, plain `http` and values shared with other profiles are errors.
    pub is_strict: bool,
    /// Names whose placeholder values are let through.
    pub allow_placeholders: Vec<String>,
    /// Variables that the child inherits beside the usual ones.
    pub inherit_env: Vec<String>,
}

impl Manifest {
    /// Reads and checks a manifest; later sources override earlier ones. Notices are problems
    /// that do not stop.
    ///
    /// # Errors
    /// All problems found, each with its place; never a value.
    pub fn parse(sources: &[Source<'_>]) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let read = read::read(sources)?;
        validate::validate(read)
    }

    /// The JSON Schema of the file.
    #[must_use]
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(raw::RawManifest)
    }

    /// The declarations, in the order of the file.
    #[must_use]
    pub fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// The policies of rotation by patterns of paths; what they say is in the declarations, too.
    #[must_use]
    pub fn rotations(&self) -> &BTreeMap<String, Rotation> {
        &self.rotations
    }

    /// A declaration by its name.
    #[must_use]
    pub fn declaration(&self, name: &str) -> Option<&Declaration> {
        self.declarations
            .iter()
            .find(|declaration| declaration.name == name)
    }

    /// Where a name is declared.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Option<&Place> {
        self.places.get(&format!("secrets.{name}"))
    }

    /// The profiles: those declared, and development, staging and production in any case.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// A profile by its name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// The folder of a profile's secrets in a store.
    #[must_use]
    pub fn folder(&self, profile: &str) -> String {
        format!("{}/{profile}", self.project)
    }
}

/// Something wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Stable code, e.g. `manifest.unknown_key`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// One thing to do.
    pub hint: Option<String>,
}

/// A place in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The key, e.g. `secrets.JWT_SECRET.format`.
    pub key: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            file,
            line,
            column,
            key,
        } = &self.place;
        write!(f, "{file}:{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The known word nearest to one that is not known.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.75;
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
