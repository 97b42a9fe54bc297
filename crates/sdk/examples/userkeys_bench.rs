//! What users' keys cost: sealing a table while others read, and reading one key. Started by
//! `cargo xtask bench userkeys`; an argument is the number of rows.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for a person, who reads what went wrong"
)]

#[path = "../tests/it/place.rs"]
#[expect(dead_code, reason = "what the tests need besides")]
mod place;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use strongroom_sdk::Secrets;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;
use strongroom_userkeys::Database;
use strongroom_userkeys::Pass;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::Work;
use tokio_postgres::Client;
use tokio_postgres::NoTls;
use tokio_postgres::Statement;

use crate::place::Place;
use crate::place::Store;

const ROWS_DEFAULT: u64 = 1_000_000;
const READERS: usize = 4;
/// Rows that pgcrypto has encrypted.
const WEAK_ROWS: u64 = 1000;
/// Callers at once, and connections of each side.
const CALLERS: usize = 32;
const CONNECTIONS: usize = 16;
/// How long readers are timed with nothing else going on, and each kind of read.
const MEASURE: Duration = Duration::from_secs(5);
const MANIFEST: &str = "[profiles.development]\nchain = [\"store\"]\n\
                        [secrets.ANTHROPIC_API_KEY]\npath = \"anthropic/api_key\"\n";
const WEAK: &str = "CREATE TABLE weak (user_id text PRIMARY KEY, value bytea NOT NULL)";
/// Where reads would be noted if the application's database had them.
const NOTES: &str = "CREATE TABLE notes (at timestamptz DEFAULT now(), note text NOT NULL)";
const WEAK_KEY: &str = "0123456789abcdef-of-a-benchmark";
const UNCACHED_MIN: f64 = 5.0;
const CACHED_MIN: f64 = 50.0;

fn main() {
    let rows = std::env::args().find_map(|argument| argument.parse().ok());
    let rows = rows.unwrap_or(ROWS_DEFAULT);
    let many = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Postgres::start_with(&["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"]);
    let place = many.block_on(bench(&server, rows));
    // One after the other: the thread that asks is the one that waits for the answer.
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    one.block_on(one_after_the_other(&server, &place, rows));
    drop(one);
    many.block_on(all_at_once(&server, &place, rows));
}

/// Makes the table, and seals it while others read.
async fn bench(server: &Postgres, rows: u64) -> Place {
    let sql = |text: &str| server.sql("postgres", text);
    let _ = sql(userkeys::TABLE);
    let _ = sql(WEAK);
    let _ = sql(NOTES);
    let _ = sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value)
         SELECT 'user-' || g, 'anthropic_api_key', 'sk-ant-api03-' || md5(g::text) || md5('x' || g)
         FROM generate_series(1, {rows}) g"
    ));
    let _ = sql(&format!(
        "INSERT INTO weak SELECT 'user-' || g, pgp_sym_encrypt('sk-ant-api03-' || md5(g::text),
         '{WEAK_KEY}') FROM generate_series(1, {WEAK_ROWS}) g"
    ));
    let _ = sql("VACUUM ANALYZE");
    let place = Place::new(MANIFEST);
    let store = place.store();
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let keys = attach(&store, server).await;
    println!("| what | figure | beside | ratio | goal | reached |");
    println!("| --- | --- | --- | --- | --- | --- |");
    sealing(server, &keys, rows).await;
    place
}

fn row(cells: [&str; 6]) {
    println!("| {} |", cells.join(" | "));
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "yes" } else { "no" }
}

async fn attach(store: &Store, server: &Postgres) -> UserKeys {
    let url = server.url(userkeys::DATABASE).parse().unwrap();
    let database = Database::connect(&url, Some(READERS + 2)).await.unwrap();
    userkeys::attach(&database, &userkeys::settings(), store.engine().barrier())
        .await
        .unwrap()
}

