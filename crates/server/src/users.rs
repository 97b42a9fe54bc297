//! Where the keys of the application's users are, once they are asked for.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;

use strongroom_core::path::SecretPath;
use strongroom_engine::context::OpContext;
use strongroom_engine::tokens::Token;
use strongroom_userkeys::Database;
use strongroom_userkeys::DatabaseUrl;
use strongroom_userkeys::TableName;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;

use crate::core::Core;
use crate::node::Node;

/// Connections to the application's database.
const CONNECTIONS: usize = 16;
/// What a token's maker notes to say which user it is for. Children have their parent's.
pub(crate) const USER: &str = "strongroom_user";

/// The application's database, and the table as it was opened with the keys of one core.
#[derive(Default)]
pub(crate) struct Users {
    place: OnceLock<(Database, Option<TableName>)>,
    opened: tokio::sync::Mutex<Option<(Weak<Core>, UserKeys)>>,
}

impl Node {
    /// Serves the keys of users in a table of this database, from now on. It is connected to when
    /// it is asked for something.
    ///
    /// # Errors
    /// When the certificates that it is checked with cannot be read.
    pub fn serve_user_keys(
        &self,
        url: &DatabaseUrl,
        table: Option<TableName>,
    ) -> Result<(), UserKeysError> {
        let database = Database::lazy(url, Some(CONNECTIONS))?;
        // The first one stays.
        let _ = self.users.place.set((database, table));
        Ok(())
    }
}

impl Users {
    /// The keys, opened with what this core holds; `None` where none are served.
    pub(crate) async fn keys(
        &self,
        core: &Arc<Core>,
        context: &OpContext,
    ) -> Result<Option<UserKeys>, UserKeysError> {
        let Some((database, table)) = self.place.get() else {
            return Ok(None);
        };
        let mut slot = self.opened.lock().await;
        if let Some((owner, keys)) = &*slot
            && std::ptr::eq(owner.as_ptr(), Arc::as_ptr(core))
        {
            return Ok(Some(keys.clone()));
        }
        let keys = UserKeys::open(database, table.as_ref(), core.state.barrier()).await?;
        let mut old = Vec::new();
        for path in &keys.attachment().settings().pgcrypto_keys {
            // One that is not there opens no row: the row says so.
            if let Ok(path) = path.parse::<SecretPath>()
                && let Ok(secret) = core.secrets.read(context, &path, None).await
            {
                old.push(secret.payload.value);
            }
        }
        let keys = keys.with_pgcrypto_keys(old);
        *slot = Some((Arc::downgrade(core), keys.clone()));
        Ok(Some(keys))
    }

    /// Opens the table anew at the next request: it was attached otherwise, or rolled back.
    pub(crate) async fn reopen(&self) {
        *self.opened.lock().await = None;
    }
}

/// The user that a token is for: who has logged in by name, or whom its maker has noted.
pub(crate) fn user_of(token: &Token) -> Option<&str> {
    let noted = token.meta.as_ref()?;
    let name = noted.get("username").map(String::as_str);
    // Only a login writes this path; the notes of a token that was made may say anything.
    let by_name = name.filter(|name| {
        let path = token.path.strip_suffix(*name);
        path.is_some_and(|path| path.ends_with("/login/") && !path.starts_with("auth/token/"))
    });
    by_name.or_else(|| noted.get(USER).map(String::as_str))
}
