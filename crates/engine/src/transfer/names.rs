//! How a secret is named where names are variables, and where they are paths.

/// Guesses the path of a variable: the first word is the service, the rest the secret's name.
///
/// `JWT_SECRET_KEY` is `jwt/secret_key`. A database's address is `database/connection_string`.
#[must_use]
pub fn path_of_variable(name: &str) -> String {
    let lower = name.to_lowercase();
    if lower == "database_url" {
        return "database/connection_string".into();
    }
    match lower.trim_matches('_').split_once('_') {
        Some((service, rest)) if !rest.is_empty() => format!("{service}/{rest}"),
        _ => lower,
    }
}

/// The variable of a path: `jwt/secret_key` as `JWT_SECRET_KEY`.
#[must_use]
pub fn variable_of_path(path: &str) -> String {
    let fold = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = path.chars().map(fold).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("_{name}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_paths() {
        for (variable, path) in [
            ("JWT_SECRET_KEY", "jwt/secret_key"),
            ("ENCRYPTION_MASTER_KEY", "encryption/master_key"),
            ("DATABASE_URL", "database/connection_string"),
            ("OPENAI_API_KEY", "openai/api_key"),
            ("AWS_SECRET_ACCESS_KEY", "aws/secret_access_key"),
            ("TOKEN", "token"),
            ("_TOKEN", "_token"),
            ("A__B", "a/_b"),
        ] {
            assert_eq!(path_of_variable(variable), path);
        }
        assert_eq!(variable_of_path("jwt/secret_key"), "JWT_SECRET_KEY");
        assert_eq!(variable_of_path("1/a.b-c"), "_1_A_B_C");
    }
}
