//! Statements with placeholders, and what is put in for them.

use strongroom_core::secret::SecretValue;
use strongroom_core::statement;
use strongroom_core::statement::PASSWORD;
use strongroom_core::statement::ends_with_word;

use crate::role::scram_verifier;

/// The word before a password in SQL.
const KEYWORD: &str = "password";
/// Parts of what is hidden that are this long are hidden too.
const PART_BYTES_MIN: usize = 4;

/// What is put in for placeholders. None of them holds a quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    /// For `{{name}}` and `{{username}}`.
    pub(super) name: &'a str,
    /// For `{{password}}`.
    pub(super) password: Option<&'a SecretValue>,
    /// For `{{expiration}}`.
    pub(super) expiration: &'a str,
}

/// What is put in for `{{password}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passwords {
    /// A verifier behind `PASSWORD`, and the password itself elsewhere.
    #[default]
    Verifier,
    /// A verifier everywhere.
    VerifierEverywhere,
    /// The password itself.
    Clear,
}

/// The statements as one text, with what stands for placeholders put in.
pub(super) fn render(
    statements: &[String],
    values: Values<'_>,
    passwords: Passwords,
) -> SecretValue {
    let verifier = values.password.map(scram_verifier).unwrap_or_default();
    // EXPOSE: goes to the database where a role's statement takes the password itself.
    let clear = values.password.and_then(SecretValue::expose_secret_text);
    let clear = clear.unwrap_or_default();
    let plain = statement::Values {
        name: values.name,
        expiration: values.expiration,
    };
    statement::render(statements, plain, |sql, after| {
        let is_literal = is_literal(sql, after);
        sql.push_str(match passwords {
            Passwords::VerifierEverywhere => &verifier,
            Passwords::Verifier if is_literal => &verifier,
            Passwords::Verifier | Passwords::Clear => clear,
        });
    })
}

/// Whether what comes next is all of the literal that `PASSWORD` is followed by.
fn is_literal(before: &str, after: &str) -> bool {
    let Some(before) = before.strip_suffix('\'') else {
        return false;
    };
    ends_with_word(before.trim_end(), KEYWORD)
        && after.starts_with('\'')
        && !after.starts_with("''")
}

/// Whether statements have the database see passwords in clear.
pub(super) fn shows_password(statements: &[String], passwords: Passwords) -> bool {
    statements.iter().any(|statement| {
        let mut places = statement.match_indices(PASSWORD);
        places.any(|(at, _)| match passwords {
            Passwords::VerifierEverywhere => false,
            Passwords::Clear => true,
            Passwords::Verifier => !is_literal(&statement[..at], &statement[at + PASSWORD.len()..]),
        })
    })
}

/// A message without the parts of what was put in that the database quotes.
pub(super) fn hide(message: &str, hidden: &[&SecretValue]) -> String {
    let mut shown = String::new();
    for (at, part) in message.split('"').enumerate() {
        if at > 0 {
            shown.push('"');
        }
        let is_hidden = at % 2 == 1
            && hidden.iter().any(|secret| {
                // EXPOSE: compared with what the database quotes.
                let secret = secret.expose_secret_text().unwrap_or_default();
                !secret.is_empty() && part.contains(secret)
                    || part.len() >= PART_BYTES_MIN && secret.contains(part)
            });
        let is_verifier = at % 2 == 1 && part.contains("SCRAM-SHA");
        shown.push_str(match is_hidden || is_verifier {
            true => "[redacted]",
            false => part,
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
        VALID UNTIL '{{expiration}}'";

    fn rendered(statement: &str, passwords: Passwords) -> String {
        let password = SecretValue::from_text("canary-58c1".to_owned());
        let values = Values {
            name: "v-a-b",
            password: Some(&password),
            expiration: "2027-01-15 08:00:00+0000",
        };
        let sql = render(&[statement.to_owned()], values, passwords);
        // EXPOSE: a test looks at what it made.
        sql.expose_secret_text().unwrap().to_owned()
    }

    #[test]
    fn the_database_is_given_a_verifier() {
        let sql = rendered(CREATE, Passwords::Verifier);
        assert!(sql.starts_with("CREATE ROLE \"v-a-b\" LOGIN PASSWORD 'SCRAM-SHA-256$4096:"));
        assert!(
            sql.ends_with("' VALID UNTIL '2027-01-15 08:00:00+0000';\n"),
            "{sql}"
        );
        assert!(!sql.contains("canary-58c1"));
        assert!(rendered(CREATE, Passwords::Clear).contains("'canary-58c1'"));
    }

    #[test]
    fn only_the_literal_behind_the_keyword_takes_a_verifier() {
        for (statement, shows) in [
            ("ALTER ROLE x password  '{{password}}'", false),
            ("ALTER ROLE x ENCRYPTED\nPASSWORD\n'{{password}}';", false),
            (
                "DO $$ BEGIN CREATE ROLE x PASSWORD '{{password}}'; END $$",
                false,
            ),
            ("SELECT make('{{name}}', '{{password}}')", true),
            ("EXECUTE 'CREATE ROLE x PASSWORD ''{{password}}'''", true),
            ("CREATE ROLE x PASSWORD 'a{{password}}'", true),
            ("CREATE ROLE x PASSWORD '{{password}}b'", true),
            ("CREATE ROLE x PASSWORD {{password}}", true),
            ("SELECT no_password '{{password}}'", true),
            ("SELECT 1", false),
        ] {
            let statements = [statement.to_owned()];
            assert_eq!(
                shows_password(&statements, Passwords::Verifier),
                shows,
                "{statement}"
            );
            let clear = rendered(statement, Passwords::Verifier).contains("canary-58c1");
            assert_eq!(clear, shows, "{statement}");
            assert!(!rendered(statement, Passwords::VerifierEverywhere).contains("canary-58c1"));
        }
    }

    #[test]
    fn what_is_no_placeholder_stays() {
        let sql = rendered("SELECT '{{other}}{{{name}}'", Passwords::Verifier);
        assert_eq!(sql, "SELECT '{{other}}{v-a-b';\n");
    }

    #[test]
    fn a_quoted_secret_is_hidden() {
        let password = SecretValue::from_text("canary-58c1".to_owned());
        let hidden = |message: &str| hide(message, &[&password]);
        assert_eq!(
            hidden("syntax error at or near \"canary\""),
            "syntax error at or near \"[redacted]\""
        );
        assert_eq!(
            hidden("syntax error at or near \"'SCRAM-SHA-256$4096:x'\""),
            "syntax error at or near \"[redacted]\""
        );
        assert_eq!(
            hidden("syntax error at or near \"ROLL\""),
            "syntax error at or near \"ROLL\""
        );
    }
}
