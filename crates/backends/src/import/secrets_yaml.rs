//! `secrets.yaml`, the registry of a resource's secrets ("Vrooli Secrets Standard").

use std::collections::BTreeMap;

use strongroom_core::format::ValueType;
use strongroom_core::placeholder;
use strongroom_core::registry::Class;

use super::Import;
use super::ImportError;
use super::declared::Declared;
use super::declared::EVERY_OTHER;
use super::declared::Generated;
use super::varlock::escaped;
use super::yaml;
use super::yaml::Node;
use crate::names;

/// Reads a `secrets.yaml`: every category counts, `required: false` means it.
///
/// A secret's variable is its `default_env`; of one with `fields` each that names a variable is a
/// secret of its own. What `initialization` says of generating and asking is taken over.
///
/// # Errors
/// When the bytes are no YAML, or have no `secrets` by category.
pub fn from_secrets_yaml(bytes: &[u8]) -> Result<Import, ImportError> {
    let documents = yaml::documents(bytes)?;
    let form = || ImportError::Form {
        line: 1,
        column: 1,
        expected: "a secrets.yaml with lists of secrets by category under 'secrets'",
    };
    let [document] = documents.as_slice() else {
        return Err(form());
    };
    let categories = document.get("secrets").map_or(&[][..], Node::fields);
    let is_list = |(_, node): &(String, Node)| matches!(node, Node::List(_) | Node::Null);
    if categories.is_empty() || !categories.iter().all(is_list) {
        return Err(form());
    }
    let reader = Reader {
        resource: document.text_at(&["resource"]).unwrap_or_default(),
        generated: named(document, "auto_generate"),
        asked: named(document, "prompt_user"),
    };
    let mut import = Import::default();
    for (category, node) in categories {
        for item in node.items() {
            let Some(name) = item.text_at(&["name"]) else {
                return Err(form());
            };
            reader.secret(&mut import, category, name, item);
        }
    }
    distinct(&mut import);
    Ok(import)
}

/// The entries of a list under `initialization` by their folded name.
fn named<'a>(document: &'a Node, list: &str) -> BTreeMap<String, &'a Node> {
    let items = document
        .at(&["initialization", list])
        .map_or(&[][..], Node::items);
    let pair = |item: &'a Node| Some((folded(item.text_at(&["name"])?), item));
    items.iter().filter_map(pair).collect()
}

fn folded(name: &str) -> String {
    let fold = |c: char| if "-. ".contains(c) { '_' } else { c };
    name.to_lowercase().chars().map(fold).collect()
}

struct Reader<'a> {
    resource: &'a str,
    generated: BTreeMap<String, &'a Node>,
    asked: BTreeMap<String, &'a Node>,
}

