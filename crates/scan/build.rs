//! Reads the rules, and refuses those that could not work: a pattern that does not compile, one
//! that does not find its own examples, a match that is longer than what is looked at. So a rule
//! that silently never runs is not built.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use toml::Table;
use toml::Value;

#[path = "src/example.rs"]
mod example;

const KEYS: [&str; 13] = [
    "id",
    "title",
    "severity",
    "kind",
    "source",
    "keywords",
    "pattern",
    "before",
    "reach",
    "least_bits",
    "shown",
    "settings_only",
    "positive",
];
/// Shortest keyword: shorter ones stand in every other line.
const KEYWORD_BYTES_MIN: usize = 2;
/// Most bytes of a value that are shown.
const SHOWN_MAX: i64 = 14;

type Built<T> = Result<T, Box<dyn Error>>;

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells build scripts where to write by the environment"
)]
fn main() -> Built<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=rules");
    println!("cargo:rerun-if-changed=src/example.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files: Vec<PathBuf> = fs::read_dir("rules")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Built<_>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "toml"));
    files.sort();
    let mut rules = Vec::new();
    for file in &files {
        rules.extend(read(file)?);
    }
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(twice) = rules.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(format!("there are two rules {}", twice[0].id).into());
    }
    fs::write(out.join("rules.rs"), written(&rules)?)?;
    Ok(())
}

struct Rule {
    id: String,
    /// The fields, as they stand in Rust.
    fields: String,
    positive: Vec<String>,
    negative: Vec<String>,
}

fn read(file: &Path) -> Built<Vec<Rule>> {
    let shown = file.display();
    let table: Table = fs::read_to_string(file)?
        .parse()
        .map_err(|error| format!("{shown}: {error}"))?;
    let rules = table.get("rules").and_then(Value::as_array);
    let rules = rules.ok_or_else(|| format!("{shown} has no [[rules]]"))?;
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for rule in rules {
        let rule = rule.as_table().ok_or("a rule is a table")?;
        let id = rule
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or("without id");
        match check(rule) {
            Ok(rule) => read.push(rule),
            Err(error) => wrong.push(format!("{shown}: rule {id}: {error}")),
        }
    }
    match wrong.is_empty() {
        true => Ok(read),
        false => Err(wrong.join("; ").into()),
    }
}

fn check(rule: &Table) -> Built<Rule> {
    if let Some(key) = rule
        .keys()
        .find(|key| !KEYS.contains(&key.as_str()) && key.as_str() != "negative")
    {
        return Err(format!("nothing reads `{key}`").into());
    }
    let id = text(rule, "id")?;
    if !id
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Err("an id has small letters, digits and '-'".into());
    }
    let severity = word(rule, "severity", &["Critical", "High", "Medium", "Low"])?;
    let kind = word(rule, "kind", &["Format", "Structure", "Assignment"])?;
    let source = text(rule, "source")?;
    if !source.starts_with("https://") && kind == "Format" {
        return Err("`source` names the page where the vendor describes the format".into());
    }
    let keywords = texts(rule, "keywords")?;
    let is_keyword = |word: &String| {
        word.len() >= KEYWORD_BYTES_MIN && word.is_ascii() && *word == word.to_ascii_lowercase()
    };
    if keywords.is_empty() || !keywords.iter().all(is_keyword) {
        return Err("`keywords` are in small letters, two or more each".into());
    }
    let (pattern, before, reach) = (
        text(rule, "pattern")?,
        number(rule, "before", 64)?,
        number(rule, "reach", 256)?,
    );
    let regex = compiled(pattern)?;
    let longest = longest(pattern)?;
    if longest > before + reach {
        return Err(format!("a match may have {longest} bytes: raise `reach`").into());
    }
    let shown = number(rule, "shown", 0)?;
    if shown > SHOWN_MAX {
        return Err(format!("`shown` is over {SHOWN_MAX}").into());
    }
    let (positive, negative) = (texts(rule, "positive")?, texts(rule, "negative")?);
    if positive.is_empty() || negative.is_empty() {
        return Err("it has a positive and a negative example at least".into());
    }
    for positive in &positive {
        finds(&regex, &keywords, positive)?;
    }
    for negative in &negative {
        example::expand(negative).ok_or("a negative example names an unknown set")?;
    }
    let bits = match rule.get("least_bits") {
        None => 0.0,
        Some(Value::Integer(bits)) => f64::from(u16::try_from(*bits)?),
        Some(_) => return Err("`least_bits` is a whole number".into()),
    };
    let in_settings_only = rule.get("settings_only").and_then(Value::as_bool) == Some(true);
    let title = text(rule, "title")?;
    let fields = format!(
        "id: {id:?}, title: {title:?}, severity: Severity::{severity}, kind: Kind::{kind}, \
         source: {source:?}, keywords: &{keywords:?}, pattern: {pattern:?}, before: {before}, \
         reach: {reach}, least_bits: {bits:?}, shown: {shown}, \
         in_settings_only: {in_settings_only}, compiled: OnceLock::new()"
    );
    Ok(Rule {
        id: id.to_owned(),
        fields,
        positive,
        negative,
    })
}

