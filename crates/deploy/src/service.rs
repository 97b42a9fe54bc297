//! What an application says itself that it leans on, `service.json`, and what an analyzer found of
//! it, its deployment report.
//!
//! Resources are declared in `dependencies.resources` of a `service.json`; some programs look in
//! `service.dependencies.resources`, where none has any. Both are read.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::json;
use crate::json::ReadError;

/// What an application leans on, and who says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Resources, by whom they are named.
    pub resources: BTreeMap<String, Source>,
    /// Other applications.
    pub scenarios: BTreeSet<String>,
}

impl Dependencies {
    /// The resources that count: those that are declared; where none are, those that were found.
    #[must_use]
    pub fn chosen(&self) -> Vec<String> {
        let is_declared = |source: &Source| *source != Source::Found;
        let has_declared = self.resources.values().any(is_declared);
        let all = self.resources.iter();
        let chosen = all.filter(|(_, source)| !has_declared || is_declared(source));
        chosen.map(|(name, _)| name.clone()).collect()
    }

    /// Who names a resource, in the word of documented answers.
    #[must_use]
    pub fn source(&self, resource: &str) -> &'static str {
        let known = self.resources.get(resource);
        known.map_or("unknown", |source| source.word())
    }

    /// Says in a plan's answer who names the resources of what is in the way.
    pub fn mark(&self, answer: &mut Value) {
        let details = answer.pointer_mut("/summary/blocking_secret_details");
        for detail in details.and_then(Value::as_array_mut).into_iter().flatten() {
            let resource = detail.get("resource").and_then(Value::as_str);
            let source = self.source(resource.unwrap_or_default());
            if let Some(detail) = detail.as_object_mut() {
                detail.insert("source".to_owned(), source.into());
            }
        }
    }
}

/// Who names a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The application's own `service.json`.
    Declared,
    /// The analyzer.
    Found,
    /// Both.
    Both,
}

impl Source {
    /// The word in documented answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "service.json",
            Self::Found => "analyzer",
            Self::Both => "service.json+analyzer",
        }
    }
}

/// An analyzer's report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// When it was made, as written.
    pub generated_at: Option<String>,
    /// What it found, as documented answers have it.
    pub dependencies: Vec<Value>,
    /// Its sums by tier.
    pub aggregates: Value,
}

/// Reads a `service.json`: what is enabled in it.
///
/// # Errors
/// When it is no JSON object, or its dependencies are of another form; without any value.
pub fn read(bytes: &[u8]) -> Result<Dependencies, ReadError> {
    of_service(&json::read(bytes)?)
}

/// The same of a document that was read already.
///
/// # Errors
/// As `read`.
pub fn of_service(document: &Value) -> Result<Dependencies, ReadError> {
    if !document.is_object() {
        return Err(form("$", "a service.json, which is an object"));
    }
    let mut found = Dependencies::default();
    for (path, place) in [
        ("$.dependencies", document.get("dependencies")),
        (
            "$.service.dependencies",
            document.pointer("/service/dependencies"),
        ),
    ] {
        for name in names(place, path, "resources")? {
            found.resources.insert(name, Source::Declared);
        }
        found.scenarios.extend(names(place, path, "scenarios")?);
    }
    Ok(found)
}

