//! Users of a real Redis: made, removed, their passwords changed.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_redis::RedisUrl;
use strongroom_redis::check_login;
use strongroom_testkit::certificates::Certificates;
use strongroom_testkit::redis::ADMIN;
use strongroom_testkit::redis::ADMIN_PASSWORD;
use strongroom_testkit::redis::Redis;

use super::World;

/// A server with a Redis at `database/`, and the role `ro`.
struct Place {
    world: World,
    redis: Redis,
}

impl Place {
    async fn new() -> Self {
        let place = Self::of(Redis::start()).await;
        let config = place.config();
        place.done("POST database/config/cache", config).await;
        let role = json!({
            "db_name": "cache",
            "creation_statements": "[\"~app:*\", \"+@read\", \"+set\"]",
            "default_ttl": "1h",
        });
        place.done("POST database/roles/ro", role).await;
        place
    }

    /// With the engine and no connection.
    async fn of(redis: Redis) -> Self {
        let world = World::new().await;
        let place = Self { world, redis };
        place
            .done("POST sys/mounts/database", json!({"type": "database"}))
            .await;
        place
    }

    fn config(&self) -> Value {
        json!({
            "plugin_name": "redis-database-plugin",
            "host": "127.0.0.1",
            "port": self.redis.port(),
            "username": ADMIN,
            "password": ADMIN_PASSWORD,
            "allowed_roles": "*",
        })
    }

    async fn done(&self, line: &str, body: Value) {
        let reply = self.world.root(line, &body.to_string()).await;
        assert!((200..300).contains(&reply.status), "{line}: {reply:?}");
    }

