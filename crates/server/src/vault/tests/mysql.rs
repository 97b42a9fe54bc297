//! Users of a real MariaDB: made, removed, their passwords changed.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_mysql::MysqlUrl;
use strongroom_mysql::check_login;
use strongroom_testkit::mariadb::ADMIN;
use strongroom_testkit::mariadb::ADMIN_PASSWORD;
use strongroom_testkit::mariadb::MariaDb;

use super::World;

const CREATE: &str = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';\
    GRANT SELECT ON shop.* TO '{{name}}'@'%';";

/// A server with a MariaDB at `database/`, and the role `ro`.
struct Place {
    world: World,
    mariadb: MariaDb,
}

impl Place {
    async fn new() -> Self {
        let place = Self::of(MariaDb::start()).await;
        let config = place.config();
        place.done("POST database/config/shop", config).await;
        let role = json!({
            "db_name": "shop",
            "creation_statements": CREATE,
            "default_ttl": "1h",
        });
        place.done("POST database/roles/readonly", role).await;
        place
    }

    /// With the engine and no connection.
    async fn of(mariadb: MariaDb) -> Self {
        let world = World::new().await;
        let place = Self { world, mariadb };
        place
            .done("POST sys/mounts/database", json!({"type": "database"}))
            .await;
        place
    }