/// A pass through all rows while others read.
async fn sealing(server: &Postgres, keys: &UserKeys, rows: u64) {
    let bytes = || -> u64 {
        let size = server.sql("postgres", "SELECT pg_total_relation_size('user_secrets')");
        size.parse().unwrap()
    };
    let before = bytes();
    let idle = read_until(server, rows, |stop| async move {
        tokio::time::sleep(MEASURE).await;
        stop.store(true, Ordering::Relaxed);
    });
    let idle = idle.await;
    let began = Instant::now();
    let pass = keys.clone();
    let busy = read_until(server, rows, |stop| async move {
        let mut pass = Pass::new(&pass, Work::Encrypt);
        while !pass.step().await.unwrap().is_last {}
        stop.store(true, Ordering::Relaxed);
    });
    let busy = busy.await;
    let took = began.elapsed();
    let status = keys.status().await.unwrap();
    assert_eq!((status.sealed_rows(), status.plain), (rows, 0));
    let rate = rows as f64 / took.as_secs_f64();
    row([
        &format!("`userkeys encrypt`, {rows} rows in clear, {READERS} readers beside it"),
        &format!("{rate:.0} rows/s"),
        &format!("{:.0} s in all", took.as_secs_f64()),
        "",
        "",
        "",
    ]);
    for (share, name) in [(0.5, "median"), (0.99, "p99")] {
        let (idle, busy) = (at(&idle, share), at(&busy, share));
        row([
            &format!("reads of the application meanwhile, {name}"),
            &format!("{:.2} ms", ms(busy)),
            &format!("without the pass: {:.2} ms", ms(idle)),
            &format!("{:.1}", ms(busy) / ms(idle)),
            "",
            "",
        ]);
    }
    let after = bytes();
    row([
        "the table with its indexes, after it",
        &format!("{:.0} MB", after as f64 / 1e6),
        &format!("before: {:.0} MB", before as f64 / 1e6),
        &format!("{:.2}", after as f64 / before as f64),
        "",
        "",
    ]);
    let _ = server.sql("postgres", "VACUUM (FULL, ANALYZE) user_secrets");
    row([
        "and after `VACUUM (FULL)`",
        &format!("{:.0} MB", bytes() as f64 / 1e6),
        "",
        "",
        "",
        "",
    ]);
}

/// The application's own selects, until somebody says stop; how long each took.
async fn read_until<F: Future<Output = ()>>(
    server: &Postgres,
    rows: u64,
    work: impl FnOnce(Arc<AtomicBool>) -> F,
) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for reader in 0..READERS {
        let client = client(server).await;
        let stop = Arc::clone(&stop);
        readers.push(tokio::spawn(async move {
            let select = "SELECT secret_value, secret_value_encrypted FROM user_secrets
                WHERE user_id = $1 AND secret_key = 'anthropic_api_key'";
            let select = client.prepare(select).await.unwrap();
            let mut state = 88_172_645_463_325_252_u64 + reader as u64;
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                let user = format!("user-{}", 1 + next(&mut state) % rows);
                client.query_one(&select, &[&user]).await.unwrap();
                times.push(began.elapsed());
            }
            times
        }));
    }
    work(stop).await;
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await.unwrap());
    }
    times.sort_unstable();
    times
}

/// Statements that the application would say itself.
struct Selects {
    client: Client,
    weak: Statement,
    bare: Statement,
    noted: Statement,
}

impl Selects {
    async fn new(server: &Postgres) -> Self {
        let client = client(server).await;
        let weak = "SELECT pgp_sym_decrypt(value, $2) FROM weak WHERE user_id = $1";
        let bare = "SELECT secret_value_encrypted FROM user_secrets
            WHERE user_id = $1 AND secret_key = 'anthropic_api_key'";
        // The disk gets it later, as it does the library's notes.
        let later = "SET synchronous_commit = off";
        client.batch_execute(later).await.unwrap();
        let noted =
            format!("WITH note AS (INSERT INTO notes (note) VALUES ('read by ' || $1)) {bare}");
        Self {
            noted: client.prepare(&noted).await.unwrap(),
            weak: client.prepare(weak).await.unwrap(),
            bare: client.prepare(bare).await.unwrap(),
            client,
        }
    }

    async fn weak(&self, user: u64) {
        let user = format!("user-{user}");
        self.client
            .query_one(&self.weak, &[&user, &WEAK_KEY])
            .await
            .unwrap();
    }

    async fn bare(&self, user: u64) {
        let user = format!("user-{user}");
        self.client.query_one(&self.bare, &[&user]).await.unwrap();
    }

    /// The other design: the note is a row of the same database, in the same round trip.
    async fn noted(&self, user: u64) {
        let user = format!("user-{user}");
        self.client.query_one(&self.noted, &[&user]).await.unwrap();
    }
}

