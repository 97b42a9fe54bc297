//! Looking at a table: what it has, what would be changed, what is in the way.

use deadpool_postgres::ClientWrapper;

use crate::database::Database;
use crate::error::UserKeysError;
use crate::table::Attachment;
use crate::table::BOOKS;
use crate::table::Settings;
use crate::table::TableName;
use crate::table::quoted;

/// Types that say whose key it is, or what it is called.
const ID_TYPES: &[&str] = &[
    "text",
    "character varying",
    "bigint",
    "integer",
    "smallint",
    "uuid",
];
/// Types of a plain column.
const PLAIN_TYPES: &[&str] = &["text", "character varying"];
/// A column of this name and one of these types says when a row changed.
const UPDATED: &str = "updated_at";
const UPDATED_TYPES: &[&str] = &["timestamp with time zone", "timestamp without time zone"];

/// What was found, and what attaching would do.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The table, as it would be attached.
    pub attachment: Attachment,
    /// Whether it is attached already.
    pub is_attached: bool,
    /// How many rows the database thinks there are.
    pub rows_estimate: u64,
    /// The statements of the way up, one after the other, in one transaction.
    pub up: Vec<String>,
    /// The statements of the way down.
    pub down: Vec<String>,
    /// What is in the way: nothing is changed while there is something.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

struct Column {
    name: String,
    kind: String,
    is_required: bool,
    has_default: bool,
}

/// Looks at a table. Changes nothing.
///
/// # Errors
/// When the table is not there, or the database cannot be asked.
pub async fn inspect(
    database: &Database,
    table: &TableName,
    settings: &Settings,
) -> Result<Inspection, UserKeysError> {
    settings.columns.check()?;
    let client = database.client().await?;
    let failed = |error: tokio_postgres::Error| database.failed(&error);
    let (schema, name, estimate) = find(&client, database, table).await?;
    let columns = columns(&client, &schema, &name).await.map_err(failed)?;
    let mut found = Findings::default();
    let attachment = found.attachment(&columns, schema, name, settings);
    found
        .check_unique(&client, &attachment)
        .await
        .map_err(failed)?;
    found
        .note_triggers(&client, &attachment)
        .await
        .map_err(failed)?;
    let is_attached = crate::books::find(database, &client, Some(table))
        .await?
        .is_some();
    let (up, down) = statements(&attachment);
    Ok(Inspection {
        attachment,
        is_attached,
        rows_estimate: estimate,
        up,
        down,
        problems: found.problems,
        notes: found.notes,
    })
}

pub(crate) async fn find(
    client: &ClientWrapper,
    database: &Database,
    table: &TableName,
) -> Result<(String, String, u64), UserKeysError> {
    const SQL: &str = "SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')";
    let named = match &table.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&table.table)),
        None => quoted(&table.table),
    };
    let row = client.query_opt(SQL, &[&named]).await;
    let row = row.map_err(|error| database.failed(&error))?;
    let row = row.ok_or_else(|| UserKeysError::NoTable {
        table: table.to_string(),
        place: database.place().to_owned(),
    })?;
    let estimate: i64 = row.get(2);
    Ok((row.get(0), row.get(1), estimate.unsigned_abs()))
}

async fn columns(
    client: &ClientWrapper,
    schema: &str,
    table: &str,
) -> Result<Vec<Column>, tokio_postgres::Error> {
    const SQL: &str = "SELECT a.attname::text, format_type(a.atttypid, NULL), a.attnotnull,
            a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum";
    let rows = client.query(SQL, &[&schema, &table]).await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        kind: row.get(1),
        is_required: row.get(2),
        has_default: row.get(3),
    };
    Ok(rows.iter().map(column).collect())
}

