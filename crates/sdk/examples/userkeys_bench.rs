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
use strongroom_userkeys::Columns;
use strongroom_userkeys::Database;
use strongroom_userkeys::Pass;
use strongroom_userkeys::Settings;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::Work;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::place::Place;
use crate::place::Store;

const ROWS_DEFAULT: u64 = 1_000_000;
const READERS: usize = 4;
/// How long readers are timed with nothing else going on, and each kind of read.
const MEASURE: Duration = Duration::from_secs(5);
const MANIFEST: &str = "[profiles.development]\nchain = [\"store\"]\n\
                        [secrets.ANTHROPIC_API_KEY]\npath = \"anthropic/api_key\"\n";
const TABLE: &str = "CREATE EXTENSION pgcrypto;
    CREATE TABLE user_secrets (id bigserial PRIMARY KEY, user_id text NOT NULL,
    secret_key text NOT NULL, secret_value text NOT NULL, secret_value_encrypted bytea,
    UNIQUE (user_id, secret_key));
    CREATE TABLE weak (user_id text PRIMARY KEY, value bytea NOT NULL)";
const WEAK_KEY: &str = "0123456789abcdef-of-a-benchmark";
const UNCACHED_MIN: f64 = 5.0;
const CACHED_MIN: f64 = 50.0;

fn main() {
    let rows = std::env::args().find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(bench(rows.unwrap_or(ROWS_DEFAULT)));
}

async fn bench(rows: u64) {
    let server = Postgres::start_with(&["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"]);
    let sql = |text: &str| server.sql("postgres", text);
    let _ = sql(TABLE);
    let _ = sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value)
         SELECT 'user-' || g, 'anthropic_api_key', 'sk-ant-api03-' || md5(g::text) || md5('x' || g)
         FROM generate_series(1, {rows}) g"
    ));
    let _ = sql(&format!(
        "INSERT INTO weak SELECT 'user-' || g, pgp_sym_encrypt('sk-ant-api03-' || md5(g::text),
         '{WEAK_KEY}') FROM generate_series(1, 1000) g"
    ));
    let _ = sql("VACUUM ANALYZE");
    let place = Place::new(MANIFEST);
    let store = place.store();
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let keys = attach(&store, &server).await;
    println!("| what | figure | beside | ratio | goal | reached |");
    println!("| --- | --- | --- | --- | --- | --- |");
    sealing(&server, &keys, rows).await;
    reading(&server, &place, rows).await;
}

fn row(cells: [&str; 6]) {
    println!("| {} |", cells.join(" | "));
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "yes" } else { "no" }
}

async fn attach(store: &Store, server: &Postgres) -> UserKeys {
    let url = server.url("postgres").parse().unwrap();
    let database = Database::connect(&url, Some(READERS + 2)).await.unwrap();
    let column = str::to_owned;
    let settings = Settings {
        columns: Columns {
            user: column("user_id"),
            name: column("secret_key"),
            plain: column("secret_value"),
            encrypted: column("secret_value_encrypted"),
        },
        has_flat_names: true,
        pgcrypto_keys: Vec::new(),
    };
    let table = "user_secrets".parse().unwrap();
    let found = strongroom_userkeys::inspect(&database, &table, &settings);
    let found = found.await.unwrap();
    let barrier = store.engine().barrier();
    strongroom_userkeys::attach(&database, &found, barrier)
        .await
        .unwrap();
    UserKeys::open(&database, None, barrier).await.unwrap()
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

/// One key after the other: decrypted by the database, bare, by us, from memory.
async fn reading(server: &Postgres, place: &Place, rows: u64) {
    let client = client(server).await;
    let weak = "SELECT pgp_sym_decrypt(value, $2) FROM weak WHERE user_id = $1";
    let weak = client.prepare(weak).await.unwrap();
    let bare = "SELECT secret_value_encrypted FROM user_secrets
        WHERE user_id = $1 AND secret_key = 'anthropic_api_key'";
    let bare = client.prepare(bare).await.unwrap();
    let uncached = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    let cached = place.builder().load().await.unwrap();
    for secrets in [&uncached, &cached] {
        for user in 1..=100 {
            get(secrets, user).await;
        }
    }
    let few = rows.min(1000);
    let by_database = rate(async |state| {
        let user = format!("user-{}", 1 + next(state) % few);
        client.query_one(&weak, &[&user, &WEAK_KEY]).await.unwrap();
    });
    let by_database = by_database.await;
    let bare = rate(async |state| {
        let user = format!("user-{}", 1 + next(state) % rows);
        client.query_one(&bare, &[&user]).await.unwrap();
    });
    let bare = bare.await;
    let ours = rate(async |state| get(&uncached, 1 + next(state) % rows).await).await;
    let from_memory = rate(async |state| get(&cached, 1 + next(state) % 100).await).await;
    for (what, figure, goal) in [
        ("a bare select of the sealed column", bare, None),
        (
            "`for_user().get`, not in memory, noted in the store",
            ours,
            Some(UNCACHED_MIN),
        ),
        (
            "`for_user().get` from memory",
            from_memory,
            Some(CACHED_MIN),
        ),
    ] {
        let ratio = figure / by_database;
        row([
            &format!("{what}, one after the other"),
            &format!("{figure:.0}/s"),
            &format!("`pgp_sym_decrypt` in a select: {by_database:.0}/s"),
            &format!("{ratio:.1}"),
            &goal.map_or(String::new(), |goal| format!("at least {goal:.0}")),
            goal.map_or("", |goal| verdict(ratio >= goal)),
        ]);
    }
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
