//! How fit an application is for a tier: one published formula, each term of it shown.
//!
//! `overall = 0.30 portability + 0.30 resources + 0.20 licensing + 0.20 platform support`, each
//! from 0 to 100, rounded to a whole number; 0 while the application needs an infrastructure secret
//! that may not be shipped. What somebody set in its place counts until it ends.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Timestamp;

use crate::deployment::ScoreOverride;
use crate::plan::Plan;
use crate::resource;
use crate::resource::Footprint;
use crate::swap;
use crate::tier::Tier;

const WEIGHTS: [f64; 4] = [0.30, 0.30, 0.20, 0.20];
/// Below this a service does not count as supported.
const SUPPORTED_FROM: f64 = 75.0;
/// How well something runs that nobody knows.
const UNKNOWN_FIT: f64 = 70.0;

/// A score and what it is made of.
#[derive(Clone, Debug)]
pub struct Fitness {
    /// Of which tier.
    pub tier: Tier,
    /// 0 to 100.
    pub overall: f64,
    /// What the formula gives, where somebody set another.
    pub computed: f64,
    /// The four terms, each 0 to 100.
    pub terms: [Term; 4],
    /// What keeps it from being shipped.
    pub blockers: Vec<String>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// The score that somebody set.
    pub set_by: Option<ScoreOverride>,
}

/// One term of the formula.
#[derive(Clone, Debug)]
pub struct Term {
    /// Its name.
    pub name: &'static str,
    /// How much it weighs.
    pub weight: f64,
    /// 0 to 100.
    pub value: f64,
    /// How it came about, line by line.
    pub because: Vec<String>,
}

/// The services that an application leans on once swaps are applied.
#[must_use]
pub fn services(plan: &Plan, named: &[String]) -> Vec<String> {
    let of_needs = plan
        .items
        .iter()
        .filter_map(|(need, _)| need.resource.clone());
    let mut services: Vec<String> = Vec::new();
    for service in named.iter().cloned().chain(of_needs) {
        let service = plan.swaps.get(&service).cloned().unwrap_or(service);
        if !services.contains(&service) {
            services.push(service);
        }
    }
    services.sort();
    services
}

/// How fit an application is for the tier of its plan.
#[must_use]
pub fn fitness(plan: &Plan, named: &[String], scores: &[ScoreOverride], now: Timestamp) -> Fitness {
    let tier = plan.tier;
    let services = services(plan, named);
    let mut blockers = Vec::new();
    let mut warnings = Vec::new();
    for service in &services {
        let Some(known) = resource::find(service) else {
            warnings.push(format!(
                "nothing is known of {service}: it counts {UNKNOWN_FIT}"
            ));
            continue;
        };
        if known.fit(tier) >= SUPPORTED_FROM {
            continue;
        }
        match swap::best(service, tier) {
            Some(swap) => blockers.push(format!(
                "{service} requires a swap to {} for {}",
                swap.to,
                tier.name()
            )),
            None => warnings.push(format!("{service} runs badly in {}", tier.name())),
        }
    }
    let secrets: Vec<String> = plan
        .blocked()
        .filter(|(_, blocked)| blocked.code == "plan.infrastructure")
        .map(|(need, blocked)| {
            format!(
                "{} never leaves the server: {}",
                need.full_name(),
                blocked.fix
            )
        })
        .collect();
    let keeps_infrastructure = !secrets.is_empty();
    blockers.splice(0..0, secrets);
    let terms = [
        portability(&services, tier),
        resources(&services, tier),
        licensing(&services),
        platform_support(&services, tier),
    ];
    let sum: f64 = terms.iter().map(|term| term.weight * term.value).sum();
    let computed = if keeps_infrastructure {
        0.0
    } else {
        sum.round()
    };
    let mut set_by = None;
    for score in scores {
        let is_for = score.tier == tier
            && score
                .scenario
                .as_deref()
                .is_none_or(|own| own == plan.scenario);
        match score.expires {
            _ if !is_for => {}
            Some(end) if end <= now => {
                warnings.push(format!(
                    "a score that was set ended at {end} and does not count"
                ));
            }
            _ => set_by = Some(score.clone()),
        }
    }
    let overall = match &set_by {
        // Nobody can set what would ship the server's own.
        Some(_) if keeps_infrastructure => 0.0,
        Some(score) => score.score,
        None => computed,
    };
    if overall < 50.0 {
        warnings.push(format!(
            "Tier {}: Low fitness score ({overall}/100)",
            tier.number()
        ));
    }
    Fitness {
        tier,
        overall,
        computed,
        terms,
        blockers,
        warnings,
        set_by,
    }
}