#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Findings {
    fn attachment(
        &mut self,
        columns: &[Column],
        schema: String,
        table: String,
        settings: &Settings,
    ) -> Attachment {
        let names = &settings.columns;
        let find = |name: &str| columns.iter().find(|column| column.name == name);
        let user = self.typed(find(&names.user), &names.user, ID_TYPES);
        let name = self.typed(find(&names.name), &names.name, ID_TYPES);
        self.typed(find(&names.plain), &names.plain, PLAIN_TYPES);
        let encrypted = find(&names.encrypted);
        if let Some(column) = encrypted {
            self.typed(Some(column), &names.encrypted, &["bytea"]);
            if column.is_required {
                let text = format!("the column {} does not take NULL", column.name);
                self.problems.push(text);
            }
        }
        for column in columns {
            let ours = [&names.user, &names.name, &names.plain, &names.encrypted];
            if column.is_required && !column.has_default && !ours.contains(&&column.name) {
                self.problems.push(format!(
                    "the column {} needs a value and has no default: a new key could not be set",
                    column.name
                ));
            }
        }
        let updated = find(UPDATED).filter(|it| UPDATED_TYPES.contains(&it.kind.as_str()));
        Attachment {
            schema,
            table,
            settings: settings.clone(),
            types: (user, name),
            updated: updated.map(|column| column.name.clone()),
            made_encrypted: encrypted.is_none(),
            plain_was_required: find(&names.plain).is_some_and(|column| column.is_required),
            is_leaving: false,
        }
    }

    fn typed(&mut self, column: Option<&Column>, name: &str, types: &[&str]) -> String {
        let Some(column) = column else {
            self.problems.push(format!("there is no column {name}"));
            return "text".into();
        };
        if !types.contains(&column.kind.as_str()) {
            self.problems.push(format!(
                "the column {name} is of type {}, not of {}",
                column.kind,
                types.join(", ")
            ));
        }
        column.kind.clone()
    }

    /// A row has to be one key of one user.
    async fn check_unique(
        &mut self,
        client: &ClientWrapper,
        attachment: &Attachment,
    ) -> Result<(), tokio_postgres::Error> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM pg_index i
            WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
                AND i.indpred IS NULL AND i.indexprs IS NULL
                AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text)
                     FROM pg_attribute a WHERE a.attrelid = i.indrelid
                        AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
                    = (SELECT array_agg(c ORDER BY c) FROM unnest($2::text[]) c))";
        let columns = &attachment.settings.columns;
        let pair = [columns.user.as_str(), columns.name.as_str()];
        let row = client
            .query_one(SQL, &[&attachment.in_sql(), &&pair[..]])
            .await?;
        if !row.get::<_, bool>(0) {
            self.problems.push(format!(
                "nothing says that a user has a key only once: CREATE UNIQUE INDEX CONCURRENTLY \
                 ON {} ({}, {})",
                attachment.in_sql(),
                quoted(&columns.user),
                quoted(&columns.name)
            ));
        }
        Ok(())
    }

    async fn note_triggers(
        &mut self,
        client: &ClientWrapper,
        attachment: &Attachment,
    ) -> Result<(), tokio_postgres::Error> {
        const SQL: &str = "SELECT tgname::text FROM pg_trigger
            WHERE tgrelid = to_regclass($1) AND NOT tgisinternal ORDER BY 1";
        for row in client.query(SQL, &[&attachment.in_sql()]).await? {
            let name: String = row.get(0);
            self.notes.push(format!(
                "the trigger {name} runs on every change: if it keeps old rows elsewhere, it keeps \
                 values in clear"
            ));
        }
        Ok(())
    }
}

fn statements(attachment: &Attachment) -> (Vec<String>, Vec<String>) {
    let table = attachment.in_sql();
    let columns = &attachment.settings.columns;
    let (plain, encrypted) = (quoted(&columns.plain), quoted(&columns.encrypted));
    let books = attachment.books_in_sql();
    let mut up = vec![format!("CREATE TABLE IF NOT EXISTS {books} (…)")];
    let mut down = Vec::new();
    if attachment.made_encrypted {
        up.push(format!("ALTER TABLE {table} ADD COLUMN {encrypted} bytea"));
        down.push(format!("ALTER TABLE {table} DROP COLUMN {encrypted}"));
    }
    if attachment.plain_was_required {
        up.push(format!(
            "ALTER TABLE {table} ALTER COLUMN {plain} DROP NOT NULL"
        ));
        down.push(format!(
            "ALTER TABLE {table} ALTER COLUMN {plain} SET NOT NULL"
        ));
    }
    up.push(format!("INSERT INTO {books} …"));
    down.push(format!("DELETE FROM {books} …"));
    debug_assert_eq!(BOOKS, "strongroom_userkeys");
    (up, down)
}
