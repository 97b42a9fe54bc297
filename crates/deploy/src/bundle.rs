//! Bundle manifests of schema v0.1: what an application that is installed on a computer consists
//! of. Read leniently here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json;
use crate::json::ReadError;
use crate::need::Belongs;
use crate::need::Need;
use crate::need::PromptCopy;
use crate::need::Rule;
use crate::need::Target;
use crate::need::strategy_of_class;
use strongroom_core::registry::Class;

/// A bundle manifest as written.
#[derive(Clone, Debug)]
pub struct Bundle {
    raw: Value,
}

impl Bundle {
    /// Reads a manifest: any object of JSON is one, whatever it lacks.
    ///
    /// # Errors
    /// When it is no JSON object, or its secrets are no list.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let raw = json::read(bytes)?;
        let form = |path: &str, expected| ReadError::Form {
            path: path.to_owned(),
            expected,
        };
        if !raw.is_object() {
            return Err(form("$", "a bundle manifest, which is an object"));
        }
        for key in ["secrets", "services", "swaps"] {
            let is_list = raw
                .get(key)
                .is_none_or(|list| list.is_array() || list.is_null());
            if !is_list {
                return Err(form(&format!("$.{key}"), "a list"));
            }
        }
        Ok(Self { raw })
    }

    /// The manifest as written.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The application's name.
    #[must_use]
    pub fn app(&self) -> Option<String> {
        json::text(self.raw.get("app")?, "name")
    }

    /// The services that others take the place of: from, to.
    #[must_use]
    pub fn swaps(&self) -> BTreeMap<String, String> {
        json::items(&self.raw, "swaps")
            .iter()
            .filter_map(|swap| {
                Some((
                    json::text(swap, "original")?,
                    json::text(swap, "replacement")?,
                ))
            })
            .collect()
    }

    /// What the manifest says that the application needs.
    ///
    /// # Errors
    /// When a secret has no name, or a class that does not exist.
    pub fn needs(&self) -> Result<Vec<Need>, ReadError> {
        let secrets = json::items(&self.raw, "secrets").iter().enumerate();
        secrets.map(|(at, secret)| need(at, secret)).collect()
    }
}

fn need(at: usize, secret: &Value) -> Result<Need, ReadError> {
    let form = |key: &str, expected| ReadError::Form {
        path: format!("$.secrets[{at}].{key}"),
        expected,
    };
    let id = json::text(secret, "id").ok_or_else(|| form("id", "the secret's name"))?;
    let target = target(secret.get("target"));
    let key = match &target {
        Some(target) if target.kind == "env" => target.name.clone(),
        _ => id.to_uppercase().replace(['-', '.', ' '], "_"),
    };
    let mut need = Need::named(&key);
    need.target = target.unwrap_or(need.target);
    need.id = id;
    need.is_required = json::flag(secret, "required").unwrap_or(true);
    if let Some(class) = json::text(secret, "class") {
        let expected = "one of infrastructure, per_install_generated, user_prompt, remote_fetch";
        let class = serde_json::from_value::<Class>(Value::String(class));
        let class = class.map_err(|_| form("class", expected))?;
        need.belongs = Some(Belongs::of_class(class));
        need.by_class = strategy_of_class(class);
    }
    need.description = json::text(secret, "description");
    need.format = json::text(secret, "format");
    need.prompt = prompt(secret.get("prompt"));
    need.generator = json::present(secret, "generator");
    need.source = json::present(secret, "vault");
    if let Some(note) = json::text(secret, "note") {
        for tier in crate::tier::Tier::ALL {
            let rule = Rule {
                reason: Some(note.clone()),
                ..Rule::default()
            };
            need.rules.insert(tier, rule);
        }
    }
    Ok(need)
}

/// How a value is given to the application, as written.
pub(crate) fn target(target: Option<&Value>) -> Option<Target> {
    let target = target?;
    Some(Target {
        kind: match json::text(target, "type").as_deref() {
            Some("file") => "file",
            _ => "env",
        },
        name: json::text(target, "name")?,
    })
}

/// What a person is shown, as written.
pub(crate) fn prompt(prompt: Option<&Value>) -> PromptCopy {
    let text = |key| prompt.and_then(|prompt| json::text(prompt, key));
    PromptCopy {
        label: text("label"),
        description: text("description"),
        link: text("link"),
        hint: text("hint").or_else(|| text("placeholder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absent_and_unknown_keys_are_left_alone() {
        let text =
            br#"{"app": {"name": "wheel"}, "secrets": [{"id": "api-key", "class": "user_prompt",
            "required": null, "prompt": {"label": "Key", "placeholder": "sk-1"}, "future": 1,
            "target": {"type": "file", "name": "keys/api"}}], "swaps": null}"#;
        let bundle = Bundle::read(text).unwrap();
        assert_eq!(bundle.app().as_deref(), Some("wheel"));
        let needs = bundle.needs().unwrap();
        assert_eq!(needs[0].id, "api-key");
        assert_eq!(needs[0].key, "API_KEY");
        assert!(needs[0].is_required);
        assert_eq!(needs[0].prompt.hint.as_deref(), Some("sk-1"));
        assert_eq!(needs[0].target.kind, "file");
        assert!(bundle.swaps().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, message) in [
            ("{", "line 1, column 1: the JSON ends too early"),
            ("{\"a\": tru}", "line 1, column 10: this is not JSON"),
            ("[]", "$: expected a bundle manifest, which is an object"),
            ("{\"secrets\": {}}", "$.secrets: expected a list"),
        ] {
            assert_eq!(
                Bundle::read(text.as_bytes()).unwrap_err().to_string(),
                message
            );
        }
        let bundle = Bundle::read(br#"{"secrets": [{"id": "a"}, {"id": "b", "class": "x"}]}"#);
        let error = bundle.unwrap().needs().unwrap_err().to_string();
        assert!(
            error.starts_with("$.secrets[1].class: expected one of"),
            "{error}"
        );
    }
}