fn mean(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "few services")]
    let count = values.len() as f64;
    match values.is_empty() {
        true => 100.0,
        false => values.iter().sum::<f64>() / count,
    }
}

fn fit(service: &str, tier: Tier) -> f64 {
    resource::find(service).map_or(UNKNOWN_FIT, |known| known.fit(tier))
}

fn term(name: &'static str, at: usize, value: f64, because: Vec<String>) -> Term {
    Term {
        name,
        weight: WEIGHTS[at],
        value,
        because,
    }
}

fn portability(services: &[String], tier: Tier) -> Term {
    let each: Vec<f64> = services.iter().map(|service| fit(service, tier)).collect();
    let lines = services.iter().zip(&each);
    let because = lines
        .map(|(service, fit)| format!("{service} runs {fit}"))
        .collect();
    term("portability", 0, mean(&each), because)
}

fn resources(services: &[String], tier: Tier) -> Term {
    let mut needed = Footprint::default();
    for service in services {
        if let Some(known) = resource::find(service) {
            needed += known.footprint;
        }
    }
    let budget = resource::budget(tier);
    let shares = [
        ("MB of memory", needed.ram_mb, budget.ram_mb),
        ("MB of disk", needed.disk_mb, budget.disk_mb),
        ("processors", needed.cpu_cores, budget.cpu_cores),
    ];
    let left = shares.map(|(_, needed, budget)| (1.0 - needed / budget).clamp(0.0, 1.0) * 100.0);
    let lines = shares.iter().zip(left);
    let because = lines
        .map(|((what, needed, budget), left)| {
            format!("{needed} of {budget} {what}: {left:.0} left of 100")
        })
        .collect();
    term("resources", 1, mean(&left), because)
}

fn licensing(services: &[String]) -> Term {
    let licence = |service: &String| resource::find(service).map_or(100.0, |known| known.licence);
    let each: Vec<f64> = services.iter().map(licence).collect();
    let lines = services.iter().zip(&each);
    let because = lines
        .filter(|(_, licence)| **licence < 100.0)
        .map(|(service, licence)| format!("{service} may be shipped: {licence}"))
        .collect();
    term("licensing", 2, mean(&each), because)
}

fn platform_support(services: &[String], tier: Tier) -> Term {
    let is_supported = |service: &String| fit(service, tier) >= SUPPORTED_FROM;
    let each: Vec<f64> = services
        .iter()
        .map(|service| if is_supported(service) { 100.0 } else { 0.0 })
        .collect();
    let because = services
        .iter()
        .filter(|service| !is_supported(service))
        .map(|service| format!("{service} is below {SUPPORTED_FROM}"))
        .collect();
    term("platform_support", 3, mean(&each), because)
}

/// The band on the scale of four steps.
#[must_use]
pub fn band(overall: f64) -> &'static str {
    match overall {
        score if score >= 80.0 => "excellent",
        score if score >= 60.0 => "good",
        score if score >= 40.0 => "fair",
        score if score >= 20.0 => "poor",
        _ => "unfit",
    }
}

/// The band on the scale of two steps.
#[must_use]
pub fn verdict(overall: f64) -> &'static str {
    match overall {
        score if score >= 90.0 => "ship-ready",
        score if score >= 60.0 => "works with caveats",
        _ => "needs swaps",
    }
}

