//! Whom a session trusts, and what is said where one side speaks TLS and the other does not.

use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_redis::Lasting;
use strongroom_redis::RedisUrl;
use strongroom_redis::Roots;
use strongroom_redis::Session;
use strongroom_redis::Users;
use strongroom_redis::check_login;
use strongroom_testkit::certificates::Certificates;
use strongroom_testkit::redis::ADMIN;
use strongroom_testkit::redis::ADMIN_PASSWORD;
use strongroom_testkit::redis::Redis;

const HOST: &str = "127.0.0.1";

fn secret(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

fn address(server: &Redis, tls: Option<Roots>) -> RedisUrl {
    RedisUrl::new(HOST, server.port(), ADMIN, tls).with_password(&secret(ADMIN_PASSWORD))
}

fn trusting(certificates: &Certificates) -> Option<Roots> {
    Some(Roots::Pem(certificates.authority.clone()))
}

async fn refusal(server: &Redis, tls: Option<Roots>) -> UserError {
    let opened = Session::open(&address(server, tls)).await;
    opened.err().unwrap()
}

/// What is said, and whether somebody answered; without the password.
fn check(error: &UserError, is_refusal: bool, why: &str) {
    let text = format!("{error} {error:?}");
    assert!(text.contains(why), "{why}: {text}");
    assert!(!text.contains(ADMIN_PASSWORD), "{text}");
    let is_as_said = match error {
        UserError::Refused { .. } => is_refusal,
        UserError::Unreachable { .. } => !is_refusal,
        _ => false,
    };
    assert!(is_as_said, "{error:?}");
}

#[tokio::test]
async fn a_user_is_made_changed_and_removed_over_tls() {
    let certificates = Certificates::of(HOST);
    let server = Redis::start_with_tls(&certificates);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &certificates.authority).unwrap();
    let url = format!("{}?ca={}", server.url(ADMIN), file.display());
    let by_file: RedisUrl = url.parse().unwrap();
    let by_file = by_file.with_password(&secret(ADMIN_PASSWORD));
    let users = Users::new(by_file.clone(), 2, Lasting::AclFile);
    users.connect().await.unwrap();
    let (first, second) = (secret("canary-1f4c"), secret("canary-77ab"));
    let new = NewUser {
        name: "v-one",
        password: &first,
        until: "",
        statements: &["[\"~app:*\", \"+@read\"]".to_owned()],
        rollback: &[],
    };
    users.create(new).await.unwrap();
    assert!(users.accepts("v-one", &first).await.unwrap());
    assert!(!users.accepts("v-one", &second).await.unwrap());
    users.set_password("v-one", &second, &[]).await.unwrap();
    assert!(!users.accepts("v-one", &first).await.unwrap());
    let by_text = address(&server, trusting(&certificates));
    check_login(&by_text, "v-one", &second).await.unwrap();
    // A rotation: the old password works beside the new one until it is retired.
    let mut session = Session::open(&by_text).await.unwrap();
    let added = session.add_password("v-one", &first, Some(&second), Lasting::AclFile);
    added.await.unwrap();
    for password in [&first, &second] {
        check_login(&by_file, "v-one", password).await.unwrap();
    }
    let retired = session.restore_password("v-one", &first, Some(&second), Lasting::AclFile);
    retired.await.unwrap();
    assert!(!users.accepts("v-one", &second).await.unwrap());
    users.remove("v-one", &[]).await.unwrap();
    assert_eq!(users.find("v-one").await.unwrap(), None);
    for text in [server.log(), server.acl_file()] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn only_a_server_that_proves_who_it_is_is_told_a_password() {
    let server = Redis::start_with_tls(&Certificates::of("cache.example"));
    let stranger = Certificates::of(HOST);
    for tls in [trusting(&stranger), Some(Roots::Machine)] {
        let error = refusal(&server, tls).await;
        check(&error, true, "does not prove who it is");
        check(&error, true, "`ca_cert` of a connection");
    }
    let error = refusal(&server, Some(Roots::Pem("no certificate".into()))).await;
    check(&error, true, "ca_cert: no certificate of an authority");
    let error = refusal(&server, Some(Roots::File("/no/file".into()))).await;
    check(&error, true, "/no/file: the certificates cannot be read");
    // That nothing is known of the password is not that it is wrong.
    let users = Users::new(address(&server, trusting(&stranger)), 1, Lasting::AclFile);
    let error = users.accepts(ADMIN, &secret(ADMIN_PASSWORD)).await;
    check(&error.unwrap_err(), true, "does not prove who it is");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_none() {
    let certificates = Certificates::of("cache.example");
    let server = Redis::start_with_tls(&certificates);
    let error = refusal(&server, trusting(&certificates)).await;
    check(&error, true, "does not prove who it is");
    check(&error, true, "cache.example");
    check(&error, true, "call the host as its certificate does");
}

#[tokio::test]
async fn who_asks_for_no_tls_is_told_that_the_other_side_speaks_it() {
    let server = Redis::start_with_tls(&Certificates::of(HOST));
    let error = refusal(&server, None).await;
    check(&error, false, "ask for it: rediss://");
}

/// Redis waits for more of what it does not understand.
#[tokio::test]
async fn who_asks_for_tls_goes_without_it_nowhere() {
    let server = Redis::start();
    let error = refusal(&server, Some(Roots::Machine)).await;
    check(&error, false, "did not answer in 5 s");
    check(&error, false, "ask for none: redis://");
}

/// As Redis does when nobody says otherwise.
#[tokio::test]
async fn a_server_that_asks_for_certificates_of_clients_is_told_from_others() {
    let certificates = Certificates::of(HOST);
    let server = Redis::start_asking_for_certificates(&certificates);
    let error = refusal(&server, trusting(&certificates)).await;
    check(&error, true, "tls-auth-clients no");
}
