//! Static roles of a real OpenBao, which changes passwords in a real PostgreSQL.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Rotator;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Variables;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::rotator::VaultStaticRole;
use strongroom_core::secret::Payload;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_engine::object::Object;
use strongroom_engine::rotation::Purpose;
use strongroom_rotators::Needs;
use strongroom_testkit::openbao::OpenBao;
use strongroom_testkit::postgres::Postgres;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

/// A database, and a server that keeps the password of its role `app`.
struct Peers {
    database: Postgres,
    bao: OpenBao,
}

impl Peers {
    fn start() -> Self {
        let database = Postgres::start();
        let _ = database.sql("postgres", "CREATE ROLE app LOGIN PASSWORD 'first'");
        let peers = Self {
            bao: OpenBao::start(),
            database,
        };
        peers.told("sys/mounts/db", &json!({"type": "database"}));
        let port = peers.database.port();
        let url =
            format!("postgresql://{{{{username}}}}@127.0.0.1:{port}/postgres?sslmode=disable");
        peers.told(
            "db/config/main",
            &json!({"plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
                "connection_url": url, "username": "postgres", "password": ""}),
        );
        peers.told(
            "db/static-roles/app",
            &json!({"db_name": "main", "username": "app", "rotation_period": 86_400}),
        );
        peers
    }

    fn told(&self, path: &str, body: &Value) -> Value {
        let answer = self.bao.ask("POST", path, &body.to_string());
        let is_good = answer.starts_with("HTTP/1.1 20");
        assert!(is_good, "{path}: {answer}");
        body_of(&answer)
    }

