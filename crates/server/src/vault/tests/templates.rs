//! Users of a real PostgreSQL that an operator names, with passwords as a policy has them.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role::check_login;
use strongroom_testkit::postgres::Postgres;

use super::ROOT;
use super::World;

const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE app";
const POLICY: &str = "length = 30\nrule \"charset\" {\n  charset = \"abc\"\n  min-chars = 1\n}\n\
    rule \"charset\" {\n  charset = \"0123456789\"\n  min-chars = 5\n}";

/// A server with a database at `database/`, and the role `read_only`.
struct Place {
    world: World,
    postgres: Postgres,
}

impl Place {
    async fn new(more: Value) -> Self {
        let postgres = Postgres::start();
        let _ = postgres.sql(
            "postgres",
            "CREATE ROLE app; CREATE ROLE fixed LOGIN IN ROLE app; \
             CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first' IN ROLE app",
        );
        let place = Self {
            world: World::new().await,
            postgres,
        };
        place
            .done("POST sys/mounts/database", json!({"type": "database"}))
            .await;
        let (status, said) = place.configure(more).await;
        assert_eq!(status, 204, "{said}");
        let role = json!({"db_name": "pg", "creation_statements": CREATE, "default_ttl": "1h"});
        place.done("POST database/roles/read_only", role).await;
        place
    }

    async fn configure(&self, more: Value) -> (u16, String) {
        let port = self.postgres.port();
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres");
        let mut body = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": url, "username": "admin", "password": "first",
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let line = "POST database/config/pg";
        let reply = self.world.root(line, &body.to_string()).await;
        (reply.status, reply.text)
    }

    async fn done(&self, line: &str, body: Value) {
        let reply = self.world.root(line, &body.to_string()).await;
        assert!((200..300).contains(&reply.status), "{line}: {reply:?}");
    }

    /// A lease, a name and a password.
    async fn creds(&self) -> [String; 3] {
        let line = "GET database/creds/read_only";
        let reply = self.world.ask(Some(ROOT), line, "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let data = reply.data();
        [
            &reply.body["lease_id"],
            &data["username"],
            &data["password"],
        ]
        .map(|value| value.as_str().unwrap().to_owned())
    }

    async fn logs_in(&self, user: &str, password: &str) -> bool {
        let address: DatabaseUrl = self.postgres.url("postgres").parse().unwrap();
        let password = SecretValue::copy_from(password.as_bytes());
        check_login(&address, user, &password).await.is_ok()
    }

    fn count(&self, like: &str) -> String {
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE '{like}'");
        self.postgres.sql("postgres", &sql).trim().to_owned()
    }
}

fn fits(password: &str) -> bool {
    let digits = password.chars().filter(char::is_ascii_digit).count();
    password.len() == 30
        && digits >= 5
        && password.chars().any(|c| "abc".contains(c))
        && password.chars().all(|c| "abc0123456789".contains(c))
}

#[tokio::test]
async fn users_have_the_names_and_passwords_that_an_operator_wants() {
    let template = "app_{{ .RoleName | replace \"_\" \"-\" | truncate 6 | uppercase }}_\
                    {{ random 10 | lowercase }}";
    let place = Place::new(json!({ "username_template": template })).await;
    place
        .done(
            "POST sys/policies/password/strict",
            json!({ "policy": POLICY }),
        )
        .await;
    let config = json!({ "username_template": template, "password_policy": "strict" });
    assert_eq!(place.configure(config).await.0, 204);
    let shown = place.world.root("GET database/config/pg", "").await;
    assert_eq!(shown.data()["password_policy"], "strict");
    let details = &shown.data()["connection_details"];
    assert_eq!(details["username_template"], template);
    assert_eq!(details["password_policy"], Value::Null);
    let [lease, user, password] = place.creds().await;
    assert!(
        user.starts_with("app_READ-O_") && user.len() == 21,
        "{user}"
    );
    assert!(fits(&password), "{password}");
    assert!(place.logs_in(&user, &password).await);
    let [_, other, _] = place.creds().await;
    assert_ne!(user, other);
    assert_eq!(place.count("app\\_READ-O\\_%"), "2");
    // A template's user is in no list of names: it is looked for before its lease is ended.
    place.world.pass(600);
    let found = place.world.root("POST sys/leases/reconcile", "").await;
    let database = &found.data()["databases"][0];
    assert_eq!(database["leases_without_user"], json!([]), "{found:?}");
    assert!(place.logs_in(&user, &password).await);
    let _ = place
        .postgres
        .sql("postgres", &format!("DROP ROLE \"{other}\""));
    let found = place.world.root("POST sys/leases/reconcile", "").await;
    let ended = &found.data()["databases"][0]["leases_without_user"];
    assert_eq!(ended.as_array().map(Vec::len), Some(1), "{found:?}");
    let body = json!({ "lease_id": lease }).to_string();
    let ended = place.world.root("PUT sys/leases/revoke", &body).await;
    assert_eq!(ended.status, 204, "{ended:?}");
    let node = Arc::clone(&place.world.node);
    let core = node.core().unwrap();
    crate::leases::run_once(&node, &core, &|| false)
        .await
        .unwrap();
    assert_eq!(place.count("app\\_READ-O\\_%"), "0");
    // Static roles and the connection's own user, too.
    let role = json!({"db_name": "pg", "username": "fixed", "rotation_period": "1h"});
    place.done("POST database/static-roles/fixed", role).await;
    let fixed = place
        .world
        .root("GET database/static-creds/fixed", "")
        .await;
    let password = fixed.data()["password"].as_str().unwrap().to_owned();
    assert!(fits(&password), "{password}");
    assert!(place.logs_in("fixed", &password).await);
    place.done("POST database/rotate-root/pg", json!({})).await;
    assert!(!place.logs_in("admin", "first").await);
    place.creds().await;
}

#[tokio::test]
async fn a_template_that_is_something_else_or_names_somebody_twice_is_refused() {
    let place = Place::new(json!({})).await;
    for (template, says) in [
        (
            "{{ if true }}a{{ end }}{{ random 8 }}",
            "`if` is no function",
        ),
        ("{{ .Nonce }}{{ random 8 }}", ".DisplayName and .RoleName"),
        ("app", "neither random nor uuid"),
        ("{{ .RoleName }}-{{ unix_time }}", "neither random nor uuid"),
        ("a b {{ random 8 }}", "characters other than"),
        (
            "x\"; DROP ROLE app; -- {{ random 8 }}",
            "characters other than",
        ),
        (
            "{{ random 64 }}",
            "a name of 64 letters, and the database takes 63",
        ),
        ("{{ random 8", "is missing"),
    ] {
        let (status, said) = place
            .configure(json!({ "username_template": template }))
            .await;
        assert_eq!(status, 400, "{said}");
        assert!(said.contains("invalid username template"), "{said}");
        assert!(said.contains(says), "{template}: {said}");
    }
    // One of sixty-two names, of which one is taken by somebody who is not to be touched.
    let letters = ('0'..='9').chain('A'..='Z').chain('a'..='z');
    let all: String = letters
        .map(|c| format!("CREATE ROLE \"one{c}\";"))
        .collect();
    let _ = place.postgres.sql("postgres", &all);
    let one = json!({ "username_template": "one{{ random 1 }}" });
    assert_eq!(place.configure(one).await.0, 204);
    let refused = place.world.root("GET database/creds/read_only", "").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.text.contains("exists already"), "{refused:?}");
    assert_eq!(place.count("one_"), "62");
    // Back to the usual form.
    assert_eq!(
        place.configure(json!({ "username_template": "" })).await.0,
        204
    );
    let [_, user, _] = place.creds().await;
    assert!(
        user.starts_with("v-token-read_onl-") || user.starts_with("v-root-"),
        "{user}"
    );
}

