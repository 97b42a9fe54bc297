//! From the raw form to the checked one: contradictions are found here, all at once.

mod rotation;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::DECLARATIONS_MAX;
use super::INHERITS_MAX;
use super::Manifest;
use super::PROFILE_DEFAULT;
use super::Place;
use super::Problem;
use super::Profile;
use super::did_you_mean;
use super::raw::ByProfile;
use super::raw::RawDeclaration;
use super::raw::RawDynamic;
use super::raw::RawManifest;
use super::raw::RawProfile;
use super::read::Read;
use crate::format::Pattern;
use crate::format::PatternSet;
use crate::generate::Proof;
use crate::path::SecretPath;
use crate::registry::Class;
use crate::registry::Declaration;
use crate::registry::Delivery;
use crate::registry::Dynamic;
use crate::registry::DynamicForm;
use crate::registry::EVERY_OTHER;
use crate::registry::Target;

const BUILT_IN: [(&str, bool); 3] = [
    ("development", false),
    ("staging", false),
    ("production", true),
];
const NAME_CHARS_MAX: usize = 128;
/// Generated values with fewer bits of entropy are reported.
const GENERATED_BITS_MIN: f64 = 128.0;

pub(super) fn validate(read: Read) -> Result<(Manifest, Vec<Problem>), Vec<Problem>> {
    let Read {
        manifest,
        order,
        places,
    } = read;
    let mut check = Check {
        places,
        problems: Vec::new(),
        notices: Vec::new(),
    };
    let project = check.project(&manifest);
    let profiles = check.profiles(&manifest.profiles);
    let RawManifest {
        project: raw_project,
        mut secrets,
        rotation: rotations,
        ..
    } = manifest;
    let default_profile = raw_project
        .default_profile
        .unwrap_or_else(|| PROFILE_DEFAULT.into());
    if !profiles.contains_key(&default_profile) {
        let known = profiles.keys().map(String::as_str);
        let hint =
            did_you_mean(&default_profile, known).map(|near| format!("did you mean '{near}'?"));
        check.add(
            "project",
            "manifest.unknown_profile",
            "default_profile is not a profile",
            hint,
        );
    }
    if order.len() > DECLARATIONS_MAX {
        let message = format!("over {DECLARATIONS_MAX} declarations");
        check.add("secrets", "manifest.too_large", message, None);
    }
    let mut patterns = PatternSet::new();
    let mut declarations = Vec::with_capacity(order.len());
    for name in order {
        let Some(raw) = secrets.remove(&name) else {
            continue;
        };
        let key = format!("secrets.{name}");
        if let Some(declaration) = check.declaration(&key, name, raw, &profiles, &mut patterns) {
            declarations.push(declaration);
        }
    }
    check.collisions(&declarations);
    for (name, policy) in &rotations {
        check.policy(&format!("rotation.{name}"), policy);
    }
    rotation::follow_policies(&mut declarations, &rotations);
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    let description = raw_project.description;
    let manifest = Manifest {
        project,
        description,
        default_profile,
        profiles,
        declarations,
        rotations,
        places: check.places,
    };
    Ok((manifest, check.notices))
}

