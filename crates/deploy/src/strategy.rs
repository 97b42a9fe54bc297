//! What is done with a secret when the application is shipped.

use std::fmt;
use std::str::FromStr;

use strongroom_core::manifest::did_you_mean;

/// What is done with a secret in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// It is left out.
    Strip,
    /// It is drawn or made up on the machine, once for each installation.
    Generate,
    /// A person is asked for it.
    Prompt,
    /// It is fetched where it is kept, when the application starts.
    Fetch,
}

impl Strategy {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Strip, Self::Generate, Self::Prompt, Self::Fetch];

    /// Its word in manifests and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Strip => "strip",
            Self::Generate => "generate",
            Self::Prompt => "prompt",
            Self::Fetch => "fetch",
        }
    }

    /// The word of the documented answers, where fetching is delegating.
    #[must_use]
    pub fn wire(self) -> &'static str {
        match self {
            Self::Fetch => "delegate",
            other => other.word(),
        }
    }

    /// The class of such a secret in a bundle; `None` for what is left out.
    #[must_use]
    pub fn bundle_class(self) -> Option<&'static str> {
        match self {
            Self::Strip => None,
            Self::Generate => Some("per_install_generated"),
            Self::Prompt => Some("user_prompt"),
            Self::Fetch => Some("remote_fetch"),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Other words for strategies, in lower case with underscores.
const WORDS: &[(&str, Strategy)] = &[
    ("strip", Strategy::Strip),
    ("drop", Strategy::Strip),
    ("exclude", Strategy::Strip),
    ("generate", Strategy::Generate),
    ("per_install_generated", Strategy::Generate),
    ("generate_sqlite_path", Strategy::Generate),
    ("prompt", Strategy::Prompt),
    ("prompt_user", Strategy::Prompt),
    ("user_prompt", Strategy::Prompt),
    ("fetch", Strategy::Fetch),
    ("remote_fetch", Strategy::Fetch),
    ("delegate", Strategy::Fetch),
    ("reuse", Strategy::Fetch),
    ("environment_variable", Strategy::Fetch),
];

impl FromStr for Strategy {
    type Err = ParseStrategyError;

    /// Any of the words, in any case, with `_` or `-`.
    fn from_str(text: &str) -> Result<Self, ParseStrategyError> {
        let word = text.trim().to_lowercase().replace('-', "_");
        let found = WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, strategy)| *strategy).ok_or_else(|| {
            let near = did_you_mean(&word, WORDS.iter().map(|(known, _)| *known));
            ParseStrategyError {
                text: text.chars().take(40).collect(),
                near: near.map_or_else(String::new, |near| format!("; did you mean '{near}'?")),
            }
        })
    }
}

/// A word that names no strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no strategy '{text}'; there are strip, generate, prompt and fetch{near}")]
pub struct ParseStrategyError {
    text: String,
    near: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_words_mean_four_things() {
        for (word, strategy) in [
            ("strip", Strategy::Strip),
            ("Generate", Strategy::Generate),
            ("generate_sqlite_path", Strategy::Generate),
            ("prompt-user", Strategy::Prompt),
            ("delegate", Strategy::Fetch),
            ("remote_fetch", Strategy::Fetch),
            ("environment_variable", Strategy::Fetch),
        ] {
            assert_eq!(word.parse(), Ok(strategy), "{word}");
        }
        let error = "promt".parse::<Strategy>().unwrap_err().to_string();
        assert!(error.ends_with("did you mean 'prompt'?"), "{error}");
    }
}
