//! Registries of secrets in JSON: rows by resource and key, strategies by tier, and the older
//! forms that list what is done in each tier. A registry that holds values is read without them.

use serde_json::Value;

use crate::bundle;
use crate::json;
use crate::json::ReadError;
use crate::need::Belongs;
use crate::need::Need;
use crate::need::PromptCopy;
use crate::need::Rule;
use crate::need::Target;
use crate::need::strategy_of_class;
use crate::strategy::Strategy;
use crate::tier::Tier;
use strongroom_core::registry::Class;

/// Reads a registry: a list of secrets, or an object with such a list under `rows` or `secrets`.
///
/// # Errors
/// When it is no JSON, or of another form; with the place, and without any value.
pub fn read(bytes: &[u8]) -> Result<Vec<Need>, ReadError> {
    let document = json::read(bytes)?;
    let (path, rows) = match &document {
        Value::Array(rows) => ("$", rows.as_slice()),
        Value::Object(fields) => {
            let under = ["rows", "secrets"].into_iter().find_map(|key| {
                let list = fields.get(key)?.as_array()?;
                Some((key, list.as_slice()))
            });
            match under {
                Some(("rows", rows)) => ("$.rows", rows),
                Some((_, rows)) => ("$.secrets", rows),
                None if fields.contains_key("secret_id") => ("$", std::slice::from_ref(&document)),
                None => {
                    return Err(ReadError::Form {
                        path: "$".to_owned(),
                        expected: "a list of secrets under 'rows' or 'secrets'",
                    });
                }
            }
        }
        _ => {
            return Err(ReadError::Form {
                path: "$".to_owned(),
                expected: "a registry: a list of secrets, or an object that has one",
            });
        }
    };
    let rows = rows.iter().enumerate();
    rows.map(|(at, row)| need(&format!("{path}[{at}]"), row))
        .collect()
}

/// One row of a registry.
///
/// # Errors
/// As `read`.
pub fn row(row: &Value) -> Result<Need, ReadError> {
    need("$", row)
}

/// What somebody wrote for one tier, as rows have it.
///
/// # Errors
/// When it names no strategy that there is.
pub fn rule(rule: &Value) -> Result<Rule, ReadError> {
    let mut carrier = Need::named("RULE");
    add_rule(&mut carrier, "$", Tier::Desktop.name(), rule)?;
    Ok(carrier.rules.remove(&Tier::Desktop).unwrap_or_default())
}

fn need(path: &str, row: &Value) -> Result<Need, ReadError> {
    let form = |key: &str, expected| ReadError::Form {
        path: format!("{path}.{key}"),
        expected,
    };
    let text = |key| json::text(row, key);
    let name = text("secret_key")
        .or_else(|| text("secret_id"))
        .or_else(|| text("id"));
    let name = name.ok_or_else(|| form("secret_key", "the secret's name"))?;
    let key = name.to_uppercase().replace(['-', '.', ' ', '/'], "_");
    let mut need = Need::named(&key);
    let resource = text("resource_name");
    if let Some(resource) = resource {
        need.id = format!("{resource}_{name}").to_lowercase();
        need.resource = Some(resource);
    } else {
        need.id = name;
    }
    if let Some(kind) = text("secret_type") {
        let known = KINDS.iter().find(|known| **known == kind);
        let expected = "one of env_var, api_key, credential, token, password, certificate";
        need.kind = known.ok_or_else(|| form("secret_type", expected))?;
    }
    need.is_required = json::flag(row, "required").unwrap_or(true);
    if let Some(word) = text("classification").or_else(|| text("class")) {
        let expected = "infrastructure, service, user or a class";
        classify(&mut need, &word).ok_or_else(|| form("classification", expected))?;
    }
    need.description = text("description");
    need.format = text("validation_pattern").or_else(|| text("format"));
    need.owner = (text("owner_team"), text("owner_contact"));
    need.prompt = bundle::prompt(row.get("prompt"));
    need.prompt.link = need
        .prompt
        .link
        .take()
        .or_else(|| text("documentation_url"));
    need.generator =
        json::present(row, "generator").or_else(|| json::present(row, "generator_template"));
    need.target = bundle::target(row.get("target")).unwrap_or(need.target);
    for key in ["tiers", "deployment_strategy", "tier_strategies"] {
        let by_tier = row.get(key).and_then(Value::as_object);
        for (tier, rule) in by_tier.into_iter().flatten() {
            let path = format!("{path}.{key}.{tier}");
            add_rule(&mut need, &path, tier, rule)?;
        }
    }
    for (at, rule) in json::items(row, "strategies").iter().enumerate() {
        let path = format!("{path}.strategies[{at}]");
        let tier = json::text(rule, "tier").unwrap_or_default();
        add_rule(&mut need, &path, &tier, rule)?;
    }
    Ok(need)
}

const KINDS: [&str; 6] = [
    "env_var",
    "api_key",
    "credential",
    "token",
    "password",
    "certificate",
];

fn classify(need: &mut Need, word: &str) -> Option<()> {
    need.belongs = Some(match word {
        "infrastructure" => Belongs::Infrastructure,
        "service" => Belongs::Service,
        "user" => Belongs::User,
        class => {
            let class = serde_json::from_value::<Class>(Value::String(class.to_owned())).ok()?;
            need.by_class = strategy_of_class(class);
            Belongs::of_class(class)
        }
    });
    Some(())
}

