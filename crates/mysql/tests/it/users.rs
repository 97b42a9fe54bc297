//! Users that are made for a time.

use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_mysql::Passwords;
use strongroom_mysql::Users;
use strongroom_testkit::mariadb::MariaDb;

use super::address;
use super::lets_in;
use super::secret;

const CREATE: &str = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; \
    GRANT SELECT ON shop.* TO '{{name}}'@'%'";
const UNTIL: &str = "2027-01-15 08:00:00+0000";

fn users(server: &MariaDb, passwords: Passwords) -> Users {
    Users::new(address(server), 2, passwords)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&one| one.to_owned()).collect()
}

async fn create(
    users: &Users,
    name: &str,
    password: &SecretValue,
    statements: &[&str],
    rollback: &[&str],
) -> Result<(), UserError> {
    let (statements, rollback) = (texts(statements), texts(rollback));
    let new = NewUser {
        name,
        password,
        until: UNTIL,
        statements: &statements,
        rollback: &rollback,
    };
    users.create(new).await
}

#[tokio::test]
async fn a_user_is_made_changed_and_removed() {
    let server = MariaDb::start();
    let users = users(&server, Passwords::Hash);
    users.connect().await.unwrap();
    let (first, second) = (secret("canary-1f4c"), secret("canary-77ab"));
    create(&users, "v-one", &first, &[CREATE], &[])
        .await
        .unwrap();
    assert!(users.accepts("v-one", &first).await.unwrap());
    assert!(!users.accepts("v-one", &second).await.unwrap());
    assert!(!users.accepts("v-nobody", &first).await.unwrap());
    assert_eq!(users.find("v-one").await.unwrap(), Some(true));
    assert_eq!(users.find("v-nobody").await.unwrap(), None);
    let _ = server.ask("CREATE USER 'v-one'@'10.%'; CREATE USER other; CREATE ROLE `v-role`");
    assert_eq!(users.named("v-").await.unwrap(), ["v-one", "v-role"]);
    users.renew("v-one", UNTIL, &[]).await.unwrap();
    let renew = texts(&["ALTER USER '{{name}}'@'%' WITH MAX_USER_CONNECTIONS 7 -- {{expiration}}"]);
    users.renew("v-one", UNTIL, &renew).await.unwrap();
    assert!(server.ask("SHOW CREATE USER 'v-one'@'%'").contains("7"));
    users.set_password("v-one", &second, &[]).await.unwrap();
    assert!(!users.accepts("v-one", &first).await.unwrap());
    assert!(users.accepts("v-one", &second).await.unwrap());
    let own = texts(&["ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}'"]);
    users.set_password("v-one", &first, &own).await.unwrap();
    assert!(users.accepts("v-one", &first).await.unwrap());
    users.lock("v-one").await.unwrap();
    assert_eq!(users.find("v-one").await.unwrap(), Some(false));
    assert!(!lets_in(&server, "v-one", "canary-1f4c").await);
    // The password is right: that is not why it is not let in.
    assert!(users.accepts("v-one", &first).await.unwrap());
    assert_eq!(users.named("v-").await.unwrap(), ["v-role"]);
    for _ in 0..2 {
        users.remove("v-one", &[]).await.unwrap();
        assert_eq!(users.find("v-one").await.unwrap(), None);
    }
    assert_eq!(
        server.ask("SELECT COUNT(*) FROM mysql.db WHERE User = 'v-one'"),
        "0"
    );
    let logs = server.logs();
    assert!(logs.contains("v-one") && logs.contains("IDENTIFIED BY PASSWORD '*"));
    assert!(!logs.contains("canary"));
}

