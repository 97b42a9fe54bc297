//! How often secrets change: what a declaration says, and policies for those that say nothing.

use std::collections::BTreeMap;

use super::Check;
use crate::glob;
use crate::manifest::raw::OverlapWait;
use crate::manifest::raw::Rotation;
use crate::registry::Declaration;
use crate::time::Span;

/// Longest name of a policy: that of servers.
const POLICY_CHARS_MAX: usize = 64;

/// Has secrets that say nothing of their rotation follow the policy with the longest pattern that
/// fits their path; of several the first by name.
pub(super) fn follow_policies(
    declarations: &mut [Declaration],
    policies: &BTreeMap<String, Rotation>,
) {
    let patterns = policies
        .values()
        .filter_map(|policy| policy.pattern.as_ref());
    let longest = patterns.map(String::len).max().unwrap_or(0);
    for declaration in declarations {
        if declaration.rotation.is_some()
            || declaration.dynamic.is_some()
            || !declaration.is_sensitive
        {
            continue;
        }
        let path = declaration.path.as_str();
        let fitting = policies.values().filter(|policy| {
            let pattern = policy.pattern.as_deref();
            pattern.is_some_and(|pattern| glob::matches(pattern, path))
        });
        let length = |policy: &&Rotation| policy.pattern.as_ref().map_or(0, String::len);
        let Some(policy) = fitting.min_by_key(|policy| longest - length(policy)) else {
            continue;
        };
        if declaration.owner.is_none() {
            declaration.owner.clone_from(&policy.owner);
        }
        declaration.rotation = Some(Rotation {
            pattern: None,
            owner: None,
            ..policy.clone()
        });
    }
}

impl Check {
    pub(super) fn rotation(&mut self, key: &str, rotation: Option<&Rotation>) {
        let Some(rotation) = rotation else { return };
        let key = format!("{key}.rotation");
        for (field, value) in [("pattern", &rotation.pattern), ("owner", &rotation.owner)] {
            if value.is_some() {
                let message = format!("`{field}` belongs to a policy in [rotation]");
                self.add(&key, "manifest.contradiction", message, None);
            }
        }
        self.schedule(&key, rotation);
    }

    /// A policy in `[rotation]`.
    pub(super) fn policy(&mut self, key: &str, policy: &Rotation) {
        if policy.pattern.as_ref().is_none_or(String::is_empty) {
            let message = "a policy has a `pattern` of paths, e.g. jwt/*";
            self.add(key, "manifest.missing_key", message, None);
        }
        let name = key.rsplit('.').next().unwrap_or_default();
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.len() > POLICY_CHARS_MAX || !name.bytes().all(is_letter) {
            let message = "the name of a policy has up to 64 letters, digits, `-` and `_`";
            self.add(key, "manifest.bad_name", message, None);
        }
        self.schedule(key, policy);
    }

    fn schedule(&mut self, key: &str, rotation: &Rotation) {
        let spans = [
            ("every", &rotation.every),
            ("jitter", &rotation.jitter),
            ("notify_before", &rotation.notify_before),
            ("overlap", &rotation.overlap),
            ("consumers_within", &rotation.consumers_within),
        ];
        for (field, text) in spans {
            if let Some(Err(error)) = text.as_ref().map(|text| text.parse::<Span>()) {
                let key = format!("{key}.{field}");
                self.add(&key, "manifest.wrong_value", error.to_string(), None);
            }
        }
        let code = "manifest.contradiction";
        match (&rotation.every, &rotation.schedule) {
            (Some(_), Some(_)) => {
                self.add(key, code, "`every` and `schedule` exclude each other", None);
            }
            (None, None) => {
                let message =
                    "a rotation says when: `every` (30d) or `schedule` (rate(…), cron(…))";
                self.add(key, "manifest.missing_key", message, None);
            }
            _ => {}
        }
        let is_open = rotation.overlap.is_none();
        let waits = rotation.wait == Some(OverlapWait::Consumers);
        if is_open && (waits || rotation.consumers_within.is_some()) {
            let message = "`wait` and `consumers_within` belong to an `overlap`, which bounds them";
            self.add(key, code, message, Some("overlap = \"3d\"".into()));
        }
    }
}
