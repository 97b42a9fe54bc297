//! vaultrs, unmodified, against the server.

use std::collections::HashMap;

use strongroom_core::secret::SecretValue;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role::check_login;
use strongroom_testkit::postgres::Postgres;
use vaultrs::api::auth::approle::requests::SetAppRoleRequest;
use vaultrs::api::database::requests::PostgreSQLConnectionRequest;
use vaultrs::api::database::requests::SetRoleRequest;
use vaultrs::api::database::requests::SetStaticRoleRequest;
use vaultrs::api::kv2::requests::SetSecretRequestOptions;
use vaultrs::auth::approle;
use vaultrs::client::VaultClient;
use vaultrs::client::VaultClientSettingsBuilder;
use vaultrs::database;
use vaultrs::error::ClientError;
use vaultrs::kv2;
use vaultrs::sys;
use vaultrs::token;

use crate::support::ROOT;
use crate::support::Running;

type Fields = HashMap<String, String>;

fn client(server: &Running, token: &str) -> VaultClient {
    let settings = VaultClientSettingsBuilder::default()
        .address(format!("http://{}", server.address))
        .token(token)
        .build()
        .unwrap();
    VaultClient::new(settings).unwrap()
}

fn status<T>(result: Result<T, ClientError>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(ClientError::APIError { code, .. }) => code,
        Err(error) => panic!("no answer of the server: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_logs_in_and_uses_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let root = client(&server, ROOT);
    assert!(sys::health(&root).await.unwrap().initialized);

    let text = "path \"secret/data/app/*\" { capabilities = [\"create\", \"update\", \"read\", \
                \"delete\"] }\npath \"secret/metadata/app/*\" { capabilities = [\"list\"] }";
    sys::policy::set(&root, "app", text).await.unwrap();
    let policies = sys::policy::list(&root).await.unwrap();
    assert!(policies.policies.contains(&"app".to_owned()));
    assert_eq!(sys::policy::read(&root, "app").await.unwrap().rules, text);

    sys::auth::enable(&root, "approle", "approle", None)
        .await
        .unwrap();
    let mut role = SetAppRoleRequest::builder();
    role.token_policies(vec!["app".to_owned()]).token_ttl("1h");
    approle::role::set(&root, "approle", "web", Some(&mut role))
        .await
        .unwrap();
    let role_id = approle::role::read_id(&root, "approle", "web")
        .await
        .unwrap();
    let secret = approle::role::secret::generate(&root, "approle", "web", None)
        .await
        .unwrap();
    let refused = approle::login(&root, "approle", &role_id.role_id, "wrong").await;
    assert_eq!(status(refused), 400);
    let login = approle::login(&root, "approle", &role_id.role_id, &secret.secret_id)
        .await
        .unwrap();
    assert_eq!(login.lease_duration, 3600);

    let app = client(&server, &login.client_token);
    let fields = |value: &str| Fields::from([("key".to_owned(), value.to_owned())]);
    let made = kv2::set(&app, "secret", "app/db", &fields("one"))
        .await
        .unwrap();
    assert_eq!(made.version, 1);
    let cas = |cas| SetSecretRequestOptions { cas };
    let stale = kv2::set_with_options(&app, "secret", "app/db", &fields("x"), cas(0)).await;
    assert_eq!(status(stale), 400);
    kv2::set_with_options(&app, "secret", "app/db", &fields("two"), cas(1))
        .await
        .unwrap();
    let read: Fields = kv2::read(&app, "secret", "app/db").await.unwrap();
    assert_eq!(read, fields("two"));
    let first: Fields = kv2::read_version(&app, "secret", "app/db", 1)
        .await
        .unwrap();
    assert_eq!(first, fields("one"));
    assert_eq!(kv2::list(&app, "secret", "app").await.unwrap(), ["db"]);
    kv2::delete_latest(&app, "secret", "app/db").await.unwrap();
    // A 404 with data is no error of the API to this client.
    let deleted = kv2::read::<Fields>(&app, "secret", "app/db").await;
    assert!(deleted.is_err(), "{deleted:?}");
    let elsewhere = kv2::read::<Fields>(&app, "secret", "other").await;
    assert_eq!(status(elsewhere), 403);
    kv2::undelete_versions(&root, "secret", "app/db", vec![2])
        .await
        .unwrap();
    let metadata = kv2::read_metadata(&root, "secret", "app/db").await.unwrap();
    assert_eq!(metadata.versions.len(), 2);

    let found = token::lookup_self(&app).await.unwrap();
    assert_eq!(found.policies, ["app", "default"]);
    assert_eq!(found.accessor, login.accessor);
    let renewed = token::renew_self(&app, Some("30m")).await.unwrap();
    assert!(renewed.renewable);
    token::revoke_self(&app).await.unwrap();
    assert_eq!(status(token::lookup_self(&app).await), 403);
    sys::policy::delete(&root, "app").await.unwrap();
    let policies = sys::policy::list(&root).await.unwrap();
    assert!(!policies.policies.contains(&"app".to_owned()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_database_are_made_for_an_application() {
    let postgres = Postgres::start();
    let _ = postgres.sql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first-one' IN ROLE app; \
         CREATE ROLE fixed LOGIN IN ROLE app",
    );
    let address: DatabaseUrl = postgres.url("postgres").parse().unwrap();
    let works = async |user: &str, password: &str| {
        let password = SecretValue::from_text(password.to_owned());
        check_login(&address, user, &password).await.is_ok()
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let root = client(&server, ROOT);
    sys::mount::enable(&root, "db", "database", None)
        .await
        .unwrap();
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres",
        postgres.port()
    );
    let mut config = PostgreSQLConnectionRequest::builder();
    config
        .plugin_name("postgresql-database-plugin")
        .connection_url(url)
        .allowed_roles(vec!["*".to_owned()])
        .username("admin")
        .password("first-one")
        .verify_connection(true);
    database::connection::postgres(&root, "db", "pg", Some(&mut config))
        .await
        .unwrap();
    let listed = database::connection::list(&root, "db").await.unwrap();
    assert_eq!(listed.keys, ["pg"]);
    database::connection::read(&root, "db", "pg").await.unwrap();
    database::connection::reset(&root, "db", "pg")
        .await
        .unwrap();
    database::connection::rotate(&root, "db", "pg")
        .await
        .unwrap();
    assert!(!works("admin", "first-one").await, "the server has another");

    let mut role = SetRoleRequest::builder();
    role.db_name("pg")
        .creation_statements(vec![
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' IN ROLE app".to_owned(),
        ])
        .default_ttl("1h")
        .max_ttl("2h");
    database::role::set(&root, "db", "app", Some(&mut role))
        .await
        .unwrap();
    let read = database::role::read(&root, "db", "app").await.unwrap();
    assert_eq!(read.db_name, "pg");
    assert_eq!(
        database::role::list(&root, "db").await.unwrap().keys,
        ["app"]
    );
    let made = database::role::creds(&root, "db", "app").await.unwrap();
    assert!(works(&made.username, &made.password).await);
    assert!(!works(&made.username, "another").await);

    let mut fixed = SetStaticRoleRequest::builder();
    fixed.db_name("pg").username("fixed").rotation_period("1h");
    database::static_role::set(&root, "db", "s", Some(&mut fixed))
        .await
        .unwrap();
    let creds = async || {
        let told = database::static_role::creds(&root, "db", "s")
            .await
            .unwrap();
        told.password
    };
    let first = creds().await;
    assert!(works("fixed", &first).await);
    database::static_role::rotate(&root, "db", "s")
        .await
        .unwrap();
    let second = creds().await;
    assert!(works("fixed", &second).await && !works("fixed", &first).await);
    assert_eq!(
        status(database::role::creds(&root, "db", "none").await),
        400
    );
    // The mount goes, and its users with it.
    sys::mount::disable(&root, "db").await.unwrap();
    assert!(!works(&made.username, &made.password).await);
}
