//! Passwords of roles: the database learns a verifier, and nothing of it is in its logs.

use strongroom_core::secret::SecretValue;
use strongroom_postgres::ConnectError;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role;
use strongroom_postgres::role::RoleError;
use strongroom_testkit::canary::Canary;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::rng::SeededRng;

fn text(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

fn address(server: &Postgres) -> DatabaseUrl {
    server.url("postgres").parse().unwrap()
}

async fn set(server: &Postgres, name: &str, password: &SecretValue) -> Result<(), RoleError> {
    let change = async |client| role::set_password(&client, name, password).await;
    role::session(&address(server), change).await.unwrap()
}

#[tokio::test]
async fn a_new_password_works_and_the_old_one_does_not() {
    let server = Postgres::start();
    let _ = server.sql("postgres", "CREATE ROLE app LOGIN");
    let address = address(&server);
    // The last one is what SASLprep changes, a quote and a backslash.
    for password in ["first", "second", "Ⅸ\u{a0}o'clock \\ \"", "\u{7}bell"] {
        let password = text(password);
        set(&server, "app", &password).await.unwrap();
        role::check_login(&address, "app", &password).await.unwrap();
        let refused = role::check_login(&address, "app", &text("zeroth")).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused { .. })),
            "{refused:?}"
        );
    }
    let refused = role::check_login(&address, "app", &text("second")).await;
    assert!(matches!(refused, Err(ConnectError::Refused { .. })));
    let kept = "SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid
        WHERE rolname = 'app'";
    assert_eq!(server.sql("postgres", kept), "t");
}

#[tokio::test]
async fn names_are_quoted_and_never_cut_off() {
    let server = Postgres::start();
    let odd = "a\"; DROP ROLE app; -- \\ é";
    let _ = server.sql("postgres", "CREATE ROLE app LOGIN");
    let quoted = role::quoted(odd).unwrap();
    let _ = server.sql(
        "postgres",
        &format!("CREATE ROLE {quoted} IN ROLE app LOGIN"),
    );
    set(&server, odd, &text("p")).await.unwrap();
    role::check_login(&address(&server), odd, &text("p"))
        .await
        .unwrap();
    assert_eq!(
        server.sql(
            "postgres",
            "SELECT count(*) FROM pg_roles WHERE rolname = 'app'"
        ),
        "1"
    );
    let longest = "r".repeat(role::ROLE_BYTES_MAX);
    let _ = server.sql("postgres", &format!("CREATE ROLE {longest} LOGIN"));
    set(&server, &longest, &text("p")).await.unwrap();
    let refused = set(&server, &format!("{longest}r"), &text("p")).await;
    assert!(matches!(refused, Err(RoleError::Name)), "{refused:?}");
    for name in ["", "a\0b"] {
        let refused = set(&server, name, &text("p")).await;
        assert!(matches!(refused, Err(RoleError::Name)), "{refused:?}");
    }
    for password in ["", "a\0b"] {
        let refused = set(&server, "app", &text(password)).await;
        assert!(matches!(refused, Err(RoleError::Password)), "{refused:?}");
    }
    let refused = set(&server, "nobody", &text("p")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the role nobody was not changed: role \"nobody\" does not exist (SQLSTATE 42704)"
    );
}

#[tokio::test]
async fn a_server_that_logs_everything_logs_no_password() {
    let server = Postgres::start_with(&[
        "log_statement=all",
        "log_min_duration_statement=0",
        "log_error_verbosity=verbose",
        "log_min_messages=debug1",
    ]);
    let _ = server.sql("postgres", "CREATE ROLE app LOGIN");
    let canary = Canary::new(&SeededRng::new(3));
    set(&server, "app", &canary.value()).await.unwrap();
    set(&server, "nobody", &canary.value()).await.unwrap_err();
    role::check_login(&address(&server), "app", &canary.value())
        .await
        .unwrap();
    let log = server.log();
    assert!(log.contains("ALTER ROLE \"app\" PASSWORD"), "{log}");
    assert_eq!(canary.find_in(log.as_bytes()), None);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_no_wrong_password() {
    let mut server = Postgres::start();
    let address = address(&server);
    server.crash();
    let found = role::check_login(&address, "app", &text("p")).await;
    assert!(
        matches!(found, Err(ConnectError::Unreachable { .. })),
        "{found:?}"
    );
}
