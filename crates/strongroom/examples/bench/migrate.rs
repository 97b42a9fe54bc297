//! `strongroom migrate` of a large `.env` to AWS, with moto in AWS's place.

use std::fmt::Write as _;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::draw::Draw;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::timing::ms;

const SECRETS: usize = 1000;
const CLIENTS: usize = 8;
const ROUNDS: usize = 7;
/// Of moto's own rate.
const RATE_MIN: f64 = 0.9;
const CPU_MS_MAX: f64 = 1.0;
/// The kernel counts the time of processes in these.
const TICK: Duration = Duration::from_millis(10);

/// Moves 1,000 secrets, in turn with eight clients that do nothing but write as many.
pub(crate) fn bench() -> AnyResult<()> {
    let (mut own, mut ours, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(bare()?);
        let (took, cpu) = migrate()?;
        ours.push(took);
        cpus.push(cpu);
    }
    for times in [&mut own, &mut ours, &mut cpus] {
        times.sort_unstable();
    }
    let rate = |took: Duration| SECRETS as f64 / took.as_secs_f64();
    let (own, ours, cpu) = (rate(own[0]), rate(ours[0]), cpus[ROUNDS / 2]);
    report::row(&[
        &format!("`migrate`, {SECRETS} secrets to moto, each read back"),
        &format!("{ours:.0} secrets/s"),
        &format!("{CLIENTS} clients that only write: {own:.0}/s"),
        &format!("{:.2}", ours / own),
        &format!("at least {RATE_MIN}"),
        report::verdict(ours >= own * RATE_MIN),
    ]);
    let each = ms(cpu) / SECRETS as f64;
    report::row(&[
        "CPU of `migrate` for a secret, all of the process",
        &format!("{each:.2} ms"),
        "",
        "",
        &format!("at most {CPU_MS_MAX} ms"),
        report::verdict(each <= CPU_MS_MAX),
    ]);
    Ok(())
}

/// The time of the whole process, and its CPU.
fn migrate() -> AnyResult<(Duration, Duration)> {
    let moto = Moto::start()?;
    let rig = Rig::new()?;
    let mut draw = Draw::new(13);
    let mut env = String::new();
    for number in 0..SECRETS {
        writeln!(env, "SERVICE_{number:04}_API_KEY={}", draw.text(40))?;
    }
    fs::write(rig.file(".env"), env)?;
    let to = "aws:us-east-1/bench";
    let mut command = rig.strongroom(&["migrate", "--from", "dotenv:.env", "--to", to, "--yes"]);
    command
        .env(
            "AWS_ENDPOINT_URL",
            format!("http://127.0.0.1:{}", moto.port),
        )
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "of-the-benchmark")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let (start, cpu) = (Instant::now(), cpu_of_children()?);
    let output = command.output()?;
    let took = start.elapsed();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok((took, cpu_of_children()?.saturating_sub(cpu)))
}

/// User and system time of the processes that have been waited for.
fn cpu_of_children() -> AnyResult<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name may hold anything; what follows its bracket are numbers.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in /proc/self/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (user, system) = ticks(13)
        .zip(ticks(14))
        .ok_or("no times in /proc/self/stat")?;
    Ok(TICK * (user + system))
}

/// The time that moto takes to make the secrets.
fn bare() -> AnyResult<Duration> {
    let moto = Moto::start()?;
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| write_all(moto.port, &next).map_err(|error| error.to_string())))
            .collect();
        let results = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
        results
            .map(|result| result.map_err(|_| "a client ended".to_owned()).flatten())
            .collect::<Result<Vec<()>, String>>()
    })?;
    Ok(start.elapsed())
}

fn write_all(port: u16, next: &AtomicUsize) -> AnyResult<()> {
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= SECRETS {
            return Ok(());
        }
        // moto trips over its own threads now and then.
        let mut is_made = false;
        for _ in 0..5 {
            is_made = is_made || write_one(&mut connection, port, number)? == 200;
        }
        if !is_made {
            return Err("moto makes no secret".into());
        }
    }
}

fn write_one(connection: &mut BufReader<TcpStream>, port: u16, number: usize) -> AnyResult<u16> {
    let body = format!(
        "{{\"Name\":\"bench/{number}\",\"SecretString\":\"{number:040}\",\
         \"ClientRequestToken\":\"00000000-0000-4000-8000-{number:012}\"}}"
    );
    write!(
        connection.get_mut(),
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: secretsmanager.CreateSecret\r\n\
         Content-Type: application/x-amz-json-1.1\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=a/20300101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, \
         Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or("moto gave no answer")?;
    let (mut length, mut closes) = (0, false);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let lower = line.trim().to_ascii_lowercase();
        match lower.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("connection", value)) => closes = value.trim() == "close",
            _ if lower.is_empty() => break,
            _ => {}
        }
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer)?;
    if closes {
        *connection = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    }
    Ok(status)
}

/// moto's server; killed on drop.
pub(crate) struct Moto {
    process: Child,
    pub(crate) port: u16,
}

impl Moto {
    pub(crate) fn start() -> AnyResult<Self> {
        let venv = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../.peers/venv/bin/moto_server"
        );
        let mut process = Command::new(venv)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("moto_server: {error}: cargo xtask peers installs it"))?;
        let log = process.stderr.take().ok_or("moto has no log")?;
        let mut moto = Self { process, port: 0 };
        let mut log = BufReader::new(log);
        while moto.port == 0 {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("moto ended at its start".into());
            }
            if let Some((_, port)) = line.trim_end().split_once("Running on http://127.0.0.1:") {
                moto.port = port.parse()?;
            }
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
