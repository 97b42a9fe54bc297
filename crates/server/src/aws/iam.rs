//! The part of IAM's policy language that says something about a secret. What is not understood is
//! refused when it is written: a condition that is not looked at would hold for nobody or for all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Map;
use serde_json::Value;

/// Deepest and longest document.
const STATEMENTS_MAX: usize = 100;

/// A policy.
#[derive(Debug)]
pub(super) struct Document {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    is_allow: bool,
    principal: Matcher<Vec<String>>,
    action: Matcher<Vec<String>>,
    resource: Matcher<Vec<String>>,
    conditions: Vec<Condition>,
}

/// A list of patterns, or all that is not in it.
#[derive(Debug)]
enum Matcher<T> {
    In(T),
    NotIn(T),
}

#[derive(Debug)]
struct Condition {
    operator: Operator,
    is_negated: bool,
    if_exists: bool,
    key: Key,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsIgnoreCase,
    Like,
    Address,
    IsNull,
}

#[derive(Debug)]
enum Key {
    SourceIp,
    Stage,
    Version,
    SecretId,
    Name,
    Tag(String),
    PrincipalArn,
}

/// What is asked of a policy.
pub(super) struct Question<'a> {
    pub(super) user: &'a str,
    pub(super) account: &'a str,
    pub(super) action: &'a str,
    pub(super) arn: &'a str,
    pub(super) name: &'a str,
    pub(super) stage: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) tags: &'a BTreeMap<String, String>,
    pub(super) address: IpAddr,
}

impl Document {
    /// Reads a policy; what is wrong with it, without quoting it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_str(text).map_err(|_| "it is no JSON")?;
        let Value::Object(document) = value else {
            return Err("it is no JSON object");
        };
        for key in document.keys() {
            if !matches!(key.as_str(), "Version" | "Id" | "Statement") {
                return Err("it has a field that is not one of Version, Id and Statement");
            }
        }
        match document.get("Version").map(Value::as_str) {
            None | Some(Some("2012-10-17" | "2008-10-17")) => {}
            Some(_) => return Err("its Version is not 2012-10-17"),
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => return Err("it has no Statement"),
        };
        if statements.is_empty() || statements.len() > STATEMENTS_MAX {
            return Err("it has no Statement, or too many");
        }
        let statements = statements.into_iter().map(Statement::parse);
        Ok(Self {
            statements: statements.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a statement denies it.
    pub(super) fn denies(&self, question: &Question<'_>) -> bool {
        let mut statements = self.statements.iter();
        statements.any(|statement| !statement.is_allow && statement.applies(question))
    }

    /// Whether a statement allows something to everybody.
    pub(super) fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let is_anybody = match &statement.principal {
                Matcher::In(names) => names.iter().any(|name| name == "*"),
                Matcher::NotIn(_) => true,
            };
            statement.is_allow && is_anybody && statement.conditions.is_empty()
        })
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, &'static str> {
        let Value::Object(fields) = value else {
            return Err("a Statement is no JSON object");
        };
        for key in fields.keys() {
            let known = [
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Condition",
            ];
            if !known.contains(&key.as_str()) {
                return Err("a Statement has a field that is none of the language");
            }
        }
        let is_allow = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err("a Statement has no Effect of Allow or Deny"),
        };
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(Value::Object(conditions)) => conditions_of(conditions)?,
            Some(_) => return Err("a Condition is no JSON object"),
        };
        let (action, resource) = ("a Statement has no Action", "a Statement has no Resource");
        Ok(Self {
            is_allow,
            principal: matcher(
                fields,
                "Principal",
                "a Statement has no Principal",
                names_of,
            )?,
            action: matcher(fields, "Action", action, list_of)?,
            resource: matcher(fields, "Resource", resource, list_of)?,
            conditions,
        })
    }

    fn applies(&self, question: &Question<'_>) -> bool {
        let account = question.account;
        let root = format!("arn:aws:iam::{account}:root");
        let is_who = |name: &String| {
            name == "*" || name == account || *name == root || name == question.user
        };
        let action = format!("secretsmanager:{}", question.action).to_ascii_lowercase();
        let is_what = |name: &String| is_like(&name.to_ascii_lowercase(), &action);
        let is_where = |name: &String| is_like(name, question.arn);
        self.principal.fits(is_who)
            && self.action.fits(is_what)
            && self.resource.fits(is_where)
            && self.conditions.iter().all(|one| one.holds(question))
    }
}

