//! Which table, and which of its columns.

use std::fmt;
use std::str::FromStr;

use crate::error::UserKeysError;
use crate::name::KeyName;

/// Longest identifier of PostgreSQL's.
const IDENTIFIER_BYTES_MAX: usize = 63;
/// The table that says what is attached; one in each schema.
pub(crate) const BOOKS: &str = "strongroom_userkeys";

/// A table as it was named: with its schema, or to be found along the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl FromStr for TableName {
    type Err = UserKeysError;

    fn from_str(text: &str) -> Result<Self, UserKeysError> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, text),
        };
        for part in schema.iter().chain([&table]) {
            check_identifier("the table's name", part)?;
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

pub(crate) fn check_identifier(what: &'static str, text: &str) -> Result<(), UserKeysError> {
    let problem = match text {
        "" => "is empty".to_owned(),
        text if text.len() > IDENTIFIER_BYTES_MAX => {
            format!("is longer than {IDENTIFIER_BYTES_MAX} bytes")
        }
        text if text.chars().any(char::is_control) => "holds control characters".to_owned(),
        _ => return Ok(()),
    };
    Err(UserKeysError::BadName { what, problem })
}

/// An identifier as it stands in SQL.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Which columns say whose key it is, what it is called, and hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Whose.
    pub user: String,
    /// What it is called.
    pub name: String,
    /// In clear.
    pub plain: String,
    /// Sealed, or encrypted by pgcrypto.
    pub encrypted: String,
}

impl Columns {
    pub(crate) fn check(&self) -> Result<(), UserKeysError> {
        let all = [&self.user, &self.name, &self.plain, &self.encrypted];
        for (at, column) in all.iter().enumerate() {
            check_identifier("a column's name", column)?;
            if all[..at].contains(column) {
                return Err(UserKeysError::BadName {
                    what: "a column's name",
                    problem: format!("stands for two things: {column}"),
                });
            }
        }
        Ok(())
    }
}

/// What a table is attached with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its columns.
    pub columns: Columns,
    /// Whether names have `_` where Strongroom has `/`.
    pub has_flat_names: bool,
    /// The secrets that hold pgcrypto's keys; names only.
    pub pgcrypto_keys: Vec<String>,
}

/// A table that is attached.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) settings: Settings,
    /// The types of the columns that say whose key it is and what it is called.
    pub(crate) types: (String, String),
    /// Has a column of this name, set whenever the application's key changes.
    pub(crate) updated: Option<String>,
    pub(crate) made_encrypted: bool,
    pub(crate) plain_was_required: bool,
    pub(crate) is_leaving: bool,
}

impl Attachment {
    /// Schema and table.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// What it is attached with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A key's name as the table has it.
    #[must_use]
    pub fn name_in_column(&self, name: &KeyName) -> String {
        name.in_column(self.settings.has_flat_names)
    }

    /// Whether a rollback was begun.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub(crate) fn in_sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    pub(crate) fn books_in_sql(&self) -> String {
        format!("{}.{BOOKS}", quoted(&self.schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_quoted() {
        let name: TableName = "app.user_secrets".parse().unwrap();
        assert_eq!(name.schema.as_deref(), Some("app"));
        assert_eq!(name.to_string(), "app.user_secrets");
        assert_eq!(
            quoted("a\"; DROP TABLE x; --"),
            "\"a\"\"; DROP TABLE x; --\""
        );
        for bad in ["", ".", "a.", ".b", "a\0b"] {
            assert!(bad.parse::<TableName>().is_err(), "{bad:?}");
        }
        assert!(
            "t".repeat(IDENTIFIER_BYTES_MAX)
                .parse::<TableName>()
                .is_ok()
        );
        let long = "t".repeat(IDENTIFIER_BYTES_MAX + 1);
        assert!(long.parse::<TableName>().is_err());
    }
}
