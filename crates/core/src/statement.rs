//! Statements with placeholders, and what is put in for them.

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// What stands for the password.
pub const PASSWORD: &str = "{{password}}";
/// What is put in for one placeholder is no longer than this, in bytes.
const VALUE_BYTES: usize = 256;

/// What is put in for placeholders that are no password. None of them holds a quote.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// For `{{name}}` and `{{username}}`.
    pub name: &'a str,
    /// For `{{expiration}}`.
    pub expiration: &'a str,
}

/// The statements as one text, each with its semicolon. What stands for a password is put in by
/// `password`, which is given what was written before it and what comes after it.
#[must_use]
pub fn render(
    statements: &[String],
    values: Values<'_>,
    mut password: impl FnMut(&mut String, &str),
) -> SecretValue {
    let mut sql = Zeroizing::new(String::with_capacity(capacity(statements)));
    for statement in statements {
        let mut rest = statement.trim();
        while let Some(at) = rest.find("{{") {
            let (before, from) = rest.split_at(at);
            sql.push_str(before);
            let known = [
                (PASSWORD, None),
                ("{{name}}", Some(values.name)),
                ("{{username}}", Some(values.name)),
                ("{{expiration}}", Some(values.expiration)),
            ];
            let found = known.iter().find(|(name, _)| from.starts_with(name));
            let Some((name, value)) = found else {
                sql.push('{');
                rest = &from[1..];
                continue;
            };
            rest = &from[name.len()..];
            match value {
                Some(value) => sql.push_str(value),
                None => password(&mut sql, rest),
            }
        }
        sql.push_str(rest);
        if !rest.ends_with(';') {
            sql.push(';');
        }
        sql.push('\n');
    }
    SecretValue::from_text(std::mem::take(&mut *sql))
}

/// Enough for all that is put in, so that the text is never moved.
fn capacity(statements: &[String]) -> usize {
    let each = |statement: &String| {
        let places = statement.matches("{{").count();
        statement.len() + places * VALUE_BYTES + 2
    };
    statements.iter().map(each).sum()
}

/// Whether a text ends with a word that is not a part of another one.
#[must_use]
pub fn ends_with_word(text: &str, word: &str) -> bool {
    let Some(start) = text.len().checked_sub(word.len()) else {
        return false;
    };
    let (Some(head), Some(tail)) = (text.get(..start), text.get(start..)) else {
        return false;
    };
    let is_whole = head
        .chars()
        .next_back()
        .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '"' | '`' | '$'));
    is_whole && tail.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_put_in_and_all_else_stays() {
        let values = Values {
            name: "v-a-b",
            expiration: "2027",
        };
        let statements = [
            "CREATE {{name}} '{{password}}' {{expiration}};".to_owned(),
            " DROP '{{other}}{{{username}}' ".to_owned(),
        ];
        let sql = render(&statements, values, |sql, after| {
            assert!(sql.ends_with('\'') && after.starts_with('\''));
            sql.push_str("canary");
        });
        assert_eq!(
            // EXPOSE: a test looks at what it made.
            sql.expose_secret_text().unwrap(),
            "CREATE v-a-b 'canary' 2027;\nDROP '{{other}}{v-a-b';\n"
        );
    }

    #[test]
    fn a_word_is_a_whole_one() {
        for (text, is_one) in [
            ("PASSWORD", true),
            ("x password", true),
            ("=Password", true),
            ("no_password", false),
            ("\"password", false),
            ("`password", false),
            ("$password", false),
            ("ords", false),
            ("pässword", false),
            // Half a letter is none, and a letter is one in any script.
            ("äassword", false),
            ("äpassword", false),
        ] {
            assert_eq!(ends_with_word(text, "password"), is_one, "{text}");
        }
    }
}