impl Matcher<Vec<String>> {
    fn fits(&self, is_one: impl Fn(&String) -> bool) -> bool {
        match self {
            Self::In(names) => names.iter().any(is_one),
            Self::NotIn(names) => !names.iter().any(is_one),
        }
    }
}

fn matcher(
    fields: &Map<String, Value>,
    name: &str,
    missing: &'static str,
    read: fn(&Value) -> Option<Vec<String>>,
) -> Result<Matcher<Vec<String>>, &'static str> {
    let not = format!("Not{name}");
    match (fields.get(name), fields.get(&not)) {
        (Some(value), None) => read(value).map(Matcher::In).ok_or(missing),
        (None, Some(value)) => read(value).map(Matcher::NotIn).ok_or(missing),
        (None, None) | (Some(_), Some(_)) => Err(missing),
    }
}

/// A text or a list of texts.
fn list_of(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<String> = match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<_>>()?
        }
        _ => return None,
    };
    (!texts.is_empty()).then_some(texts)
}

/// `"*"`, or `{"AWS": …}`. Other kinds of principals are nobody here.
fn names_of(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) if text == "*" => Some(vec!["*".into()]),
        Value::Object(kinds) if !kinds.is_empty() => {
            let mut names = Vec::new();
            for (kind, value) in kinds {
                let list = list_of(value)?;
                match kind.as_str() {
                    "AWS" => names.extend(list),
                    "Service" | "Federated" | "CanonicalUser" => {
                        names.extend(list.into_iter().map(|name| format!("{kind}:{name}")));
                    }
                    _ => return None,
                }
            }
            Some(names)
        }
        _ => None,
    }
}

fn conditions_of(conditions: &Map<String, Value>) -> Result<Vec<Condition>, &'static str> {
    let mut found = Vec::new();
    for (name, keys) in conditions {
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let (operator, is_negated) = match name {
            "StringEquals" | "ArnEquals" => (Operator::Equals, false),
            "StringNotEquals" | "ArnNotEquals" => (Operator::Equals, true),
            "StringEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, true),
            "StringLike" | "ArnLike" => (Operator::Like, false),
            "StringNotLike" | "ArnNotLike" => (Operator::Like, true),
            "IpAddress" => (Operator::Address, false),
            "NotIpAddress" => (Operator::Address, true),
            "Null" => (Operator::IsNull, false),
            _ => return Err("a Condition has an operator that is not served"),
        };
        let Value::Object(keys) = keys else {
            return Err("a Condition is no JSON object");
        };
        for (key, values) in keys {
            let values = match values {
                Value::Bool(value) => vec![value.to_string()],
                values => list_of(values).ok_or("a Condition has no texts as its values")?,
            };
            let is_cidr = |text: &String| crate::cidr::normal(text).is_some();
            if operator == Operator::Address && !values.iter().all(is_cidr) {
                return Err("a Condition has an address that is none");
            }
            let is_yes_or_no = |text: &String| text == "true" || text == "false";
            if operator == Operator::IsNull && !values.iter().all(is_yes_or_no) {
                return Err("a Condition on Null is neither true nor false");
            }
            found.push(Condition {
                operator,
                is_negated,
                if_exists,
                key: Key::parse(key)?,
                values,
            });
        }
    }
    Ok(found)
}