/// As `rule::compile` does it.
fn compiled(pattern: &str) -> Built<Regex> {
    let regex = Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(Regex::config().utf8_empty(false))
        .build(pattern)
        .map_err(|error| format!("the pattern does not compile: {error:?}"))?;
    let has = |name: Option<&str>| name == Some("value");
    match regex
        .group_info()
        .pattern_names(regex_automata::PatternID::ZERO)
        .any(has)
    {
        true => Ok(regex),
        false => Err("the pattern has no group `value`".into()),
    }
}

fn longest(pattern: &str) -> Built<i64> {
    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build();
    let longest = parser.parse(pattern)?.properties().maximum_len();
    let longest = longest.ok_or("the pattern has no longest match: bound its repetitions")?;
    Ok(i64::try_from(longest)?)
}

fn finds(regex: &Regex, keywords: &[String], positive: &str) -> Built<()> {
    let text = example::expand(positive).ok_or("a positive example names an unknown set")?;
    let lower = text.to_ascii_lowercase();
    if !keywords.iter().any(|word| lower.contains(word.as_str())) {
        return Err(format!("no keyword stands in its example {positive:?}").into());
    }
    match regex.is_match(&text) {
        true => Ok(()),
        false => Err(format!("it does not find its own example {positive:?}").into()),
    }
}

fn text<'a>(rule: &'a Table, key: &str) -> Built<&'a str> {
    let text = rule.get(key).and_then(Value::as_str);
    let text = text.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| format!("`{key}` is missing").into())
}

fn texts(rule: &Table, key: &str) -> Built<Vec<String>> {
    let list = rule.get(key).and_then(Value::as_array);
    let list = list.ok_or_else(|| format!("`{key}` is a list of texts"))?;
    let texts = list.iter().map(|text| text.as_str().map(str::to_owned));
    let texts: Option<Vec<String>> = texts.collect();
    texts.ok_or_else(|| format!("`{key}` is a list of texts").into())
}

fn number(rule: &Table, key: &str, usual: i64) -> Built<i64> {
    match rule.get(key) {
        None => Ok(usual),
        Some(Value::Integer(number)) if *number >= 0 => Ok(*number),
        Some(_) => Err(format!("`{key}` is a number of bytes").into()),
    }
}

/// One of these words; in the file it is in small letters.
fn word(rule: &Table, key: &str, words: &[&'static str]) -> Built<&'static str> {
    let text = text(rule, key)?;
    let mut words = words.iter().copied();
    let found = words.find(|word| word.to_ascii_lowercase() == text);
    found.ok_or_else(|| format!("`{key}` is none of its words").into())
}

fn written(rules: &[Rule]) -> Built<String> {
    let mut out = String::new();
    writeln!(out, "static RULES: [Rule; {}] = [", rules.len())?;
    for rule in rules {
        writeln!(out, "    Rule {{ {} }},", rule.fields)?;
    }
    writeln!(out, "];")?;
    writeln!(
        out,
        "/// Of each rule: its id, what it finds, what it does not find."
    )?;
    writeln!(out, "#[cfg(test)]")?;
    writeln!(
        out,
        "pub(crate) static EXAMPLES: &[(&str, &[&str], &[&str])] = &["
    )?;
    for rule in rules {
        writeln!(
            out,
            "    ({:?}, &{:?}, &{:?}),",
            rule.id, rule.positive, rule.negative
        )?;
    }
    writeln!(out, "];")?;
    Ok(out)
}