#[tokio::test]
async fn a_role_says_how_a_user_is_removed_and_may_send_the_password() {
    let server = MariaDb::start();
    let users = users(&server, Passwords::Clear);
    let password = secret("canary-1f4c");
    assert_eq!(users.review(&texts(&[CREATE])).unwrap().len(), 1);
    create(&users, "v-one", &password, &[CREATE], &[])
        .await
        .unwrap();
    assert!(lets_in(&server, "v-one", "canary-1f4c").await);
    assert!(server.logs().contains("canary-1f4c"), "it was asked for");
    let bad = texts(&["DROP USER '{{name}}'@'10.%'"]);
    let error = users.remove("v-one", &bad).await.unwrap_err();
    assert!(matches!(error, UserError::Refused { .. }), "{error}");
    let own = texts(&[
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{{name}}'@'%'",
        "DROP USER '{{name}}'@'%'",
    ]);
    // Somebody else may have been first.
    for _ in 0..2 {
        users.remove("v-one", &own).await.unwrap();
    }
    assert_eq!(users.find("v-one").await.unwrap(), None);
}

#[tokio::test]
async fn of_a_user_that_cannot_be_made_nothing_is_left() {
    let server = MariaDb::start();
    let users = users(&server, Passwords::Hash);
    let password = secret("canary-1f4c");
    assert_eq!(users.review(&[]).unwrap_err(), "empty creation statements");
    let late = "GRANT SELECT ON mysql.user TO '{{name}}'@'%'";
    let back = "INSERT INTO shop.goods VALUES (7)";
    let made = create(&users, "v-one", &password, &[CREATE, late], &[back]).await;
    let error = made.unwrap_err();
    assert!(matches!(error, UserError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("denied"), "{error}");
    assert_eq!(users.find("v-one").await.unwrap(), None);
    assert_eq!(server.ask("SELECT id FROM shop.goods"), "7", "the rollback");
    for (statement, shown) in [
        (
            "CREATE USER '{{name}}' IDENTIFED BY '{{password}}'",
            "IDENTIFED",
        ),
        ("CREATE USER {{password}}", "syntax"),
        ("SELECT '{{password}}' FROM shop.nothing", "shop.nothing"),
        ("SELECT * FROM shop.`{{password}}`", "doesn't exist"),
    ] {
        let made = create(&users, "v-two", &password, &[statement], &[]).await;
        let said = made.unwrap_err().to_string();
        assert!(said.contains(shown), "{said}");
        let hash = server.ask("SELECT PASSWORD('canary-1f4c')");
        for hidden in ["canary", hash.get(..8).unwrap()] {
            assert!(!said.contains(hidden), "{said}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told_from_one_that_refuses() {
    let mut server = MariaDb::start();
    let users = users(&server, Passwords::Hash);
    let password = secret("canary-1f4c");
    server.crash();
    let error = users.connect().await.unwrap_err();
    assert!(matches!(error, UserError::Unreachable { .. }), "{error}");
    let error = users.accepts("v-one", &password).await.unwrap_err();
    assert!(matches!(error, UserError::Lost { .. }), "{error}");
    server.resume();
    users.connect().await.unwrap();
    let wrong = address(&server).with_password(&password);
    let error = Users::new(wrong, 1, Passwords::Hash).connect().await;
    let error = error.unwrap_err();
    assert!(matches!(error, UserError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_too_long_is_told_from_other_mistakes() {
    let password = secret("canary-1f4c");
    for (version, most) in [("10.11.6-MariaDB", 80), ("8.0.36", 32), ("5.7.7", 16)] {
        let server = MariaDb::start_with(&[&format!("--version={version}")]);
        let users = users(&server, Passwords::Clear);
        assert_eq!(users.name_chars_max().await.unwrap(), most, "{version}");
        let (fits, longer) = ("n".repeat(most), "n".repeat(most + 1));
        create(&users, &fits, &password, &[CREATE], &[])
            .await
            .unwrap();
        let error = create(&users, &longer, &password, &[CREATE], &[]).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(&format!("has {} letters", most + 1)),
            "{error}"
        );
        assert!(error.contains("with `truncate`"), "{error}");
        assert_eq!(
            server.ask("SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'nnn%'"),
            "1"
        );
    }
}