/// The scores in their documented shape.
#[must_use]
pub fn to_json(
    scenario: &str,
    all: &[Fitness],
    swaps: &BTreeMap<String, String>,
    explain: bool,
) -> Value {
    let by_tier = |value: &dyn Fn(&Fitness) -> Value| {
        let pairs = all
            .iter()
            .map(|one| (one.tier.number().to_string(), value(one)));
        Value::Object(pairs.collect::<Map<String, Value>>())
    };
    let scores = by_tier(&|one| {
        let mut score = Map::new();
        score.insert("overall".to_owned(), json!(one.overall));
        for term in &one.terms {
            score.insert(term.name.to_owned(), json!(term.value.round()));
        }
        score.insert("band".to_owned(), json!(band(one.overall)));
        score.insert("verdict".to_owned(), json!(verdict(one.overall)));
        if let Some(set) = &one.set_by {
            let end = set.expires.map(|end| end.to_string());
            let set = json!({ "computed": one.computed, "reason": set.reason, "expires_at": end });
            score.insert("override".to_owned(), set);
        }
        if explain {
            let terms = one.terms.iter().map(|term| {
                json!({
                    "name": term.name,
                    "weight": term.weight,
                    "value": term.value,
                    "because": term.because,
                })
            });
            score.insert("terms".to_owned(), Value::Array(terms.collect()));
        }
        Value::Object(score)
    });
    let flat = |texts: &dyn Fn(&Fitness) -> Vec<String>| -> Vec<String> {
        let lines = all.iter().flat_map(|one| {
            let number = one.tier.number();
            texts(one)
                .into_iter()
                .map(move |text| format!("Tier {number}: {text}"))
        });
        lines.collect()
    };
    json!({
        "version": 1,
        "scenario": scenario,
        "scores": scores,
        "blockers": by_tier(&|one| json!(one.blockers)),
        "warnings": by_tier(&|one| json!(one.warnings)),
        "blockers_list": flat(&|one| one.blockers.clone()),
        "warnings_list": flat(&|one| one.warnings.clone()),
        "swaps_applied": swaps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::Belongs;
    use crate::need::Need;
    use crate::plan::Request;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn score(swaps: &[(&str, &str)], scores: &[ScoreOverride]) -> Fitness {
        let mut need = Need::named("POSTGRES_PASSWORD");
        need.belongs = Some(Belongs::Infrastructure);
        let swaps = swaps
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        let plan = crate::plan::plan(&Request {
            scenario: "wheel",
            tier: Tier::Desktop,
            needs: &[need],
            swaps: &swaps,
            overrides: &[],
            resources: &[],
            include_optional: false,
            now: NOW,
        });
        fitness(&plan, &["redis".to_owned()], scores, NOW)
    }

    #[test]
    fn an_infrastructure_secret_that_stays_makes_it_nothing() {
        let before = score(&[], &[]);
        assert_eq!(before.overall, 0.0);
        assert!(before.blockers[0].starts_with("postgres:POSTGRES_PASSWORD"));
        let after = score(&[("postgres", "sqlite")], &[]);
        assert!(after.overall > 60.0, "{}", after.overall);
        assert!(after.blockers.is_empty(), "{:?}", after.blockers);
    }

    #[test]
    fn the_formula_is_what_the_terms_say() {
        // redis 90, sqlite 100; memory 74 of 2048, disk 100 of 1024, processors 1 of 2; licences
        // 60 and 100; both are supported.
        let after = score(&[("postgres", "sqlite")], &[]);
        let values = after.terms.each_ref().map(|term| term.value.round());
        assert_eq!(values, [95.0, 79.0, 80.0, 100.0]);
        assert_eq!(after.overall, 88.0);
        assert_eq!(band(after.overall), "excellent");
        assert_eq!(verdict(after.overall), "works with caveats");
    }

    #[test]
    fn a_score_that_was_set_counts_until_it_ends() {
        let mut set = ScoreOverride {
            scenario: None,
            tier: Tier::Desktop,
            score: 30.0,
            reason: "the migration is not done".to_owned(),
            expires: Some(Timestamp::from_micros(NOW.as_micros() + 1)),
        };
        let swaps = [("postgres", "sqlite")];
        assert_eq!(score(&swaps, &[set.clone()]).overall, 30.0);
        assert_eq!(score(&[], &[set.clone()]).overall, 0.0);
        set.expires = Some(NOW);
        let ended = score(&swaps, &[set]);
        assert_eq!(ended.overall, 88.0);
        assert!(ended.warnings[0].contains("does not count"));
    }
}
