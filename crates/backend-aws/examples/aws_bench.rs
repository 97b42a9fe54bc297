//! What the backend costs beside the bare SDK, against moto's server.
//!
//! `cargo run --release -p strongroom-backend-aws --example aws_bench`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at the first failure and prints what it found"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::BehaviorVersion;
use aws_sdk_secretsmanager::config::Credentials;
use aws_sdk_secretsmanager::config::Region;
use rustix::time::ClockId;
use strongroom_core::port::Backend;
use support::Moto;
use support::Reply;
use support::Trap;

#[expect(dead_code, reason = "shared with the tests, which need more of it")]
#[path = "../tests/it/support.rs"]
mod support;

const SECRETS: usize = 200;
const WRITES: usize = 200;
const CLIENTS: usize = 8;
const TRIES: usize = 5;
const ROUNDS: usize = 7;
const DELAY: Duration = Duration::from_millis(50);

fn main() {
    let moto = Moto::start();
    reads(&moto);
    delayed();
    writes();
}

/// Requests and CPU of resolving; moto is another process, so that the CPU is ours alone.
fn reads(moto: &Moto) {
    let address = moto.address;
    let backend = support::open_at("/", address, "");
    let lookups: Vec<_> = (0..SECRETS)
        .map(|number| support::lookup(&format!("bulk/s{number}")))
        .collect();
    support::wait(async {
        for lookup in &lookups {
            let value = support::text(&lookup.path);
            backend.write(&lookup.path, &value).await.unwrap();
        }
    });
    let proxy = Trap::new(move |_, _| Reply::Forward(address));
    let counted = support::open_at("/", proxy.address, "");
    support::wait(async {
        let found = counted.get_many(&lookups).await;
        assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    });
    let batches = proxy.count("BatchGetSecretValue");
    println!(
        "resolving {SECRETS} secrets: {batches} batch requests, {} in all",
        proxy.seen().len()
    );
    let (wall, cpu) = support::wait(async {
        backend.get_many(&lookups).await;
        let (start, cpu) = (Instant::now(), cpu());
        for _ in 0..ROUNDS {
            let found = backend.get_many(&lookups).await;
            assert!(found.into_iter().all(|found| found.unwrap().is_some()));
        }
        (start.elapsed(), self::cpu() - cpu)
    });
    let each = u32::try_from(ROUNDS * SECRETS).unwrap();
    println!(
        "from moto: {:?} a resolve, {:?} CPU of ours a secret (goal: at most 1 ms)",
        wall / u32::try_from(ROUNDS).unwrap(),
        cpu / each
    );
}

/// Wall time where every answer takes as long: what is not waiting for rounds is ours.
fn delayed() {
    let trap = Trap::new(|_, request| {
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(DELAY);
        let ids: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        let entries = ids["SecretIdList"].as_array().unwrap().iter();
        let entries: Vec<_> = entries
            .map(|id| serde_json::json!({"Name": id, "SecretString": "value"}))
            .collect();
        Reply::Json(
            200,
            serde_json::json!({"SecretValues": entries}).to_string(),
        )
    });
    let backend = support::open_at("/", trap.address, "");
    let names: Vec<String> = (0..SECRETS).map(|number| format!("n{number}")).collect();
    let best = (0..ROUNDS)
        .map(|_| {
            support::wait(async {
                let start = Instant::now();
                let found = backend.read_many(&names).await;
                assert!(found.into_iter().all(|found| found.unwrap().is_some()));
                start.elapsed()
            })
        })
        .min()
        .unwrap();
    println!(
        "with {DELAY:?} an answer: {best:?}, {:.2} round trips (10 requests, 8 at once: 2 at best)",
        best.as_secs_f64() / DELAY.as_secs_f64()
    );
}

/// Creating secrets with eight clients, in turn with the bare SDK, each on a fresh server: moto
/// gets slower with every secret, and now and then trips over its own threads, which is tried again
/// alike by both.
fn writes() {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let (ours, bare) = if round % 2 == 0 {
                let bare = rate_of_sdk();
                (rate_of_backend(), bare)
            } else {
                (rate_of_backend(), rate_of_sdk())
            };
            println!("writes: ours {ours:.0} a second, bare SDK {bare:.0}");
            ours / bare
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "write rate beside the bare SDK: {:.2} (median; goal: at least 0.90)",
        ratios[ROUNDS / 2]
    );
}

fn rate_of_sdk() -> f64 {
    let moto = Moto::start();
    let client = bare(moto.address);
    rate(move |number| {
        let client = client.clone();
        async move {
            let name = format!("bench/{number}");
            let request = client.create_secret().name(name).secret_string("value");
            for _ in 0..TRIES {
                if request.clone().send().await.is_ok() {
                    break;
                }
            }
        }
    })
}

fn rate_of_backend() -> f64 {
    let moto = Moto::start();
    let backend = Arc::new(support::open_at("/", moto.address, ""));
    rate(move |number| {
        let backend = Arc::clone(&backend);
        async move {
            let name = format!("bench/{number}");
            for _ in 0..TRIES {
                let value = support::text("value");
                if backend.write(&name, &value).await.is_ok() {
                    break;
                }
            }
        }
    })
}

/// Writes a second, by [`CLIENTS`] at once.
fn rate<F: Future<Output = ()> + Send + 'static>(
    write: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    support::wait(async move {
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (next, write) = (Arc::clone(&next), write.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= WRITES {
                            break;
                        }
                        write(number).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        WRITES as f64 / start.elapsed().as_secs_f64()
    })
}

fn bare(address: SocketAddr) -> Client {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            None,
            "bench",
        ))
        .endpoint_url(format!("http://{address}"));
    Client::from_conf(config.build())
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}
