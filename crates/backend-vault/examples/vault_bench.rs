//! Resolves 200 secrets from a real OpenBao, 16 in flight, next to a bare loop of the same
//! requests: wall time as a ratio, and processor time of ours for each secret.
//!
//! `cargo run --release -p strongroom-backend-vault --example vault_bench [-- PATH-TO-BAO]`;
//! without a path the one that `cargo xtask peers` installs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for the people who work on this"
)]

use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use rustix::time::ClockId;
use rustix::time::clock_gettime;
use strongroom_backend_vault::VaultBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::Lookup;
use strongroom_core::port::Variables;
use strongroom_core::uri::BackendUri;

const SECRETS: usize = 200;
const ROUNDS: usize = 21;
const PORT: u16 = 18_299;
const BAO: &str = ".peers/venv/bin/bao";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn start(program: &str) -> Server {
    let child = Command::new(program)
        .args(["server", "-dev", "-dev-root-token-id=root"])
        .args(["-dev-no-store-token", "-log-level=error"])
        .arg(format!("-dev-listen-address=127.0.0.1:{PORT}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Server(child.unwrap())
}

/// User and system time of this process, all threads.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
}

/// Wall and processor time of a round.
struct Round {
    wall: Duration,
    processor: Duration,
}

async fn measure(round: impl Future<Output = ()>) -> Round {
    let (wall, cpu) = (Instant::now(), processor());
    round.await;
    Round {
        wall: wall.elapsed(),
        processor: processor() - cpu,
    }
}

fn median(rounds: &[Round], of: fn(&Round) -> Duration) -> Duration {
    let mut times: Vec<Duration> = rounds.iter().map(of).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

async fn wait_for(http: &reqwest::Client, base: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let asked = http.get(format!("{base}/secret/config"));
        let asked = asked.header("X-Vault-Token", "root").send().await;
        if asked.is_ok_and(|reply| reply.status().is_success()) {
            return;
        }
        assert!(Instant::now() < until, "OpenBao does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn bare(http: &reqwest::Client, base: &str) {
    let reads = (0..SECRETS).map(|number| async move {
        let url = format!("{base}/secret/data/bench/s{number}");
        let reply = http.get(url).header("X-Vault-Token", "root").send().await;
        let json = reply.unwrap().bytes().await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(json["data"]["data"]["value"].is_string());
    });
    stream::iter(reads).buffered(16).collect::<Vec<()>>().await;
}

async fn ours(backend: &VaultBackend, lookups: &[Lookup]) {
    for found in backend.get_many(lookups).await {
        assert!(found.unwrap().is_some());
    }
}

async fn run() {
    let base = format!("http://127.0.0.1:{PORT}/v1");
    let http = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .build()
        .unwrap();
    wait_for(&http, &base).await;
    for number in 0..SECRETS {
        let body = format!(r#"{{"data":{{"value":"value-{number:032}"}}}}"#);
        let url = format!("{base}/secret/data/bench/s{number}");
        let write = http.post(url).header("X-Vault-Token", "root").body(body);
        assert!(write.send().await.unwrap().status().is_success());
    }
    let lookups: Vec<Lookup> = (0..SECRETS)
        .map(|number| Lookup {
            name: format!("S{number}"),
            path: format!("s{number}"),
            place: format!("bench/dev/s{number}").parse().unwrap(),
        })
        .collect();
    let uri = format!("vault://127.0.0.1:{PORT}/secret/bench?tls=false");
    let variables = Variables::new([("VAULT_TOKEN", "root")]);
    let uri = BackendUri::parse(&uri).unwrap();
    let open = || VaultBackend::open(&uri, &variables);

    let backend = open().await.unwrap();
    ours(&backend, &lookups).await;
    bare(&http, &base).await;
    let (mut our_rounds, mut bare_rounds, mut cold_rounds) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        our_rounds.push(measure(ours(&backend, &lookups)).await);
        bare_rounds.push(measure(bare(&http, &base)).await);
        let cold = async { ours(&open().await.unwrap(), &lookups).await };
        cold_rounds.push(measure(cold).await);
    }
    let each = |rounds: &[Round]| {
        median(rounds, |round| round.processor).as_secs_f64() * 1e6 / SECRETS as f64
    };
    let wall = |rounds: &[Round]| median(rounds, |round| round.wall).as_secs_f64() * 1e3;
    println!("{SECRETS} secrets, median of {ROUNDS} rounds");
    for (name, rounds) in [
        ("bare loop", &bare_rounds),
        ("backend, connected", &our_rounds),
        ("backend, first use", &cold_rounds),
    ] {
        println!(
            "{name:<20} {:>8.2} ms wall ({:.2} of bare) {:>8.1} us processor a secret",
            wall(rounds),
            wall(rounds) / wall(&bare_rounds),
            each(rounds)
        );
    }
}

fn main() {
    let program = std::env::args().nth(1).unwrap_or_else(|| BAO.to_owned());
    let _server = start(&program);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}