#[tokio::test]
async fn policies_of_passwords_are_kept_and_draw() {
    let place = Place::new(json!({})).await;
    let named = json!({ "password_policy": "strict" });
    assert_eq!(place.configure(named).await.0, 204);
    let role = json!({"db_name": "pg", "creation_statements": CREATE}).to_string();
    let refused = place.world.root("POST database/roles/new", &role).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.text.contains("the role was not written"),
        "{refused:?}"
    );
    let refused = place.world.root("GET database/creds/read_only", "").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.text.contains("does not exist"), "{refused:?}");
    assert_eq!(place.count("v-%"), "0", "nobody is made without a password");
    let line = "POST sys/policies/password/strict";
    place.done(line, json!({ "policy": POLICY })).await;
    let [_, user, password] = place.creds().await;
    assert!(fits(&password) && place.logs_in(&user, &password).await);
    let read = place
        .world
        .root("GET sys/policies/password/strict", "")
        .await;
    assert_eq!(read.data()["policy"], POLICY);
    let coded = data_encoding::BASE64.encode(POLICY.as_bytes());
    place
        .done(
            "POST sys/policies/password/coded",
            json!({ "policy": coded }),
        )
        .await;
    let read = place
        .world
        .root("GET sys/policies/password/coded", "")
        .await;
    assert_eq!(read.data()["policy"], POLICY);
    let line = "GET sys/policies/password/strict/generate";
    let (first, second) = (
        place.world.root(line, "").await,
        place.world.root(line, "").await,
    );
    assert!(fits(first.data()["password"].as_str().unwrap()));
    assert_ne!(first.data()["password"], second.data()["password"]);
    let listed = place.world.root("LIST sys/policies/password", "").await;
    assert_eq!(listed.data()["keys"], json!(["coded", "strict"]));
    for (policy, says) in [
        ("", "missing policy"),
        (
            "length = 3\nrule \"charset\" { charset = \"abc\" }",
            "between 4 and 100",
        ),
        ("length = 8", "no charset"),
        ("not hcl {", "invalid password policy"),
    ] {
        let body = json!({ "policy": policy }).to_string();
        let refused = place
            .world
            .root("POST sys/policies/password/bad", &body)
            .await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text.contains(says), "{refused:?}");
    }
    place
        .done("DELETE sys/policies/password/coded", json!({}))
        .await;
    let read = place
        .world
        .root("GET sys/policies/password/coded", "")
        .await;
    assert_eq!(read.status, 404);
    assert!(read.text.contains("policy does not exist"), "{read:?}");
}
