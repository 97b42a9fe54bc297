//! Users of a real PostgreSQL: made, kept for longer, removed; and what is left when somebody dies
//! in between.

mod cut_off;

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role::check_login;
use strongroom_testkit::postgres::Postgres;

use super::ROOT;
use super::Reply;
use super::World;
use crate::keeper::Keeper;
use crate::keeper::MemoryKeeper;

const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE app; \
    GRANT SELECT ON thing TO \"{{name}}\"; GRANT USAGE ON SCHEMA public TO \"{{name}}\"";

/// A server with a database at `database/`, and the role `ro`.
struct Place {
    world: World,
    postgres: Postgres,
}

impl Place {
    async fn new() -> Self {
        Self::kept_by(Box::<MemoryKeeper>::default()).await
    }

    async fn kept_by(keeper: Box<dyn Keeper>) -> Self {
        let postgres = Postgres::start_with(&["log_statement=all"]);
        let _ = postgres.sql(
            "postgres",
            "CREATE ROLE app; CREATE TABLE thing (a int); CREATE ROLE admin SUPERUSER LOGIN \
             PASSWORD 'first-canary' IN ROLE app",
        );
        let world = World::kept_by(keeper).await;
        let place = Self { world, postgres };
        place
            .done("POST sys/mounts/database", json!({"type": "database"}))
            .await;
        place.configure(true).await;
        place.role("ro", json!({})).await;
        place
    }

    fn connection_url(&self) -> String {
        let port = self.postgres.port();
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres")
    }

    async fn configure(&self, verify: bool) {
        let body = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": self.connection_url(),
            "allowed_roles": "*",
            "username": "admin",
            "password": "first-canary",
            "verify_connection": verify,
        });
        self.done("POST database/config/pg", body).await;
    }

    async fn role(&self, name: &str, more: Value) {
        let mut body = json!({
            "db_name": "pg",
            "creation_statements": CREATE,
            "default_ttl": "1h",
            "max_ttl": "24h",
        });
        let (Some(body_map), Some(more)) = (body.as_object_mut(), more.as_object()) else {
            panic!("objects");
        };
        body_map.extend(more.clone());
        self.done(&format!("POST database/roles/{name}"), body)
            .await;
    }

    async fn done(&self, line: &str, body: Value) {
        let reply = self.world.root(line, &body.to_string()).await;
        assert!((200..300).contains(&reply.status), "{line}: {reply:?}");
    }

    async fn creds(&self, token: &str) -> Creds {
        let reply = self
            .world
            .ask(Some(token), "GET database/creds/ro", "")
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        Creds::of(&reply)
    }

    /// The users that there are.
    fn users(&self) -> Vec<String> {
        let names = self.postgres.sql(
            "postgres",
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1",
        );
        names.lines().map(str::to_owned).collect()
    }

    async fn logs_in(&self, creds: &Creds) -> bool {
        let address: DatabaseUrl = self.postgres.url("postgres").parse().unwrap();
        let password = SecretValue::from_text(creds.password.clone());
        check_login(&address, &creds.username, &password)
            .await
            .is_ok()
    }

    /// One round of background work.
    async fn work(&self) {
        let node = Arc::clone(&self.world.node);
        let core = node.core().unwrap();
        crate::leases::run_once(&node, &core, &|| false)
            .await
            .unwrap();
    }
}

#[derive(Debug)]
struct Creds {
    lease: String,
    username: String,
    password: String,
    seconds: i64,
}

impl Creds {
    fn of(reply: &Reply) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            lease: text(&reply.body["lease_id"]),
            username: text(&reply.data()["username"]),
            password: text(&reply.data()["password"]),
            seconds: reply.body["lease_duration"].as_i64().unwrap(),
        }
    }
}

fn lease(creds: &Creds) -> String {
    json!({ "lease_id": creds.lease }).to_string()
}