    /// The lease, the name and the password that a role or a static role gives.
    async fn creds(&self, line: &str) -> (String, String, String) {
        let reply = self.world.root(line, "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = reply.data();
        (
            text(&reply.body["lease_id"]),
            text(&data["username"]),
            text(&data["password"]),
        )
    }

    fn users(&self) -> Vec<String> {
        let names = self.redis.ask(&["ACL", "USERS"]);
        let made = names.lines().filter(|name| name.starts_with("v-"));
        made.map(str::to_owned).collect()
    }

    async fn logs_in(&self, user: &str, password: &str) -> bool {
        let address: RedisUrl = self.redis.url("x").parse().unwrap();
        let password = SecretValue::from_text(password.to_owned());
        check_login(&address, user, &password).await.is_ok()
    }

    async fn work(&self) {
        let node = Arc::clone(&self.world.node);
        let core = node.core().unwrap();
        let done = crate::leases::run_once(&node, &core, &|| false).await;
        done.unwrap();
    }
}

#[tokio::test]
async fn a_user_lives_as_long_as_its_lease() {
    let mut place = Place::new().await;
    assert_eq!(
        place.users(),
        Vec::<String>::new(),
        "trying out leaves nobody"
    );
    let (lease, user, password) = place.creds("GET database/creds/ro").await;
    assert!(user.starts_with("v-root-ro-"), "{user}");
    assert!(place.logs_in(&user, &password).await);
    let rules = place.redis.ask(&["ACL", "LIST"]);
    let line = rules.lines().find(|line| line.contains(&user)).unwrap();
    assert!(line.contains(" ~app:* ") && line.contains("+set"), "{line}");
    // It is there after a restart, and gone after its lease, also then.
    place.redis.crash();
    place.redis.resume();
    assert!(place.logs_in(&user, &password).await);
    let body = json!({ "lease_id": lease }).to_string();
    let renewed = place.world.root("PUT sys/leases/renew", &body).await;
    assert_eq!(renewed.body["lease_duration"], 3600, "{renewed:?}");
    place.world.pass(3601);
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
    place.redis.crash();
    place.redis.resume();
    assert!(!place.logs_in(&user, &password).await);
    for text in [place.redis.log(), place.redis.acl_file()] {
        assert!(!text.contains(&password));
    }
    let log = std::fs::read_to_string(&place.world.audit_file).unwrap();
    assert!(!log.contains(&password) && !log.contains(ADMIN_PASSWORD));
}

#[tokio::test]
async fn what_cannot_be_removed_is_removed_when_the_server_is_back() {
    let mut place = Place::new().await;
    let (lease, ..) = place.creds("GET database/creds/ro").await;
    let body = json!({ "lease_id": lease }).to_string();
    place.redis.crash();
    let asked = place.world.root("GET database/creds/ro", "").await;
    assert_eq!(asked.status, 500, "{asked:?}");
    let revoked = place.world.root("PUT sys/leases/revoke", &body).await;
    assert_eq!(revoked.status, 500, "{revoked:?}");
    place.redis.resume();
    assert_eq!(place.users().len(), 1);
    place.world.pass(61);
    place.work().await;
    assert_eq!(place.users(), Vec::<String>::new());
}

#[tokio::test]
async fn users_and_leases_are_compared_both_ways() {
    let place = Place::new().await;
    let world = &place.world;
    let core = world.node.core().unwrap();
    let uuid = core.mounts().get("database/").unwrap().mount.uuid;
    let (_, kept, _) = place.creds("GET database/creds/ro").await;
    let (dropped, gone, _) = place.creds("GET database/creds/ro").await;
    let orphan = core
        .state
        .new_username(uuid, "token", "ro", super::now(world));
    let foreign = "v-token-ro-RqIe56c43uCq7dqm3oMb-1700000000";
    let _ = place.redis.ask(&["ACL", "SETUSER", &orphan, "on", ">x"]);
    let _ = place.redis.ask(&["ACL", "SETUSER", foreign, "on", ">x"]);
    let _ = place.redis.ask(&["ACL", "DELUSER", &gone]);
    world.pass(300);
    let done = world.root("POST sys/leases/reconcile", "").await;
    let database = &done.data()["databases"][0];
    assert_eq!(database["removed"], json!([orphan]), "{done:?}");
    assert_eq!(database["leases_without_user"][0], dropped.as_str());
    let mut left = vec![kept, foreign.to_owned()];
    left.sort_unstable();
    let mut users = place.users();
    users.sort_unstable();
    assert_eq!(users, left);
}

#[tokio::test]
async fn passwords_of_users_that_stay_are_changed() {
    let mut place = Place::new().await;
    let _ = place
        .redis
        .ask(&["ACL", "SETUSER", "fixed", "on", ">first", "+@read"]);
    let body = json!({"db_name": "cache", "username": "fixed", "rotation_period": "1h"});
    place.done("POST database/static-roles/s", body).await;
    let (_, user, first) = place.creds("GET database/static-creds/s").await;
    assert!(place.logs_in(&user, &first).await);
    assert!(!place.logs_in(&user, "first").await);
    place.done("POST database/rotate-role/s", Value::Null).await;
    let (_, _, second) = place.creds("GET database/static-creds/s").await;
    assert!(place.logs_in(&user, &second).await);
    assert!(!place.logs_in(&user, &first).await);
    place
        .done("POST database/rotate-root/cache", Value::Null)
        .await;
    assert!(!place.logs_in(ADMIN, ADMIN_PASSWORD).await);
    let (_, made, password) = place.creds("GET database/creds/ro").await;
    assert!(place.logs_in(&made, &password).await);
    place.redis.crash();
    // The test's own client knows the old password of the administrator only.
    let log = place.redis.acl_file();
    assert!(
        log.contains("user boss on") && !log.contains(&second),
        "{log}"
    );
    // A user that is not there is not made.
    let body = json!({"db_name": "cache", "username": "ghost", "rotation_period": "1h"});
    let line = "POST database/static-roles/g";
    let reply = place.world.root(line, &body.to_string()).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert!(!place.redis.acl_file().contains("ghost"));
}

#[tokio::test]
async fn only_a_redis_that_proves_who_it_is_gets_users_over_tls() {
    let certificates = Certificates::of("127.0.0.1");
    let place = Place::of(Redis::start_with_tls(&certificates)).await;
    let config = |change: Value| {
        let mut config = place.config();
        let fields = config.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        config
    };
    let stranger = Certificates::of("127.0.0.1").authority;
    let line = "POST database/config/cache";
    for (change, why) in [
        (json!({"tls": false}), "or tls=true"),
        (json!({"tls": true}), "does not prove who it is"),
        (
            json!({"tls": true, "ca_cert": stranger}),
            "`ca_cert` of a connection",
        ),
    ] {
        let reply = place.world.root(line, &config(change).to_string()).await;
        assert_eq!(reply.status, 400, "{why}: {reply:?}");
        assert!(reply.text.contains(why), "{why}: {reply:?}");
        assert!(!reply.text.contains(ADMIN_PASSWORD), "{reply:?}");
    }
    let own = json!({"tls": true, "ca_cert": certificates.authority});
    place.done(line, config(own)).await;
    place
        .done("POST database/roles/ro", json!({"db_name": "cache"}))
        .await;
    let (lease, ..) = place.creds("GET database/creds/ro").await;
    assert_eq!(place.users().len(), 1);
    let body = json!({ "lease_id": lease });
    place.done("PUT sys/leases/revoke", body).await;
    assert_eq!(place.users(), Vec::<String>::new());
    place
        .done("POST database/rotate-root/cache", Value::Null)
        .await;
    let _ = place.creds("GET database/creds/ro").await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_its_reason() {
    let place = Place::new().await;
    for (change, why) in [
        (json!({"host": ""}), "host cannot be empty"),
        (json!({"port": 0}), "port cannot be empty"),
        (json!({"port": 99999}), "port is no port"),
        (json!({"username": ""}), "username cannot be empty"),
        (json!({"password": ""}), "password cannot be empty"),
        (json!({"password": "canary-9b7f"}), "refuses the user boss"),
        (json!({"port": 1}), "cannot be reached"),
        (json!({"insecure_tls": true}), "insecure_tls"),
        (json!({"tls": true, "ca_cert": "x"}), "ca_cert"),
        (json!({"persistence_mode": "DISK"}), "persistence_mode"),
        (
            json!({"plugin_name": "mongodb-database-plugin"}),
            "not found in the catalog",
        ),
    ] {
        let mut config = place.config();
        config
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let line = "POST database/config/other";
        let reply = place.world.root(line, &config.to_string()).await;
        assert_eq!(reply.status, 400, "{change} {reply:?}");
        assert!(reply.text.contains(why), "{change} {reply:?}");
        assert!(!reply.text.contains("canary"), "{reply:?}");
        assert!(!reply.text.contains(ADMIN_PASSWORD), "{reply:?}");
    }
    for (rules, why) in [
        ("[\"+nosuchcommand\"]", "its creation statements fail"),
        ("[\"nopass\"]", "how the user logs in"),
        ("[\">canary-1\"]", "how the user logs in"),
        ("[1]", "JSON list of texts"),
    ] {
        let body = json!({"db_name": "cache", "creation_statements": rules});
        let reply = place
            .world
            .root("POST database/roles/bad", &body.to_string())
            .await;
        assert_eq!(reply.status, 400, "{rules} {reply:?}");
        assert!(reply.text.contains(why), "{rules} {reply:?}");
        assert!(!reply.text.contains("canary"), "{reply:?}");
    }
    assert_eq!(place.users(), Vec::<String>::new());
    let read = place.world.root("GET database/config/cache", "").await;
    assert_eq!(read.data()["plugin_name"], "redis-database-plugin");
    assert_eq!(
        read.data()["connection_details"]["port"],
        place.redis.port()
    );
    assert!(!read.text.contains(ADMIN_PASSWORD), "{read:?}");
    // Without statements a user may read.
    let body = json!({"db_name": "cache"});
    place.done("POST database/roles/plain", body).await;
    let (_, user, _) = place.creds("GET database/creds/plain").await;
    let rules = place.redis.ask(&["ACL", "LIST"]);
    let line = rules.lines().find(|line| line.contains(&user)).unwrap();
    assert!(line.contains(" ~* ") && line.ends_with("+@read"), "{line}");
}

/// What was stored before there were kinds of databases is read as it was meant.
#[test]
fn a_connection_that_was_stored_before_is_one_of_postgresql() {
    use crate::databases::Connection;
    use crate::databases::Plugin;
    use strongroom_engine::state::Stored;
    let plugin = (
        String::new(),
        vec!["*".to_owned()],
        Vec::<String>::new(),
        "postgresql://h/d".to_owned(),
        "admin".to_owned(),
        None::<String>,
        None::<String>,
        4_u32,
        String::new(),
        "{}".to_owned(),
        (true, false),
    );
    let mut plain = vec![1];
    plain.extend(postcard::to_allocvec(&plugin).unwrap());
    let read = <Connection as Stored>::earlier(&plain).unwrap();
    assert_eq!(read.kind(), Plugin::Postgres);
    assert_eq!(
        (read.url.as_str(), read.is_verified),
        ("postgresql://h/d", true)
    );
    assert_eq!(read.plugin, "postgresql-database-plugin");
}
