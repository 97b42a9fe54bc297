//! Paths as flat names, for backends whose names have no `/`: reversible, and plain names stay
//! what they are.
//!
//! With the mark `_`: `jwt/secret_key` is `jwt__secret_key`. A doubled mark is `/`; a character
//! that the backend does not take is `_x<hexadecimal>_`, e.g. `a b` is `a_x20_b`; so is a mark
//! that would be read as one of these. A name that somebody else made and that this rule would
//! write otherwise has the address `=NAME`. So each name has one address, and each address one
//! name.

/// How one backend spells its names.
#[derive(Clone, Copy, Debug)]
pub struct FlatNames {
    /// What stands for `/` when doubled. One of the characters that the backend takes.
    pub mark: char,
    /// What the backend takes beside ASCII letters, digits and the mark.
    pub punctuation: &'static str,
    /// Longest name, in bytes.
    pub bytes_max: usize,
}

/// Why an address has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlatNameError {
    /// Nothing to name.
    #[error("the name is empty")]
    Empty,
    /// Longer than the backend takes.
    #[error("the name has {bytes} bytes as the backend spells it, at most {bytes_max} are allowed")]
    TooLong {
        /// How long it would be.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
}

impl FlatNames {
    /// The backend's name for an address.
    ///
    /// # Errors
    /// When it is empty or becomes too long.
    pub fn encode(&self, address: &str) -> Result<String, FlatNameError> {
        let name = match address.strip_prefix('=') {
            Some(name) if self.is_verbatim(name) => name.to_owned(),
            _ => self.spell(address),
        };
        match name.len() {
            0 => Err(FlatNameError::Empty),
            bytes if bytes > self.bytes_max => Err(FlatNameError::TooLong {
                bytes,
                bytes_max: self.bytes_max,
            }),
            _ => Ok(name),
        }
    }

    /// The address of a backend's name; every name has one.
    #[must_use]
    pub fn decode(&self, name: &str) -> String {
        let address = self.read(name);
        if self.spell(&address) == name {
            address
        } else {
            format!("={name}")
        }
    }

    /// A beginning that the names of all addresses with this prefix share.
    #[must_use]
    pub fn prefix(&self, prefix: &str) -> String {
        if prefix.starts_with('=') || prefix == "." {
            return String::new();
        }
        let mut name = self.spell(prefix);
        if let Some((_, behind)) = prefix.rsplit_once(self.mark) {
            let digits = behind.strip_prefix('x').unwrap_or(behind);
            let is_digits = digits.chars().all(|c| c.is_ascii_hexdigit());
            // What follows decides how this mark is spelt.
            if behind.is_empty() || (behind.starts_with('x') && is_digits) {
                name.truncate(
                    name.len()
                        .saturating_sub(behind.len() + self.mark.len_utf8()),
                );
            }
        }
        name
    }

    /// True for a name that the rule would not write, but that the backend takes.
    fn is_verbatim(&self, name: &str) -> bool {
        let is_taken = name.chars().all(|c| self.is_plain(c) || c == self.mark);
        is_taken && self.spell(&self.read(name)) != name
    }

    fn is_plain(&self, c: char) -> bool {
        c != self.mark && (c.is_ascii_alphanumeric() || self.punctuation.contains(c))
    }

    fn spell(&self, address: &str) -> String {
        let mut name = String::with_capacity(address.len() + 8);
        let mut rest = address.chars();
        // Nobody takes `.`, and what begins with `..` is refused too.
        if address == "." || address.starts_with("..") {
            rest.next();
            self.escape('.', &mut name);
        }
        while let Some(c) = rest.next() {
            let behind = rest.as_str();
            if c == '/' {
                name.extend([self.mark, self.mark]);
            } else if self.is_plain(c) || (c == self.mark && self.is_mark_safe(behind)) {
                name.push(c);
            } else {
                self.escape(c, &mut name);
            }
        }
        name
    }

    /// Whether a mark in front of this is read as itself.
    fn is_mark_safe(&self, behind: &str) -> bool {
        match behind.chars().next() {
            None => true,
            Some(next) => next.is_ascii_alphanumeric() && !self.is_like_escape(behind),
        }
    }

    /// An escape's digits in front of something that is or begins with a mark once it is spelt.
    fn is_like_escape(&self, behind: &str) -> bool {
        let Some(behind) = behind.strip_prefix('x') else {
            return false;
        };
        let rest = behind.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let digits = behind.strip_suffix(rest).unwrap_or_default();
        let next = rest.chars().next();
        self.escaped(digits).is_some() && next.is_some_and(|next| !self.is_plain(next))
    }

