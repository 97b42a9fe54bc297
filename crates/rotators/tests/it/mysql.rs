//! Users of a real MariaDB, with an application that is connected all the time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::Step;
use strongroom_core::port::UserError;
use strongroom_core::rotator::MysqlUser;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::NOT_TAKEN_BACK;
use strongroom_engine::rotation::Purpose;
use strongroom_mysql::MysqlUrl;
use strongroom_mysql::Session;
use strongroom_testkit::mariadb::ADMIN_PASSWORD;
use strongroom_testkit::mariadb::MariaDb;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

const ROTATIONS: usize = 100;
/// So often an application asks, at most.
const MOMENT: Duration = Duration::from_millis(5);

/// A server with the user `app`, whose password is `old`.
fn server() -> MariaDb {
    let server = MariaDb::start();
    let _ = server.ask("CREATE USER app IDENTIFIED BY 'old'; GRANT SELECT ON shop.* TO app");
    server
}

fn url(server: &MariaDb, user: &str, password: &str) -> String {
    format!("mysql://{user}:{password}@127.0.0.1:{}/", server.port())
}

fn spec(server: &MariaDb) -> MysqlUser {
    MysqlUser {
        address: server.url("boss"),
        user: Some("app".into()),
        alternate: None,
        admin: Some("boss".into()),
    }
}

fn in_turns(server: &MariaDb) -> MysqlUser {
    MysqlUser {
        alternate: Some("app_b".into()),
        ..spec(server)
    }
}

fn by_the_boss(spec: MysqlUser) -> Box<dyn Rotator> {
    build(&RotatorSpec::Mysql(spec), Some(ADMIN_PASSWORD))
}

async fn opened(value: &Payload) -> Option<Session> {
    let address: MysqlUrl = shown(value).parse().unwrap();
    match Session::open(&address).await {
        Ok(session) => Some(session),
        Err(UserError::Refused { .. }) => None,
        // A machine that stands still is no answer.
        Err(_) => Box::pin(opened(value)).await,
    }
}

/// Whether a new session opens with what the secret says.
async fn works(value: &Payload) -> bool {
    match opened(value).await {
        Some(session) => {
            session.close().await;
            true
        }
        None => false,
    }
}

fn passwords(server: &MariaDb, user: &str) -> usize {
    let shown = server.ask(&format!("SHOW CREATE USER {user}"));
    shown.matches("'*").count()
}

/// Asks until it is told to stop; its failed requests.
async fn application<F: Future<Output = bool>>(
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU32>,
    request: impl Fn() -> F,
) -> u32 {
    let mut failed = 0;
    while !stop.load(Ordering::SeqCst) {
        failed += u32::from(!request().await);
        requests.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(MOMENT).await;
    }
    failed
}

