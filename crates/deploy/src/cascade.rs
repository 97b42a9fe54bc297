//! Which applications a swap would reach.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

/// What one application leans on.
#[derive(Clone, Debug, Default)]
pub struct Leaning {
    /// Services.
    pub services: BTreeSet<String>,
    /// Other applications.
    pub scenarios: BTreeSet<String>,
}

/// The applications that lean on a service, themselves or through others, nearest first.
#[must_use]
pub fn cascade(all: &BTreeMap<String, Leaning>, from: &str, to: &str) -> Value {
    let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let direct = all.iter().filter(|(_, one)| one.services.contains(from));
    let mut next: Vec<&str> = direct.map(|(name, _)| name.as_str()).collect();
    let direct = next.clone();
    for name in &next {
        paths.insert(name, vec![name, from]);
    }
    while !next.is_empty() {
        let mut further = Vec::new();
        for through in next {
            for (name, one) in all {
                if one.scenarios.contains(through) && !paths.contains_key(name.as_str()) {
                    let mut path = vec![name.as_str()];
                    path.extend(&paths[through]);
                    paths.insert(name, path);
                    further.push(name.as_str());
                }
            }
        }
        next = further;
    }
    let mut rows: Vec<(&str, &Vec<&str>)> =
        paths.iter().map(|(name, path)| (*name, path)).collect();
    rows.sort_by_key(|(name, path)| (path.len(), *name));
    // The service itself stands at the end of each path.
    let depth = rows
        .iter()
        .map(|(_, path)| path.len() - 1)
        .max()
        .unwrap_or(0);
    let indirect: Vec<&str> = rows
        .iter()
        .filter(|(_, path)| path.len() > 2)
        .map(|(name, _)| *name)
        .collect();
    let recommendation = match (direct.is_empty(), indirect.is_empty()) {
        (true, _) => format!("Nothing leans on {from}"),
        (false, true) => format!("Apply swap to {}", direct.join(" and ")),
        (false, false) => format!(
            "Apply swap to {} first, then {}",
            direct.join(" and "),
            indirect.join(" and ")
        ),
    };
    let affected = rows.iter().map(|(name, path)| {
        let notes = match path.as_slice() {
            [_, _] => format!("Uses {from}"),
            [_, through, ..] => format!("Depends on {through} which leans on {from}"),
            _ => String::new(),
        };
        json!({
            "scenario": name,
            "impact": if path.len() == 2 { "direct" } else { "indirect" },
            "dependency_path": path,
            "notes": notes,
        })
    });
    json!({
        "version": 1,
        "swap": { "from": from, "to": to },
        "affected_scenarios": affected.collect::<Vec<_>>(),
        "cascade_depth": depth,
        "total_affected": rows.len(),
        "recommendation": recommendation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaning(services: &[&str], scenarios: &[&str]) -> Leaning {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Leaning {
            services: set(services),
            scenarios: set(scenarios),
        }
    }

    #[test]
    fn what_leans_on_what_leans_on_it_is_reached_even_in_a_circle() {
        let all = BTreeMap::from([
            ("auth".to_owned(), leaning(&["postgres"], &["charts"])),
            (
                "wheel".to_owned(),
                leaning(&["postgres", "redis"], &["auth"]),
            ),
            ("charts".to_owned(), leaning(&[], &["wheel"])),
            ("notes".to_owned(), leaning(&["redis"], &[])),
        ]);
        let reached = cascade(&all, "postgres", "sqlite");
        assert_eq!(reached["total_affected"], 3);
        assert_eq!(reached["cascade_depth"], 2);
        assert_eq!(reached["affected_scenarios"][0]["scenario"], "auth");
        let last = &reached["affected_scenarios"][2];
        assert_eq!(
            last["dependency_path"],
            json!(["charts", "wheel", "postgres"])
        );
        assert_eq!(last["impact"], "indirect");
        let none = cascade(&all, "qdrant", "faiss-local");
        assert_eq!(none["total_affected"], 0);
        assert_eq!(none["recommendation"], "Nothing leans on qdrant");
    }
}