async fn one_after_the_other(server: &Postgres, place: &Place, rows: u64) {
    let selects = Selects::new(server).await;
    let uncached = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    let cached = place.builder().load().await.unwrap();
    for secrets in [&uncached, &cached] {
        for user in 1..=100 {
            get(secrets, user).await;
        }
    }
    let by_database = rate(async |state| selects.weak(1 + next(state) % WEAK_ROWS).await);
    let by_database = by_database.await;
    let bare = rate(async |state| selects.bare(1 + next(state) % rows).await).await;
    let noted = rate(async |state| selects.noted(1 + next(state) % rows).await).await;
    let ours = rate(async |state| get(&uncached, 1 + next(state) % rows).await).await;
    let from_memory = rate(async |state| get(&cached, 1 + next(state) % 100).await).await;
    let how = "one after the other";
    let beside = |what, figure, goal| compared(what, how, figure, by_database, goal);
    beside("a bare select of the sealed column", bare, None);
    beside(
        "the other design: its note by the same statement",
        noted,
        None,
    );
    beside("`for_user().get`, not in memory", ours, Some(UNCACHED_MIN));
    beside(
        "`for_user().get` from memory",
        from_memory,
        Some(CACHED_MIN),
    );
}

async fn all_at_once(server: &Postgres, place: &Place, rows: u64) {
    let mut selects = Vec::new();
    for _ in 0..CONNECTIONS {
        selects.push(Arc::new(Selects::new(server).await));
    }
    let uncached = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    get(&uncached, 1).await;
    let of = |caller: usize| Arc::clone(&selects[caller % CONNECTIONS]);
    let by_database = rate_of_many(|caller| {
        let selects = of(caller);
        move |turn| {
            let selects = Arc::clone(&selects);
            async move { selects.weak(1 + turn % WEAK_ROWS).await }
        }
    });
    let by_database = by_database.await;
    let bare = rate_of_many(|caller| {
        let selects = of(caller);
        move |turn| {
            let selects = Arc::clone(&selects);
            async move { selects.bare(1 + turn % rows).await }
        }
    });
    let bare = bare.await;
    let noted = rate_of_many(|caller| {
        let selects = of(caller);
        move |turn| {
            let selects = Arc::clone(&selects);
            async move { selects.noted(1 + turn % rows).await }
        }
    });
    let noted = noted.await;
    let ours = rate_of_many(|_| {
        let uncached = uncached.clone();
        move |turn| {
            let uncached = uncached.clone();
            async move { get(&uncached, 1 + turn % rows).await }
        }
    });
    let ours = ours.await;
    let how = format!("{CALLERS} callers, {CONNECTIONS} connections");
    let beside = |what, figure, goal| compared(what, &how, figure, by_database, goal);
    beside("a bare select of the sealed column", bare, None);
    beside(
        "the other design: its note by the same statement",
        noted,
        None,
    );
    beside("`for_user().get`, not in memory", ours, Some(UNCACHED_MIN));
}

fn compared(what: &str, how: &str, figure: f64, by_database: f64, goal: Option<f64>) {
    let ratio = figure / by_database;
    row([
        &format!("{what}, {how}"),
        &format!("{figure:.0}/s"),
        &format!("`pgp_sym_decrypt` in a select: {by_database:.0}/s"),
        &format!("{ratio:.1}"),
        &goal.map_or(String::new(), |goal| format!("at least {goal:.0}")),
        goal.map_or("", |goal| verdict(ratio >= goal)),
    ]);
}

/// How often in a second something can be done by many at once.
async fn rate_of_many<O, F>(caller: impl Fn(usize) -> O) -> f64
where
    O: Fn(u64) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let once = caller(number);
        callers.push(tokio::spawn(async move {
            let mut state = 88_172_645_463_325_252_u64 + number as u64;
            let mut count = 0_u32;
            while began.elapsed() < MEASURE {
                once(next(&mut state)).await;
                count += 1;
            }
            count
        }));
    }
    let mut count = 0;
    for caller in callers {
        count += caller.await.unwrap();
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

async fn get(secrets: &Secrets, user: u64) {
    let user = secrets.for_user(&format!("user-{user}")).unwrap();
    user.get("anthropic/api_key").await.unwrap();
}

/// How often in a second something can be done, one after the other.
async fn rate(mut once: impl AsyncFnMut(&mut u64)) -> f64 {
    let mut state = 88_172_645_463_325_252_u64;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < MEASURE {
        once(&mut state).await;
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

async fn client(server: &Postgres) -> Client {
    let url = server.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Xorshift: which row is next.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn at(times: &[Duration], share: f64) -> Duration {
    let place = (times.len() as f64 * share) as usize;
    times
        .get(place.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
