//! What is checked about one value.

use strongroom_core::format::ValueType;
use strongroom_core::format::check_min_entropy;
use strongroom_core::format::check_min_length;
use strongroom_core::placeholder::placeholder_reason;
use strongroom_core::registry::Class;
use strongroom_core::registry::Declaration;
use strongroom_core::registry::Delivery;
use strongroom_core::secret::SecretValue;

use super::Origin;
use super::Problem;
use super::Request;
use super::Resolved;
use super::Severity;
use super::Status;

pub(super) fn check(
    request: &Request<'_>,
    secret: &mut Resolved<'_>,
    looked_in: &[String],
    problems: &mut Vec<Problem>,
) {
    let found = problems.len();
    let mut report = Report {
        request,
        declaration: secret.declaration,
        looked_in,
        problems,
    };
    secret.status = match &secret.value {
        None => {
            if secret.is_required && secret.origin == Origin::Nowhere {
                report.missing();
            }
            Status::Missing
        }
        Some(value) => report.value(value, secret),
    };
    let is_worst_a_warning = problems[found..]
        .iter()
        .all(|problem| problem.severity == Severity::Warning);
    if secret.status == Status::Invalid && is_worst_a_warning {
        secret.status = Status::Ok;
    }
}

struct Report<'r, 'a> {
    request: &'r Request<'a>,
    declaration: &'a Declaration,
    looked_in: &'r [String],
    problems: &'r mut Vec<Problem>,
}

impl Report<'_, '_> {
    fn add(&mut self, code: &'static str, severity: Severity, message: String) {
        self.problems.push(Problem {
            code,
            secret: self.declaration.name.clone(),
            severity,
            message,
            looked_in: self.looked_in.to_vec(),
            who: who(self.declaration),
            fix: fix(self.declaration, &self.request.profile.name),
        });
    }

    fn missing(&mut self) {
        let why = self.declaration.description.as_deref().map_or_else(
            || "the application needs it".to_owned(),
            |description| format!("needed: {description}"),
        );
        let profile = &self.request.profile.name;
        let message = if self.declaration.class == Class::PerInstallGenerated
            && self.request.profile.is_strict
        {
            format!("is missing in profile {profile}, which is strict and generates nothing; {why}")
        } else {
            format!("is missing in profile {profile}; {why}")
        };
        self.add("check.missing", Severity::Error, message);
    }

    fn value(&mut self, value: &SecretValue, secret: &Resolved<'_>) -> Status {
        let before = self.problems.len();
        let is_placeholder = self.placeholder(value);
        self.shape(value);
        self.delivery(value);
        self.strictness(value);
        let is_expired = secret.expires_at.is_some_and(|at| at <= self.request.now);
        if let (true, Some(at)) = (is_expired, secret.expires_at) {
            self.add("check.expired", Severity::Error, format!("expired at {at}"));
        }
        match (is_placeholder, is_expired, self.problems.len() > before) {
            (true, _, _) => Status::Placeholder,
            (_, true, _) => Status::Expired,
            (_, _, true) => Status::Invalid,
            _ => Status::Ok,
        }
    }

    fn placeholder(&mut self, value: &SecretValue) -> bool {
        let declaration = self.declaration;
        let name = &declaration.name;
        let is_let_through = self.request.allow_placeholders.contains(name)
            || self.request.profile.allow_placeholders.contains(name);
        if !declaration.is_sensitive || is_let_through {
            return false;
        }
        // EXPOSE: the value is compared with known placeholders; only the reason is reported.
        let Some(text) = value.expose_secret_text() else {
            return false;
        };
        let reason = if declaration.example.as_deref() == Some(text) {
            Some("is the declaration's own example")
        } else {
            placeholder_reason(name, text, Some(&self.request.manifest.project))
        };
        let Some(reason) = reason else { return false };
        let severity = match self.request.profile.is_strict {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let message = format!("looks like a placeholder: its value {reason}");
        self.add("check.placeholder", severity, message);
        true
    }

    fn shape(&mut self, value: &SecretValue) {
        let declaration = self.declaration;
        // EXPOSE: the value is checked against its declaration; problems never quote it.
        let bytes = value.expose_secret();
        if let Some(kind) = declaration.value_type
            && let Err(problem) = kind.check(bytes)
        {
            self.add("check.type", Severity::Error, problem.to_string());
        }
        if let Some(format) = &declaration.format
            && let Err(problem) = format.check(bytes)
        {
            self.add("check.format", Severity::Error, problem.to_string());
        }
        if let Some(chars) = declaration.min_length
            && let Err(problem) = check_min_length(bytes, chars)
        {
            self.add("check.length", Severity::Error, problem.to_string());
        }
        if let Some(bits) = declaration.min_entropy
            && let Err(problem) = check_min_entropy(bytes, bits)
        {
            self.add("check.entropy", Severity::Error, problem.to_string());
        }
        let has_outer_space = bytes.first().is_some_and(u8::is_ascii_whitespace)
            || bytes.last().is_some_and(u8::is_ascii_whitespace);
        let is_file = matches!(declaration.delivery, Delivery::File { .. });
        if has_outer_space && !is_file && declaration.value_type != Some(ValueType::Pem) {
            let message = "begins or ends with white space, which is kept".to_owned();
            self.add("check.white_space", Severity::Warning, message);
        }
    }

    fn delivery(&mut self, value: &SecretValue) {
        // EXPOSE: looked through for a NUL byte.
        let has_nul = value.expose_secret().contains(&0);
        if has_nul && matches!(self.declaration.delivery, Delivery::Env(_)) {
            let message = "holds a NUL byte, which no environment variable can carry; \
                           give it target = { type = \"file\" }";
            self.add("check.nul", Severity::Error, message.to_owned());
        }
    }

    fn strictness(&mut self, value: &SecretValue) {
        if !self.request.profile.is_strict {
            return;
        }
        // EXPOSE: looked at for its scheme only.
        let scheme = value.expose_secret().first_chunk::<7>();
        let is_plain_http = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"));
        if is_plain_http {
            let message = "is a plain http URL; a strict profile demands https".to_owned();
            self.add("check.plain_http", Severity::Error, message);
        }
        let Some(elsewhere) = self.request.elsewhere else {
            return;
        };
        if !self.declaration.is_sensitive {
            return;
        }
        let Some(others) = elsewhere.fingerprints.get(&self.declaration.name) else {
            return;
        };
        let own = (elsewhere.fingerprint)(value);
        for (profile, fingerprint) in others {
            if *fingerprint == own {
                let message = format!("has the same value as in profile {profile}");
                self.add("check.shared", Severity::Error, message);
            }
        }
    }
}

pub(super) fn who(declaration: &Declaration) -> String {
    match (&declaration.owner, declaration.class) {
        (Some(owner), _) => owner.clone(),
        (None, Class::Infrastructure) => "whoever runs the platform".into(),
        (None, Class::PerInstallGenerated) => "strongroom, by generating it".into(),
        (None, Class::RemoteFetch) => "whoever runs the secrets manager it comes from".into(),
        (None, Class::UserPrompt) => "anybody who has the value".into(),
    }
}

pub(super) fn fix(declaration: &Declaration, profile: &str) -> String {
    if declaration.is_sensitive {
        format!("strongroom set {} --profile {profile}", declaration.name)
    } else {
        format!(
            "add {}=… to the profile's .env, or a default to the manifest",
            declaration.name
        )
    }
}