/// Names under a key: of an object those that are not switched off, or a list of them.
fn names(place: Option<&Value>, path: &str, key: &str) -> Result<Vec<String>, ReadError> {
    let listed = place.and_then(|place| place.get(key));
    let path = format!("{path}.{key}");
    match listed {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(fields)) => {
            let is_on = |one: &Value| json::flag(one, "enabled").unwrap_or(true);
            let on = fields.iter().filter(|(_, one)| is_on(one));
            Ok(on.map(|(name, _)| name.clone()).collect())
        }
        Some(Value::Array(items)) => {
            let name = |item: &Value| match item {
                Value::String(name) => Some(name.clone()),
                item => json::text(item, "name"),
            };
            let names = items.iter().map(name).collect::<Option<Vec<_>>>();
            names.ok_or_else(|| form(&path, "names"))
        }
        Some(_) => Err(form(&path, "an object or a list")),
    }
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// When it is no JSON object with a list of dependencies.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::of(&json::read(bytes)?)
    }

    /// The same of a document that was read already.
    ///
    /// # Errors
    /// As `read`.
    pub fn of(document: &Value) -> Result<Self, ReadError> {
        let list = document.get("dependencies").and_then(Value::as_array);
        let list = list.ok_or_else(|| form("$.dependencies", "a list"))?;
        let mut dependencies = Vec::with_capacity(list.len());
        for (at, one) in list.iter().enumerate() {
            let path = format!("$.dependencies[{at}].name");
            let name = json::text(one, "name").ok_or_else(|| form(&path, "a name"))?;
            let mut pairs = vec![
                ("name", Value::from(name)),
                ("kind", Value::from(kind_of(one))),
            ];
            for key in [
                "resource_type",
                "source",
                "alternatives",
                "requirements",
                "tier_support",
            ] {
                pairs.push((key, one.get(key).cloned().unwrap_or_default()));
            }
            dependencies.push(crate::plan::object(pairs));
        }
        Ok(Self {
            generated_at: json::text(document, "generated_at"),
            dependencies,
            aggregates: document.get("aggregates").cloned().unwrap_or_default(),
        })
    }

    fn named(&self, kind: &str) -> impl Iterator<Item = String> {
        let of_kind = self
            .dependencies
            .iter()
            .filter(move |one| one.get("kind").and_then(Value::as_str) == Some(kind));
        of_kind.filter_map(|one| json::text(one, "name"))
    }

    /// Takes what the report found into what is declared.
    #[must_use]
    pub fn added_to(&self, mut declared: Dependencies) -> Dependencies {
        for name in self.named("resource") {
            let known = declared.resources.entry(name).or_insert(Source::Found);
            if *known == Source::Declared {
                *known = Source::Both;
            }
        }
        declared.scenarios.extend(self.named("scenario"));
        declared
    }
}

fn kind_of(one: &Value) -> String {
    let kind = json::text(one, "kind").or_else(|| json::text(one, "type"));
    kind.unwrap_or_else(|| "resource".to_owned())
}

fn form(path: &str, expected: &'static str) -> ReadError {
    ReadError::Form {
        path: path.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &[u8] = br#"{"service": {"name": "shop"}, "dependencies": {
        "resources": {"postgres": {"type": "postgres", "required": true},
                      "redis": {"enabled": false}, "minio": {"enabled": true}},
        "scenarios": {"auth": {"required": true}}}}"#;

    #[test]
    fn resources_are_read_where_they_are() {
        let found = read(SERVICE).unwrap();
        let names: Vec<&str> = found.resources.keys().map(String::as_str).collect();
        assert_eq!(names, ["minio", "postgres"]);
        assert!(found.scenarios.contains("auth"));
        let old = br#"{"service": {"dependencies": {"resources": ["vault"]}}}"#;
        let old = read(old).unwrap().resources;
        assert_eq!(
            old.into_iter().collect::<Vec<_>>(),
            [("vault".to_owned(), Source::Declared)]
        );
        assert_eq!(read(b"{}").unwrap(), Dependencies::default());
    }

    #[test]
    fn a_report_adds_what_it_found() {
        let report = Report::read(
            br#"{"generated_at": "2025-12-18T04:03:57Z", "dependencies": [
                {"name": "postgres", "type": "resource", "requirements": {"ram_mb": 256}},
                {"name": "ollama", "type": "resource"}, {"name": "mail", "type": "scenario"}],
                "aggregates": {"desktop": {"fitness_score": 0.7}}}"#,
        )
        .unwrap();
        assert_eq!(report.dependencies[0]["requirements"]["ram_mb"], 256);
        let found = report.added_to(read(SERVICE).unwrap());
        let word = |name: &str| found.resources[name].word();
        assert_eq!(word("postgres"), "service.json+analyzer");
        assert_eq!(
            (word("minio"), word("ollama")),
            ("service.json", "analyzer")
        );
        assert_eq!(found.chosen(), ["minio", "postgres"]);
        let alone = report.added_to(Dependencies::default());
        assert_eq!(alone.chosen(), ["ollama", "postgres"]);
        assert_eq!(
            found.scenarios.into_iter().collect::<Vec<_>>(),
            ["auth", "mail"]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            ("[]", "$: expected a service.json, which is an object"),
            (
                "{\"dependencies\":{\"resources\":7}}",
                "$.dependencies.resources: expected an object or a list",
            ),
            (
                "{\"dependencies\":{\"resources\":[7]}}",
                "$.dependencies.resources: expected names",
            ),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), message);
        }
        for text in ["{}", "{\"dependencies\":[{}]}"] {
            assert!(Report::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