impl Key {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let lower = text.to_ascii_lowercase();
        for prefix in ["secretsmanager:resourcetag/", "aws:resourcetag/"] {
            if lower.starts_with(prefix) {
                let tag = text.get(prefix.len()..).unwrap_or_default();
                return Ok(Self::Tag(tag.to_owned()));
            }
        }
        match lower.as_str() {
            "aws:sourceip" => Ok(Self::SourceIp),
            "aws:principalarn" => Ok(Self::PrincipalArn),
            "secretsmanager:versionstage" => Ok(Self::Stage),
            "secretsmanager:versionid" => Ok(Self::Version),
            "secretsmanager:secretid" => Ok(Self::SecretId),
            "secretsmanager:name" => Ok(Self::Name),
            _ => Err("a Condition has a key that is not served"),
        }
    }
}

impl Condition {
    fn holds(&self, question: &Question<'_>) -> bool {
        let address;
        let found = match &self.key {
            Key::SourceIp => {
                address = question.address.to_string();
                Some(address.as_str())
            }
            Key::Stage => question.stage,
            Key::Version => question.version,
            Key::SecretId => Some(question.arn),
            Key::Name => Some(question.name),
            Key::PrincipalArn => Some(question.user),
            Key::Tag(tag) => question.tags.get(tag).map(String::as_str),
        };
        if self.operator == Operator::IsNull {
            let is_null = found.is_none().to_string();
            return self.values.contains(&is_null);
        }
        let Some(found) = found else {
            // What is not there equals nothing; `IfExists` does not ask for it.
            return self.if_exists || self.is_negated;
        };
        let fits = |value: &String| match self.operator {
            Operator::Equals => value == found,
            Operator::EqualsIgnoreCase => value.eq_ignore_ascii_case(found),
            Operator::Like => is_like(value, found),
            Operator::Address => crate::cidr::allows(std::slice::from_ref(value), question.address),
            Operator::IsNull => false,
        };
        self.values.iter().any(fits) != self.is_negated
    }
}

