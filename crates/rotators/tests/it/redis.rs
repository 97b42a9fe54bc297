//! Users of a real Redis, with an application that is connected all the time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::Step;
use strongroom_core::port::UserError;
use strongroom_core::rotator::RedisUser;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::NOT_TAKEN_BACK;
use strongroom_engine::rotation::Purpose;
use strongroom_redis::RedisUrl;
use strongroom_redis::Session;
use strongroom_testkit::redis::ADMIN_PASSWORD;
use strongroom_testkit::redis::Redis;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

const ROTATIONS: usize = 100;
/// So often an application asks, at most.
const MOMENT: Duration = Duration::from_millis(5);

/// A server with the user `app`, whose password is `old`.
fn server() -> Redis {
    let server = Redis::start();
    let _ = server.ask(&["ACL", "SETUSER", "app", "on", ">old", "~*", "+@all", "-acl"]);
    server
}

fn url(server: &Redis, user: &str, password: &str) -> String {
    format!("redis://{user}:{password}@127.0.0.1:{}", server.port())
}

fn spec(server: &Redis) -> RedisUser {
    RedisUser {
        address: server.url("boss"),
        user: Some("app".into()),
        admin: Some("boss".into()),
        persist: None,
    }
}

fn by_the_boss(server: &Redis) -> Box<dyn Rotator> {
    build(&RotatorSpec::Redis(spec(server)), Some(ADMIN_PASSWORD))
}

/// Whether a new session opens with what the secret says.
async fn works(value: &Payload) -> bool {
    let address: RedisUrl = shown(value).parse().unwrap();
    match Session::open(&address).await {
        Ok(_) => true,
        Err(UserError::Refused { .. }) => false,
        // A machine that stands still is no answer.
        Err(_) => Box::pin(works(value)).await,
    }
}

