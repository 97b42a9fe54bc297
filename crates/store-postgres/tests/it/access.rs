//! Getting to a database, and being kept from it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::MergeFn;
use strongroom_core::port::Precondition;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::secret::SecretValue;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_store_postgres::Options;
use strongroom_store_postgres::RECORD_BYTES_MAX;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::commit;
use crate::support::connect;
use crate::support::create;
use crate::support::parse;
use crate::support::store;

const PASSWORD: &str = "canary-of-the-database";

fn error_of(url: &str) -> OpenDatabaseError {
    connect(url).err().unwrap()
}

#[test]
fn a_password_has_to_be_right() {
    let server = Postgres::start();
    let sql =
        format!("CREATE USER app PASSWORD '{PASSWORD}'; GRANT CREATE ON SCHEMA public TO app");
    let _ = server.sql("postgres", &sql);
    let url = format!("postgres://app@127.0.0.1:{}/postgres", server.port());
    let with = |password: &str| {
        let url = parse(&url).with_password(&SecretValue::from_text(password.to_owned()));
        Database::connect(&url, Options::default())
    };
    assert!(with(PASSWORD).is_ok());
    for error in [with("wrong-canary").err().unwrap(), error_of(&url)] {
        let text = error.to_string();
        assert!(
            matches!(error, OpenDatabaseError::Refused { .. }),
            "{error:?}"
        );
        assert!(text.contains("user app"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    let missing = error_of(&server.url("nowhere"));
    assert!(
        matches!(missing, OpenDatabaseError::Refused { .. }),
        "{missing:?}"
    );
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}

#[test]
fn where_nobody_is_that_is_said() {
    let port = strongroom_testkit::port::Port::claim();
    let url = format!("postgres://u@127.0.0.1:{}/s", port.number());
    let error = error_of(&url);
    assert!(
        matches!(error, OpenDatabaseError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Somebody takes the connection and never answers.
#[test]
fn a_silent_peer_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = error_of(&format!("postgres://u@127.0.0.1:{port}/s"));
    assert!(
        matches!(error, OpenDatabaseError::Unreachable { .. }),
        "{error:?}"
    );
}

#[test]
fn a_private_authority_is_checked_in_full() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let roots = place("ca.pem", &ca_certificate.pem());
    let others = place("others.pem", &stranger.cert.pem());
    let nothing = place("nothing.pem", "no certificate");

    let mut server = Postgres::start();
    server.require_tls(&own.pem(), &key.serialize_pem());
    let url = |host: &str, rest: &str| {
        format!(
            "postgres://postgres@{host}:{}/postgres{rest}",
            server.port()
        )
    };
    let database = connect(&url("localhost", &format!("?sslrootcert={roots}"))).unwrap();
    create(&database);
    commit(&*database.open(), vec![put(id(1), b"x")]).unwrap();
    let protected = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'strongroom'";
    assert_eq!(server.sql("postgres", protected), "t");

    // Another name than the certificate's, another authority, none, and no TLS at all.
    let untrusted = |url: &str, word: &str| {
        let error = error_of(url);
        assert!(
            matches!(error, OpenDatabaseError::Untrusted { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(word), "{error}");
    };
    untrusted(
        &url("127.0.0.1", &format!("?sslrootcert={roots}")),
        "not valid for name",
    );
    untrusted(
        &url("localhost", &format!("?sslrootcert={others}")),
        "invalid peer certificate",
    );
    untrusted(
        &url("localhost", "?sslmode=verify-full"),
        "invalid peer certificate",
    );
    let plain = error_of(&url("localhost", ""));
    assert!(
        matches!(plain, OpenDatabaseError::Refused { .. }),
        "{plain:?}"
    );
    let unreadable = error_of(&url("localhost", &format!("?sslrootcert={nothing}")));
    assert!(
        matches!(unreadable, OpenDatabaseError::Roots { .. }),
        "{unreadable:?}"
    );
}

/// A server that speaks no TLS is not talked to in the clear instead.
#[test]
fn tls_is_not_given_up_for_a_server_without_it() {
    let server = Postgres::start();
    let error = error_of(&format!("{}?sslmode=verify-full", server.url("postgres")));
    assert!(
        matches!(error, OpenDatabaseError::Untrusted { .. }),
        "{error:?}"
    );
}

/// Whoever finds all connections in use waits, and is told then.
#[test]
fn an_exhausted_pool_is_a_clear_error() {
    let server = Postgres::start();
    let options = Options {
        connections: 2,
        ..Options::default()
    };
    let database = Database::connect(&parse(&server.url("postgres")), options).unwrap();
    create(&database);
    let storage = database.open();
    // Readers of a table that somebody holds stand still with their connections.
    let holder = std::thread::scope(|scope| {
        let holding = scope.spawn(|| {
            server.sql(
                "postgres",
                "BEGIN; LOCK strongroom_record IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(9)",
            )
        });
        let locked = "SELECT count(*) FROM pg_locks WHERE relation = 'strongroom_record'::regclass
            AND mode = 'AccessExclusiveLock' AND granted";
        while server.sql("postgres", locked) != "1" {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let readers: Vec<_> = (0..6)
            .map(|_| {
                let storage = Arc::clone(&storage);
                scope.spawn(move || pollster::block_on(storage.get(id(1))))
            })
            .collect();
        let refused = readers
            .into_iter()
            .filter_map(|reader| reader.join().unwrap().err())
            .map(|error| error.to_string())
            .filter(|text| text.contains("all 2 connections to it are in use"))
            .count();
        assert!(refused >= 1);
        holding.join().unwrap()
    });
    assert_eq!(holder, "");
    // And then it goes on.
    assert_eq!(pollster::block_on(storage.get(id(1))).unwrap(), None);
}

#[test]
fn what_is_too_long_is_refused_before_it_is_sent() {
    let (storage, _server) = store();
    let too_long = |result: Result<u64, StorageError>| {
        assert!(
            matches!(result, Err(StorageError::TooLarge { .. })),
            "{result:?}"
        );
    };
    let over = usize::try_from(RECORD_BYTES_MAX).unwrap() + 1;
    let before = pollster::block_on(storage.revision()).unwrap();
    too_long(commit(
        &*storage,
        vec![put(id(1), b"x"), put(id(2), &vec![7; over])],
    ));
    // Also what only comes to be inside of the commit.
    commit(&*storage, vec![put(id(1), b"x")]).unwrap();
    let grow: MergeFn = Arc::new(move |_| Ok(vec![7; over]));
    let merge = BatchItem {
        id: id(1),
        precondition: Precondition::Exists,
        change: Change::Merge(grow),
    };
    too_long(pollster::block_on(
        storage.commit(vec![merge], Durability::Durable),
    ));
    assert_eq!(pollster::block_on(storage.revision()).unwrap(), before + 1);
}
