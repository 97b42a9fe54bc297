//! What stands for a password in statements, and what is shown of statements in errors.

use strongroom_core::secret::SecretValue;
use strongroom_core::statement;
use strongroom_core::statement::PASSWORD;
use strongroom_core::statement::ends_with_word;
use strongroom_crypto::mysql::native_hash;

pub(crate) use strongroom_core::statement::Values;

use crate::session::Flavor;

/// Parts of what is hidden that are this long are hidden too.
const PART_BYTES_MIN: usize = 4;
const HIDDEN: &str = "[redacted]";

/// What is put in for `{{password}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passwords {
    /// For MariaDB a hash behind `IDENTIFIED BY`, and the password itself elsewhere.
    #[default]
    Hash,
    /// The password itself.
    Clear,
}

/// The statements as one text, with what stands for placeholders put in.
pub(crate) fn render(
    statements: &[String],
    values: Values<'_>,
    password: Option<&SecretValue>,
    passwords: Passwords,
    flavor: Flavor,
) -> SecretValue {
    let takes_hash = passwords == Passwords::Hash && flavor == Flavor::MariaDb;
    let hash = password.map(native_hash).unwrap_or_default();
    // EXPOSE: goes to the database where a statement takes the password itself.
    let clear = password.and_then(SecretValue::expose_secret_text);
    let clear = clear.unwrap_or_default();
    statement::render(statements, values, |sql, after| {
        match place_of(sql, after) {
            Place::Hash => sql.push_str(&hash),
            Place::Password if takes_hash => {
                let quote = sql.pop().unwrap_or('\'');
                sql.push_str("PASSWORD ");
                sql.push(quote);
                sql.push_str(&hash);
            }
            Place::Password | Place::Other => sql.push_str(clear),
        }
    })
}

/// What a server makes of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// All of the literal behind `IDENTIFIED BY`.
    Password,
    /// All of the literal behind `IDENTIFIED BY PASSWORD`: a hash, and nothing else.
    Hash,
    Other,
}

fn place_of(before: &str, after: &str) -> Place {
    let Some(quote) = before.chars().next_back().filter(|c| "'\"".contains(*c)) else {
        return Place::Other;
    };
    let is_whole = after.starts_with(quote) && !after[1..].starts_with(quote);
    let before = before[..before.len() - 1].trim_end();
    match before_word(before, "by") {
        Some(before) if is_whole && ends_with_word(before, "identified") => return Place::Password,
        _ => {}
    }
    let behind = before_word(before, "password").and_then(|before| before_word(before, "by"));
    match behind {
        Some(before) if is_whole && ends_with_word(before, "identified") => Place::Hash,
        _ => Place::Other,
    }
}

/// What stands before a word that a text ends with.
fn before_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    ends_with_word(text, word).then(|| text[..text.len() - word.len()].trim_end())
}

/// Whether statements have every server see passwords in clear.
pub(crate) fn shows_password(statements: &[String]) -> bool {
    statements.iter().any(|statement| {
        let mut places = statement.match_indices(PASSWORD);
        places.any(|(at, _)| {
            let after = &statement[at + PASSWORD.len()..];
            place_of(&statement[..at], after) == Place::Other
        })
    })
}