#[tokio::test]
async fn a_user_lives_as_long_as_its_lease() {
    let place = Place::new().await;
    // Trying the role out has left nothing behind.
    assert_eq!(place.users(), Vec::<String>::new());
    let creds = place.creds(ROOT).await;
    assert_eq!(creds.seconds, 3600);
    assert!(creds.lease.starts_with("database/creds/ro/"), "{creds:?}");
    assert!(creds.username.starts_with("v-root-ro-"), "{creds:?}");
    assert_eq!(place.users(), [creds.username.as_str()]);
    assert!(place.logs_in(&creds).await);

    let world = &place.world;
    let looked = world.root("PUT sys/leases/lookup", &lease(&creds)).await;
    assert_eq!(looked.data()["ttl"], 3600, "{looked:?}");
    assert_eq!(looked.data()["path"], "database/creds/ro");
    for (prefix, name) in [
        ("", "database/"),
        ("database", "creds/"),
        ("database/creds", "ro/"),
        ("database/creds/ro", creds.lease.rsplit_once('/').unwrap().1),
    ] {
        let line = format!("LIST sys/leases/lookup/{prefix}");
        let listed = world.root(&line, "").await;
        let keys = listed.data()["keys"].as_array().unwrap();
        assert!(keys.contains(&Value::from(name)), "{prefix}: {listed:?}");
    }

    world.pass(1800);
    let renewed = world.root("PUT sys/leases/renew", &lease(&creds)).await;
    assert_eq!(renewed.body["lease_duration"], 3600, "{renewed:?}");
    world.pass(3599);
    place.work().await;
    assert!(place.logs_in(&creds).await, "one second is left");
    world.pass(1);
    let late = world.root("PUT sys/leases/renew", &lease(&creds)).await;
    assert_eq!(late.error(), (400, "lease not found".into()));
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    assert!(!place.logs_in(&creds).await);
    let listed = world.root("LIST sys/leases/lookup/database", "").await;
    assert_eq!(listed.status, 404);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(
        log.contains(r#""operation":"revoke""#),
        "the removal is noted"
    );
    assert!(!log.contains(&creds.password));
}

#[tokio::test]
async fn a_lease_is_a_row_of_the_ledger_and_ends_when_that_is_revoked() {
    let place = Place::new().await;
    let (world, creds) = (&place.world, place.creds(ROOT).await);
    let list = world.root("GET sys/api/v1/ledger?channel=lease", "").await;
    let row = &list.body["deliveries"][0];
    assert_eq!(row["channel"], "lease", "{list:?}");
    assert_eq!(row["who"], "root");
    let until = row["to"]
        .as_str()
        .unwrap()
        .split(", until ")
        .nth(1)
        .unwrap();
    let looked = world.root("PUT sys/leases/lookup", &lease(&creds)).await;
    assert_eq!(looked.data()["expire_time"], until);
    assert_eq!(row["secrets"][0]["secret"], creds.lease.as_str());
    assert!(!format!("{list:?}").contains(&creds.password));
    let line = format!("GET sys/api/v1/ledger/secrets/{}", creds.lease);
    let shown = world.root(&line, "").await;
    assert_eq!(
        shown.body["exposures"][0]["standing"], "current",
        "{shown:?}"
    );
    let body = json!({ "secret": creds.lease, "reason": "left" }).to_string();
    let planned = json!({ "secret": creds.lease, "dry_run": true }).to_string();
    let plan = world.root("POST sys/api/v1/ledger/revoke", &planned).await;
    assert_eq!(plan.body["secrets"][0]["action"], "revoke", "{plan:?}");
    assert!(place.logs_in(&creds).await, "a dry run does nothing");
    let done = world.root("POST sys/api/v1/ledger/revoke", &body).await;
    assert_eq!(done.body["secrets"][0]["action"], "revoking", "{done:?}");
    place.work().await;
    assert!(!place.logs_in(&creds).await);
    let shown = world.root(&line, "").await;
    let exposure = &shown.body["exposures"][0];
    assert_eq!(exposure["standing"], "replaced", "{shown:?}");
    assert_eq!(exposure["due"], false);
}

#[tokio::test]
async fn the_database_never_reads_a_password() {
    let place = Place::new().await;
    let creds = place.creds(ROOT).await;
    place
        .done("POST database/rotate-root/pg", Value::Null)
        .await;
    let body = json!({"db_name": "pg", "username": "fixed", "rotation_period": "1h"});
    let _ = place
        .postgres
        .sql("postgres", "CREATE ROLE fixed LOGIN IN ROLE app");
    place.done("POST database/static-roles/s", body).await;
    let fixed = place.world.root("GET database/static-creds/s", "").await;
    let fixed = fixed.data()["password"].as_str().unwrap().to_owned();
    let log = place.postgres.log();
    assert!(
        log.contains("CREATE ROLE \"v-root-ro-"),
        "statements are logged"
    );
    assert!(log.contains("SCRAM-SHA-256$4096:"));
    assert!(!log.contains(&creds.password));
    assert!(!log.contains(&fixed));
    // What the database has logged in the old root password's place is a verifier too.
    let another = place.creds(ROOT).await;
    assert!(place.logs_in(&another).await, "the new root password works");
    let config = place.world.root("GET database/config/pg", "").await;
    assert!(!config.text.contains("first-canary"), "{config:?}");
}

#[tokio::test]
async fn a_lease_ends_with_its_token() {
    let place = Place::new().await;
    let world = &place.world;
    world
        .policy(
            "db",
            r#"path "database/*" { capabilities = ["read"] }
            path "sys/leases/*" { capabilities = ["update"] }"#,
        )
        .await;
    let made = world
        .root(
            "POST auth/token/create",
            r#"{"policies":["db"],"ttl":"10m"}"#,
        )
        .await;
    let token = made.body["auth"]["client_token"].as_str().unwrap();
    let creds = place.creds(token).await;
    assert_eq!(creds.seconds, 600, "never longer than its token");
    let body = json!({ "lease_id": creds.lease, "increment": 7200 }).to_string();
    let renewed = world.ask(Some(token), "PUT sys/leases/renew", &body).await;
    assert_eq!(renewed.body["lease_duration"], 600, "{renewed:?}");
    let revoked = world
        .root(
            "POST auth/token/revoke",
            &json!({ "token": token }).to_string(),
        )
        .await;
    assert_eq!(revoked.status, 204);
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    // A token that just ends takes its leases with it as well.
    let made = world
        .root(
            "POST auth/token/create",
            r#"{"policies":["db"],"ttl":"10m"}"#,
        )
        .await;
    let token = made.body["auth"]["client_token"].as_str().unwrap();
    place.creds(token).await;
    world.pass(600);
    let core = world.node.core().unwrap();
    crate::tasks::run_once(&world.node, &core).await.unwrap();
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
}

#[tokio::test]
async fn no_lease_outlives_what_it_was_given_to() {
    let place = Place::new().await;
    let world = &place.world;
    let token = async |body: &str| {
        let made = world.root("POST auth/token/create", body).await;
        let token = made.body["auth"]["client_token"].as_str();
        token.unwrap_or_else(|| panic!("{made:?}")).to_owned()
    };
    // A token that ends with this request would take its user along at once.
    let last = token(r#"{"policies":["root"],"num_uses":1,"ttl":"1h"}"#).await;
    let reply = world.ask(Some(&last), "GET database/creds/ro", "").await;
    let (status, why) = reply.error();
    assert_eq!(status, 400, "{why}");
    assert!(why.contains("last use"), "{why}");
    assert_eq!(place.users(), Vec::<String>::new());
    // With one more use it gets one, which ends with the token's last.
    let two = token(r#"{"policies":["root"],"num_uses":2,"ttl":"1h"}"#).await;
    let creds = place.creds(&two).await;
    assert!(place.logs_in(&creds).await);
    world
        .ask(Some(&two), "GET auth/token/lookup-self", "")
        .await;
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    // One without a record of its own ends by its time.
    world
        .policy("db", r#"path "database/*" { capabilities = ["read"] }"#)
        .await;
    let batch = token(r#"{"policies":["db"],"type":"batch","ttl":"5m"}"#).await;
    let creds = place.creds(&batch).await;
    assert_eq!(creds.seconds, 300);
    let body = json!({ "lease_id": creds.lease, "increment": 7200 }).to_string();
    let renewed = world.root("PUT sys/leases/renew", &body).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    let left = renewed.body["lease_duration"].as_i64().unwrap();
    assert!(
        left <= 300,
        "somebody else renews it no further: {renewed:?}"
    );
}

#[tokio::test]
async fn leases_are_revoked_one_by_one_and_by_prefix() {
    let place = Place::new().await;
    let world = &place.world;
    place.role("rw", json!({})).await;
    let (one, two) = (place.creds(ROOT).await, place.creds(ROOT).await);
    let other = world.root("GET database/creds/rw", "").await;
    let revoked = world.root("PUT sys/leases/revoke", &lease(&one)).await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
    assert!(!place.logs_in(&one).await);
    assert!(place.logs_in(&two).await);
    let looked = world.root("PUT sys/leases/lookup", &lease(&one)).await;
    assert_eq!(looked.error(), (400, "invalid lease".into()));
    let revoked = world.root("PUT sys/leases/revoke", &lease(&one)).await;
    assert_eq!(revoked.status, 204, "again is no mistake");
    for _ in 0..10 {
        place.creds(ROOT).await;
    }
    let line = "PUT sys/leases/revoke-prefix/database/creds/ro";
    assert_eq!(world.root(line, "").await.status, 204);
    let left = Creds::of(&other);
    assert_eq!(place.users(), [left.username.as_str()]);
    let gone = world.root("DELETE sys/mounts/database", "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(place.users(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_removed_is_tried_again_and_shown() {
    let mut place = Place::new().await;
    let creds = place.creds(ROOT).await;
    place.postgres.crash();
    let revoked = place
        .world
        .root("PUT sys/leases/revoke", &lease(&creds))
        .await;
    let (status, why) = revoked.error();
    assert_eq!(status, 500, "{why}");
    assert!(why.contains("failed to revoke entry"), "{why}");
    for _ in 0..6 {
        place.world.pass(31);
        place.work().await;
    }
    let line = "GET sys/leases?type=irrevocable";
    let shown = place.world.root(line, "").await;
    assert_eq!(shown.data()["lease_count"], 1, "{shown:?}");
    assert_eq!(shown.data()["leases"][0]["lease_id"], creds.lease.as_str());
    let renewed = place
        .world
        .root("PUT sys/leases/renew", &lease(&creds))
        .await;
    assert_eq!(renewed.error(), (400, "lease not found".into()));
    place.postgres.resume();
    place.world.pass(31);
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    let shown = place.world.root(line, "").await;
    assert_eq!(shown.data()["lease_count"], 0, "{shown:?}");
}

#[tokio::test]
async fn what_nobody_was_given_is_removed() {
    let place = Place::new().await;
    let core = place.world.node.core().unwrap();
    let live = core.mounts().get("database/").map(Arc::clone).unwrap();
    let now = crate::vault::tests::now(&place.world);
    // The server dies after the journal was written, and after the user was made.
    let limits = crate::vault::login::limits_of(&live);
    for is_made in [false, true] {
        let username = core.state.new_username(live.mount.uuid, "dead", "ro", now);
        let (times, _) =
            strongroom_core::lease::Lease::issue(limits, strongroom_core::lease::Terms::NONE, now);
        let new = strongroom_engine::leases::NewLease {
            path: "database/creds/ro".into(),
            mount: live.mount.uuid,
            role: "ro".into(),
            connection: "pg".into(),
            username: username.clone(),
            token: None,
            times,
            revocation: Vec::new(),
            ends_by: None,
            leases_max: 10,
        };
        core.state.begin_lease(new, &[]).await.unwrap();
        if is_made {
            let sql = format!("CREATE ROLE \"{username}\" LOGIN");
            let _ = place.postgres.sql("postgres", &sql);
        }
    }
    assert_eq!(place.users().len(), 1);
    place.world.pass(61);
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    let counts = core.state.lease_counts(live.mount.uuid).await.unwrap();
    assert_eq!(counts, Vec::new());
}

#[tokio::test]
async fn users_and_leases_are_compared_both_ways() {
    let place = Place::new().await;
    let world = &place.world;
    let core = world.node.core().unwrap();
    let uuid = core.mounts().get("database/").unwrap().mount.uuid;
    let kept = place.creds(ROOT).await;
    let dropped = place.creds(ROOT).await;
    let now = crate::vault::tests::now(world);
    let orphan = core.state.new_username(uuid, "token", "ro", now);
    let owner = core.state.new_username(uuid, "token", "ro", now);
    // Of another server on the same database: not ours.
    let foreign = "v-token-ro-RqIe56c43uCq7dqm3oMb-1700000000";
    let sql = format!(
        "CREATE ROLE \"{orphan}\" LOGIN; CREATE ROLE \"{foreign}\" LOGIN; \
         CREATE ROLE \"{owner}\" LOGIN; CREATE TABLE theirs (a int); \
         ALTER TABLE theirs OWNER TO \"{owner}\"; \
         REVOKE ALL ON thing FROM \"{0}\"; REVOKE ALL ON SCHEMA public FROM \"{0}\"; \
         DROP ROLE \"{0}\"",
        dropped.username
    );
    let _ = place.postgres.sql("postgres", &sql);
    world.pass(300);
    let found = world.root("GET sys/leases/reconcile", "").await;
    let database = &found.data()["databases"][0];
    let orphans = database["orphans"].as_array().unwrap();
    assert_eq!(orphans.len(), 2, "{found:?}");
    assert_eq!(database["leases_without_user"][0], dropped.lease.as_str());
    assert_eq!(place.users().len(), 4, "only looked");

    let done = world.root("POST sys/leases/reconcile", "").await;
    let database = &done.data()["databases"][0];
    assert_eq!(database["removed"], json!([orphan]), "{done:?}");
    assert_eq!(database["quarantined"], json!([owner]), "it owns a table");
    assert_eq!(database["orphans"], json!([]));
    let mut left = vec![kept.username.clone(), owner.clone(), foreign.to_owned()];
    left.sort_unstable();
    assert_eq!(place.users(), left);
    let may = place.postgres.sql(
        "postgres",
        &format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{owner}'"),
    );
    assert_eq!(may, "f");
    let looked = world.root("PUT sys/leases/lookup", &lease(&dropped)).await;
    assert_eq!(looked.error(), (400, "invalid lease".into()));
    assert!(place.logs_in(&kept).await);
}

#[tokio::test]
async fn a_role_that_cannot_be_revoked_is_not_written() {
    let place = Place::new().await;
    let write = async |more: Value| {
        let mut body = json!({"db_name": "pg", "creation_statements": CREATE});
        let (Some(map), Some(more)) = (body.as_object_mut(), more.as_object()) else {
            panic!("objects");
        };
        map.extend(more.clone());
        place
            .world
            .root("POST database/roles/new", &body.to_string())
            .await
    };
    for (more, why) in [
        (
            json!({"creation_statements": "CREATE ROLL \"{{name}}\""}),
            "its creation statements fail",
        ),
        (
            json!({"revocation_statements": "DROP TABLE nothing"}),
            "cannot be removed again",
        ),
        (
            json!({"revocation_statements": "SELECT 1"}),
            "leave the user able to log in",
        ),
    ] {
        let reply = write(more.clone()).await;
        assert_eq!(reply.status, 400, "{more} {reply:?}");
        assert!(reply.text.contains(why), "{more} {reply:?}");
        assert_eq!(place.users(), Vec::<String>::new(), "{more}");
    }
    let reply = write(json!({"revocation_statements": "SELECT 1", "verify_revocation": false}));
    assert_eq!(reply.await.status, 204);
    let clear = "CREATE ROLE \"{{name}}\" LOGIN; SELECT '{{password}}'";
    let reply = write(json!({"creation_statements": clear, "revocation_statements": ""})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.text.contains("send the password itself"), "{reply:?}");
}

#[tokio::test]
async fn a_role_has_at_most_so_many_leases() {
    let place = Place::new().await;
    place.role("ro", json!({"max_leases": 3})).await;
    let (world, line) = (&place.world, "GET database/creds/ro");
    let asked = async || world.root(line, "").await.status;
    let (a, b, c, d, e, f) = tokio::join!(asked(), asked(), asked(), asked(), asked(), asked());
    let mut statuses = [a, b, c, d, e, f];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 400, 400, 400]);
    assert_eq!(place.users().len(), 3);
    let refused = world.root(line, "").await;
    assert!(refused.text.contains("over the limit of 3"), "{refused:?}");
    let line = "PUT sys/leases/revoke-prefix/database/creds/ro";
    assert_eq!(world.root(line, "").await.status, 204);
    place.creds(ROOT).await;
}

#[tokio::test]
async fn errors_of_a_connection_tell_no_password() {
    let place = Place::new().await;
    let port = place.postgres.port();
    let url = place.connection_url();
    let beside = format!("127.0.0.1:{port}/postgres");
    for (fields, status) in [
        (
            json!({"connection_url": url, "username": "admin", "password": "canary-9b7f"}),
            400,
        ),
        (
            json!({"connection_url": format!("postgresql://admin:canary-9b7f@{beside}")}),
            400,
        ),
        (
            json!({"connection_url": format!("postgresql://admin:canary-9b7f@{beside}?x=1")}),
            400,
        ),
        (
            json!({"connection_url": "host=h user=admin password=canary-9b7f"}),
            400,
        ),
        (
            json!({"connection_url": "postgresql://admin:canary-9b7f@h:1:2/x"}),
            400,
        ),
        (
            json!({"connection_url": url, "private_key": "canary-9b7f"}),
            400,
        ),
        (
            json!({"connection_url": format!("postgresql://admin:canary-9b7f@{beside}"),
                "verify_connection": false}),
            200,
        ),
    ] {
        let mut body = json!({"plugin_name": "postgresql-database-plugin"});
        let (Some(map), Some(fields)) = (body.as_object_mut(), fields.as_object()) else {
            panic!("objects");
        };
        map.extend(fields.clone());
        let line = "POST database/config/other";
        let reply = place.world.root(line, &body.to_string()).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(!reply.text.contains("canary"), "{reply:?}");
    }
    let read = place.world.root("GET database/config/other", "").await;
    assert_eq!(read.data()["connection_details"]["username"], "admin");
    assert!(!read.text.contains("canary"), "{read:?}");
    let log = std::fs::read_to_string(&place.world.audit_file).unwrap();
    assert!(!log.contains("canary-9b7f"));
}

#[tokio::test]
async fn names_in_statements_are_no_statements() {
    let place = Place::new().await;
    for name in [
        "x\"; DROP TABLE thing; --",
        "x'y",
        "a\\b",
        "$$x$$",
        &"n".repeat(64),
    ] {
        let body = json!({"db_name": "pg", "username": name, "rotation_period": "1h"});
        let line = "POST database/static-roles/s";
        let reply = place.world.root(line, &body.to_string()).await;
        assert_eq!(reply.status, 400, "{name} {reply:?}");
    }
    let world = &place.world;
    world
        .policy("db", r#"path "database/*" { capabilities = ["read"] }"#)
        .await;
    let body = json!({"policies": ["db"], "display_name": "a';--\"b"});
    let made = world
        .root("POST auth/token/create", &body.to_string())
        .await;
    let token = made.body["auth"]["client_token"].as_str().unwrap();
    let creds = place.creds(token).await;
    assert!(!creds.username.contains(['\'', '"', ';']), "{creds:?}");
    assert!(place.logs_in(&creds).await);
    assert_eq!(
        place.postgres.sql("postgres", "SELECT count(*) FROM thing"),
        "0"
    );
}

#[tokio::test]
async fn a_static_role_changes_its_password_in_time() {
    let place = Place::new().await;
    let _ = place
        .postgres
        .sql("postgres", "CREATE ROLE fixed LOGIN IN ROLE app");
    let body = json!({"db_name": "pg", "username": "fixed", "rotation_period": "1h"});
    place.done("POST database/static-roles/s", body).await;
    let world = &place.world;
    let read = async || {
        let reply = world.root("GET database/static-creds/s", "").await;
        let text = |name: &str| reply.data()[name].as_str().unwrap_or_default().to_owned();
        Creds {
            lease: String::new(),
            username: text("username"),
            password: text("password"),
            seconds: reply.data()["ttl"].as_i64().unwrap_or(-1),
        }
    };
    let first = read().await;
    assert_eq!(first.seconds, 3600);
    assert!(place.logs_in(&first).await);
    world.pass(3600);
    place.work().await;
    let second = read().await;
    assert_ne!(first.password, second.password);
    assert!(place.logs_in(&second).await);
    assert!(!place.logs_in(&first).await);
    place.done("POST database/rotate-role/s", Value::Null).await;
    let third = read().await;
    assert!(place.logs_in(&third).await);
    assert!(!place.logs_in(&second).await);
}
