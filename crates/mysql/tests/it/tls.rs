//! Whom a session trusts.

use std::fs;

use strongroom_core::port::UserError;
use strongroom_mysql::MysqlUrl;
use strongroom_mysql::Roots;
use strongroom_mysql::Session;
use strongroom_testkit::certificates::Certificates;
use strongroom_testkit::mariadb::ADMIN;
use strongroom_testkit::mariadb::ADMIN_PASSWORD;
use strongroom_testkit::mariadb::MariaDb;

use super::secret;

async fn opens(server: &MariaDb, tls: Option<Roots>, name: &str) -> Result<(), UserError> {
    let address = MysqlUrl::new("127.0.0.1", Some(server.port()), ADMIN, tls)
        .with_password(&secret(ADMIN_PASSWORD))
        .with_server_name(name);
    let mut session = Session::open(&address).await?;
    session.ping().await
}

#[tokio::test]
async fn only_a_server_that_proves_who_it_is_is_told_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let own = Certificates::of("db.example");
    let (authority, stranger) = (own.authority, Certificates::of("db.example").authority);
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cert"), own.certificate).unwrap();
    fs::write(path("key"), own.key).unwrap();
    fs::write(path("ca"), &authority).unwrap();
    let options = [
        format!("--ssl-cert={}", path("cert")),
        format!("--ssl-key={}", path("key")),
        "--require-secure-transport=on".to_owned(),
    ];
    let server = MariaDb::start_with(&options.each_ref().map(String::as_str));
    let pem = |text: &str| Some(Roots::Pem(text.to_owned()));
    opens(&server, pem(&authority), "db.example").await.unwrap();
    let file = Some(Roots::File(path("ca").into()));
    opens(&server, file, "db.example").await.unwrap();
    for (tls, name, why) in [
        (pem(&stranger), "db.example", "does not prove who it is"),
        (
            Some(Roots::Machine),
            "db.example",
            "does not prove who it is",
        ),
        (pem(&authority), "other.example", "does not prove who it is"),
        (pem(&authority), "", "does not prove who it is"),
        (pem("no certificate"), "db.example", "tls_ca"),
        (Some(Roots::File("/no/file".into())), "", "/no/file"),
        // And in clear it lets nobody in.
        (None, "", "refuses the user boss"),
    ] {
        let error = opens(&server, tls, name).await.unwrap_err();
        assert!(
            matches!(error, UserError::Refused { .. }),
            "{why}: {error:?}"
        );
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

#[tokio::test]
async fn who_asks_for_tls_goes_without_it_nowhere() {
    let server = MariaDb::start();
    let error = opens(&server, Some(Roots::Machine), "").await.unwrap_err();
    assert!(error.to_string().contains("speaks no TLS"), "{error}");
}