fn add_rule(need: &mut Need, path: &str, tier: &str, rule: &Value) -> Result<(), ReadError> {
    let form = |expected| ReadError::Form {
        path: path.to_owned(),
        expected,
    };
    let tier: Tier = tier
        .parse()
        .map_err(|_| form("a tier: local_dev, desktop, mobile, cloud or enterprise"))?;
    let (rule, word) = match rule {
        Value::String(word) => (Rule::default(), Some(word.clone())),
        Value::Object(_) => (described(rule), word_of(rule)),
        _ => return Err(form("a strategy, or an object with one")),
    };
    let strategy = match word.as_deref() {
        None | Some("unspecified") => None,
        // Where the server runs, its own is used where it lies.
        Some("infrastructure") => {
            need.belongs.get_or_insert(Belongs::Infrastructure);
            None
        }
        Some(word) => {
            let strategy = word.parse::<Strategy>();
            Some(strategy.map_err(|_| form("one of strip, generate, prompt, fetch"))?)
        }
    };
    need.rules.insert(tier, Rule { strategy, ..rule });
    Ok(())
}

/// The word that says what is done; in the oldest form the type does, where there is no action.
fn word_of(rule: &Value) -> Option<String> {
    let text = |key| json::text(rule, key);
    text("handling_strategy")
        .or_else(|| text("action"))
        .or_else(|| text("strategy"))
        .or_else(|| text("type"))
}

fn described(rule: &Value) -> Rule {
    let text = |key| json::text(rule, key);
    let mut prompt = bundle::prompt(rule.get("prompt"));
    prompt.label = prompt.label.or_else(|| text("prompt_label"));
    prompt.description = prompt
        .description
        .or_else(|| text("prompt_description"))
        .or_else(|| text("prompt"));
    let hints = rule.get("bundle_hints");
    let hint = |key| hints.and_then(|hints| json::text(hints, key));
    let target = match (hint("file_path"), hint("target_name")) {
        (Some(name), _) => Some(Target { kind: "file", name }),
        (None, Some(name)) => Some(Target {
            kind: match hint("target_type").as_deref() {
                Some("file") => "file",
                _ => "env",
            },
            name,
        }),
        (None, None) => None,
    };
    Rule {
        strategy: None,
        // Both ways of writing a variable mean one.
        template: text("template").map(|template| with_braces(&template)),
        fallback: text("fallback_strategy").and_then(|word| word.parse().ok()),
        prompt: (prompt != PromptCopy::default()).then_some(prompt),
        generator: json::present(rule, "generator_template")
            .or_else(|| json::present(rule, "generator")),
        target,
        reason: text("override_reason").or_else(|| text("reason")),
        source: text("source"),
    }
}

/// `${NAME}` as `{{NAME}}`.
fn with_braces(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        text.push_str(&format!("{{{{{name}}}}}"));
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(need: &Need) -> Vec<(Tier, Option<&'static str>)> {
        let rules = need.rules.iter();
        rules
            .map(|(tier, rule)| (*tier, rule.strategy.map(Strategy::word)))
            .collect()
    }

    #[test]
    fn rows_with_strategies_read() {
        let text = br#"{"rows": [{"resource_name": "postgres", "secret_key": "POSTGRES_PASSWORD",
            "secret_type": "password", "required": true, "classification": "infrastructure",
            "validation_pattern": ".{8,}", "documentation_url": "https://example.org",
            "strategies": [{"tier": "tier-4-saas", "handling_strategy": "generate",
              "generator_template": {"type": "random", "length": 25}},
              {"tier": "tier-2-desktop", "handling_strategy": "strip",
               "bundle_hints": {"file_path": "db/pw"}}]}]}"#;
        let needs = read(text).unwrap();
        assert_eq!(needs[0].id, "postgres_postgres_password");
        assert_eq!(needs[0].belongs, Some(Belongs::Infrastructure));
        assert_eq!(
            words(&needs[0]),
            [
                (Tier::Desktop, Some("strip")),
                (Tier::Cloud, Some("generate"))
            ]
        );
        let target = needs[0].rules[&Tier::Desktop].target.as_ref().unwrap();
        assert_eq!((target.kind, target.name.as_str()), ("file", "db/pw"));
    }

    #[test]
    fn the_forms_of_deployment_strategies_read_without_their_values() {
        let text = br#"{"secret_id": "postgres_connection", "deployment_strategy": {
            "local_dev": {"type": "infrastructure", "source": "secrets_vault",
              "value": "postgresql://app:Hd8sKf3jLp6w@localhost/app"},
            "desktop": {"type": "service", "action": "generate_sqlite_path",
              "template": "file://{{USER_DATA}}/app.db"},
            "cloud": {"type": "service", "action": "environment_variable",
              "template": "${POSTGRES_URL}"}}}"#;
        let needs = read(text).unwrap();
        assert_eq!(needs[0].belongs, Some(Belongs::Infrastructure));
        assert_eq!(needs[0].resource.as_deref(), Some("postgres"));
        assert_eq!(
            words(&needs[0]),
            [
                (Tier::LocalDev, None),
                (Tier::Desktop, Some("generate")),
                (Tier::Cloud, Some("fetch")),
            ]
        );
        let template = needs[0].rules[&Tier::Cloud].template.as_deref();
        assert_eq!(template, Some("{{POSTGRES_URL}}"));
        assert!(!format!("{needs:?}").contains("Hd8sKf3jLp6w"));
    }

    #[test]
    fn what_is_no_registry_is_told_with_its_place() {
        for (text, message) in [
            (
                "7",
                "$: expected a registry: a list of secrets, or an object that has one",
            ),
            (
                "{}",
                "$: expected a list of secrets under 'rows' or 'secrets'",
            ),
            ("[{}]", "$[0].secret_key: expected the secret's name"),
            (
                "{\"rows\":[{\"secret_key\":\"A\",\"tiers\":{\"dektop\":\"strip\"}}]}",
                "$.rows[0].tiers.dektop: expected a tier: local_dev, desktop, mobile, cloud or \
                 enterprise",
            ),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), message);
        }
    }
}
