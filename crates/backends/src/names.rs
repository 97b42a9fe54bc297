//! How the same secret is spelled in different places.

/// `jwt/secret_key` as an environment variable: `JWT_SECRET_KEY`.
pub(crate) fn upper_snake(path: &str) -> String {
    path.chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// The form under which `DATABASE_URL`, `database-url`, `database_url` and `database/url` are one.
pub(crate) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| if matches!(c, '-' | '/') { '_' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

/// True for a name that every shell takes as a variable: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        assert_eq!(upper_snake("jwt/secret_key"), "JWT_SECRET_KEY");
        assert_eq!(upper_snake("a.b-c"), "A_B_C");
        for name in [
            "DATABASE_URL",
            "database-url",
            "Database_Url",
            "database/url",
        ] {
            assert_eq!(fold(name), "database_url");
        }
        assert!(
            is_variable("_A1") && !is_variable("1A") && !is_variable("") && !is_variable("a-b")
        );
    }
}
