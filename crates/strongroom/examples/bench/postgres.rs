//! The server on PostgreSQL, beside itself on a store file and beside bare tokio-postgres.

use std::fmt::Write as _;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use std::time::Instant;

use strongroom_testkit::postgres::Postgres;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::CONNECTIONS;
use crate::server::Rate;
use crate::server::SECONDS;
use crate::server::Server;
use crate::server::VALUE_BYTES;
use crate::server::free_port;

/// So many that one server's memory holds a small part of them.
const SECRETS_USUAL: u64 = 100_000;
/// Connections to the database that one server reads with.
const READERS: usize = 8;
/// What a sealed secret of the usual length takes.
const ROW_BYTES: usize = 640;

pub(crate) fn bench() -> AnyResult<()> {
    let secrets = match std::env::args().nth(2) {
        Some(text) => text.parse()?,
        None => SECRETS_USUAL,
    };
    let rig = Rig::new()?;
    let database = Postgres::start_with(&["fsync=on", "shared_buffers=256MB"]);
    let url = database.url("postgres");
    let on_file = Server::strongroom(&rig)?;
    let nodes = (0..3)
        .map(|number| on_database(&rig, &url, number))
        .collect::<AnyResult<Vec<_>>>()?;
    let node = nodes.first().ok_or("no server")?;
    for server in [&on_file, node] {
        server.prepare()?;
    }
    let cached = [&on_file, node].map(|server| load(server, None));
    let [file_rate, cached] = cached;
    let (file_rate, cached) = (file_rate?, cached?);
    compare(
        "reads from memory",
        &cached,
        "on a store file",
        file_rate.rate,
        Some(0.9),
    );

    let bare = Bare::start(&url, secrets)?;
    let scripts = Scripts::write(&rig, secrets)?;
    fill(node, secrets)?;
    let uncached = load(node, Some(&scripts.read))?;
    let selects = bare.selects()?;
    let what = format!("reads of one of {secrets} secrets, which memory does not hold");
    let beside = format!("bare selects, {READERS} connections");
    compare(&what, &uncached, &beside, selects, Some(0.5));
    let again = load(node, Some(&scripts.read))?;
    let what = "the same again, by a client that the ledger knows";
    compare(what, &again, &beside, bare.selects()?, Some(0.5));

    let written = load(node, Some(&scripts.write))?;
    let commits = bare.commits()?;
    let beside = format!("bare commits, {CONNECTIONS} connections");
    compare("durable writes", &written, &beside, commits, Some(0.5));

    for count in 1..=nodes.len() {
        let some = nodes.get(..count).unwrap_or_default();
        let rate = together(some)?;
        let what = format!("reads from memory at {count} servers on this machine");
        compare(&what, &rate, "one server", cached.rate, None);
    }
    Ok(())
}

fn on_database(rig: &Rig, url: &str, number: usize) -> AnyResult<Server> {
    let port = free_port()?;
    let audit = rig.file(&format!("audit-{number}"));
    let listen = format!("127.0.0.1:{port}");
    let mut command = rig.strongroom(&["serve", "--listen", &listen, "--storage", url]);
    let mut server = Server::start(command.arg("--audit-folder").arg(audit), port)?;
    let begun = Instant::now();
    while server.ask("GET", "sys/health", &serde_json::Value::Null)?["sealed"] != false {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("a server does not open the store".into());
        }
    }
    let token = rig.ask(&["operator", "root-token", "--store", url])?;
    server.use_token(String::from_utf8(token)?.trim());
    Ok(server)
}

fn load(server: &Server, script: Option<&PathBuf>) -> AnyResult<Rate> {
    let at = format!("http://127.0.0.1:{}", server.port);
    server.load_at(&at, CONNECTIONS, script.map(PathBuf::as_path))
}

/// All of them at once: rates are added up, and the worst p99 counts.
fn together(servers: &[Server]) -> AnyResult<Rate> {
    let rates = std::thread::scope(|scope| {
        let loads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| load(server, None).map_err(|error| error.to_string())))
            .collect();
        loads
            .into_iter()
            .map(|load| {
                load.join()
                    .unwrap_or_else(|_| Err("a load panicked".into()))
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Rate {
        rate: rates.iter().map(|rate| rate.rate).sum(),
        p99_ms: rates.iter().map(|rate| rate.p99_ms).fold(0.0, f64::max),
    })
}

fn compare(what: &str, ours: &Rate, beside: &str, rate: f64, goal: Option<f64>) {
    let ratio = ours.rate / rate;
    report::row(&[
        what,
        &format!("{:.0}/s, p99 {:.2} ms", ours.rate, ours.p99_ms),
        &format!("{beside}: {rate:.0}/s"),
        &format!("{ratio:.2}"),
        &goal.map_or(String::new(), |goal| format!("at least {goal}")),
        goal.map_or("", |goal| verdict(ratio >= goal)),
    ]);
}

/// Writes secrets over as many connections as are measured with.
fn fill(server: &Server, secrets: u64) -> AnyResult<()> {
    let next = AtomicU64::new(0);
    let body = serde_json::json!({"data": {"password": "x".repeat(VALUE_BYTES)}});
    std::thread::scope(|scope| {
        let fillers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Result<(), String> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= secrets {
                            return Ok(());
                        }
                        let path = format!("secret/data/many/{}/{}", number / 1000, number % 1000);
                        let put = server.ask("POST", &path, &body);
                        let put = put.map_err(|error| error.to_string())?;
                        if put["data"]["version"].as_u64().is_none() {
                            return Err(format!("cannot write: {put}"));
                        }
                    }
                })
            })
            .collect();
        let done = fillers.into_iter().map(ScopedJoinHandle::join);
        done.map(|one| one.unwrap_or_else(|_| Err("a filler panicked".into())))
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok(())
}

