//! `lease`, and `run` with credentials that a server makes for it, with a real PostgreSQL.

use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use strongroom_testkit::openbao::OpenBao;
use strongroom_testkit::postgres::Postgres;

use crate::served::Served;
use crate::support::Case;
use crate::watch::Running;

const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE app";

/// A server, a database, and somebody with a token.
pub(crate) struct Place {
    pub(crate) served: Served,
    pub(crate) postgres: Postgres,
    pub(crate) case: Case,
}

impl Place {
    pub(crate) fn new() -> Self {
        let postgres = Postgres::start();
        let _ = postgres.sql(
            "postgres",
            "CREATE ROLE app; CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first-one' IN ROLE app",
        );
        let place = Self {
            served: Served::dev(),
            postgres,
            case: Case::new(),
        };
        let address = format!("http://{}", place.served.address);
        place.case.env("STRONGROOM_ADDR", address);
        place.case.env("STRONGROOM_TOKEN", "root");
        place.ask("POST", "sys/mounts/database", &json!({"type": "database"}));
        let port = place.postgres.port();
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres");
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": url,
            "allowed_roles": "*",
            "username": "admin",
            "password": "first-one",
        });
        place.ask("POST", "database/config/pg", &config);
        place.role("1h", "24h");
        place
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.served.ask(method, path, "root", &body.to_string());
        assert!(status < 300, "{path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    pub(crate) fn role(&self, ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "pg",
            "creation_statements": CREATE,
            "default_ttl": ttl,
            "max_ttl": max_ttl,
        });
        self.ask("POST", "database/roles/ro", &role);
    }

    /// Has OpenBao make the same users in the same database.
    fn at_openbao(&self) -> OpenBao {
        let server = OpenBao::start();
        let port = self.postgres.port();
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": format!(
                "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres\
                 ?sslmode=disable"
            ),
            "allowed_roles": "*",
            "username": "admin",
            "password": "first-one",
        });
        let role = json!({
            "db_name": "pg",
            "creation_statements": CREATE,
            "default_ttl": "1h",
            "max_ttl": "24h",
        });
        for (path, body) in [
            ("sys/mounts/database", json!({"type": "database"})),
            ("database/config/pg", config),
            ("database/roles/ro", role),
        ] {
            let answer = server.ask("POST", path, &body.to_string());
            assert!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
        }
        server
    }

    /// A lease's id.
    fn lease(&self) -> String {
        let made = self.ask("GET", "database/creds/ro", &Value::Null);
        made["lease_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn users(&self) -> Vec<String> {
        let names = self.postgres.sql(
            "postgres",
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1",
        );
        names.lines().map(str::to_owned).collect()
    }
}

#[test]
fn leases_are_listed_looked_up_renewed_and_revoked() {
    let place = Place::new();
    let (case, lease) = (&place.case, place.lease());
    let tail = lease.rsplit_once('/').unwrap().1;
    case.sr("lease list").ok().prints("database/");
    case.sr("lease list database/creds/ro").ok().prints(tail);
    case.sr(&format!("lease lookup {lease}"))
        .ok()
        .prints(&lease)
        .prints("renewed  never");
    let renewed = case.sr(&format!("lease renew {lease} --increment 30m --json"));
    assert_eq!(renewed.ok().json()["seconds_left"], 1800);
    let capped = case
        .sr(&format!("lease renew {lease} --increment 40d"))
        .ok();
    capped.says("effective max_ttl");
    case.sr(&format!("lease revoke {lease}"))
        .code(2)
        .says("needs a yes");
    case.sr(&format!("lease revoke {lease} --yes")).ok();
    assert_eq!(place.users(), Vec::<String>::new());
    case.sr(&format!("lease lookup {lease}"))
        .code(5)
        .says("invalid lease");
    place.lease();
    place.lease();
    case.sr("lease revoke --prefix database/creds/ro --yes")
        .ok();
    assert_eq!(place.users(), Vec::<String>::new());
    case.sr("lease list 'a b'").code(2);
}

#[test]
fn a_doctor_compares_users_with_leases() {
    let place = Place::new();
    let case = &place.case;
    place.lease();
    let report = case.sr("lease doctor --json").ok().json();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["databases"][0]["users"], 1);
    // Somebody drops the user by hand. Young leases are on their way, and are not judged.
    let user = place.users().remove(0);
    let _ = place
        .postgres
        .sql("postgres", &format!("DROP ROLE \"{user}\""));
    let report = case.sr("lease doctor --json").ok().json();
    assert_eq!(report["databases"][0]["leases"], 1);
    assert_eq!(report["databases"][0]["users"], 0);
    // A database that cannot be looked at is no healthy one.
    drop(place.postgres);
    case.sr("lease doctor").code(10).says("do not fit");
}

/// The command says who it is, and ends in good order.
const COMMAND: &str = "trap 'exit 0' TERM; echo \"$DB_USER\" >> seen; \
    test \"$DB_URL\" = \"postgres://$DB_USER:$DB_PASSWORD@db/app\" && echo fits >> seen";

