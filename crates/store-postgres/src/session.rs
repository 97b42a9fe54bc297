//! What holds on each connection of a store.

use std::time::Duration;

/// The database ends a statement after this time.
pub(crate) const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// A server that stands still in the middle of a commit holds up the others no longer than that;
/// and acknowledged means on disk, whatever the database's default is.
pub(crate) const SESSION_SQL: &str = "
SET statement_timeout = '10s';
SET idle_in_transaction_session_timeout = '5s';
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';
";