fn passwords(server: &Redis, user: &str) -> usize {
    let known = server.ask(&["ACL", "LIST"]);
    let prefix = format!("user {user} ");
    let line = known.lines().find(|line| line.contains(&prefix)).unwrap();
    line.split(' ').filter(|word| word.starts_with('#')).count()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_passwords_fail_no_request_in_a_hundred_rotations() {
    let server = server();
    let world = Arc::new(World::with(&url(&server, "app", "old")).await);
    let rotator = by_the_boss(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, requests) = (Arc::new(AtomicU32::new(0)), Arc::default());
    // One reads the secret for each session, one keeps a connection for ever.
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
    let address: RedisUrl = shown(&world.current().await).parse().unwrap();
    let session = Arc::new(tokio::sync::Mutex::new(
        Session::open(&address).await.unwrap(),
    ));
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
        assert_eq!(passwords(&server, "app"), 2, "{round}");
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
    assert!(!works(&text(&url(&server, "app", "old"))).await);
}

#[tokio::test]
async fn a_new_password_outlasts_a_restart_and_is_never_seen() {
    let mut server = server();
    let value = "{\"engine\":\"redis\",\"username\":\"app\",\"password\":\"old\",\"port\":1}";
    let world = World::with(value).await;
    let rotator = by_the_boss(&server);
    world.rotate(&*rotator).await;
    let fields = shown(&world.current().await);
    assert!(fields.starts_with("{\"engine\":\"redis\",\"username\":\"app\",\"password\":\""));
    assert!(fields.ends_with("\",\"port\":1}"), "{fields}");
    let password = fields.split('"').nth(11).unwrap().to_owned();
    server.crash();
    server.resume();
    assert!(works(&text(&url(&server, "app", &password))).await);
    assert!(!server.acl_file().contains(&password));
    assert!(!server.log().contains(&password));
}

#[tokio::test]
async fn a_user_that_may_changes_its_own() {
    let server = server();
    let _ = server.ask(&["ACL", "SETUSER", "own", "on", ">old", "+@all"]);
    // The password alone, of the declared user; and of the user `default`.
    let _ = server.ask(&["ACL", "SETUSER", "default", "on", ">old", "+@all"]);
    for (user, value) in [
        (Some("own"), "old".to_owned()),
        (None, format!("redis://:old@127.0.0.1:{}", server.port())),
    ] {
        let spec = RedisUser {
            address: format!("redis://127.0.0.1:{}", server.port()),
            user: user.map(str::to_owned),
            admin: None,
            persist: None,
        };
        let rotator = build(&RotatorSpec::Redis(spec), None);
        let world = World::with(&value).await;
        for _ in 0..3 {
            world.rotate(&*rotator).await;
            assert_eq!(passwords(&server, user.unwrap_or("default")), 2);
        }
        let current = shown(&world.current().await);
        match user {
            Some(user) => assert!(works(&text(&url(&server, user, &current))).await),
            None => {
                assert!(current.starts_with("redis://:"), "{current}");
                assert!(works(&text(&current)).await);
            }
        }
    }
}

#[tokio::test]
async fn a_test_that_fails_puts_the_old_value_back() {
    let server = server();
    let world = World::with(&url(&server, "app", "old")).await;
    let rotator = by_the_boss(&server);
    world.ask(Purpose::Rotate).await;
    let claim = world.up_to(Step::Test, &*rotator).await;
    // As if the server had lost both.
    let _ = server.ask(&["ACL", "SETUSER", "app", "resetpass", ">other"]);
    let after = world.step(claim, &*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    let failure = world.failure().await;
    assert_eq!(failure.code, "rotator.refused", "{failure}");
    assert!(!failure.message.contains("old"), "{failure}");
    assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
    assert!(works(&world.current().await).await);
    assert_eq!(world.record().await.run.unwrap().step, Step::Create);
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Finished), "{after:?}");
    assert!(works(&world.current().await).await);
    assert_eq!(world.versions().await.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_at_any_step_only_delays() {
    for step in [Step::Set, Step::Test, Step::Finish] {
        let mut server = server();
        let _ = server.ask(&["ACL", "SAVE"]);
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = by_the_boss(&server);
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(step, &*rotator).await;
        server.crash();
        let after = world.step(claim, &*rotator).await;
        if step == Step::Finish {
            // The server is not asked any more.
            assert!(matches!(after, After::Finished), "{after:?}");
            server.resume();
            assert!(works(&world.current().await).await);
            continue;
        }
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
    let world = World::with(&url(&server, "app", "old")).await;
    let rotator = by_the_boss(&server);
    world.ask(Purpose::Rotate).await;
    let claim = world.up_to(Step::Test, &*rotator).await;
    assert_eq!(passwords(&server, "app"), 2);
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

#[tokio::test]
async fn what_cannot_be_rotated_says_why() {
    let server = server();
    let _ = server.ask(&["ACL", "SETUSER", "open", "on", "nopass", "+@all"]);
    let _ = server.ask(&[
        "ACL",
        "SETUSER",
        "helper",
        "on",
        ">of-the-helper",
        "+acl|getuser",
    ]);
    let named = |user: &str| RedisUser {
        user: Some(user.into()),
        ..spec(&server)
    };
    let helper = RedisUser {
        address: server.url("helper"),
        ..spec(&server)
    };
    for (spec, admin, value, code, why) in [
        (
            named("ghost"),
            ADMIN_PASSWORD,
            "old",
            "rotator.refused",
            "no user ghost",
        ),
        (
            named("open"),
            ADMIN_PASSWORD,
            "old",
            "rotator.refused",
            "nopass",
        ),
        (
            named("app"),
            "canary-wrong",
            "old",
            "rotator.refused",
            "refuses the user boss",
        ),
        (
            helper,
            "of-the-helper",
            "old",
            "rotator.refused",
            "no permissions",
        ),
        (
            named("app"),
            ADMIN_PASSWORD,
            "redis://other:old@h",
            "rotation.other_role",
            "other",
        ),
        (
            named("app"),
            ADMIN_PASSWORD,
            "postgres://a:canary-b@h/d",
            "rotation.no_credential",
            "redis://",
        ),
    ] {
        let rotator = build(&RotatorSpec::Redis(spec), Some(admin));
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
    assert!(
        !server.ask(&["ACL", "LIST"]).contains("ghost"),
        "nobody is made"
    );
    assert!(works(&text(&url(&server, "app", "old"))).await);
    let refused =
        |spec: RedisUser| strongroom_rotators::check(&RotatorSpec::Redis(spec)).unwrap_err();
    for (address, why) in [
        ("redis://boss:canary@127.0.0.1", "no password"),
        ("redis://boss@cache.example", "rediss://"),
        ("postgres://boss@127.0.0.1/x", "no address of the form"),
    ] {
        let said = refused(RedisUser {
            address: address.into(),
            ..spec(&server)
        });
        assert!(said.contains(why) && !said.contains("canary"), "{said}");
    }
    let said = refused(RedisUser {
        persist: Some("disk".into()),
        ..spec(&server)
    });
    assert!(said.contains("acl-file"), "{said}");
}

#[tokio::test]
async fn the_old_password_ends_with_its_overlap() {
    let server = server();
    let world = World::with(&url(&server, "app", "old")).await;
    let rotator = by_the_boss(&server);
    let old = world.current().await;
    world.rotate(&*rotator).await;
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
    assert_eq!(passwords(&server, "app"), 1);
}