/// Whether a text is like a pattern, where `*` stands for any letters and `?` for one.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where the last star stood, and how far the text was then: a star never has to be tried anew
    // once a later one was reached.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, star_place)) => {
                    at = star_at + 1;
                    place = star_place + 1;
                    star = Some((star_at, place));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(tags: &BTreeMap<String, String>) -> Question<'_> {
        Question {
            user: "arn:aws:iam::000000000000:user/ci",
            account: "000000000000",
            action: "GetSecretValue",
            arn: "arn:aws:secretsmanager:r-1:000000000000:secret:app/db-Ab1dEf",
            name: "app/db",
            stage: Some("AWSCURRENT"),
            version: None,
            tags,
            address: IpAddr::from([10, 1, 2, 3]),
        }
    }

    const ALL: &str = r#""Action":"*","Resource":"*""#;

    fn denies(statement: &str) -> bool {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let tags = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        Document::parse(&text).unwrap().denies(&question(&tags))
    }

    #[test]
    fn a_denial_is_as_wide_as_it_says() {
        let deny = |more: &str| {
            let more = more.replace("USER", "arn:aws:iam::000000000000:user");
            let more = more.replace("ALL", ALL);
            denies(&format!(r#"{{"Effect":"Deny",{more}}}"#))
        };
        for (more, is_denied) in [
            (r#""Principal":"*","Action":"*","Resource":"*""#, true),
            (
                r#""Principal":"*","Action":"secretsmanager:*","Resource":"*""#,
                true,
            ),
            (
                r#""Principal":"*","Action":"SecretsManager:getsecret*","Resource":"*""#,
                true,
            ),
            (
                r#""Principal":"*","Action":"secretsmanager:Put*","Resource":"*""#,
                false,
            ),
            (
                r#""Principal":"*","NotAction":"secretsmanager:Put*","Resource":"*""#,
                true,
            ),
            (
                r#""Principal":"*","NotAction":["secretsmanager:Get*"],"Resource":"*""#,
                false,
            ),
            (
                r#""Principal":"*","Action":"*","Resource":"arn:*:secret:app/*""#,
                true,
            ),
            (
                r#""Principal":"*","Action":"*","Resource":"arn:*:secret:app/db-??????""#,
                true,
            ),
            (
                r#""Principal":"*","Action":"*","Resource":"arn:*:secret:app/db""#,
                false,
            ),
            (
                r#""Principal":{"AWS":"000000000000"},"Action":"*","Resource":"*""#,
                true,
            ),
            (r#""Principal":{"AWS":"USER/ci"},ALL"#, true),
            (r#""Principal":{"AWS":["USER/x"]},ALL"#, false),
            (r#""NotPrincipal":{"AWS":"USER/x"},ALL"#, true),
            (
                r#""Principal":{"Service":"*"},"Action":"*","Resource":"*""#,
                false,
            ),
        ] {
            assert_eq!(deny(more), is_denied, "{more}");
        }
        assert!(!denies(
            r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#
        ));
    }

    #[test]
    fn conditions_are_looked_at() {
        for (condition, is_denied) in [
            (
                r#"{"StringEquals":{"secretsmanager:VersionStage":"AWSCURRENT"}}"#,
                true,
            ),
            (
                r#"{"StringEquals":{"secretsmanager:VersionStage":["A","B"]}}"#,
                false,
            ),
            (
                r#"{"StringNotEquals":{"secretsmanager:VersionStage":["A","B"]}}"#,
                true,
            ),
            (
                r#"{"StringEquals":{"secretsmanager:ResourceTag/team":"shop"}}"#,
                true,
            ),
            (
                r#"{"StringEquals":{"aws:ResourceTag/team":"other"}}"#,
                false,
            ),
            (r#"{"StringNotEquals":{"aws:ResourceTag/none":"x"}}"#, true),
            (r#"{"StringEquals":{"aws:ResourceTag/none":"x"}}"#, false),
            (
                r#"{"StringEqualsIfExists":{"aws:ResourceTag/none":"x"}}"#,
                true,
            ),
            (r#"{"Null":{"aws:ResourceTag/none":"true"}}"#, true),
            (r#"{"Null":{"aws:ResourceTag/team":true}}"#, false),
            (r#"{"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}}"#, true),
            (r#"{"IpAddress":{"aws:SourceIp":"10.2.0.0/16"}}"#, false),
            (
                r#"{"NotIpAddress":{"aws:SourceIp":["10.2.0.0/16","10.3.0.0/16"]}}"#,
                true,
            ),
            (
                r#"{"NotIpAddress":{"aws:SourceIp":["10.2.0.0/16","10.1.0.0/16"]}}"#,
                false,
            ),
            (
                r#"{"StringLike":{"secretsmanager:Name":"app/*"},"Null":{"aws:SourceIp":true}}"#,
                false,
            ),
            (r#"{"StringLike":{"secretsmanager:Name":"app/*"}}"#, true),
        ] {
            let statement =
                format!(r#"{{"Effect":"Deny","Principal":"*",{ALL},"Condition":{condition}}}"#);
            assert_eq!(denies(&statement), is_denied, "{condition}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for statement in [
            r#"{}"#,
            r#"{"Effect":"deny","Principal":"*","Action":"*","Resource":"*"}"#,
            r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"x","Action":"*","Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"*","Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"*","Action":[],"Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"*","Action":"*","NotAction":"x","Resource":"*"}"#,
            r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","More":1}"#,
            r#"{DENY,"Condition":{"DateLessThan":{"aws:CurrentTime":"x"}}}"#,
            r#"{DENY,"Condition":{"StringEquals":{"aws:UserAgent":"x"}}}"#,
            r#"{DENY,"Condition":{"IpAddress":{"aws:SourceIp":"x"}}}"#,
        ] {
            let deny = format!(r#""Effect":"Deny","Principal":"*",{ALL}"#);
            let statement = statement.replace("DENY", &deny);
            let text = format!(r#"{{"Statement":[{statement}]}}"#);
            assert!(Document::parse(&text).is_err(), "{statement}");
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"Statement":[]}"#,
            r#"{"Version":"1","Statement":{}}"#,
        ] {
            assert!(Document::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_take_no_time() {
        let pattern = "*a".repeat(2000);
        assert!(!is_like(&pattern, &"a".repeat(1999)));
        assert!(is_like("a*b?c*", "aXXbYc"));
        assert!(!is_like("a?", "a"));
        assert!(is_like("", ""));
    }
}