    fn escape(&self, c: char, name: &mut String) {
        let mark = self.mark;
        name.push_str(&format!("{mark}x{:x}{mark}", u32::from(c)));
    }

    fn read(&self, name: &str) -> String {
        let mut address = String::with_capacity(name.len());
        let mut rest = name;
        while let Some(c) = rest.chars().next() {
            let behind = rest.get(c.len_utf8()..).unwrap_or_default();
            rest = behind;
            if c != self.mark {
                address.push(c);
            } else if let Some(behind) = behind.strip_prefix(self.mark) {
                address.push('/');
                rest = behind;
            } else if let Some((escaped, behind)) = self.read_escape(behind) {
                address.push(escaped);
                rest = behind;
            } else {
                address.push(c);
            }
        }
        address
    }

    /// `x<hexadecimal>` and a mark: the character, and what follows.
    fn read_escape<'a>(&self, behind: &'a str) -> Option<(char, &'a str)> {
        let (digits, behind) = behind.strip_prefix('x')?.split_once(self.mark)?;
        Some((self.escaped(digits)?, behind))
    }

    /// The character that the digits stand for, if it is one that is ever escaped.
    fn escaped(&self, digits: &str) -> Option<char> {
        let code = u32::from_str_radix(digits, 16).ok()?;
        let c = char::from_u32(code)?;
        let is_needed = c == '.' || !self.is_plain(c);
        (is_needed && format!("{code:x}") == digits).then_some(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNDERSCORE: FlatNames = FlatNames {
        mark: '_',
        punctuation: "-.",
        bytes_max: 253,
    };
    const HYPHEN: FlatNames = FlatNames {
        mark: '-',
        punctuation: "",
        bytes_max: 127,
    };

    fn check(names: FlatNames, address: &str, name: &str) {
        assert_eq!(names.encode(address).unwrap(), name);
        assert_eq!(names.decode(name), address);
    }

    #[test]
    fn paths_become_names_and_come_back() {
        check(UNDERSCORE, "jwt/secret_key", "jwt__secret_key");
        check(UNDERSCORE, "tls.crt", "tls.crt");
        check(UNDERSCORE, ".dockerconfigjson", ".dockerconfigjson");
        check(UNDERSCORE, "..", "_x2e_.");
        check(UNDERSCORE, "a b/é", "a_x20_b___xe9_");
        check(UNDERSCORE, "a__b", "a_x5f__b");
        check(UNDERSCORE, "a_/b", "a_x5f___b");
        check(UNDERSCORE, "a/_b", "a___b");
        check(HYPHEN, "jwt/secret_key", "jwt--secret-x5f-key");
        check(HYPHEN, "DbPassword", "DbPassword");
        check(HYPHEN, "foo-x64-bit", "foo-x64-bit");
        check(UNDERSCORE, "_x2E_", "_x2E_");
    }

    #[test]
    fn a_foreign_name_has_an_address_of_its_own() {
        check(UNDERSCORE, "=a_-b", "a_-b");
        assert_eq!(UNDERSCORE.encode("=plain").unwrap(), "_x3d_plain");
    }

    #[test]
    fn the_bound_is_the_backends() {
        let longest = "a".repeat(127);
        assert!(HYPHEN.encode(&longest).is_ok());
        let error = HYPHEN.encode(&format!("{longest}a"));
        assert!(matches!(
            error,
            Err(FlatNameError::TooLong { bytes: 128, .. })
        ));
        assert_eq!(HYPHEN.encode(""), Err(FlatNameError::Empty));
    }

    proptest! {
        #[test]
        fn every_address_comes_back(address in "[a-cx2_./= é-]{1,12}") {
            for names in [UNDERSCORE, HYPHEN] {
                let name = names.encode(&address).unwrap();
                prop_assert_eq!(names.decode(&name), address.clone());
                prop_assert!(name.chars().all(|c| names.is_plain(c) || c == names.mark));
            }
        }

        #[test]
        fn every_name_comes_back(name in "[a-cx2e_-]{1,12}") {
            let address = UNDERSCORE.decode(&name);
            prop_assert_eq!(UNDERSCORE.encode(&address).unwrap(), name);
        }

        #[test]
        fn a_prefix_is_shared(head in "[a-cx5_/.]{0,6}", tail in "[a-cx5_/.]{1,6}") {
            for names in [UNDERSCORE, HYPHEN] {
                let address = format!("{head}{tail}");
                let name = names.encode(&address).unwrap();
                let is_plain_start = !address.starts_with('.');
                prop_assert!(!is_plain_start || name.starts_with(&names.prefix(&head)));
            }
        }
    }
}
