//! A store in a database: which one, with what password, and its keys.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_core::port::Storage;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Unsealed;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::DatabaseUrl;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_store_postgres::Options;

use crate::app::App;
use crate::commands::key;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session;

/// A longer file of passwords is none.
const PASSFILE_BYTES_MAX: u64 = 1024 * 1024;
/// What a password in an address would be replaced by.
const PASSWORD_PLACES: &str =
    "PGPASSWORD, a file named by PGPASSFILE (or ~/.pgpass), STRONGROOM_STORE or the config file";

/// The database that stands in the place of the user's store, if one does.
pub(crate) fn of_settings(app: &App) -> Result<Option<DatabaseUrl>, CommandError> {
    let Some(place) = app.settings.database() else {
        return Ok(None);
    };
    // EXPOSE: an address with a password, for the one that reads it.
    let text = place.value.expose_secret_text().unwrap_or_default();
    let is_typed = place.from == crate::config::FROM_FLAG
        && app.environment.text("STRONGROOM_STORE") != Some(text);
    parse(app, text, is_typed).map(Some)
}

/// Reads an address. One with a password that was typed is visible to everybody on the machine.
pub(crate) fn parse(app: &App, text: &str, is_typed: bool) -> Result<DatabaseUrl, CommandError> {
    let url: DatabaseUrl = text
        .parse()
        .map_err(|error: strongroom_store_postgres::UrlError| {
            let failed = CommandError::usage(format!("the address of the database: {error}"));
            match error {
                strongroom_store_postgres::UrlError::Unchecked { .. } => failed
                    .hint("sslmode=verify-full, with sslrootcert=FILE for an authority of yours"),
                _ => failed.hint("for example postgres://strongroom@db.example.com/strongroom"),
            }
        })?;
    if url.has_password() {
        if is_typed {
            app.ui.warn(&format!(
                "warning: everybody on this machine can see the password on the command line; \
                 put it into {PASSWORD_PLACES}"
            ));
        }
        return Ok(url);
    }
    match password(app, &url)? {
        Some(password) => Ok(url.with_password(&password)),
        None => Ok(url),
    }
}

/// The password from where PostgreSQL's own programs take it.
fn password(app: &App, url: &DatabaseUrl) -> Result<Option<SecretValue>, CommandError> {
    if let Some(password) = app.environment.text("PGPASSWORD") {
        return Ok(Some(SecretValue::from_text(password.to_owned())));
    }
    let named = app.environment.get("PGPASSFILE").map(PathBuf::from);
    let home = app.environment.get("HOME").map(PathBuf::from);
    let is_named = named.is_some();
    let Some(path) = named.or_else(|| Some(home?.join(".pgpass"))) else {
        return Ok(None);
    };
    match read_passfile(&path) {
        Ok(text) => Ok(find_password(&text, url)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(CommandError::new(
            Kind::Denied,
            "database.passfile",
            format!("{}: {error}", path.display()),
        )
        .hint(format!("chmod 600 {}", path.display()))),
    }
}

fn read_passfile(path: &Path) -> std::io::Result<zeroize::Zeroizing<String>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        let text = "others can read this file of passwords";
        return Err(std::io::Error::other(text));
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(PASSFILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The password of the first line that fits: host, port, database, user, password, `*` for any.
fn find_password(text: &str, url: &DatabaseUrl) -> Option<SecretValue> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let fields = split_passfile_line(line);
        let [host, port, database, user, password] = fields.as_slice() else {
            continue;
        };
        let fits = |field: &str, value: &str| field == "*" || field == value;
        let mut addresses = url.addresses();
        let is_there =
            addresses.any(|(name, number)| fits(host, &name) && fits(port, &number.to_string()));
        if is_there && fits(database, url.database()) && fits(user, url.user()) {
            return Some(SecretValue::from_text(password.to_string()));
        }
    }
    None
}

/// Colons part the fields; a backslash takes the next character as it is.
fn split_passfile_line(line: &str) -> Vec<zeroize::Zeroizing<String>> {
    let mut fields = vec![zeroize::Zeroizing::new(String::with_capacity(line.len()))];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let next = match character {
            ':' if fields.len() < 5 => {
                fields.push(zeroize::Zeroizing::new(String::with_capacity(line.len())));
                continue;
            }
            '\\' => characters.next(),
            other => Some(other),
        };
        if let (Some(next), Some(field)) = (next, fields.last_mut()) {
            field.push(next);
        }
    }
    fields
}

/// Connects.
pub(crate) fn connect(url: &DatabaseUrl) -> Result<Arc<Database>, CommandError> {
    Ok(Database::connect(url, Options::default())?)
}

/// The records of the user's store and what opens them, wherever it is.
pub(crate) enum Opened {
    /// In a file.
    File(Box<session::Session>),
    /// In a database.
    Database {
        database: Arc<Database>,
        storage: Arc<dyn Storage>,
        barrier: Barrier,
        unsealed: Box<Unsealed>,
    },
}