/// What wrk runs.
struct Scripts {
    read: PathBuf,
    write: PathBuf,
}

impl Scripts {
    fn write(rig: &Rig, secrets: u64) -> AnyResult<Self> {
        let value = "x".repeat(VALUE_BYTES);
        let (mut read, mut write) = (String::new(), String::new());
        write!(
            read,
            "function request()\n  local n = math.random(0, {})\n  return wrk.format('GET', \
             '/v1/secret/data/many/' .. math.floor(n / 1000) .. '/' .. (n % 1000))\nend\n",
            secrets.saturating_sub(1)
        )?;
        write!(
            write,
            "local count = 0\nlocal thread = 0\n\
             function setup(t) t:set('id', thread) thread = thread + 1 end\n\
             function request()\n  count = count + 1\n  \
             return wrk.format('POST', '/v1/secret/data/bench/w' .. id .. '/' .. (count % 1000), \
             nil, '{{\"data\":{{\"password\":\"{value}\"}}}}')\nend\n"
        )?;
        let scripts = Self {
            read: rig.file("read-many.lua"),
            write: rig.file("write.lua"),
        };
        fs::write(&scripts.read, read)?;
        fs::write(&scripts.write, write)?;
        Ok(scripts)
    }
}

/// The database without us: a table of rows as long as ours.
struct Bare {
    runtime: tokio::runtime::Runtime,
    url: String,
    rows: u64,
}

impl Bare {
    fn start(url: &str, rows: u64) -> AnyResult<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let bare = Self {
            runtime,
            url: url.to_owned(),
            rows,
        };
        let sql = format!(
            "CREATE TABLE bare (id bytea PRIMARY KEY, value bytea NOT NULL);
             INSERT INTO bare SELECT decode(md5(n::text), 'hex'), convert_to(repeat('x', \
             {ROW_BYTES}), 'UTF8') FROM generate_series(1, {rows}) AS n;
             CREATE TABLE bare_written (id bigint PRIMARY KEY, value bytea NOT NULL)"
        );
        bare.runtime.block_on(async {
            let client = bare.client().await?;
            client.batch_execute(&sql).await?;
            AnyResult::Ok(())
        })?;
        Ok(bare)
    }

    async fn client(&self) -> AnyResult<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Selects of single rows a second, by as many connections as a server has.
    fn selects(&self) -> AnyResult<f64> {
        let rows = self.rows;
        self.rate(READERS, move |client, number| async move {
            let select = client
                .prepare("SELECT value FROM bare WHERE id = decode(md5($1), 'hex')")
                .await?;
            // Any order that does not follow the table's.
            let mut at = number * 7_919;
            let end = end();
            let mut count = 0;
            while Instant::now() < end {
                at = (at + 7_919) % rows;
                client.query_one(&select, &[&(at + 1).to_string()]).await?;
                count += 1;
            }
            Ok(count)
        })
    }

    /// Commits of single rows a second, by as many connections as clients are.
    fn commits(&self) -> AnyResult<f64> {
        let connections = usize::try_from(CONNECTIONS)?;
        self.rate(connections, move |client, number| async move {
            let insert = client
                .prepare("INSERT INTO bare_written VALUES ($1, $2)")
                .await?;
            let value = vec![b'x'; ROW_BYTES];
            let mut at = i64::try_from(number << 32).unwrap_or_default();
            let end = end();
            let mut count = 0;
            while Instant::now() < end {
                at += 1;
                client.execute(&insert, &[&at, &value]).await?;
                count += 1;
            }
            Ok(count)
        })
    }

    fn rate<F>(&self, connections: usize, work: impl Fn(Arc<Client>, u64) -> F) -> AnyResult<f64>
    where
        F: Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'static,
    {
        self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..connections {
                clients.push(Arc::new(self.client().await?));
            }
            let mut running = JoinSet::new();
            for (number, client) in (0..).zip(clients) {
                running.spawn(work(client, number));
            }
            let mut count = 0;
            while let Some(done) = running.join_next().await {
                count += done??;
            }
            Ok(count as f64 / f64::from(SECONDS))
        })
    }
}

fn end() -> Instant {
    Instant::now() + Duration::from_secs(SECONDS.into())
}
