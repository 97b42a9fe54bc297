//! Roles of a real PostgreSQL, with an application that is connected all the time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::Step;
use strongroom_core::rotator::PostgresRole;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_core::version::Provenance;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::Aborted;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::NOT_TAKEN_BACK;
use strongroom_engine::rotation::Purpose;
use strongroom_testkit::postgres::Postgres;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

const ROTATIONS: usize = 100;
/// So often an application asks, at most.
const MOMENT: Duration = Duration::from_millis(40);

/// A database with the role `app`, whose password is `old`.
fn database() -> Postgres {
    let server = Postgres::start();
    let _ = server.sql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'old'; CREATE ROLE boss LOGIN CREATEROLE;
         CREATE TABLE visits (id int); GRANT SELECT, INSERT ON visits TO app;
         GRANT CREATE ON SCHEMA public TO app",
    );
    server
}

fn url(server: &Postgres, user: &str, password: &str) -> String {
    let port = server.port();
    format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn spec(server: &Postgres) -> PostgresRole {
    PostgresRole {
        address: format!("postgres://boss@127.0.0.1:{}/postgres", server.port()),
        role: None,
        alternate: None,
        admin: None,
    }
}

fn alone(server: &Postgres) -> Box<dyn Rotator> {
    build(&RotatorSpec::Postgres(spec(server)), None)
}

fn in_turns(server: &Postgres) -> Box<dyn Rotator> {
    let spec = PostgresRole {
        role: Some("app".into()),
        alternate: Some("app_b".into()),
        admin: Some("boss".into()),
        ..spec(server)
    };
    build(&RotatorSpec::Postgres(spec), Some("of-the-boss"))
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    /// The database has said no.
    Refused,
    /// The connection broke, as on a machine that stands still.
    Broken,
}

/// Opens a session as an application does, with what the secret says.
async fn connect(value: &Payload) -> Result<Client, Answer> {
    let opened = tokio_postgres::connect(&shown(value), NoTls).await;
    let (client, connection) = opened.map_err(|error| match error.code() {
        Some(_) => Answer::Refused,
        None => Answer::Broken,
    })?;
    tokio::spawn(connection);
    Ok(client)
}

async fn request(value: &Payload) -> Answer {
    match connect(value).await {
        Ok(client) => match client.execute("INSERT INTO visits VALUES (1)", &[]).await {
            Ok(_) => Answer::Done,
            Err(_) => Answer::Broken,
        },
        Err(answer) => answer,
    }
}

async fn works(value: &Payload) -> bool {
    loop {
        match request(value).await {
            Answer::Done => return true,
            Answer::Refused => return false,
            Answer::Broken => {}
        }
    }
}

/// Whose session it is, and as whom it acts.
async fn who(value: &Payload) -> (String, String) {
    let client = connect(value).await.unwrap();
    let row = client.query_one("SELECT session_user::text, current_user::text", &[]);
    let row = row.await.unwrap();
    (row.get(0), row.get(1))
}

/// What an application does until it is told to stop; its failed requests.
async fn application<F: Future<Output = bool>>(
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU32>,
    request: impl Fn(u32) -> F,
) -> u32 {
    let mut failed = 0;
    let mut own = 0;
    let mut moments = tokio::time::interval(MOMENT);
    moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::SeqCst) {
        own += 1;
        failed += u32::from(!request(own).await);
        requests.fetch_add(1, Ordering::SeqCst);
        moments.tick().await;
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_take_turns_fail_no_request_in_a_hundred_rotations() {
    let server = database();
    let world = Arc::new(World::with(&url(&server, "app", "old")).await);
    let rotator = in_turns(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, requests) = (Arc::new(AtomicU32::new(0)), Arc::default());
    // One reads the secret for each request, one keeps a session for ever, and one keeps what it
    // read until the next rotation is over.
    let fresh = {
        let world = Arc::clone(&world);
        tokio::spawn(application(
            Arc::clone(&stop),
            Arc::clone(&reads),
            move |_| {
                let world = Arc::clone(&world);
                async move { works(&world.current().await).await }
            },
        ))
    };
    let session = Arc::new(connect(&world.current().await).await.unwrap());
    let kept = tokio::spawn(application(
        Arc::clone(&stop),
        Arc::clone(&requests),
        move |_| {
            let session = Arc::clone(&session);
            async move {
                session
                    .execute("INSERT INTO visits VALUES (2)", &[])
                    .await
                    .is_ok()
            }
        },
    ));
    for round in 0..ROTATIONS {
        let before = world.current().await;
        world.rotate(&*rotator).await;
        // Each login costs many hashes, unoptimised: not after each.
        if round % 10 == 0 {
            assert!(works(&before).await, "{round}: the value read before");
        }
        // The value before the current one is promised until the next rotation: that does not
        // begin while a request with it may be under way.
        let seen = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) < seen + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!((fresh.await.unwrap(), kept.await.unwrap()), (0, 0));
    assert!(requests.load(Ordering::SeqCst) > 100, "{requests:?}");
    assert_eq!(world.record().await.finished, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_role_fails_no_request_of_who_also_tries_the_value_that_waits() {
    let server = database();
    let world = Arc::new(World::with(&url(&server, "app", "old")).await);
    let rotator = alone(&server);
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let reader = {
        let world = Arc::clone(&world);
        tokio::spawn(application(
            Arc::clone(&stop),
            Arc::clone(&requests),
            move |_| {
                let world = Arc::clone(&world);
                async move {
                    // Between set and finish the new value works, and is not the current one yet.
                    for _ in 0..5 {
                        if works(&world.current().await).await {
                            return true;
                        }
                        if let Some(pending) = world.pending().await
                            && works(&pending).await
                        {
                            return true;
                        }
                    }
                    false
                }
            },
        ))
    };
    let session = Arc::new(connect(&world.current().await).await.unwrap());
    let kept = tokio::spawn(application(
        Arc::clone(&stop),
        Arc::clone(&requests),
        move |_| {
            let session = Arc::clone(&session);
            async move {
                session
                    .execute("INSERT INTO visits VALUES (2)", &[])
                    .await
                    .is_ok()
            }
        },
    ));
    for round in 0..ROTATIONS {
        let before = world.current().await;
        world.rotate(&*rotator).await;
        if round % 10 == 0 {
            assert!(
                !works(&before).await,
                "{round}: the value before works no more"
            );
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!((reader.await.unwrap(), kept.await.unwrap()), (0, 0));
    assert!(requests.load(Ordering::SeqCst) > 200, "{requests:?}");
}

#[tokio::test]
async fn the_second_role_is_made_with_the_rights_of_the_first() {
    let server = database();
    let value = "{\"engine\":\"postgres\",\"username\":\"app\",\"password\":\"old\",\"port\":1}";
    let world = World::with(value).await;
    let rotator = in_turns(&server);
    world.rotate(&*rotator).await;
    let fields = shown(&world.current().await);
    assert!(
        fields.starts_with("{\"engine\":\"postgres\",\"username\":\"app_b\",\"password\":\""),
        "{fields}"
    );
    assert!(fields.ends_with("\",\"port\":1}"), "{fields}");
    let password = fields.split('"').nth(11).unwrap();
    let second = text(&url(&server, "app_b", password));
    assert_eq!(who(&second).await, ("app_b".to_owned(), "app".to_owned()));
    let client = connect(&second).await.unwrap();
    client.batch_execute("CREATE TABLE own ()").await.unwrap();
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'own'";
    assert_eq!(server.sql("postgres", owner), "app");
    world.rotate(&*rotator).await;
    let fields = shown(&world.current().await);
    assert!(fields.contains("\"username\":\"app\""), "{fields}");
    let versions = world.versions().await;
    assert_eq!(versions.last().unwrap().provenance, Provenance::Rotated);
}

#[tokio::test]
async fn a_test_that_fails_puts_the_old_value_back() {
    for (is_alone, role) in [(true, "app"), (false, "app_b")] {
        let server = database();
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = match is_alone {
            true => alone(&server),
            false => in_turns(&server),
        };
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(Step::Test, &*rotator).await;
        // As if the database had lost it.
        let _ = server.sql("postgres", &format!("ALTER ROLE {role} PASSWORD 'other'"));
        let admin = build(
            &RotatorSpec::Postgres(PostgresRole {
                admin: Some("boss".into()),
                role: Some("app".into()),
                alternate: (!is_alone).then(|| "app_b".into()),
                ..spec(&server)
            }),
            Some("of-the-boss"),
        );
        let after = world.step(claim, &*admin).await;
        assert!(matches!(after, After::Again(_)), "{after:?}");
        let failure = world.failure().await;
        assert_eq!(failure.code, "rotator.refused", "{failure}");
        assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
        assert!(works(&world.current().await).await);
        // It begins anew, with the same version.
        assert_eq!(world.record().await.run.unwrap().step, Step::Create);
        let after = world.drive(&*admin).await;
        assert!(matches!(after, After::Finished), "{after:?}");
        assert!(works(&world.current().await).await);
        assert_eq!(world.versions().await.len(), 2);
    }
}

#[tokio::test]
async fn a_database_that_is_down_at_any_step_only_delays() {
    for step in [Step::Set, Step::Test, Step::Finish] {
        let mut server = database();
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = alone(&server);
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(step, &*rotator).await;
        server.crash();
        let after = world.step(claim, &*rotator).await;
        if step == Step::Finish {
            // The database is not asked any more.
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
    for step in [Step::Create, Step::Set, Step::Test, Step::Finish] {
        let server = database();
        let world = World::with(&url(&server, "app", "old")).await;
        let rotator = alone(&server);
        world.ask(Purpose::Rotate).await;
        let claim = world.up_to(step, &*rotator).await;
        let context = strongroom_engine::context::OpContext {
            actor: "test".into(),
            door: "test".into(),
            request_id: String::new(),
            now: world.record().await.run.unwrap().started,
        };
        let aborted = world
            .rotations
            .abort(&context, claim.path(), Abort::Properly)
            .await
            .unwrap();
        let is_told = step >= Step::Test;
        let expected = match is_told {
            true => Aborted::Begins(step),
            false => Aborted::Over(step),
        };
        assert_eq!(aborted, Some(expected));
        if is_told {
            let after = world.drive(&*rotator).await;
            assert!(matches!(after, After::GivenUp), "{after:?}");
        }
        assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
        assert!(works(&world.current().await).await, "{step}");
        assert!(world.pending().await.is_none());
        let record = world.record().await;
        assert_eq!(record.history[0].given_up_at, Some(step));
        assert_eq!(record.finished, 0);
    }
}

#[tokio::test]
async fn the_value_before_is_returned_to() {
    let server = database();
    let world = World::with(&url(&server, "app", "old")).await;
    let rotator = alone(&server);
    world.rotate(&*rotator).await;
    assert!(!works(&text(&url(&server, "app", "old"))).await);
    world.ask(Purpose::Return).await;
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Finished), "{after:?}");
    assert_eq!(shown(&world.current().await), url(&server, "app", "old"));
    assert!(works(&world.current().await).await);
    let versions = world.versions().await;
    assert_eq!(
        versions.last().unwrap().provenance,
        Provenance::RolledBack(1)
    );
}

#[tokio::test]
async fn declarations_that_cannot_work_are_refused() {
    let server = database();
    let good = spec(&server);
    let refused =
        |spec: PostgresRole| strongroom_rotators::check(&RotatorSpec::Postgres(spec)).unwrap_err();
    let with_password = "postgres://boss:canary@127.0.0.1/postgres";
    let said = refused(PostgresRole {
        address: with_password.into(),
        ..good.clone()
    });
    assert!(
        said.contains("no password") && !said.contains("canary"),
        "{said}"
    );
    let said = refused(PostgresRole {
        address: "postgres://boss@db.example/postgres?sslmode=require".into(),
        ..good.clone()
    });
    assert!(said.contains("sslmode=require"), "{said}");
    let said = refused(PostgresRole {
        role: Some("app".into()),
        alternate: Some("app_b".into()),
        ..good.clone()
    });
    assert!(said.contains("`admin`"), "{said}");
    // A secret of another role than the declared one is not touched.
    let world = World::with(&url(&server, "boss", "old")).await;
    let rotator = in_turns(&server);
    world.ask(Purpose::Rotate).await;
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    assert_eq!(world.failure().await.code, "rotation.other_role");
}

#[tokio::test]
async fn of_roles_that_take_turns_the_old_one_ends_with_its_overlap() {
    let server = database();
    let world = World::with(&url(&server, "app", "old")).await;
    let rotator = in_turns(&server);
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
    // Of one role nothing is left to be ended, and the current password stays.
    let one = alone(&server);
    let same = Ending {
        old: &current,
        ..ending
    };
    one.retire(&same).await.unwrap();
    assert!(works(&current).await);
    // Its next turn gives it a password again.
    world.rotate(&*rotator).await;
    let next = world.current().await;
    assert_eq!(who(&next).await.0, "app");
}
