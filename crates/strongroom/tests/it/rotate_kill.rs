//! A server that is killed between any two steps of the rotation of a PostgreSQL role: the
//! application's credential works all the time, and the next server brings it to its end.

use std::thread;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;
use tokio_postgres::NoTls;

use crate::served::Served;
use crate::support::Case;

/// Lines of the steps in the audit log: two for each of four.
const LINES: usize = 8;

#[test]
fn a_server_killed_between_any_two_steps_leaves_a_credential_that_works() {
    let database = Postgres::start();
    let _ = database.sql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE boss LOGIN CREATEROLE",
    );
    thread::scope(|scope| {
        for lines in 1..=LINES {
            let database = &database;
            scope.spawn(move || killed_after(database, lines));
        }
    });
}

/// Whether somebody can work with what the secret says.
fn works(url: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await else {
            return false;
        };
        tokio::spawn(connection);
        client.simple_query("SELECT 1").await.is_ok()
    })
}

fn good(served: &Served, token: &str, line: &str, body: &Value) -> Value {
    let (method, path) = line.split_once(' ').unwrap();
    let (status, text) = served.ask(method, path, token, &body.to_string());
    assert!(status < 300, "{line}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn killed_after(database: &Postgres, lines: usize) {
    let role = format!("app_{lines}");
    let _ = database.sql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'old' IN ROLE app"),
    );
    let at = format!("127.0.0.1:{}/postgres", database.port());
    let case = Case::with_manifest("");
    let old = format!("postgres://{role}:old@{at}");
    case.set("/db", &old);
    case.set("/boss", "of-the-boss");
    let token = case.sr("operator root-token").reveals().ok();
    let token = token.out().trim().to_owned();
    let served = Served::of_store(&case);
    let spec = json!({"type": "postgres", "address": format!("postgres://boss@{at}"),
        "role": role, "alternate": format!("{role}_b"), "admin": "boss"});
    let body = json!({ "rotator": spec });
    good(&served, &token, "POST sys/aws/rotators/role", &body);
    let body = json!({"rotator": "role", "every": "30d"});
    good(&served, &token, "POST sys/aws/rotations/db", &body);
    let audit = served.folder().join("audit.log");
    served.wait_until(|| {
        let text = std::fs::read_to_string(&audit).unwrap_or_default();
        text.matches("\"rotation\":\"").count() >= lines
    });
    drop(served);
    let current = String::from_utf8(case.get("/db")).unwrap();
    assert!(works(&current), "killed after line {lines}");
    let served = Served::of_store(&case);
    let report = || good(&served, &token, "GET sys/aws/rotations/db", &json!({}));
    served.wait_until(|| report()["data"]["run"].is_null());
    let report = report();
    assert_eq!(report["data"]["finished"], 1, "{lines}: {report}");
    let current = String::from_utf8(case.get("/db")).unwrap();
    assert!(
        current.starts_with(&format!("postgres://{role}_b:")),
        "{lines}"
    );
    assert!(works(&current), "{lines}: the new one");
    assert!(works(&old), "{lines}: the old one, until the next rotation");
    let read = good(&served, &token, "GET secret/metadata/db", &json!({}));
    assert_eq!(
        read["data"]["versions"].as_object().unwrap().len(),
        2,
        "{lines}"
    );
}