const MANIFEST: &str = "[secrets.DB_USER]\ndynamic = \"database/creds/ro#username\"\n\
    [secrets.DB_PASSWORD]\ndynamic = \"database/creds/ro#password\"\n\
    [secrets.DB_URL]\n\
    dynamic = { path = \"database/creds/ro\", \
    template = \"postgres://{{username}}:{{password}}@db/app\" }\n";

fn declare(place: &Place) {
    place.case.manifest(MANIFEST);
    place.case.leave_open(&place.case.in_project("seen"));
}

#[test]
fn a_run_has_users_of_its_own_for_as_long_as_it_runs() {
    let place = Place::new();
    declare(&place);
    let case = &place.case;
    // Looking makes nothing.
    case.sr("check").ok().prints("made for each run");
    assert_eq!(place.users(), Vec::<String>::new());
    let mut running = Running::start(case, "", COMMAND);
    running.until_seen(2);
    let users = place.users();
    assert_eq!(users.len(), 1, "one lease for all three");
    assert_eq!(running.seen(), format!("{}\nfits\n", users[0]));
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert_eq!(place.users(), Vec::<String>::new(), "removed at its end");
    // What fails before the command starts leaves nothing either.
    case.manifest(&format!("{MANIFEST}[secrets.MISSING]\n"));
    case.sr("run -- true").code(5);
    assert_eq!(place.users(), Vec::<String>::new());
}

#[test]
fn a_run_that_goes_on_gets_other_users_before_theirs_end() {
    let place = Place::new();
    place.role("4s", "8s");
    declare(&place);
    let mut running = Running::start(&place.case, "", COMMAND);
    // Two lines for each start.
    running.until_seen(4);
    let seen = running.seen();
    let names: Vec<&str> = seen.lines().filter(|line| line.starts_with("v-")).collect();
    assert_ne!(names[0], names[1]);
    assert!(place.users().contains(&names[1].to_owned()), "{seen}");
    running.until_said("restarting the command");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert_eq!(place.users(), Vec::<String>::new());
}

#[test]
fn users_of_a_run_that_is_killed_end_by_themselves() {
    let place = Place::new();
    place.role("3s", "6s");
    declare(&place);
    let mut running = Running::start(&place.case, "", COMMAND);
    running.until_seen(2);
    assert_eq!(place.users().len(), 1);
    running.signal(Signal::KILL);
    place.served.wait_until(|| place.users().is_empty());
}

/// A token of OpenBao that lives so long.
fn token_of(server: &OpenBao, ttl: &str) -> String {
    let body = json!({"policies": ["root"], "ttl": ttl}).to_string();
    let answer = server.ask("POST", "auth/token/create", &body);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let made: Value = serde_json::from_str(body).unwrap();
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_takes_no_lease_that_outlives_its_token() {
    let place = Place::new();
    declare(&place);
    let case = &place.case;
    // OpenBao says that a lease lives for an hour that it will end with its token in a minute.
    let openbao = place.at_openbao();
    case.env(
        "STRONGROOM_ADDR",
        format!("http://127.0.0.1:{}", openbao.port()),
    );
    case.env("STRONGROOM_TOKEN", token_of(&openbao, "60s"));
    case.sr("run -- touch started")
        .code(2)
        .says("would live for 3600 s, and the token that they end with for ");
    assert!(!case.in_project("started").exists(), "nothing was run");
    assert_eq!(place.users(), Vec::<String>::new(), "and nothing is left");
    // One that lives long enough is taken, and one without an end.
    for token in [token_of(&openbao, "2h"), "root".to_owned()] {
        case.env("STRONGROOM_TOKEN", token);
        case.sr("run -- true").ok();
        assert_eq!(place.users(), Vec::<String>::new());
    }
}

#[test]
fn a_run_takes_no_lease_that_ends_with_its_token_too_soon() {
    let place = Place::new();
    declare(&place);
    let body = json!({"policies": ["root"], "ttl": "20m"});
    let made = place.ask("POST", "auth/token/create", &body);
    let token = made["auth"]["client_token"].as_str().unwrap();
    // Our server says how long it really lives: it is taken, and renewed no further.
    let (_, made) = place.served.ask("GET", "database/creds/ro", token, "");
    let made: Value = serde_json::from_str(&made).unwrap();
    let seconds = made["lease_duration"].as_i64().unwrap();
    assert!((1190..=1200).contains(&seconds), "{made}");
    place.case.env("STRONGROOM_TOKEN", token);
    place.case.sr("run -- true").ok();
    assert_eq!(place.users().len(), 1, "the one that was read by hand");
    place.ask("POST", "auth/token/revoke", &json!({ "token": token }));
    place.served.wait_until(|| place.users().is_empty());
    // Nobody is named who could make them.
    place.case.env("STRONGROOM_ADDR", "");
    place.case.sr("run -- true").code(2).says("none is named");
}
