//! Swaps in the documented shapes.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Advice;
use super::Swap;
use crate::resource;
use crate::tier::Tier;

fn tier_key(tier: Tier) -> String {
    format!("tier_{}", tier.number())
}

fn numbers(tiers: &[Tier]) -> Vec<u8> {
    tiers.iter().map(|tier| tier.number()).collect()
}

impl Swap {
    fn gains(&self) -> Value {
        let gains = Tier::ALL.into_iter().filter_map(|tier| {
            let gain = self.gain(tier)?;
            Some((tier_key(tier), json!(gain)))
        });
        Value::Object(gains.collect())
    }

    /// In a list of suggestions.
    #[must_use]
    pub fn suggestion(&self) -> Value {
        json!({
            "id": self.id(),
            "from": self.from,
            "to": self.to,
            "impact": self.gains(),
            "pros": self.pros,
            "cons": self.cons,
            "migration_effort": self.effort,
            "applicable_tiers": numbers(&self.tiers(Advice::Recommended)),
        })
    }

    /// What it would mean.
    #[must_use]
    pub fn analysis(&self) -> Value {
        let mut delta = Map::new();
        for tier in Tier::ALL {
            delta.insert(tier_key(tier), json!(self.gain(tier).unwrap_or(0)));
        }
        let adds: Vec<String> = self.adds().into_iter().map(|need| need.key).collect();
        json!({
            "version": 1,
            "from": self.from,
            "to": self.to,
            "fitness_delta": delta,
            "pros": self.pros,
            "cons": self.cons,
            "migration_steps": self.steps,
            "migration_effort": self.effort,
            "estimated_effort": self.effort_by_part,
            "applicable_tiers": numbers(&self.tiers(Advice::Recommended)),
            "not_recommended_tiers": numbers(&self.tiers(Advice::NotRecommended)),
            "secrets_added": adds,
        })
    }

    /// What both services are.
    #[must_use]
    pub fn info(&self) -> Value {
        let service = |name: &str| {
            let known = resource::find(name);
            json!({
                "name": name,
                "type": "resource",
                "class": known.map(|known| known.class.as_str()),
                "description": known.map(|known| known.description.as_str()),
                "requirements": known.map(|known| json!({
                    "ram_mb": known.footprint.ram_mb,
                    "disk_mb": known.footprint.disk_mb,
                    "cpu_cores": known.footprint.cpu_cores,
                    "network": known.needs_network,
                })),
            })
        };
        let advice = Tier::ALL.map(|tier| (tier_key(tier), json!(self.advice(tier).word())));
        json!({
            "version": 1,
            "id": self.id(),
            "from": service(&self.from),
            "to": service(&self.to),
            "compatibility": Value::Object(advice.into_iter().collect()),
        })
    }
}