impl Reader<'_> {
    fn secret(&self, import: &mut Import, category: &str, name: &str, item: &Node) {
        let mut variables: Vec<(String, Option<String>)> = Vec::new();
        for field in item.list("fields") {
            for (key, node) in field.fields() {
                // A field may also say what is in it, which names no variable.
                let variable = node.text().filter(|text| is_variable(text));
                variables.extend(variable.map(|text| (text.to_owned(), Some(key.clone()))));
            }
        }
        let default_env = item
            .text_at(&["default_env"])
            .filter(|text| names::is_variable(text));
        if let Some(variable) = default_env {
            variables.retain(|(own, _)| own != variable);
            variables.insert(0, (variable.to_owned(), None));
        } else if variables.is_empty() {
            let variable = name
                .to_uppercase()
                .replace(|c: char| !c.is_alphanumeric(), "_");
            variables.push((variable, None));
        }
        for (variable, field) in variables {
            let mut one = Declared::new(&variable);
            self.describe(&mut one, name, item);
            one.path = self.path(item, field.as_deref());
            one.tags.insert("category".to_owned(), category.to_owned());
            import.declared.push(one);
        }
    }

    fn path(&self, item: &Node, field: Option<&str>) -> Option<String> {
        let path = item
            .text_at(&["path"])?
            .replace("{resource}", self.resource);
        let path = path
            .strip_prefix("secret/")
            .unwrap_or(&path)
            .trim_matches('/');
        Some(match field {
            Some(field) => format!("{path}/{field}"),
            None => path.to_owned(),
        })
    }

    fn describe(&self, one: &mut Declared, name: &str, item: &Node) {
        one.description = item.text_at(&["description"]).map(str::to_owned);
        one.require(!matches!(item.get("required"), Some(Node::Bool(false))));
        one.example = item.text_at(&["example"]).map(str::to_owned);
        one.value_type = match item.text_at(&["format"]) {
            Some("url") => Some(ValueType::Url),
            Some("email") => Some(ValueType::Email),
            Some("pem" | "pem_bundle" | "rsa_private_key") => Some(ValueType::Pem),
            Some("integer") => Some(ValueType::Integer),
            Some("json") => Some(ValueType::Json),
            _ => None,
        };
        one.format = item.text_at(&["validation", "pattern"]).map(str::to_owned);
        if let Some(Node::Whole(digits)) = item.at(&["validation", "min_length"]) {
            one.min_length = digits.parse().ok();
        }
        let allowed = item.list("allowed_values").iter().filter_map(scalar);
        let allowed: Vec<String> = allowed.map(|value| escaped(&value)).collect();
        if !allowed.is_empty() && one.format.is_none() {
            one.format = Some(format!("^({})$", allowed.join("|")));
        }
        let link = item.text_at(&["documentation"]);
        let link = link.or_else(|| item.list("links").first()?.text_at(&["url"]));
        one.link = link.map(str::to_owned);
        let asked = self.asked.get(&folded(name));
        one.prompt = asked
            .and_then(|asked| asked.text_at(&["prompt"]))
            .map(str::to_owned);
        self.class(one, name, item);
        self.default(one, item);
        for (key, note) in [
            ("ttl", "its 'ttl' is not taken over: see 'rotation'"),
            ("regenerate", "its 'regenerate' is not taken over"),
        ] {
            if item.get(key).is_some() {
                one.note(note);
            }
        }
    }

    fn class(&self, one: &mut Declared, name: &str, item: &Node) {
        let generated = self.generated.get(&folded(name));
        let is_generated = matches!(item.get("auto_generate"), Some(Node::Bool(true)));
        if generated.is_none() && !is_generated {
            one.class = Some(Class::UserPrompt);
            return;
        }
        one.class = Some(Class::PerInstallGenerated);
        let length = |usual: u16| match generated.and_then(|item| item.get("length")) {
            Some(Node::Whole(digits)) => digits.parse().unwrap_or(usual),
            _ => usual,
        };
        one.generator = match generated.and_then(|item| item.text_at(&["type"])) {
            Some("uuid") => Some(Generated::Uuid),
            Some("password") => Some(Generated::Password(length(32))),
            Some("token" | "jwt") => Some(Generated::Random(length(64))),
            Some("rsa") => None,
            _ => Some(Generated::Usual),
        };
        if one.generator.is_none() {
            one.class = Some(Class::UserPrompt);
            one.note("a key pair is not generated here: make it with its own tool");
        }
    }

    fn default(&self, one: &mut Declared, item: &Node) {
        let is_plain = matches!(item.get("sensitive"), Some(Node::Bool(false)));
        one.is_sensitive = !is_plain;
        let fallback = item.get("fallback").and_then(scalar);
        let variable = fallback
            .as_deref()
            .and_then(|text| text.strip_prefix("env:"));
        if let Some(variable) = variable.filter(|variable| *variable != one.name) {
            one.note(format!("it fell back to the variable {variable}"));
        }
        let literal = fallback.filter(|text| !text.starts_with("env:"));
        let Some(default) = item.get("default_value").and_then(scalar).or(literal) else {
            return;
        };
        if item.get("sensitive").is_none() {
            one.is_sensitive = placeholder::guess(&one.name, &default).sensitive;
        }
        one.offer_default(EVERY_OTHER, &default);
        if !one.is_sensitive {
            one.class = None;
        }
    }
}

/// A text, a number or a truth value as text.
fn scalar(node: &Node) -> Option<String> {
    match node {
        Node::Text(text) => Some(text.to_string()),
        Node::Whole(digits) => Some(digits.clone()),
        Node::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A variable's name as people write one: in capitals.
fn is_variable(text: &str) -> bool {
    names::is_variable(text) && !text.contains(|c: char| c.is_ascii_lowercase())
}

/// Of a variable that is declared twice the first counts, and says so; of two that share a path
/// the second has none.
fn distinct(import: &mut Import) {
    let mut kept: Vec<Declared> = Vec::new();
    for mut one in std::mem::take(&mut import.declared) {
        if let Some(first) = kept.iter_mut().find(|kept| kept.name == one.name) {
            first.note("it is declared more than once; the first counts");
            continue;
        }
        if one.path.is_some() && kept.iter().any(|kept| kept.path == one.path) {
            one.path = None;
            one.note("another secret has the same path");
        }
        kept.push(one);
    }
    import.declared = kept;
}