struct Check {
    places: BTreeMap<String, Place>,
    problems: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Check {
    fn add(
        &mut self,
        key: &str,
        code: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let problem = self.problem(key, code, message.into(), hint);
        self.problems.push(problem);
    }

    fn notice(&mut self, key: &str, code: &'static str, message: impl Into<String>) {
        let problem = self.problem(key, code, message.into(), None);
        self.notices.push(problem);
    }

    /// The place of a key is that of the nearest table that has one.
    fn problem(
        &self,
        key: &str,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) -> Problem {
        let mut nearest = key;
        let place = loop {
            if let Some(place) = self.places.get(nearest) {
                break Place {
                    key: key.to_owned(),
                    ..place.clone()
                };
            }
            match nearest.rsplit_once('.') {
                Some((outer, _)) => nearest = outer,
                None => {
                    let file = "strongroom.toml".to_owned();
                    break Place {
                        file,
                        line: 1,
                        column: 1,
                        key: key.to_owned(),
                    };
                }
            }
        };
        Problem {
            place,
            code,
            message,
            hint,
        }
    }

    fn project(&mut self, manifest: &RawManifest) -> String {
        let Some(name) = manifest.project.name.clone() else {
            let hint = Some("begin the file with [project] and name = \"…\"".to_owned());
            self.add(
                "project",
                "manifest.missing_key",
                "the project has no name",
                hint,
            );
            return String::new();
        };
        if !is_segment(&name) {
            let message = "the name is not one path segment (no '/', no control characters)";
            self.add("project.name", "manifest.bad_name", message, None);
        }
        name
    }

    fn profiles(&mut self, raw: &BTreeMap<String, RawProfile>) -> BTreeMap<String, Profile> {
        let built_in = BUILT_IN.iter().map(|(name, _)| (*name).to_owned());
        let names: BTreeSet<String> = built_in.chain(raw.keys().cloned()).collect();
        let mut profiles = BTreeMap::new();
        for name in names {
            if !is_segment(&name) {
                let message = "the profile's name is not one path segment";
                self.add(
                    &format!("profiles.{name}"),
                    "manifest.bad_name",
                    message,
                    None,
                );
            }
            let profile = self.profile(&name, raw);
            profiles.insert(name, profile);
        }
        profiles
    }

    /// Settings of a profile and those it inherits, nearest first.
    fn profile(&mut self, name: &str, raw: &BTreeMap<String, RawProfile>) -> Profile {
        let key = format!("profiles.{name}");
        let mut lineage = vec![name.to_owned()];
        let mut merged = RawProfile::default();
        while let Some(current) = lineage.last().and_then(|name| raw.get(name)) {
            merged.chain = merged.chain.or_else(|| current.chain.clone());
            merged.strict = merged.strict.or(current.strict);
            merged.allow_placeholders = merged
                .allow_placeholders
                .or_else(|| current.allow_placeholders.clone());
            merged.inherit_env = merged.inherit_env.or_else(|| current.inherit_env.clone());
            let Some(parent) = current.inherits.clone() else {
                break;
            };
            if lineage.contains(&parent) || lineage.len() > INHERITS_MAX {
                let message = format!("inherits goes in a circle: {}", lineage.join(" → "));
                self.add(&key, "manifest.inherits", message, None);
                break;
            }
            let is_built_in = BUILT_IN.iter().any(|(name, _)| *name == parent);
            if !raw.contains_key(&parent) && !is_built_in {
                let known = raw.keys().map(String::as_str);
                let hint =
                    did_you_mean(&parent, known).map(|near| format!("did you mean '{near}'?"));
                let message = "inherits from a profile that is not declared";
                self.add(&key, "manifest.unknown_profile", message, hint);
                break;
            }
            lineage.push(parent);
        }
        let is_strict_built_in = BUILT_IN.contains(&(name, true));
        Profile {
            name: name.to_owned(),
            chain: merged.chain,
            is_strict: merged.strict.unwrap_or(is_strict_built_in),
            allow_placeholders: merged.allow_placeholders.unwrap_or_default(),
            inherit_env: merged.inherit_env.unwrap_or_default(),
        }
    }

    fn declaration(
        &mut self,
        key: &str,
        name: String,
        raw: RawDeclaration,
        profiles: &BTreeMap<String, Profile>,
        patterns: &mut PatternSet,
    ) -> Option<Declaration> {
        let problems_before = self.problems.len();
        if !is_name(&name) {
            let message = "the name has characters other than letters, digits, '_', '-' and '.'";
            self.add(key, "manifest.bad_name", message, None);
        }
        let path = self.path(key, "path", raw.path.as_deref().unwrap_or(&name));
        let class = raw.class.unwrap_or(match raw.generator {
            Some(_) => Class::PerInstallGenerated,
            None => Class::UserPrompt,
        });
        let is_classified = raw.class.is_some() || raw.generator.is_some() || raw.prompt.is_some();
        let is_sensitive = raw.sensitive.unwrap_or(true);
        let format = self.format(key, raw.format.as_deref(), patterns);
        let fallback: Vec<SecretPath> = raw
            .fallback
            .iter()
            .flatten()
            .filter_map(|text| self.path(key, "fallback", text.trim_start_matches('/')))
            .collect();
        let required = self.by_profile(key, "required", raw.required.as_ref(), profiles);
        let default = self
            .by_profile(key, "default", raw.default.as_ref(), profiles)
            .into_iter()
            .map(|(profile, value)| (profile, value.text()))
            .collect();
        let delivery = self.delivery(key, &name, raw.target.as_ref());
        self.rotation(key, raw.rotation.as_ref());
        let dynamic = raw.dynamic.as_ref().and_then(|raw| self.dynamic(key, raw));
        let declaration = Declaration {
            path: path?,
            name,
            class,
            is_classified,
            description: raw.description,
            is_sensitive,
            format,
            value_type: raw.value_type,
            min_length: raw.min_length,
            min_entropy: raw.min_entropy,
            generator: raw.generator,
            rotation: raw.rotation,
            dynamic,
            tags: raw.tags.unwrap_or_default(),
            owner: raw.owner,
            prompt: raw.prompt,
            fallback,
            example: raw.example,
            delivery,
            tiers: raw.tiers.unwrap_or_default(),
            required,
            default,
        };
        self.contradictions(key, &declaration);
        (self.problems.len() == problems_before).then_some(declaration)
    }

    fn path(&mut self, key: &str, field: &str, text: &str) -> Option<SecretPath> {
        match text.parse() {
            Ok(path) => Some(path),
            Err(error) => {
                let error: crate::path::ParsePathError = error;
                let key = format!("{key}.{field}");
                self.add(&key, "manifest.bad_path", error.to_string(), None);
                None
            }
        }
    }

    fn format(
        &mut self,
        key: &str,
        text: Option<&str>,
        patterns: &mut PatternSet,
    ) -> Option<Arc<Pattern>> {
        let text = text?;
        let key = format!("{key}.format");
        match patterns.pattern(text) {
            Ok(pattern) => {
                for lint in pattern.lint() {
                    self.notice(&key, "manifest.format_lint", lint.message.to_string());
                }
                Some(pattern)
            }
            Err(error) => {
                self.add(&key, "manifest.bad_format", error.to_string(), None);
                None
            }
        }
    }

    fn by_profile<T: Clone>(
        &mut self,
        key: &str,
        field: &str,
        value: Option<&ByProfile<T>>,
        profiles: &BTreeMap<String, Profile>,
    ) -> BTreeMap<String, T> {
        match value {
            None => BTreeMap::new(),
            Some(ByProfile::One(value)) => {
                BTreeMap::from([(EVERY_OTHER.to_owned(), value.clone())])
            }
            Some(ByProfile::Each(values)) => {
                for name in values.keys().filter(|name| *name != EVERY_OTHER) {
                    if !profiles.contains_key(name) {
                        let known = profiles.keys().map(String::as_str);
                        let hint =
                            did_you_mean(name, known).map(|near| format!("did you mean '{near}'?"));
                        let message = format!("{field} names a profile that is not declared");
                        self.add(key, "manifest.unknown_profile", message, hint);
                    }
                }
                values.clone()
            }
        }
    }

    fn delivery(&mut self, key: &str, name: &str, target: Option<&Target>) -> Delivery {
        let Some(target) = target else {
            return Delivery::Env(name.to_owned());
        };
        let key = format!("{key}.target");
        match target {
            Target::Stdin => Delivery::Stdin,
            Target::None => Delivery::None,
            Target::Env { name: variable } => {
                let variable = variable.clone().unwrap_or_else(|| name.to_owned());
                self.variable(&key, &variable);
                Delivery::Env(variable)
            }
            Target::File {
                name: file,
                env,
                mode,
            } => {
                let file = file.clone().unwrap_or_else(|| name.to_owned());
                if !is_segment(&file) {
                    let message = "the file's name is not one path segment";
                    self.add(&key, "manifest.bad_name", message, None);
                }
                let env = env.clone().unwrap_or_else(|| format!("{name}_FILE"));
                self.variable(&key, &env);
                let mode = mode.as_deref().map_or(Some(0o600), |mode| {
                    u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok()
                });
                let Some(mode) = mode.filter(|mode| *mode & !0o777 == 0) else {
                    let message = "mode is not an octal number such as 0400";
                    self.add(&key, "manifest.wrong_value", message, None);
                    return Delivery::None;
                };
                if mode & 0o007 != 0 {
                    let message = "mode lets everybody read the secret";
                    self.add(&key, "manifest.wrong_value", message, None);
                }
                Delivery::File {
                    name: file,
                    env,
                    mode,
                }
            }
        }
    }

    fn variable(&mut self, key: &str, name: &str) {
        if name.is_empty() || name.contains(['=', '\0']) || name.chars().any(char::is_control) {
            self.add(
                key,
                "manifest.bad_name",
                "not the name of an environment variable",
                None,
            );
        }
    }

    fn contradictions(&mut self, key: &str, declaration: &Declaration) {
        let code = "manifest.contradiction";
        let has_generator = declaration.generator.is_some();
        match declaration.class {
            Class::UserPrompt | Class::RemoteFetch if has_generator => {
                let message = format!(
                    "class {} has a generator; only per_install_generated values are generated",
                    declaration.class.word()
                );
                self.add(key, code, message, None);
            }
            Class::Infrastructure if has_generator => {
                let message = "infrastructure secrets belong to the platform and are not generated";
                self.add(key, code, message, None);
            }
            _ => {}
        }
        if !declaration.default.is_empty() && declaration.is_sensitive {
            let hint = "remove the default, or write sensitive = false if it is a plain setting";
            let message = "a secret has a default: its value would lie in the manifest";
            self.add(key, code, message, Some(hint.into()));
        }
        if !declaration.is_sensitive && has_generator {
            self.add(key, code, "a plain setting has a generator", None);
        }
        let has_other = has_generator
            || declaration.rotation.is_some()
            || !declaration.fallback.is_empty()
            || !declaration.default.is_empty();
        if declaration.dynamic.is_some() && (has_other || !declaration.is_sensitive) {
            let message = "dynamic values are made by a server for each run: they have no \
                           generator, rotation, fallback or default, and are no plain settings";
            self.add(key, code, message, None);
        }
        self.generator(key, declaration);
        self.defaults(key, declaration);
    }

    fn dynamic(&mut self, key: &str, raw: &RawDynamic) -> Option<Dynamic> {
        let key = format!("{key}.dynamic");
        let (path, form) = match raw {
            RawDynamic::Formed(formed) => {
                let form = DynamicForm::Template(formed.template.clone());
                (formed.path.as_str(), form)
            }
            RawDynamic::Path(text) => match text.split_once('#') {
                Some((path, field)) => (path, DynamicForm::Field(field.to_owned())),
                None => (text.as_str(), DynamicForm::Whole),
            },
        };
        let path = path.trim_matches('/');
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if !path.chars().all(is_letter) || !path.split('/').all(is_plain) {
            let message = "it is no path such as database/creds/readonly";
            self.add(&key, "manifest.bad_path", message, None);
            return None;
        }
        Some(Dynamic {
            path: path.to_owned(),
            form,
        })
    }

    /// A generator is proved to satisfy what its own declaration asks for.
    fn generator(&mut self, key: &str, declaration: &Declaration) {
        let Some(generator) = &declaration.generator else {
            return;
        };
        let key = format!("{key}.generator");
        let kind = declaration.value_type;
        if let Proof::Never { reason } = generator.proves(declaration.format.as_deref(), kind) {
            let message = format!("what it generates does not satisfy the declaration: {reason}");
            self.add(&key, "manifest.contradiction", message, None);
        }
        let bits = generator.entropy_bits();
        if let Some(least) = declaration.min_entropy
            && bits < least
        {
            let message = format!("it gives {bits:.0} bits, but min_entropy asks for {least}");
            self.add(&key, "manifest.contradiction", message, None);
        }
        if let (Some(least), Some(most)) = (declaration.min_length, generator.chars_max())
            && most < least
        {
            let message = format!("it gives {most} characters, but min_length asks for {least}");
            self.add(&key, "manifest.contradiction", message, None);
        }
        if !generator.makes_secrets() {
            self.notice(
                &key,
                "manifest.generator_weak",
                "a time is no secret: anybody can guess it",
            );
        } else if bits < GENERATED_BITS_MIN {
            let message =
                format!("it gives {bits:.0} bits; {GENERATED_BITS_MIN:.0} or more are safe");
            self.notice(&key, "manifest.generator_weak", message);
        }
    }

    fn defaults(&mut self, key: &str, declaration: &Declaration) {
        for value in declaration.default.values() {
            let bytes = value.as_bytes();
            let by_type = declaration
                .value_type
                .map_or(Ok(()), |kind| kind.check(bytes));
            let by_format = declaration
                .format
                .as_ref()
                .map_or(Ok(()), |format| format.check(bytes));
            if let Err(problem) = by_type.and(by_format) {
                let message = format!("the default {problem}");
                self.add(
                    &format!("{key}.default"),
                    "manifest.contradiction",
                    message,
                    None,
                );
            }
        }
    }

    fn collisions(&mut self, declarations: &[Declaration]) {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let mut stdin = None;
        for declaration in declarations {
            let mut claims = vec![(format!("path {}", declaration.path), "path")];
            match &declaration.delivery {
                Delivery::Env(name) => claims.push((format!("variable {name}"), "target")),
                Delivery::File { name, env, .. } => {
                    claims.push((format!("file {name}"), "target"));
                    claims.push((format!("variable {env}"), "target"));
                }
                Delivery::Stdin if stdin.is_some() => {
                    claims.push(("standard input".into(), "target"));
                }
                Delivery::Stdin => {
                    stdin = Some(&declaration.name);
                    claims.push(("standard input".into(), "target"));
                }
                Delivery::None => {}
            }
            for (claim, field) in claims {
                if let Some(other) = taken.insert(claim.clone(), &declaration.name) {
                    let message = format!("the {claim} is taken by {other} already");
                    let key = format!("secrets.{}.{field}", declaration.name);
                    self.add(&key, "manifest.duplicate", message, None);
                }
            }
        }
    }
}

fn is_segment(name: &str) -> bool {
    !name.contains('/') && name.parse::<SecretPath>().is_ok()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}
