//! Servers of several versions on one database.

use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::Migration;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_store_postgres::Options;
use strongroom_store_postgres::SCHEMA;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::commit;
use crate::support::connect;
use crate::support::create;
use crate::support::parse;
use crate::support::value;

/// What a later program adds, beside what there is now.
const EXPAND: Migration = Migration {
    version: SCHEMA + 1,
    needs: SCHEMA,
    sql: "ALTER TABLE strongroom_record ADD COLUMN later bigint; \
          CREATE TABLE strongroom_later (id bytea PRIMARY KEY)",
};
/// What a still later one takes away.
const CONTRACT: Migration = Migration {
    version: SCHEMA + 2,
    needs: SCHEMA + 2,
    sql: "ALTER TABLE strongroom_record DROP COLUMN due_at",
};

fn with(
    server: &Postgres,
    more: &[Migration],
) -> Result<std::sync::Arc<Database>, OpenDatabaseError> {
    let all = [Options::default().migrations, more].concat();
    let options = Options {
        migrations: Box::leak(all.into_boxed_slice()),
        ..Options::default()
    };
    Database::connect(&parse(&server.url("postgres")), options)
}

#[test]
fn an_older_server_works_on_what_was_only_added() {
    let server = Postgres::start();
    let old = with(&server, &[]).unwrap();
    create(&old);
    let old_storage = old.open();
    commit(&*old_storage, vec![put(id(1), b"by the old")]).unwrap();
    let new = with(&server, &[EXPAND]).unwrap();
    commit(&*new.open(), vec![put(id(2), b"by the new")]).unwrap();
    // The one that runs, and one that starts now.
    commit(&*old_storage, vec![put(id(3), b"by the old again")]).unwrap();
    let started = connect(&server.url("postgres")).unwrap().open();
    assert_eq!(value(&*started, id(2)).unwrap(), b"by the new");
    commit(&*started, vec![put(id(4), b"x")]).unwrap();
}

#[test]
fn an_older_server_refuses_what_was_taken_away() {
    let server = Postgres::start();
    let old = connect(&server.url("postgres")).unwrap();
    create(&old);
    let running = old.open();
    with(&server, &[EXPAND, CONTRACT]).unwrap();
    let error = connect(&server.url("postgres")).err().unwrap();
    assert!(
        matches!(error, OpenDatabaseError::Newer { needed, known, .. }
            if needed == SCHEMA + 2 && known == SCHEMA),
        "{error:?}"
    );
    // The one that runs is told, too.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        match pollster::block_on(running.revision()) {
            Err(StorageError::ReadOnly { detail }) => {
                assert!(detail.contains("later program"), "{detail}");
                break;
            }
            other => assert!(std::time::Instant::now() < until, "{other:?}"),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

#[test]
fn many_servers_that_start_at_once_make_the_tables_once() {
    let server = Postgres::start();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| with(&server, &[EXPAND]).map(|_| ()).unwrap());
        }
    });
    let made = server.sql(
        "postgres",
        "SELECT count(*), max(version) FROM strongroom_migration",
    );
    assert_eq!(made, format!("2|{}", SCHEMA + 1));
}

#[test]
fn a_migration_that_was_changed_is_noticed() {
    let server = Postgres::start();
    connect(&server.url("postgres")).unwrap();
    let _ = server.sql(
        "postgres",
        "UPDATE strongroom_migration SET checksum = 'other'",
    );
    let error = connect(&server.url("postgres")).err().unwrap();
    assert!(
        matches!(error, OpenDatabaseError::Foreign { version: 1, .. }),
        "{error:?}"
    );
}

/// A server with fewer rights says what it cannot bring up to date.
#[test]
fn without_the_right_to_make_tables_that_is_said() {
    let server = Postgres::start();
    let _ = server.sql("postgres", "CREATE USER plain");
    let url = format!("postgres://plain@127.0.0.1:{}/postgres", server.port());
    let error = connect(&url).err().unwrap();
    assert!(
        matches!(error, OpenDatabaseError::Older { found: 0, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("permission denied"), "{error}");
}