    fn config(&self) -> Value {
        let port = self.mariadb.port();
        json!({
            "plugin_name": "mysql-database-plugin",
            "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{port})/"),
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
        let asked = "SELECT User FROM mysql.user WHERE User LIKE 'v-%'";
        let names = self.mariadb.ask(asked);
        names.lines().map(str::to_owned).collect()
    }

    async fn logs_in(&self, user: &str, password: &str) -> bool {
        let address: MysqlUrl = self.mariadb.url("x").parse().unwrap();
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
    let nobody = Vec::<String>::new();
    assert_eq!(place.users(), nobody, "trying out leaves nobody");
    let (lease, user, password) = place.creds("GET database/creds/readonly").await;
    assert!(user.starts_with("v-root-readonl-"), "{user}");
    assert!(user.len() <= 32, "{user}");
    assert!(place.logs_in(&user, &password).await);
    let rights = place.mariadb.ask(&format!("SHOW GRANTS FOR '{user}'"));
    assert!(rights.contains("GRANT SELECT ON `shop`"), "{rights}");
    // It is there after a crash, and gone after its lease.
    place.mariadb.crash();
    place.mariadb.resume();
    assert!(place.logs_in(&user, &password).await);
    let body = json!({ "lease_id": lease }).to_string();
    let renewed = place.world.root("PUT sys/leases/renew", &body).await;
    assert_eq!(renewed.body["lease_duration"], 3600, "{renewed:?}");
    place.world.pass(3601);
    place.work().await;
    assert_eq!(place.users(), nobody);
    assert!(!place.logs_in(&user, &password).await);
    let logs = place.mariadb.logs();
    assert!(logs.contains(&user) && !logs.contains(&password));
    let log = std::fs::read_to_string(&place.world.audit_file).unwrap();
    assert!(!log.contains(&password) && !log.contains(ADMIN_PASSWORD));
    // What cannot be removed is removed when the server is back.
    let (lease, ..) = place.creds("GET database/creds/readonly").await;
    let body = json!({ "lease_id": lease }).to_string();
    place.mariadb.crash();
    let asked = place.world.root("GET database/creds/readonly", "").await;
    assert_eq!(asked.status, 500, "{asked:?}");
    let revoked = place.world.root("PUT sys/leases/revoke", &body).await;
    assert_eq!(revoked.status, 500, "{revoked:?}");
    place.mariadb.resume();
    assert_eq!(place.users().len(), 1);
    place.world.pass(61);
    place.work().await;
    assert_eq!(place.users(), nobody);
}

#[tokio::test]
async fn users_and_leases_are_compared_both_ways() {
    let place = Place::new().await;
    let world = &place.world;
    let core = world.node.core().unwrap();
    let uuid = core.mounts().get("database/").unwrap().mount.uuid;
    let (_, kept, _) = place.creds("GET database/creds/readonly").await;
    let (dropped, gone, _) = place.creds("GET database/creds/readonly").await;
    let now = super::now(world);
    let made = |form| {
        let name = core
            .state
            .new_username_in(form, uuid, "token", "readonly", now);
        let _ = place.mariadb.ask(&format!("CREATE USER '{name}'"));
        name
    };
    use strongroom_engine::leases::NameForm;
    let mut orphans = vec![made(NameForm::Short), made(NameForm::Shortest)];
    assert_eq!((orphans[0].len(), orphans[1].len()), (32, 16));
    // Of the same form and age, and not made here.
    let another = |name: &str, at: usize| {
        let letter = if name[at..].starts_with('x') {
            "y"
        } else {
            "x"
        };
        format!("{}{letter}{}", &name[..at], &name[at + 1..])
    };
    let foreign = [another(&orphans[0], 16), another(&orphans[1], 2)];
    for name in &foreign {
        let _ = place.mariadb.ask(&format!("CREATE USER '{name}'"));
    }
    let _ = place.mariadb.ask(&format!("DROP USER '{gone}'"));
    world.pass(300);
    let done = world.root("POST sys/leases/reconcile", "").await;
    let database = &done.data()["databases"][0];
    let mut removed: Vec<String> = serde_json::from_value(database["removed"].clone()).unwrap();
    removed.sort_unstable();
    orphans.sort_unstable();
    assert_eq!(removed, orphans, "{done:?}");
    assert_eq!(database["leases_without_user"][0], dropped.as_str());
    let mut left = vec![kept];
    left.extend(foreign);
    left.sort_unstable();
    let mut users = place.users();
    users.sort_unstable();
    assert_eq!(users, left);
}

#[tokio::test]
async fn passwords_of_users_that_stay_are_changed() {
    let place = Place::new().await;
    let _ = place.mariadb.ask("CREATE USER fixed IDENTIFIED BY 'first'");
    let body = json!({"db_name": "shop", "username": "fixed", "rotation_period": "1h"});
    place.done("POST database/static-roles/s", body).await;
    let (_, user, first) = place.creds("GET database/static-creds/s").await;
    assert!(place.logs_in(&user, &first).await);
    assert!(!place.logs_in(&user, "first").await);
    place.done("POST database/rotate-role/s", Value::Null).await;
    let (_, _, second) = place.creds("GET database/static-creds/s").await;
    assert!(place.logs_in(&user, &second).await);
    assert!(!place.logs_in(&user, &first).await);
    // By statements of its own.
    let own = "ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}' WITH \
               MAX_USER_CONNECTIONS 9";
    let body = json!({"rotation_statements": own});
    place.done("POST database/static-roles/s", body).await;
    place.done("POST database/rotate-role/s", Value::Null).await;
    let (_, _, third) = place.creds("GET database/static-creds/s").await;
    assert!(place.logs_in(&user, &third).await);
    let shown = place.mariadb.ask("SHOW CREATE USER fixed");
    assert!(shown.contains("MAX_USER_CONNECTIONS 9"), "{shown}");
    place
        .done("POST database/rotate-root/shop", Value::Null)
        .await;
    assert!(!place.logs_in(ADMIN, ADMIN_PASSWORD).await);
    place.done("POST database/reset/shop", Value::Null).await;
    let (_, made, password) = place.creds("GET database/creds/readonly").await;
    assert!(place.logs_in(&made, &password).await);
    let logs = place.mariadb.logs();
    for password in [first, second, third, password] {
        assert!(!logs.contains(&password));
    }
    // A user that is not there is not made.
    let body = json!({"db_name": "shop", "username": "ghost", "rotation_period": "1h"});
    let line = "POST database/static-roles/g";
    let reply = place.world.root(line, &body.to_string()).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    let asked = "SELECT 1 FROM mysql.user WHERE User = 'ghost'";
    assert_eq!(place.mariadb.ask(asked), "");
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_its_reason() {
    let place = Place::new().await;
    let url = |end: &str| json!({"connection_url": format!("u:canary-2@{end}")});
    for (change, why) in [
        (
            json!({"connection_url": ""}),
            "connection_url cannot be empty",
        ),
        (url("unix(/x)/"), "tcp(HOST:PORT)"),
        (url("tcp(127.0.0.1:1)/?tls=skip-verify"), "does not check"),
        (url("tcp(127.0.0.1:1)/"), "cannot be reached"),
        (json!({"username": ""}), "username cannot be empty"),
        (json!({"password": "canary-9b7f"}), "refuses the user boss"),
        (json!({"tls_skip_verify": true}), "tls_skip_verify"),
        (json!({"tls_ca": "x"}), "tls_ca"),
        (
            json!({"tls_certificate_key": "canary-key"}),
            "tls_certificate_key",
        ),
        (json!({"plugin_name": "mysql"}), "not found in the catalog"),
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
    let too_much = format!("{CREATE} GRANT SUPER ON *.* TO '{{{{name}}}}'");
    for (change, why) in [
        (
            json!({"creation_statements": too_much}),
            "its creation statements fail",
        ),
        (
            json!({"revocation_statements": "DROP USER '{{name}}'@'10.%'"}),
            "cannot be removed again",
        ),
        (
            json!({"revocation_statements": "REVOKE ALL PRIVILEGES ON shop.* FROM '{{name}}'"}),
            "leave the user able to log in",
        ),
    ] {
        let mut body = json!({"db_name": "shop", "creation_statements": CREATE});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let reply = place
            .world
            .root("POST database/roles/bad", &body.to_string())
            .await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.text.contains(why), "{reply:?}");
    }
    assert_eq!(place.users(), Vec::<String>::new());
    let read = place.world.root("GET database/config/shop", "").await;
    assert_eq!(read.data()["plugin_name"], "mysql-database-plugin");
    assert!(!read.text.contains(ADMIN_PASSWORD), "{read:?}");
    // A password that stands in the address is taken out of it; older servers take short names.
    let mut config = place.config();
    config["plugin_name"] = "mysql-legacy-database-plugin".into();
    let port = place.mariadb.port();
    let url = format!("{ADMIN}:{ADMIN_PASSWORD}@tcp(127.0.0.1:{port})/shop?parseTime=true");
    config["connection_url"] = url.into();
    for name in ["username", "password"] {
        config.as_object_mut().unwrap().remove(name);
    }
    place.done("POST database/config/old", config).await;
    let read = place.world.root("GET database/config/old", "").await;
    assert!(!read.text.contains(ADMIN_PASSWORD), "{read:?}");
    let body = json!({"db_name": "old", "creation_statements": CREATE});
    place.done("POST database/roles/short", body).await;
    let (_, user, password) = place.creds("GET database/creds/short").await;
    assert_eq!(user.len(), 16, "{user}");
    assert!(place.logs_in(&user, &password).await);
    let listed = place
        .world
        .root("LIST sys/plugins/catalog/database", "")
        .await;
    let names = listed.data()["keys"].to_string();
    for plugin in ["mysql", "mysql-aurora", "mysql-rds", "mysql-legacy"] {
        let name = format!("\"{plugin}-database-plugin\"");
        assert!(names.contains(&name), "{names}");
        let mut config = place.config();
        config["plugin_name"] = format!("{plugin}-database-plugin").into();
        place.done("POST database/config/each", config).await;
    }
}

#[tokio::test]
async fn a_template_whose_names_are_too_long_is_refused_when_it_is_written() {
    // As far as its version tells, it is a MySQL.
    let place = Place::of(MariaDb::start_with(&["--version=8.0.36"])).await;
    let world = &place.world;
    let config = |plugin: &str, template: &str| {
        let mut config = place.config();
        config["plugin_name"] = plugin.into();
        config["username_template"] = template.into();
        config.to_string()
    };
    let line = "POST database/config/shop";
    let mysql = "mysql-database-plugin";
    for (plugin, template, why) in [
        (
            mysql,
            "{{ random 33 }}",
            "of 33 letters, and the database takes 32",
        ),
        (
            "mysql-legacy-database-plugin",
            "{{ random 17 }}",
            "takes 16",
        ),
    ] {
        let refused = world.root(line, &config(plugin, template)).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text.contains(why), "{refused:?}");
        assert!(refused.text.contains("with `truncate`"), "{refused:?}");
    }
    let taken = world.root(line, &config(mysql, "{{ random 32 }}")).await;
    assert_eq!(taken.status, 204, "{taken:?}");
    // One that says more of a role or a person fits some, and not others.
    let template = "{{ .DisplayName }}-{{ .RoleName }}-{{ random 18 }}";
    let taken = world.root(line, &config(mysql, template)).await;
    assert_eq!(taken.status, 204, "{taken:?}");
    let role = json!({"db_name": "shop", "creation_statements": CREATE}).to_string();
    let refused = world.root("POST database/roles/readonly", &role).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let why = "the role was not written: invalid username template: it makes a name of 33 letters";
    assert!(refused.text.contains(why), "{refused:?}");
}
