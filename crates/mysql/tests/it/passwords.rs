//! Two passwords of one account, and two users of one kind.

use strongroom_core::port::UserError;
use strongroom_mysql::Passwords;
use strongroom_mysql::Session;
use strongroom_testkit::mariadb::MariaDb;

use super::address;
use super::lets_in;
use super::secret;
use super::session;

/// A server with the user `app` from two hosts, whose password is `one`.
fn server() -> MariaDb {
    let server = MariaDb::start();
    let _ = server.ask(
        "CREATE USER app IDENTIFIED BY 'one'; CREATE USER app@'10.%' IDENTIFIED BY 'one';
         GRANT SELECT ON shop.* TO app",
    );
    server
}

fn hashes(server: &MariaDb, account: &str) -> usize {
    let shown = server.ask(&format!("SHOW CREATE USER {account}"));
    shown.matches("'*").count()
}

fn users_named(server: &MariaDb, name: &str) -> String {
    server.ask(&format!(
        "SELECT User FROM mysql.user WHERE User = '{name}'"
    ))
}

async fn are_let_in(server: &MariaDb, expected: &[&str]) {
    for password in ["one", "two", "three"] {
        let is_one = expected.contains(&password);
        assert_eq!(lets_in(server, "app", password).await, is_one, "{password}");
    }
    for account in ["app@'%'", "app@'10.%'"] {
        assert_eq!(hashes(server, account), expected.len(), "{account}");
    }
}

#[tokio::test]
async fn an_account_takes_two_passwords() {
    let server = server();
    let mut boss = session(&server).await;
    assert!(boss.is_mariadb());
    let [one, two, three] = ["one", "two", "three"].map(secret);
    for _ in 0..2 {
        boss.add_password("app", &two, Some(&one)).await.unwrap();
        are_let_in(&server, &["one", "two"]).await;
    }
    boss.add_password("app", &three, Some(&two)).await.unwrap();
    are_let_in(&server, &["two", "three"]).await;
    // Where none of them is said to work, there is still room for two.
    boss.add_password("app", &one, Some(&secret("x")))
        .await
        .unwrap();
    are_let_in(&server, &["one", "three"]).await;
    boss.restore_password("app", &two, Some(&one))
        .await
        .unwrap();
    are_let_in(&server, &["two", "three"]).await;
    boss.end_password("app", &three, &two).await.unwrap();
    are_let_in(&server, &["three"]).await;
    boss.set_password("app", &one, Passwords::Clear)
        .await
        .unwrap();
    are_let_in(&server, &["one"]).await;
    boss.set_password("app", &two, Passwords::Hash)
        .await
        .unwrap();
    are_let_in(&server, &["two"]).await;
    assert!(server.ask("SHOW GRANTS FOR app").contains("`shop`"));
    let mut own = Session::open(&address(&server).of_user("app", &two))
        .await
        .unwrap();
    own.set_own_password(&three).await.unwrap();
    own.ping().await.unwrap();
    own.close().await;
    assert!(lets_in(&server, "app", "three").await);
    assert!(!lets_in(&server, "app", "two").await);
}

#[tokio::test]
async fn other_ways_to_log_in_stay() {
    let server = server();
    let _ = server.ask(
        "CREATE USER pair@'%' IDENTIFIED VIA unix_socket OR mysql_native_password USING \
         PASSWORD('one');
         CREATE USER sock@'%' IDENTIFIED VIA unix_socket; CREATE USER open@'%'",
    );
    let mut boss = session(&server).await;
    let [one, two] = ["one", "two"].map(secret);
    boss.add_password("pair", &two, Some(&one)).await.unwrap();
    for password in ["one", "two"] {
        assert!(lets_in(&server, "pair", password).await);
    }
    boss.set_password("pair", &two, Passwords::Hash)
        .await
        .unwrap();
    let shown = server.ask("SHOW CREATE USER pair@'%'");
    assert!(shown.contains("unix_socket") && shown.matches("'*").count() == 1);
    for (user, why) in [
        ("sock", "unix_socket"),
        ("open", "without a password"),
        ("ghost", "no user ghost"),
        ("x' OR User='app", "no user"),
    ] {
        let error = boss.add_password(user, &two, None).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    // Of its own accord the server lets nobody in without one again.
    boss.set_password("open", &two, Passwords::Hash)
        .await
        .unwrap();
    assert!(lets_in(&server, "open", "two").await);
    assert!(!lets_in(&server, "open", "").await);
    for password in ["", "a\0b"] {
        let error = boss.add_password("app", &secret(password), None).await;
        assert!(matches!(error, Err(UserError::Refused { .. })));
    }
}

#[tokio::test]
async fn a_second_user_has_the_rights_of_the_first() {
    let server = server();
    let _ = server.ask(
        "CREATE ROLE readers; GRANT SELECT ON shop.* TO readers;
         GRANT readers TO boss@'%' WITH ADMIN OPTION;
         GRANT INSERT, UPDATE ON shop.goods TO app@'%' WITH GRANT OPTION;
         GRANT readers TO app@'%'; SET DEFAULT ROLE readers FOR app@'%';
         ALTER USER app@'10.%' REQUIRE SSL WITH MAX_USER_CONNECTIONS 5",
    );
    let mut boss = session(&server).await;
    let two = secret("canary-22");
    // What is given on by default is a row of the server's own.
    let error = boss.make_like("app", "app_b", &two).await.unwrap_err();
    assert!(error.to_string().contains("database 'mysql'"), "{error}");
    assert_eq!(users_named(&server, "app_b"), "");
    let _ = server.ask("GRANT UPDATE ON mysql.* TO boss");
    let mut boss = session(&server).await;
    for _ in 0..2 {
        boss.make_like("app", "app_b", &two).await.unwrap();
    }
    assert!(lets_in(&server, "app_b", "canary-22").await);
    let rights = |user: &str| {
        let rights = server.ask(&format!("SHOW GRANTS FOR {user}@'%'"));
        let known = rights.lines().filter(|line| !line.contains("USAGE"));
        known
            .map(|line| line.replace(&format!("`{user}`"), "`x`"))
            .collect::<Vec<_>>()
    };
    assert_eq!(rights("app_b"), rights("app"));
    assert_eq!(rights("app_b").len(), 4, "{:?}", rights("app_b"));
    let shown = server.ask("SHOW CREATE USER app_b@'10.%'");
    assert!(
        shown.contains("REQUIRE SSL WITH MAX_USER_CONNECTIONS 5"),
        "{shown}"
    );
    assert!(!server.logs().contains("canary"));
    // What the administrator may not give is given to nobody, and nobody is left.
    let _ = server.ask("CREATE USER great; GRANT SHUTDOWN ON *.* TO great");
    let error = boss.make_like("great", "great_b", &two).await.unwrap_err();
    assert!(matches!(error, UserError::Refused { .. }), "{error}");
    assert_eq!(users_named(&server, "great_b"), "");
    let error = boss.make_like("ghost", "ghost_b", &two).await.unwrap_err();
    assert!(error.to_string().contains("no user ghost"), "{error}");
}