impl Opened {
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        match self {
            Self::File(session) => session.storage.clone(),
            Self::Database { storage, .. } => Arc::clone(storage),
        }
    }

    pub(crate) fn barrier(&self) -> &Barrier {
        match self {
            Self::File(session) => &session.barrier,
            Self::Database { barrier, .. } => barrier,
        }
    }

    /// Makes a data key, which is sealed under from now on; its number. Servers on the same
    /// database learn it by themselves.
    pub(crate) fn new_data_key(&mut self, app: &App) -> Result<u32, CommandError> {
        let (database, barrier, unsealed) = match self {
            Self::File(session) => return key::new_data_key(app, session),
            Self::Database {
                database,
                barrier,
                unsealed,
                ..
            } => (database, barrier, unsealed),
        };
        let mut header = self::header(database)?;
        let read_at = header.generation();
        **unsealed = key::newest(&header, unsealed)?;
        let active = unsealed.keyring.rotate(&SystemRng, app.now());
        header.reseal(unsealed, &SystemRng);
        let replaced = database.replace_header(read_at, &header);
        replaced.map_err(key::header_error)?;
        *barrier = Barrier::new(header.store_id(), &unsealed.keyring);
        Ok(active)
    }
}

/// Opens the user's store where it is a database.
pub(crate) fn open_if_named(app: &App) -> Result<Option<Opened>, CommandError> {
    let Some(url) = of_settings(app)? else {
        return Ok(None);
    };
    let database = connect(&url)?;
    let header = header(&database)?;
    let (unsealed, _) = session::unseal(app, &header)?;
    Ok(Some(Opened::Database {
        storage: database.open(),
        barrier: Barrier::new(header.store_id(), &unsealed.keyring),
        unsealed: Box::new(unsealed),
        database,
    }))
}

/// The header of the store that is there.
pub(crate) fn header(
    database: &Database,
) -> Result<strongroom_crypto::header::Header, CommandError> {
    let header = database.header()?;
    header.ok_or_else(|| {
        OpenDatabaseError::Missing {
            place: database.place().to_owned(),
        }
        .into()
    })
}

impl From<OpenDatabaseError> for CommandError {
    fn from(error: OpenDatabaseError) -> Self {
        use OpenDatabaseError as Error;
        let (kind, code) = match &error {
            Error::Unreachable { .. } => (Kind::Unreachable, "database.unreachable"),
            Error::Refused { .. } => (Kind::Denied, "database.refused"),
            Error::Untrusted { .. } => (Kind::Denied, "database.untrusted"),
            Error::Roots { .. } => (Kind::Usage, "database.roots"),
            Error::Newer { .. } => (Kind::Failed, "database.newer"),
            Error::Older { .. } => (Kind::Failed, "database.older"),
            Error::Foreign { .. } => (Kind::Failed, "database.foreign"),
            Error::Unfinished { .. } => (Kind::Conflict, "database.unfinished"),
            Error::Exists { .. } => (Kind::Conflict, "store.exists"),
            Error::Missing { .. } => (Kind::NotFound, "store.missing"),
            Error::Storage { error, .. } => return error.clone().into(),
            _ => (Kind::Failed, "database.failed"),
        };
        let failed = Self::new(kind, code, error.to_string());
        match error {
            Error::Unreachable { .. } => failed.hint("see that it runs, and listens there"),
            // Of PostgreSQL: there is no such database.
            Error::Refused { ref detail, .. } if detail.contains("3D000") => {
                failed.hint("is its name right? `createdb NAME` makes one")
            }
            Error::Refused { .. } => {
                failed.hint(format!("the password is taken from {PASSWORD_PLACES}"))
            }
            Error::Untrusted { .. } => failed.hint(
                "sslrootcert=FILE names an authority of yours; the host's name must be the one in \
                 its certificate",
            ),
            Error::Newer { .. } => failed.hint("update this program"),
            Error::Older { .. } => failed.hint(
                "start one server as a user who may make tables; the others need no more than to \
                 read and write them",
            ),
            Error::Foreign { .. } => failed.hint("give Strongroom a database of its own"),
            Error::Unfinished { .. } => failed.hint(
                "run strongroom operator migrate-storage with the same --from and --to again",
            ),
            Error::Missing { .. } => failed.hint("strongroom serve makes one"),
            _ => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, url: &str) -> Option<String> {
        let found = find_password(text, &url.parse().unwrap())?;
        // EXPOSE: a test looks at its own value.
        found.expose_secret_text().map(str::to_owned)
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = "# a:b:c:d:e\n\
                    other:5432:s:u:one\n\
                    h:5433:*:u:t\\:w\\\\o:more\n\
                    h:*:s:u:three\n";
        assert_eq!(
            found(text, "postgres://u@h:5433/s"),
            Some("t:w\\o:more".into())
        );
        assert_eq!(found(text, "postgres://u@h/s"), Some("three".into()));
        assert_eq!(found(text, "postgres://u@other/s"), Some("one".into()));
        assert_eq!(found(text, "postgres://v@h/s"), None);
        assert_eq!(found("half a line", "postgres://u@h/s"), None);
    }
}
