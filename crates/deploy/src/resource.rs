//! The services that applications lean on, and what is known of them: `data/resources.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use strongroom_core::format::ValueType;

use crate::tier::Tier;

/// A service that applications lean on.
#[derive(Clone, Debug, Deserialize)]
pub struct Resource {
    /// What kind of service it is: only the same kind takes its place.
    pub class: String,
    /// What it is.
    pub description: String,
    /// How its variables begin.
    #[serde(default)]
    names: Vec<String>,
    /// Types of values that lead to it.
    #[serde(default)]
    types: Vec<ValueType>,
    /// What one instance needs.
    #[serde(flatten)]
    pub footprint: Footprint,
    /// Whether it is reached over a network.
    #[serde(default)]
    pub needs_network: bool,
    fit: ByTier<f64>,
    /// 100 where nobody minds that it is shipped along.
    pub licence: f64,
}

impl Resource {
    /// How well it runs in a tier, 0 to 100.
    #[must_use]
    pub fn fit(&self, tier: Tier) -> f64 {
        *self.fit.of(tier)
    }
}

/// What something needs of a machine, or may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Footprint {
    /// Memory.
    #[serde(default)]
    pub ram_mb: f64,
    /// Room on the disk.
    #[serde(default)]
    pub disk_mb: f64,
    /// Processors.
    #[serde(default)]
    pub cpu_cores: f64,
}

impl std::ops::AddAssign for Footprint {
    fn add_assign(&mut self, other: Self) {
        self.ram_mb += other.ram_mb;
        self.disk_mb += other.disk_mb;
        self.cpu_cores += other.cpu_cores;
    }
}

/// One of something for each tier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByTier<T> {
    local_dev: T,
    desktop: T,
    mobile: T,
    cloud: T,
    enterprise: T,
}

impl<T> ByTier<T> {
    fn of(&self, tier: Tier) -> &T {
        match tier {
            Tier::LocalDev => &self.local_dev,
            Tier::Desktop => &self.desktop,
            Tier::Mobile => &self.mobile,
            Tier::Cloud => &self.cloud,
            Tier::Enterprise => &self.enterprise,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    resources: BTreeMap<String, Resource>,
    budgets: ByTier<Footprint>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the file is part of the program; a test reads it"
    )]
    let data = toml::from_str(include_str!("data/resources.toml")).expect("resources.toml reads");
    data
});

/// A resource by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Resource> {
    DATA.resources.get(name)
}

/// What an application may use of a machine in a tier.
#[must_use]
pub fn budget(tier: Tier) -> Footprint {
    *DATA.budgets.of(tier)
}

/// The resource that a variable belongs to, by how its name begins.
#[must_use]
pub fn of_name(variable: &str) -> Option<&'static str> {
    let name = variable.to_uppercase().replace('-', "_");
    let begins = |prefix: &String| {
        let rest = name.strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let mut resources = DATA.resources.iter();
    let found = resources.find(|(_, resource)| resource.names.iter().any(begins));
    found.map(|(name, _)| name.as_str())
}

/// The resource that values of a type lead to.
#[must_use]
pub fn of_type(value_type: ValueType) -> Option<&'static str> {
    let mut resources = DATA.resources.iter();
    let found = resources.find(|(_, resource)| resource.types.contains(&value_type));
    found.map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_belong_to_resources() {
        for (variable, resource) in [
            ("POSTGRES_PASSWORD", Some("postgres")),
            ("postgres_url", Some("postgres")),
            ("PGPASSWORD", Some("postgres")),
            ("POSTGRESQL_HOST", Some("postgres")),
            ("MONGODB_URI", Some("mongodb")),
            ("REDIS_URL", Some("redis")),
            ("S3_SECRET_KEY", Some("s3")),
            ("S3CRET", None),
            ("JWT_SECRET", None),
            ("DATABASE_URL", None),
        ] {
            assert_eq!(of_name(variable), resource, "{variable}");
        }
        assert_eq!(of_type(ValueType::PostgresUrl), Some("postgres"));
    }

    #[test]
    fn the_data_makes_sense() {
        for (name, resource) in &DATA.resources {
            for tier in Tier::ALL {
                assert!((0.0..=100.0).contains(&resource.fit(tier)), "{name} {tier}");
            }
            assert!((0.0..=100.0).contains(&resource.licence), "{name}");
        }
        for tier in Tier::ALL {
            assert!(budget(tier).ram_mb > 0.0 && budget(tier).disk_mb > 0.0);
        }
    }
}
