//! Where an application is shipped to.

use std::fmt;
use std::str::FromStr;

use strongroom_core::manifest::did_you_mean;

/// A kind of place that an application is shipped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The developer's machine, or the server that everything else is reached through.
    LocalDev,
    /// An application on somebody's computer.
    Desktop,
    /// An application on somebody's telephone.
    Mobile,
    /// A service in a cloud.
    Cloud,
    /// A customer's own installation.
    Enterprise,
}

impl Tier {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::LocalDev,
        Self::Desktop,
        Self::Mobile,
        Self::Cloud,
        Self::Enterprise,
    ];

    /// Its number, 1 to 5.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::LocalDev => 1,
            Self::Desktop => 2,
            Self::Mobile => 3,
            Self::Cloud => 4,
            Self::Enterprise => 5,
        }
    }

    /// Its name in manifests and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalDev => "local_dev",
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Cloud => "cloud",
            Self::Enterprise => "enterprise",
        }
    }

    /// Its name with its number, as the documented answers have it.
    #[must_use]
    pub fn numbered(self) -> &'static str {
        match self {
            Self::LocalDev => "tier-1-local",
            Self::Desktop => "tier-2-desktop",
            Self::Mobile => "tier-3-mobile",
            Self::Cloud => "tier-4-saas",
            Self::Enterprise => "tier-5-enterprise",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::LocalDev => "Local",
            Self::Desktop => "Desktop",
            Self::Mobile => "Mobile",
            Self::Cloud => "Cloud",
            Self::Enterprise => "Enterprise",
        }
    }

    /// True where what is shipped lies in strangers' hands: nothing of the server's own may be in
    /// it.
    #[must_use]
    pub fn is_handed_out(self) -> bool {
        matches!(self, Self::Desktop | Self::Mobile)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Other names of tiers, in lower case with hyphens.
const ALIASES: &[(&str, Tier)] = &[
    ("1", Tier::LocalDev),
    ("local", Tier::LocalDev),
    ("local-dev", Tier::LocalDev),
    ("dev", Tier::LocalDev),
    ("developer", Tier::LocalDev),
    ("server", Tier::LocalDev),
    ("2", Tier::Desktop),
    ("desktop", Tier::Desktop),
    ("3", Tier::Mobile),
    ("mobile", Tier::Mobile),
    ("ios", Tier::Mobile),
    ("android", Tier::Mobile),
    ("4", Tier::Cloud),
    ("cloud", Tier::Cloud),
    ("saas", Tier::Cloud),
    ("web", Tier::Cloud),
    ("5", Tier::Enterprise),
    ("enterprise", Tier::Enterprise),
    ("on-prem", Tier::Enterprise),
    ("appliance", Tier::Enterprise),
];

impl FromStr for Tier {
    type Err = ParseTierError;

    /// Any of the names, in any case, with `_` or `-`; `tier-2` and `tier-2-desktop` too.
    fn from_str(text: &str) -> Result<Self, ParseTierError> {
        let word = text.trim().to_lowercase().replace(['_', ' '], "-");
        let known = |word: &str| {
            let found = ALIASES.iter().find(|(alias, _)| *alias == word);
            found.map(|(_, tier)| *tier)
        };
        let tier = known(&word).or_else(|| {
            let rest = word.strip_prefix("tier-")?;
            match rest.split_once('-') {
                None => known(rest).filter(|_| rest.len() == 1),
                // The number and the name must mean the same.
                Some((number, name)) => known(number)
                    .filter(|_| number.len() == 1)
                    .filter(|tier| known(name) == Some(*tier)),
            }
        });
        tier.ok_or_else(|| ParseTierError {
            near: did_you_mean(&word, ALIASES.iter().map(|(alias, _)| *alias)).map(str::to_owned),
            text: text.chars().take(40).collect(),
        })
    }
}

/// A word that names no tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no tier '{text}'; there are local_dev, desktop, mobile, cloud, enterprise, or 1 to 5"
)]
pub struct ParseTierError {
    text: String,
    near: Option<String>,
}

impl ParseTierError {
    /// A name that is nearly the same.
    #[must_use]
    pub fn near(&self) -> Option<&str> {
        self.near.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_means_one_tier() {
        for (tier, spellings) in [
            (
                Tier::LocalDev,
                "1 local local_dev LOCAL-DEV tier-1-local tier_1_local server",
            ),
            (
                Tier::Desktop,
                "2 desktop Desktop tier-2 tier-2-desktop TIER_2_DESKTOP",
            ),
            (
                Tier::Mobile,
                "3 mobile ios Android tier-3-mobile tier-3-ios",
            ),
            (Tier::Cloud, "4 cloud saas web tier-4-saas tier-4-cloud"),
            (
                Tier::Enterprise,
                "5 enterprise on-prem on_prem tier-5-enterprise appliance",
            ),
        ] {
            for word in spellings.split(' ') {
                assert_eq!(word.parse(), Ok(tier), "{word}");
            }
            assert_eq!(tier.name().parse(), Ok(tier));
            assert_eq!(tier.numbered().parse(), Ok(tier));
        }
    }

    #[test]
    fn no_other_word_is_a_tier() {
        for word in [
            "",
            "0",
            "6",
            "tier",
            "tier-",
            "tier-2-mobile",
            "tier-desktop",
            "tier-22",
            "desk",
        ] {
            assert!(word.parse::<Tier>().is_err(), "{word}");
        }
        let error = "desktp".parse::<Tier>().unwrap_err();
        assert_eq!(error.near(), Some("desktop"));
    }
}