    /// A token that may do what the rotator does, and no more.
    fn token(&self) -> String {
        let policy = "path \"db/rotate-role/app\" { capabilities = [\"update\"] }
            path \"db/static-creds/app\" { capabilities = [\"read\"] }";
        self.told("sys/policies/acl/rotator", &json!({ "policy": policy }));
        let made = self.told("auth/token/create", &json!({"policies": ["rotator"]}));
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// What the server says the password is.
    fn password(&self) -> String {
        let answer = self.bao.ask("GET", "db/static-creds/app", "");
        let body = body_of(&answer);
        body["data"]["password"].as_str().unwrap().to_owned()
    }

    fn spec(&self) -> VaultStaticRole {
        VaultStaticRole {
            backend: format!("vault://127.0.0.1:{}?tls=false", self.bao.port()),
            role: "app".into(),
            mount: Some("db".into()),
            login: Some(format!(
                "postgres://127.0.0.1:{}/postgres",
                self.database.port()
            )),
            admin: Some("bao/token".into()),
        }
    }

    async fn lets_in(&self, value: &Payload) -> bool {
        let (user, password) = (field(value, "username"), field(value, "password"));
        let port = self.database.port();
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres");
        tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .is_ok()
    }
}

fn body_of(answer: &str) -> Value {
    let start = answer.find('{').unwrap_or(answer.len());
    let end = answer.rfind('}').map_or(start, |end| end + 1);
    serde_json::from_str(&answer[start..end]).unwrap_or_default()
}

fn field(value: &Payload, name: &str) -> String {
    let object = Object::read(&value.value).unwrap();
    let text = object.text(name).unwrap();
    text.expose_secret_text().unwrap().to_owned()
}

fn with_token(spec: VaultStaticRole, token: &str) -> Box<dyn Rotator> {
    build(&RotatorSpec::VaultStaticRole(spec), Some(token))
}

#[tokio::test]
async fn the_other_server_changes_the_password_and_this_one_takes_it_over() {
    let peers = Peers::start();
    let rotator = with_token(peers.spec(), &peers.token());
    let old = "{\"username\":\"app\",\"password\":\"long-ago\",\"port\":5432}";
    let world = World::with(old).await;
    let theirs = peers.password();
    // What is kept here was not that password any more: nothing has to be changed.
    world.rotate(&*rotator).await;
    let first = world.current().await;
    assert_eq!(field(&first, "password"), theirs);
    assert!(
        shown(&first).ends_with("\"port\":5432}"),
        "what else is there stays"
    );
    world.rotate(&*rotator).await;
    let second = world.current().await;
    assert_eq!(field(&second, "password"), peers.password());
    assert_ne!(field(&second, "password"), theirs);
    assert!(peers.lets_in(&second).await);
    assert!(!peers.lets_in(&first).await);
    // As an address, and with nothing that was there before.
    let address = format!("postgres://app:{}@db.internal/app?x=1", peers.password());
    for (value, begins) in [
        (address.as_str(), "postgres://app:"),
        ("{}", "{\"username\":\"app\""),
    ] {
        let world = World::with(value).await;
        world.rotate(&*rotator).await;
        let made = shown(&world.current().await);
        assert!(made.starts_with(begins));
        assert!(made.contains(&peers.password()));
    }
}

#[tokio::test]
async fn a_step_that_is_done_again_changes_nothing_twice() {
    let peers = Peers::start();
    let rotator = with_token(peers.spec(), &peers.token());
    let current = text(&format!(
        "{{\"username\":\"app\",\"password\":\"{}\"}}",
        peers.password()
    ));
    let call = |step: Step, pending| StepCall {
        step,
        secret: "db",
        token: "token",
        current: Some(&current),
        pending,
        now: Timestamp::from_micros(1_700_000_000_000_000),
    };
    let made = rotator.step(&call(Step::Create, None)).await.unwrap();
    let made = made.unwrap();
    let again = rotator.step(&call(Step::Create, None)).await.unwrap();
    assert_eq!(shown(&again.unwrap()), shown(&made));
    assert_ne!(shown(&made), shown(&current));
    let tried = rotator.step(&call(Step::Test, Some(&made))).await;
    assert_eq!(tried.unwrap().map(|value| shown(&value)), None);
    // Somebody else has it changed before the trial: what waits is not what counts.
    peers.told("db/rotate-role/app", &json!({}));
    let tried = rotator.step(&call(Step::Test, Some(&made))).await;
    assert_eq!(tried.unwrap_err().code, "rotation.other_value");
}

#[tokio::test]
async fn what_fails_is_told_without_credentials_and_done_when_it_can_be() {
    let mut peers = Peers::start();
    let token = peers.token();
    let world = World::with("{\"username\":\"app\",\"password\":\"long-ago\"}").await;
    let wrong = with_token(peers.spec(), "canary-token");
    let failure = world.fail(&*wrong).await;
    assert_eq!(failure.code, "rotator.refused", "{}", failure.message);
    let says = "does not know the token in the secret bao/token";
    assert!(failure.message.contains(says), "{}", failure.message);
    assert!(!failure.message.contains("canary"));
    let other = VaultStaticRole {
        role: "nobody".into(),
        ..peers.spec()
    };
    let failure = world.fail_again(&*with_token(other, &token)).await;
    assert_eq!(failure.code, "rotator.refused", "{}", failure.message);
    assert!(!failure.message.contains(&token));
    // The login is a real one: with its database away it fails, and waits.
    let rotator = with_token(peers.spec(), &token);
    peers.database.crash();
    let failure = world.fail_again(&*rotator).await;
    assert_eq!(failure.code, "rotator.unreachable", "{}", failure.message);
    peers.database.resume();
    world.drive(&*rotator).await;
    assert_eq!(field(&world.current().await, "password"), peers.password());
    let away = VaultStaticRole {
        backend: "vault://127.0.0.1:9?tls=false".into(),
        ..peers.spec()
    };
    let world = World::with("{\"username\":\"app\",\"password\":\"long-ago\"}").await;
    let failure = world.fail(&*with_token(away, &token)).await;
    assert_eq!(failure.code, "rotator.unreachable", "{}", failure.message);
}

#[tokio::test]
async fn credentials_come_from_a_secret_or_from_the_backends_variables() {
    let peers = Peers::start();
    peers.told("sys/auth/approle", &json!({"type": "approle"}));
    let _ = peers.token();
    peers.told(
        "auth/approle/role/rotator",
        &json!({"token_policies": ["rotator"]}),
    );
    let role = body_of(
        &peers
            .bao
            .ask("GET", "auth/approle/role/rotator/role-id", ""),
    );
    let secret = peers.told("auth/approle/role/rotator/secret-id", &json!({}));
    let approle =
        json!({"role_id": role["data"]["role_id"], "secret_id": secret["data"]["secret_id"]});
    let spec = VaultStaticRole {
        backend: format!("{}&auth=approle", peers.spec().backend),
        ..peers.spec()
    };
    let world = World::with("{}").await;
    world.rotate(&*with_token(spec, &approle.to_string())).await;
    let first = field(&world.current().await, "password");
    assert_eq!(first, peers.password());
    let of_process = RotatorSpec::VaultStaticRole(VaultStaticRole {
        backend: "vault:".into(),
        admin: None,
        ..peers.spec()
    });
    let address = format!("http://127.0.0.1:{}", peers.bao.port());
    let needs = Needs {
        rng: Arc::new(SystemRng),
        admin: None,
        backends: Variables::new([("VAULT_ADDR", address), ("VAULT_TOKEN", peers.token())]),
    };
    world.ask(Purpose::Rotate).await;
    world
        .drive(&*strongroom_rotators::build(&of_process, needs).unwrap())
        .await;
    let second = field(&world.current().await, "password");
    assert_eq!(second, peers.password());
    assert_ne!(first, second);
    for (admin, code) in [
        (None, "rotator.no_admin"),
        (Some("{\"a\":\"canary\"}"), "rotator.no_admin"),
    ] {
        let needs = Needs {
            rng: Arc::new(SystemRng),
            admin: admin.map(text),
            backends: Variables::default(),
        };
        let built = strongroom_rotators::build(&RotatorSpec::VaultStaticRole(peers.spec()), needs);
        let error = built.err().unwrap();
        assert_eq!(error.code, code);
        assert!(!error.message.contains("canary"));
    }
}

#[test]
fn declarations_that_lead_elsewhere_are_refused() {
    let spec = VaultStaticRole {
        backend: "vault://bao.internal:8200".into(),
        role: "app".into(),
        mount: None,
        login: None,
        admin: Some("bao/token".into()),
    };
    let check = |of: VaultStaticRole| strongroom_rotators::check(&RotatorSpec::VaultStaticRole(of));
    assert_eq!(check(spec.clone()), Ok(()));
    let with = |change: fn(&mut VaultStaticRole)| {
        let mut of = spec.clone();
        change(&mut of);
        check(of).unwrap_err()
    };
    for (said, word) in [
        (with(|of| of.backend = "aws:".into()), "backend"),
        (with(|of| of.backend = "vault://a:b@h".into()), "backend"),
        (with(|of| of.backend = "vault:secret".into()), "mount"),
        (with(|of| of.admin = None), "VAULT_ADDR"),
        (with(|of| of.role = "../../sys/seal".into()), "role"),
        (with(|of| of.role = String::new()), "role"),
        (with(|of| of.mount = Some("db/../sys".into())), "mount"),
        (with(|of| of.mount = Some("a//b".into())), "mount"),
        (
            with(|of| of.login = Some("postgres://a:canary@h/db".into())),
            "password",
        ),
        (with(|of| of.login = Some("mysql://h/db".into())), "login"),
    ] {
        assert!(said.contains(word), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}