/// A hundred rotations under an application that logs in with what it has just read, and one that
/// keeps a connection for ever.
async fn a_hundred(server: &MariaDb, spec: MysqlUser, each: impl Fn(&MariaDb, usize)) {
    let world = Arc::new(World::with(&url(server, "app", "old")).await);
    let rotator = by_the_boss(spec);
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, requests) = (Arc::new(AtomicU32::new(0)), Arc::default());
    let fresh = {
        let world = Arc::clone(&world);
        tokio::spawn(application(
            Arc::clone(&stop),
            Arc::clone(&reads),
            move || {
                let world = Arc::clone(&world);
                async move { works(&world.current().await).await }
            },
        ))
    };
    let session = opened(&world.current().await).await.unwrap();
    let session = Arc::new(tokio::sync::Mutex::new(session));
    let kept = tokio::spawn(application(
        Arc::clone(&stop),
        Arc::clone(&requests),
        move || {
            let session = Arc::clone(&session);
            async move { session.lock().await.ping().await.is_ok() }
        },
    ));
    for round in 0..ROTATIONS {
        let before = world.current().await;
        world.rotate(&*rotator).await;
        assert!(works(&before).await, "{round}: the value read before");
        each(server, round);
        // The value before the current one is promised until the next rotation: that does not
        // begin while a request with it may be under way.
        let seen = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) < seen + 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!((fresh.await.unwrap(), kept.await.unwrap()), (0, 0));
    assert!(requests.load(Ordering::SeqCst) > 100, "{requests:?}");
    assert_eq!(world.record().await.finished, 100);
    assert!(!works(&text(&url(server, "app", "old"))).await);
    let current: MysqlUrl = shown(&world.current().await).parse().unwrap();
    assert!(["app", "app_b"].contains(&current.user()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_passwords_fail_no_request_in_a_hundred_rotations() {
    let server = server();
    let spec = spec(&server);
    a_hundred(&server, spec, |server, round| {
        assert_eq!(passwords(server, "app"), 2, "{round}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_fail_no_request_in_a_hundred_rotations() {
    let server = server();
    let spec = in_turns(&server);
    a_hundred(&server, spec, |server, round| {
        assert_eq!(passwords(server, "app"), 1, "{round}");
        assert_eq!(passwords(server, "app_b"), 1, "{round}");
    })
    .await;
    let rights = server.ask("SHOW GRANTS FOR app_b");
    assert!(rights.contains("GRANT SELECT ON `shop`"), "{rights}");
}

#[tokio::test]
async fn a_new_password_outlasts_a_crash_and_is_never_seen() {
    let mut server = server();
    let value = "{\"engine\":\"mysql\",\"username\":\"app\",\"password\":\"old\",\"port\":1}";
    let world = World::with(value).await;
    for spec in [spec(&server), in_turns(&server)] {
        let rotator = by_the_boss(spec);
        world.rotate(&*rotator).await;
        let fields = shown(&world.current().await);
        assert!(fields.starts_with("{\"engine\":\"mysql\",\"username\":\"app"));
        assert!(fields.ends_with("\",\"port\":1}"), "{fields}");
        let mut parts = fields.split('"');
        let (user, password) = (parts.nth(7).unwrap(), parts.nth(3).unwrap());
        server.crash();
        server.resume();
        assert!(works(&text(&url(&server, user, password))).await);
        let logs = server.logs();
        assert!(logs.contains("ALTER USER 'app") && !logs.contains(password));
    }
}

#[tokio::test]
async fn a_user_changes_its_own() {
    let server = server();
    // The password alone, of the declared user; and of the one that the secret names.
    let alone = MysqlUser {
        address: format!("mysql://127.0.0.1:{}", server.port()),
        user: Some("app".into()),
        alternate: None,
        admin: None,
    };
    let named = MysqlUser {
        user: None,
        ..alone.clone()
    };
    let mut before = "old".to_owned();
    for (spec, value) in [(alone, None), (named, Some("app"))] {
        let rotator = build(&RotatorSpec::Mysql(spec), None);
        let full = |password: &str| url(&server, "app", password);
        let start = value.map_or_else(|| before.clone(), |_| full(&before));
        let world = World::with(&start).await;
        for _ in 0..2 {
            let old = shown(&world.current().await);
            world.rotate(&*rotator).await;
            let new = shown(&world.current().await);
            let address = |value: &str| match value.contains("://") {
                true => text(value),
                false => text(&full(value)),
            };
            assert!(works(&address(&new)).await);
            assert!(!works(&address(&old)).await, "it keeps one");
            assert_eq!(passwords(&server, "app"), 1);
            before = new;
        }
    }
}

#[tokio::test]
async fn a_test_that_fails_puts_the_old_value_back() {
    for is_alone in [false, true] {
        let server = server();
        let world = World::with(&url(&server, "app", "old")).await;
        let alone = MysqlUser {
            admin: None,
            ..spec(&server)
        };
        let rotator = match is_alone {
            true => build(&RotatorSpec::Mysql(alone), None),
            false => by_the_boss(spec(&server)),
        };
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(Step::Test, &*rotator).await;
        // As if somebody had changed it by hand meanwhile, or the first change had been lost.
        let lost = match is_alone {
            true => "old",
            false => "other",
        };
        let _ = server.ask(&format!("ALTER USER app IDENTIFIED BY '{lost}'"));
        let after = world.step(claim, &*rotator).await;
        assert!(matches!(after, After::Again(_)), "{after:?}");
        let failure = world.failure().await;
        assert_eq!(failure.code, "rotator.refused", "{failure}");
        assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
        assert!(works(&world.current().await).await);
        assert_eq!(world.record().await.run.unwrap().step, Step::Create);
        let after = world.drive(&*rotator).await;
        assert!(matches!(after, After::Finished), "{after:?}");
        assert!(works(&world.current().await).await);
        assert_eq!(world.versions().await.len(), 2);
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_any_step_only_delays() {
    for step in [Step::Set, Step::Test] {
        let mut server = server();
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = by_the_boss(spec(&server));
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(step, &*rotator).await;
        server.crash();
        let after = world.step(claim, &*rotator).await;
        assert!(matches!(after, After::Again(_)), "{after:?}");
        let failure = world.failure().await;
        assert_eq!(failure.code, NOT_TAKEN_BACK, "{step}: {failure}");
        server.resume();
        let after = world.drive(&*rotator).await;
        assert!(matches!(after, After::Finished), "{after:?}");
        assert!(works(&world.current().await).await);
        assert_eq!(world.versions().await.len(), 2);
    }
}

#[tokio::test]
async fn what_is_given_up_leaves_the_value_that_is_read() {
    let server = server();
    for spec in [spec(&server), in_turns(&server)] {
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = by_the_boss(spec);
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(Step::Test, &*rotator).await;
        let context = strongroom_engine::context::OpContext {
            actor: "test".into(),
            door: "test".into(),
            request_id: String::new(),
            now: world.record().await.run.unwrap().started,
        };
        let aborted = world
            .rotations
            .abort(&context, claim.path(), Abort::Properly);
        aborted.await.unwrap();
        let after = world.drive(&*rotator).await;
        assert!(matches!(after, After::GivenUp), "{after:?}");
        assert_eq!(
            passwords(&server, "app"),
            1,
            "the new one is let in no more"
        );
        assert!(works(&world.current().await).await);
        assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
    }
}

#[tokio::test]
async fn the_old_password_ends_with_its_overlap() {
    let server = server();
    let old_of = async |rotator: &dyn Rotator, world: &World| {
        let old = world.current().await;
        world.rotate(rotator).await;
        let current = world.current().await;
        assert!(works(&old).await && works(&current).await);
        let ending = Ending {
            current: &current,
            old: &old,
            now: strongroom_core::time::Timestamp::from_micros(0),
        };
        for _ in 0..2 {
            rotator.retire(&ending).await.unwrap();
            assert!(!works(&old).await, "it is refused from now on");
            assert!(works(&current).await);
        }
    };
    let world = World::with(&url(&server, "app", "old")).await;
    old_of(&*by_the_boss(spec(&server)), &world).await;
    assert_eq!(passwords(&server, "app"), 1);
    old_of(&*by_the_boss(in_turns(&server)), &world).await;
}

#[tokio::test]
async fn what_cannot_be_rotated_says_why() {
    let server = server();
    let _ = server.ask(
        "CREATE USER open; CREATE USER sock IDENTIFIED VIA unix_socket;
         CREATE USER helper IDENTIFIED BY 'of-the-helper'; GRANT SELECT ON mysql.* TO helper",
    );
    let named = |user: &str| MysqlUser {
        user: Some(user.into()),
        ..spec(&server)
    };
    let helper = MysqlUser {
        address: server.url("helper"),
        ..spec(&server)
    };
    let refused = "rotator.refused";
    for (spec, admin, value, code, why) in [
        (
            named("ghost"),
            ADMIN_PASSWORD,
            "old",
            refused,
            "no user ghost",
        ),
        (
            named("open"),
            ADMIN_PASSWORD,
            "old",
            refused,
            "without a password",
        ),
        (named("sock"), ADMIN_PASSWORD, "old", refused, "unix_socket"),
        (
            named("app"),
            "canary-wrong",
            "old",
            refused,
            "refuses the user boss",
        ),
        (helper, "of-the-helper", "old", refused, "CREATE USER"),
        (
            named("app"),
            ADMIN_PASSWORD,
            "mysql://other:old@h",
            "rotation.other_role",
            "other",
        ),
        (
            named("app"),
            ADMIN_PASSWORD,
            "postgres://a:canary-b@h/d",
            "rotation.no_credential",
            "mysql://",
        ),
    ] {
        let rotator = build(&RotatorSpec::Mysql(spec), Some(admin));
        let world = World::with(value).await;
        world.ask(Purpose::Rotate).await;
        let after = world.drive(&*rotator).await;
        assert!(matches!(after, After::Again(_)), "{why}: {after:?}");
        let failure = world.failure().await;
        let is_right = failure.code == code || failure.code == NOT_TAKEN_BACK;
        assert!(is_right, "{why}: {failure:?}");
        assert!(failure.message.contains(why), "{why}: {failure}");
        assert!(!failure.message.contains("canary"), "{failure}");
        assert_eq!(shown(&world.current().await), value);
    }
    assert_eq!(
        server.ask("SELECT 1 FROM mysql.user WHERE User = 'ghost'"),
        ""
    );
    assert!(works(&text(&url(&server, "app", "old"))).await);
    let said = |spec: MysqlUser| strongroom_rotators::check(&RotatorSpec::Mysql(spec)).unwrap_err();
    for (address, why) in [
        ("mysql://boss:canary@127.0.0.1", "no password"),
        ("mysql://boss@db.example?tls=maybe", "on or off"),
        ("mysql://127.0.0.1", "no administrator"),
        ("postgres://boss@127.0.0.1/x", "no address of the form"),
    ] {
        let said = said(MysqlUser {
            address: address.into(),
            ..spec(&server)
        });
        assert!(said.contains(why) && !said.contains("canary"), "{said}");
    }
    let same = MysqlUser {
        alternate: Some("app".into()),
        ..spec(&server)
    };
    let alone = MysqlUser {
        admin: None,
        ..in_turns(&server)
    };
    assert!(said(same).contains("are two"));
    assert!(said(alone).contains("admin"));
}