/// A message without what was put in. Servers quote what follows an error: that is shown up to the
/// first literal, which may be a part of a secret.
pub(crate) fn hide(message: &str, hidden: &[&SecretValue]) -> String {
    if hidden.is_empty() {
        return message.to_owned();
    }
    let shown = match message.split_once(" near '") {
        Some((head, quoted)) => {
            let end = quoted.rfind("' at line ").unwrap_or(quoted.len());
            let (near, tail) = quoted.split_at(end);
            let near = near
                .find(['\'', '"'])
                .map_or_else(|| near.to_owned(), |at| format!("{}{HIDDEN}", &near[..at]));
            format!("{head} near '{near}{tail}")
        }
        None => message.to_owned(),
    };
    let words = shown.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_hidden = hidden.iter().any(|secret| {
            let hash = native_hash(secret);
            // EXPOSE: compared with what the server quotes.
            let secret = secret.expose_secret_text().unwrap_or_default();
            let is_in = |text: &str| {
                word.contains(text) || bare.len() >= PART_BYTES_MIN && text.contains(bare)
            };
            !secret.is_empty() && (is_in(secret) || is_in(&hash))
        });
        if is_hidden { HIDDEN } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(statement: &str, passwords: Passwords, flavor: Flavor) -> String {
        let password = SecretValue::from_text("canary-58c1".to_owned());
        let values = Values {
            name: "v-a-b",
            expiration: "2027-01-15 08:00:00+0000",
        };
        let sql = render(
            &[statement.to_owned()],
            values,
            Some(&password),
            passwords,
            flavor,
        );
        // EXPOSE: a test looks at what it made.
        sql.expose_secret_text().unwrap().to_owned()
    }

    #[test]
    fn mariadb_is_given_a_hash() {
        let create = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT USAGE ON *.*";
        let hash = native_hash(&SecretValue::copy_from(b"canary-58c1"));
        assert_eq!(
            rendered(create, Passwords::Hash, Flavor::MariaDb),
            format!(
                "CREATE USER 'v-a-b'@'%' IDENTIFIED BY PASSWORD '{hash}'; GRANT USAGE ON *.*;\n"
            )
        );
        let clear = "CREATE USER 'v-a-b'@'%' IDENTIFIED BY 'canary-58c1'; GRANT USAGE ON *.*;\n";
        assert_eq!(rendered(create, Passwords::Clear, Flavor::MariaDb), clear);
        assert_eq!(rendered(create, Passwords::Hash, Flavor::MySql), clear);
    }

    #[test]
    fn only_a_literal_of_its_own_takes_a_hash() {
        for (statement, shows) in [
            ("ALTER USER x identified\n by \"{{password}}\"", false),
            (
                "GRANT USAGE ON a.* TO x IDENTIFIED BY '{{password}}';",
                false,
            ),
            ("ALTER USER x IDENTIFIED BY PASSWORD '{{password}}'", false),
            (
                "ALTER USER x IDENTIFIED VIA ed25519 USING PASSWORD('{{password}}')",
                true,
            ),
            ("ALTER USER x IDENTIFIED WITH a BY '{{password}}'", true),
            ("ALTER USER x UNIDENTIFIED BY '{{password}}'", true),
            ("ALTER USER x IDENTIFIED BY 'a{{password}}'", true),
            ("ALTER USER x IDENTIFIED BY '{{password}}b'", true),
            ("ALTER USER x IDENTIFIED BY '{{password}}''", true),
            ("CALL make('{{name}}', '{{password}}')", true),
            ("SELECT 1", false),
        ] {
            assert_eq!(
                shows_password(&[statement.to_owned()]),
                shows,
                "{statement}"
            );
            let sql = rendered(statement, Passwords::Hash, Flavor::MariaDb);
            assert_eq!(sql.contains("canary-58c1"), shows, "{statement}");
        }
    }

    #[test]
    fn a_quoted_secret_is_hidden() {
        let password = SecretValue::from_text("canary-58c1".to_owned());
        let hash = native_hash(&password);
        let head = "You have an error in your SQL syntax near '";
        for (near, expected) in [
            (
                "IDENTIFED BY 'canary-5' at line 1".to_owned(),
                "IDENTIFED BY [redacted]' at line 1",
            ),
            ("BY \"*7' at line 1".to_owned(), "BY [redacted]' at line 1"),
            ("canary-58' at line 1".to_owned(), "[redacted] at line 1"),
            (format!("{hash} x' at line 2"), "[redacted] x' at line 2"),
            ("SLECT 1' at line 1".to_owned(), "SLECT 1' at line 1"),
        ] {
            let shown = hide(&format!("{head}{near}"), &[&password]);
            let shown = shown
                .rsplit_once("near '")
                .map_or(&*shown, |(_, near)| near);
            let shown = shown.rsplit_once("near ").map_or(shown, |(_, near)| near);
            assert_eq!(shown, expected, "{near}");
        }
        assert_eq!(
            hide(
                "Access denied for user 'x'@'h' to canary-58c1 (error 1)",
                &[&password]
            ),
            "Access denied for user 'x'@'h' to [redacted] (error 1)"
        );
        assert_eq!(hide("near 'canary'", &[]), "near 'canary'");
    }
}
