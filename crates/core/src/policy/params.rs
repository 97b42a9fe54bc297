//! Rules about the fields of a request.

use std::collections::BTreeMap;

/// A field of a request's body, as far as a policy looks at it.
#[derive(Clone, Copy)]
pub enum ParamValue<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(&'a str),
    /// A text.
    Text(&'a str),
    /// A list or an object: equal to nothing that a policy can name.
    Other,
}

/// A value that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Null,
    Bool(bool),
    Number(Box<str>),
    /// May begin or end with `*`.
    Text(Box<str>),
}

impl Wanted {
    fn matches(&self, value: &ParamValue<'_>) -> bool {
        match (self, value) {
            (Self::Null, ParamValue::Null) => true,
            (Self::Bool(wanted), ParamValue::Bool(value)) => wanted == value,
            (Self::Number(wanted), ParamValue::Number(value)) => same_number(wanted, value),
            (Self::Text(wanted), ParamValue::Text(value)) => matches_glob(wanted, value),
            _ => false,
        }
    }
}

/// Equal as integers where both are, as floating point numbers otherwise.
fn same_number(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => match (one.parse::<f64>(), other.parse::<f64>()) {
            (Ok(one), Ok(other)) => one.total_cmp(&other).is_eq(),
            _ => false,
        },
    }
}

/// `a*` by the beginning, `*a` by the end, `*a*` anywhere. A lone `*` is itself, as in Vault.
fn matches_glob(glob: &str, value: &str) -> bool {
    if glob.len() < 2 {
        return glob == value;
    }
    match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
        (Some(rest), Some(_)) => value.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(end), None) => value.ends_with(end),
        (None, Some(start)) => value.starts_with(start),
        (None, None) => glob == value,
    }
}

/// For each field, in lower case, the values that it is about; none means any value.
pub(super) type Fields = BTreeMap<Box<str>, Vec<Wanted>>;

/// What a rule says about fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParamRules {
    pub(super) allowed: Fields,
    pub(super) denied: Fields,
    pub(super) required: Vec<Box<str>>,
}

impl ParamRules {
    pub(super) fn allow(&self, params: &[(&str, ParamValue<'_>)]) -> bool {
        let is_given = |wanted: &str| params.iter().any(|(name, _)| *name == wanted);
        if !self.required.iter().all(|name| is_given(name)) {
            return false;
        }
        if params.is_empty() || self.is_unrestricted() {
            return true;
        }
        if self.denied.contains_key(ANY) {
            return false;
        }
        let any_allowed = self.allowed.is_empty() || self.allowed.contains_key(ANY);
        params.iter().all(|(name, value)| {
            let name = name.to_lowercase();
            let is_denied = holds(&self.denied, &name, value) == Some(true);
            !is_denied && holds(&self.allowed, &name, value).unwrap_or(any_allowed)
        })
    }

    fn is_unrestricted(&self) -> bool {
        self.denied.is_empty() && self.allowed.is_empty()
    }

    /// Adds what another rule for the same path says.
    pub(super) fn merge(&mut self, other: &Self) {
        merge_fields(&mut self.allowed, &other.allowed);
        merge_fields(&mut self.denied, &other.denied);
        for name in &other.required {
            if !self.required.contains(name) {
                self.required.push(name.clone());
            }
        }
    }
}

/// Whether the field's value is one of those listed; `None` where the field is not.
fn holds(fields: &Fields, name: &str, value: &ParamValue<'_>) -> Option<bool> {
    let wanted = fields.get(name)?;
    Some(wanted.is_empty() || wanted.iter().any(|wanted| wanted.matches(value)))
}

fn merge_fields(into: &mut Fields, from: &Fields) {
    for (name, values) in from {
        match into.get_mut(name) {
            // No values means any value, and stays so.
            Some(known) if known.is_empty() => {}
            Some(known) if values.is_empty() => known.clear(),
            Some(known) => known.extend(values.iter().cloned()),
            None => {
                into.insert(name.clone(), values.clone());
            }
        }
    }
}

const ANY: &str = "*";
