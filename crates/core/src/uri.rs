//! Where a backend is, in one line: `scheme:[//authority/]path[?key=value&…]`.
//!
//! The line stands in manifests and on command lines, so it never holds a secret: a user name
//! with a password in the authority is refused, and errors quote the scheme only.

use std::fmt;

use crate::path::is_forbidden;

/// Longest backend URI, in bytes.
pub const URI_BYTES_MAX: usize = 2048;

/// The parsed line. Scheme-specific meaning is the backend's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUri {
    scheme: String,
    authority: Option<String>,
    path: Option<String>,
    options: Vec<(String, String)>,
}

/// Why a line is no backend URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseUriError {
    /// Nothing before the first `:`, or not a word of `[a-z][a-z0-9-]*`.
    #[error("a backend begins with its kind, e.g. `aws:` or `vault:`")]
    Scheme,
    /// Over [`URI_BYTES_MAX`].
    #[error("the backend's address has over {URI_BYTES_MAX} bytes")]
    TooLong,
    /// A control or invisible character.
    #[error("the {scheme} address has a control or invisible character")]
    ForbiddenCharacter {
        /// Whose.
        scheme: String,
    },
    /// `user:password@` in front of the host.
    #[error("the {scheme} address has a password in it; credentials never stand in an address")]
    Password {
        /// Whose.
        scheme: String,
    },
    /// An option without a name, or twice.
    #[error("the {scheme} address has an option that is empty or given twice")]
    Option {
        /// Whose.
        scheme: String,
    },
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the {scheme} address has a % that is not followed by two hexadecimal digits")]
    Escape {
        /// Whose.
        scheme: String,
    },
}

impl BackendUri {
    /// Parses a line.
    ///
    /// # Errors
    /// When it does not follow the grammar, or holds a password.
    pub fn parse(text: &str) -> Result<Self, ParseUriError> {
        if text.len() > URI_BYTES_MAX {
            return Err(ParseUriError::TooLong);
        }
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (text, None),
        };
        let (scheme, rest) = match address.split_once(':') {
            Some((scheme, rest)) => (scheme, Some(rest)),
            None => (address, None),
        };
        if !is_scheme(scheme) {
            return Err(ParseUriError::Scheme);
        }
        let owner = || scheme.to_owned();
        if text.chars().any(is_forbidden) {
            return Err(ParseUriError::ForbiddenCharacter { scheme: owner() });
        }
        let (authority, path) = match rest {
            None | Some("") => (None, None),
            Some(rest) => match rest.strip_prefix("//") {
                Some(rest) => match rest.split_once('/') {
                    Some((authority, path)) => (Some(authority), Some(path)),
                    None => (Some(rest), None),
                },
                None => (None, Some(rest)),
            },
        };
        if authority.is_some_and(|authority| {
            authority
                .rsplit_once('@')
                .is_some_and(|(user, _)| user.contains(':'))
        }) {
            return Err(ParseUriError::Password { scheme: owner() });
        }
        let unescape = |part: &str| unescape(part).ok_or(ParseUriError::Escape { scheme: owner() });
        let mut options: Vec<(String, String)> = Vec::new();
        for option in query.into_iter().flat_map(|query| query.split('&')) {
            let (key, value) = option.split_once('=').unwrap_or((option, "true"));
            if key.is_empty() || options.iter().any(|(known, _)| known == key) {
                return Err(ParseUriError::Option { scheme: owner() });
            }
            options.push((key.to_owned(), unescape(value)?));
        }
        Ok(Self {
            scheme: owner(),
            authority: authority.map(unescape).transpose()?,
            path: path.map(unescape).transpose()?,
            options,
        })
    }

    /// Its kind: `aws`, `vault`, `dotenv`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host and port, where one is given with `//`.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// What stands behind the scheme (and authority); `None` where nothing does. An empty path
    /// behind an authority (`vault://host/`) is `Some("")`.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// An option's value; an option without `=` is `true`.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&str> {
        let found = self.options.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// All options with their values, as they stand.
    pub fn options(&self) -> impl Iterator<Item = (String, String)> {
        self.options.iter().cloned()
    }

    /// The first option that is not in `known`: a backend refuses it, naming those it knows.
    #[must_use]
    pub fn unknown_option(&self, known: &[&str]) -> Option<&str> {
        let keys = self.options.iter().map(|(key, _)| key.as_str());
        keys.into_iter().find(|key| !known.contains(key))
    }

    /// The same address without some options.
    #[must_use]
    pub fn without(mut self, keys: &[&str]) -> Self {
        self.options
            .retain(|(key, _)| !keys.contains(&key.as_str()));
        self
    }
}

impl fmt::Display for BackendUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        match (&self.authority, &self.path) {
            (Some(authority), Some(path)) => write!(f, "://{authority}/{path}")?,
            (Some(authority), None) => write!(f, "://{authority}")?,
            (None, Some(path)) => write!(f, ":{path}")?,
            (None, None) => {}
        }
        for (index, (key, value)) in self.options.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

fn is_scheme(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(is_forbidden)).then_some(text)
}

/// Maps a declared secret to a backend's own name: text with `{project}`, `{profile}`, `{name}`
/// (the declared name) and `{path}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Project,
    Profile,
    Name,
    Path,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name template knows {{project}}, {{profile}}, {{name}} and {{path}}, and needs one of the \
     last two"
)]
pub struct ParseTemplateError;

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// At an unknown placeholder, or when nothing in it tells secrets apart.
    pub fn parse(text: &str) -> Result<Self, ParseTemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (word, behind) = behind.split_once('}').ok_or(ParseTemplateError)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(match word {
                "project" => Part::Project,
                "profile" => Part::Profile,
                "name" => Part::Name,
                "path" => Part::Path,
                _ => return Err(ParseTemplateError),
            });
            rest = behind;
        }
        if rest.contains('}') {
            return Err(ParseTemplateError);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if !parts.contains(&Part::Name) && !parts.contains(&Part::Path) {
            return Err(ParseTemplateError);
        }
        Ok(Self(parts))
    }

    /// `<prefix>/{path}`; without a prefix, `{path}`.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() {
            return Self(vec![Part::Path]);
        }
        Self(vec![Part::Text(format!("{prefix}/")), Part::Path])
    }

    /// The backend's name for a declared secret.
    #[must_use]
    pub fn address(&self, lookup: &crate::port::Lookup) -> String {
        let place = lookup.place.as_str();
        let folder = place.strip_suffix(lookup.path.as_str()).unwrap_or(place);
        let mut folders = folder.split('/');
        let project = folders.next().unwrap_or_default();
        let profile = folders.next().unwrap_or_default();
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Project => project,
            Part::Profile => profile,
            Part::Name => &lookup.name,
            Part::Path => &lookup.path,
        });
        parts.collect()
    }
}

/// The layout when neither a prefix nor a template is given: a place of its own for each project
/// and profile.
impl Default for Template {
    fn default() -> Self {
        let slash = || Part::Text("/".into());
        Self(vec![
            Part::Project,
            slash(),
            Part::Profile,
            slash(),
            Part::Path,
        ])
    }
}

#[cfg(test)]
mod tests;
