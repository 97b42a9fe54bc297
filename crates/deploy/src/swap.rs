//! What may take a service's place, and what that does to secrets: `data/swaps.toml`.

mod report;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::need::Belongs;
use crate::need::Need;
use crate::need::PromptCopy;
use crate::need::Rule;
use crate::resource;
use crate::strategy::Strategy;
use crate::tier::Tier;

/// One service in another's place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The service that goes.
    pub from: String,
    /// The service that comes.
    pub to: String,
    gain: BTreeMap<String, i32>,
    /// How much work it is: low, medium or high.
    pub effort: String,
    /// What speaks for it.
    pub pros: Vec<String>,
    /// What speaks against it.
    pub cons: Vec<String>,
    /// What is to be done.
    pub steps: Vec<String>,
    /// How much work each part is.
    pub effort_by_part: BTreeMap<String, String>,
    #[serde(default)]
    adds: Vec<Added>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    key: String,
    strategy: String,
    label: Option<String>,
    description: String,
    format: Option<String>,
}

/// What is thought of a swap in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It is meant for this tier.
    Recommended,
    /// It does no harm and little good.
    Compatible,
    /// It is worse than what is there.
    NotRecommended,
}

impl Advice {
    /// Its word in answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Recommended => "recommended",
            Self::Compatible => "compatible",
            Self::NotRecommended => "not_recommended",
        }
    }
}

impl Swap {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> String {
        format!("swap-{}-{}", self.from, self.to)
    }

    /// Points of fitness that it is thought to bring in a tier; `None` where nobody thought of it.
    #[must_use]
    pub fn gain(&self, tier: Tier) -> Option<i32> {
        self.gain.get(tier.name()).copied()
    }

    /// What is thought of it in a tier.
    #[must_use]
    pub fn advice(&self, tier: Tier) -> Advice {
        match self.gain(tier) {
            Some(gain) if gain > 0 => Advice::Recommended,
            Some(gain) if gain < 0 => Advice::NotRecommended,
            _ => Advice::Compatible,
        }
    }

    /// The tiers of which this is thought.
    #[must_use]
    pub fn tiers(&self, advice: Advice) -> Vec<Tier> {
        let all = Tier::ALL.into_iter();
        all.filter(|tier| self.advice(*tier) == advice).collect()
    }

    /// The secrets that the new service needs.
    #[must_use]
    pub fn adds(&self) -> Vec<Need> {
        self.adds.iter().map(|added| self.need(added)).collect()
    }

    fn need(&self, added: &Added) -> Need {
        let strategy = added.strategy.parse::<Strategy>().ok();
        let mut need = Need::named(&added.key);
        need.resource = Some(self.to.clone());
        need.belongs = Some(match strategy {
            Some(Strategy::Prompt) => Belongs::User,
            _ => Belongs::Service,
        });
        need.description = Some(added.description.clone());
        need.format.clone_from(&added.format);
        if strategy == Some(Strategy::Prompt) {
            need.prompt = PromptCopy {
                label: added.label.clone(),
                description: Some(added.description.clone()),
                ..PromptCopy::default()
            };
        }
        for tier in Tier::ALL {
            let rule = Rule {
                strategy,
                ..Rule::default()
            };
            need.rules.insert(tier, rule);
        }
        need
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    swaps: Vec<Swap>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the file is part of the program; a test reads it"
    )]
    let data = toml::from_str(include_str!("data/swaps.toml")).expect("swaps.toml reads");
    data
});

/// All swaps, in the order of the file.
#[must_use]
pub fn all() -> &'static [Swap] {
    &DATA.swaps
}

/// The swaps that take a service out.
pub fn from(service: &str) -> impl Iterator<Item = &'static Swap> {
    let service = service.to_owned();
    all().iter().filter(move |swap| swap.from == service)
}

/// The best swap that takes a service out in a tier.
#[must_use]
pub fn best(service: &str, tier: Tier) -> Option<&'static Swap> {
    from(service)
        .filter(|swap| swap.advice(tier) == Advice::Recommended)
        .max_by_key(|swap| swap.gain(tier))
}

/// The swap of one service for another.
///
/// # Errors
/// When there is none.
pub fn find(from: &str, to: &str) -> Result<&'static Swap, SwapError> {
    if let Some(swap) = self::from(from).find(|swap| swap.to == to) {
        return Ok(swap);
    }
    match (resource::find(from), resource::find(to)) {
        (Some(old), Some(new)) if old.class != new.class => Err(SwapError::Incompatible {
            from: from.to_owned(),
            to: to.to_owned(),
        }),
        _ => Err(SwapError::NotFound {
            from: from.to_owned(),
            to: to.to_owned(),
            known: self::from(from).map(|swap| swap.to.clone()).collect(),
        }),
    }
}

/// Why there is no such swap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Nobody knows of it.
    #[error("No known swap from '{from}' to '{to}'")]
    NotFound {
        /// The service that would go.
        from: String,
        /// The service that would come.
        to: String,
        /// What may take its place.
        known: Vec<String>,
    },
    /// They are different things.
    #[error("Cannot swap '{from}' to '{to}' - different resource types")]
    Incompatible {
        /// The service that would go.
        from: String,
        /// The service that would come.
        to: String,
    },
}

impl SwapError {
    /// Its documented code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "swap_not_found",
            Self::Incompatible { .. } => "swap_incompatible",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_makes_sense() {
        for swap in all() {
            let id = swap.id();
            let old = resource::find(&swap.from).unwrap_or_else(|| panic!("{id}: from"));
            let new = resource::find(&swap.to).unwrap_or_else(|| panic!("{id}: to"));
            assert_eq!(old.class, new.class, "{id}");
            for tier in swap.gain.keys() {
                assert!(tier.parse::<Tier>().is_ok(), "{id}: {tier}");
            }
            assert!(!swap.tiers(Advice::Recommended).is_empty(), "{id}");
            assert!(["low", "medium", "high"].contains(&swap.effort.as_str()));
            for added in &swap.adds {
                assert!(added.strategy.parse::<Strategy>().is_ok(), "{id}");
            }
        }
    }

    #[test]
    fn a_swap_that_nobody_knows_is_told_from_one_that_cannot_be() {
        assert_eq!(
            find("postgres", "sqlite").unwrap().gain(Tier::Desktop),
            Some(25)
        );
        assert_eq!(
            find("postgres", "redis").unwrap_err().code(),
            "swap_incompatible"
        );
        let error = find("postgres", "oracle").unwrap_err();
        assert_eq!(error.code(), "swap_not_found");
        let SwapError::NotFound { known, .. } = error else {
            panic!("not found")
        };
        assert_eq!(known, ["sqlite", "supabase"]);
        assert_eq!(best("postgres", Tier::Desktop).unwrap().to, "sqlite");
        assert!(best("postgres", Tier::LocalDev).is_none());
    }
}
