//! The AWS API beside moto's server and a bare handler: the same client, in turn, over loopback.
//! Ours verifies every signature, checks the policy and writes the audit log; moto does not.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use hyper::Request;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::request;
use strongroom_crypto::request::Scope;
use strongroom_server::SignatureVerifier;

use crate::migrate::Moto;
use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::CONNECTIONS;
use crate::server::Rate;
use crate::server::SECONDS;
use crate::server::Server;
use crate::server::more;

const REGION: &str = "us-east-1";
const SERVICE: &str = "secretsmanager";
const HOST: &str = "localhost";
const SIGNED: &str = "host;x-amz-date;x-amz-target";
/// Bytes of the value that is read and written.
const VALUE_BYTES: usize = 256;
const BATCH: usize = 20;
/// Threads of wrk under load; each has requests of its own to write with.
const THREADS: usize = 2;
/// Signed in advance for each thread: more than any server answers meanwhile.
const WRITES: usize = 15_000 * SECONDS as usize / THREADS;
/// Secrets that are written to in turn.
const WRITTEN: usize = 2_000;
const VERIFICATIONS: u32 = 20_000;
const PAGES: u32 = 20;

pub(crate) fn bench() -> AnyResult<()> {
    let rig = Rig::new()?;
    let ours = Server::strongroom(&rig)?;
    let moto = Moto::start()?;
    let floor = Server::floor()?;
    let made = ours.ask("POST", "sys/aws/keys", &json!({"policies": ["root"]}))?;
    let text = |name: &str| made["data"][name].as_str().ok_or("no access key");
    let key = Key {
        id: text("access_key_id")?.to_owned(),
        secret: SecretValue::copy_from(text("secret_access_key")?.as_bytes()),
    };
    let secret = "x".repeat(VALUE_BYTES);
    for number in 0..BATCH {
        for port in [ours.port, moto.port] {
            let body = json!({
                "Name": format!("bench/{number}"),
                "SecretString": secret,
                "ClientRequestToken": format!("00000000-0000-4000-8000-{number:012}"),
            });
            key.ask(port, "CreateSecret", &body)?;
        }
    }
    reads(&rig, &key, &ours, &moto, &floor)?;
    writes(&rig, &key, &ours)?;
    signatures(&key);
    pages(&key, &ours)
}

fn reads(rig: &Rig, key: &Key, ours: &Server, moto: &Moto, floor: &Server) -> AnyResult<()> {
    let one = json!({"SecretId": "bench/7"});
    let get = |port| -> AnyResult<Rate> {
        let script = key.script(rig, "GetSecretValue", &one)?;
        ours.load_at(
            &format!("http://127.0.0.1:{port}"),
            CONNECTIONS,
            Some(&script),
        )
    };
    let (read, theirs, bare) = (get(ours.port)?, get(moto.port)?, get(floor.port)?);
    let ratio = read.rate / theirs.rate;
    report::row(&[
        &format!("GetSecretValue of {VALUE_BYTES} bytes at {CONNECTIONS} connections"),
        &shown(&read),
        &format!("moto: {}", shown(&theirs)),
        &format!("{ratio:.0}"),
        "at least 60",
        verdict(ratio >= 60.0),
    ]);
    let share = read.rate / bare.rate;
    report::row(&[
        "the same, beside a bare handler",
        &format!("{:.0}/s", read.rate),
        &format!("{:.0}/s", bare.rate),
        &format!("{share:.2}"),
        "at least 0.25",
        verdict(share >= 0.25),
    ]);
    let ids: Vec<String> = (0..BATCH).map(|number| format!("bench/{number}")).collect();
    let many = json!({ "SecretIdList": ids });
    let script = key.script(rig, "BatchGetSecretValue", &many)?;
    let at = format!("http://127.0.0.1:{}", ours.port);
    let batch = ours.load_at(&at, CONNECTIONS, Some(&script))?;
    let again = get(ours.port)?;
    let cost = f64::midpoint(read.rate, again.rate) / batch.rate;
    report::row(&[
        &format!("BatchGetSecretValue of {BATCH}"),
        &shown(&batch),
        "what one costs",
        &format!("{cost:.1}"),
        "at most 3",
        verdict(cost <= 3.0),
    ]);
    Ok(())
}

fn writes(rig: &Rig, key: &Key, ours: &Server) -> AnyResult<()> {
    for number in 0..WRITTEN {
        let body = json!({"data": {"value": "first"}});
        ours.ask("POST", &format!("secret/data/put/{number}"), &body)?;
    }
    let script = key.writes(rig)?;
    let at = format!("http://127.0.0.1:{}", ours.port);
    let write = ours.load_at(&at, CONNECTIONS, Some(&script))?;
    if write.rate * f64::from(SECONDS) > (WRITES * THREADS) as f64 {
        return Err("too few requests were signed: some went out twice".into());
    }
    report::row(&[
        &format!("PutSecretValue, durable, at {CONNECTIONS} connections"),
        &shown(&write),
        "",
        "",
        "at least 8000/s",
        verdict(write.rate >= 8000.0),
    ]);
    Ok(())
}

/// The verification of one signature, as the server does it.
fn signatures(key: &Key) {
    let body = br#"{"SecretId":"bench/7"}"#;
    let (now, stamp) = now();
    let request = Request::post("/")
        .header("host", HOST)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-date", &stamp)
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header(
            "authorization",
            key.authorize("GetSecretValue", body, &stamp),
        )
        .body(());
    let Ok(request) = request else { return };
    let (parts, ()) = request.into_parts();
    let best = |verifier: &mut dyn FnMut() -> bool| {
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let start = Instant::now();
            for _ in 0..VERIFICATIONS / 10 {
                assert!(black_box(verifier()), "the signature does not fit");
            }
            best = best.min(start.elapsed() / (VERIFICATIONS / 10));
        }
        best.as_secs_f64() * 1e6
    };
    let known = SignatureVerifier::new(key.secret.clone(), SERVICE);
    let warm = best(&mut || known.fits(&parts, body, now));
    let cold = best(&mut || {
        let verifier = SignatureVerifier::new(key.secret.clone(), SERVICE);
        verifier.fits(&parts, body, now)
    });
    for (what, took) in [
        ("verification of a signature", warm),
        ("the first of a key on a day", cold),
    ] {
        report::row(&[
            what,
            &format!("{took:.1} us"),
            "",
            "",
            "at most 12 us",
            verdict(took <= 12.0),
        ]);
    }
}

/// A page of a list among few and among many.
fn pages(key: &Key, ours: &Server) -> AnyResult<()> {
    let page = || -> AnyResult<(Duration, Duration)> {
        let mut times = Vec::new();
        for _ in 0..PAGES {
            let start = Instant::now();
            let listed = key.ask(ours.port, "ListSecrets", &json!({}))?;
            times.push(start.elapsed());
            if listed["SecretList"].as_array().map(Vec::len) != Some(100) {
                return Err("a page has not 100 secrets".into());
            }
        }
        let first = times[0];
        times.sort_unstable();
        Ok((first, times[times.len() / 2]))
    };
    let (_, few) = page()?;
    more::fill(ours)?;
    let (first, many) = page()?;
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    report::row(&[
        &format!("ListSecrets, a page of 100 of over {}", more::NAMES),
        &format!("{:.1} ms (the first {:.0} ms)", ms(many), ms(first)),
        &format!("of {WRITTEN}: {:.1} ms", ms(few)),
        &format!("{:.2}", ms(many) / ms(few)),
        "",
        "",
    ]);
    Ok(())
}

fn shown(rate: &Rate) -> String {
    format!("{:.0}/s, p99 {:.2} ms", rate.rate, rate.p99_ms)
}

/// An access key that signs.
struct Key {
    id: String,
    secret: SecretValue,
}

impl Key {
    /// The header that a request for this moment is signed with.
    fn authorize(&self, operation: &str, body: &[u8], stamp: &str) -> String {
        let date = &stamp[..8];
        let hex = |bytes: [u8; 32]| data_encoding::HEXLOWER.encode(&bytes);
        let canonical = format!(
            "POST\n/\n\nhost:{HOST}\nx-amz-date:{stamp}\n\
             x-amz-target:{SERVICE}.{operation}\n\n{SIGNED}\n{}",
            hex(request::sha256(body))
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{date}/{REGION}/{SERVICE}/aws4_request\n{}",
            hex(request::sha256(canonical.as_bytes()))
        );
        let scope = Scope {
            date,
            region: REGION,
            service: SERVICE,
        };
        let signature = hex(request::sign(&self.secret, &scope, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{date}/{REGION}/{SERVICE}/aws4_request, \
             SignedHeaders={SIGNED}, Signature={signature}",
            self.id
        )
    }

    /// What wrk sends again and again, signed now.
    fn script(&self, rig: &Rig, operation: &str, body: &Value) -> AnyResult<PathBuf> {
        let (_, stamp) = now();
        let body = body.to_string();
        let signed = self.authorize(operation, body.as_bytes(), &stamp);
        let script = rig.file(&format!("{operation}.lua"));
        let text = format!(
            "wrk.method = 'POST'\nwrk.path = '/'\nwrk.body = '{body}'\n{}\
             wrk.headers['Authorization'] = '{signed}'\n\
             function request() return wrk.format('POST', '/') end\n",
            headers(operation, &stamp)
        );
        fs::write(&script, text)?;
        Ok(script)
    }

    /// Writes, each with a token and a signature of its own, for each thread of wrk.
    fn writes(&self, rig: &Rig) -> AnyResult<PathBuf> {
        let (_, stamp) = now();
        let value = "x".repeat(VALUE_BYTES);
        let folder = rig.project();
        for thread in 0..THREADS {
            let mut lines = String::new();
            for number in 0..WRITES {
                let at = number * THREADS + thread;
                let body = format!(
                    "{{\"SecretId\":\"put/{}\",\
                     \"ClientRequestToken\":\"00000000-0000-4000-9000-{at:012}\",\
                     \"SecretString\":\"{value}\"}}",
                    at % WRITTEN
                );
                let signed = self.authorize("PutSecretValue", body.as_bytes(), &stamp);
                writeln!(lines, "{signed}\n{body}")?;
            }
            fs::write(folder.join(format!("writes-{thread}.txt")), lines)?;
        }
        let script = rig.file("writes.lua");
        let text = format!(
            "{}local thread = 0\n\
             function setup(t) t:set('id', thread) thread = thread + 1 end\n\
             function init()\n  requests = {{}}\n  \
             local file = io.open('{}/writes-' .. id .. '.txt')\n  while true do\n    \
             local signed, body = file:read('*l'), file:read('*l')\n    \
             if body == nil then break end\n    \
             wrk.headers['Authorization'] = signed\n    \
             requests[#requests + 1] = wrk.format('POST', '/', nil, body)\n  end\n  \
             at = 0\nend\n\
             function request()\n  at = at % #requests + 1\n  return requests[at]\nend\n",
            headers("PutSecretValue", &stamp),
            folder.display(),
        );
        fs::write(&script, text)?;
        Ok(script)
    }

    /// One request; the answer's JSON.
    fn ask(&self, port: u16, operation: &str, body: &Value) -> AnyResult<Value> {
        let (_, stamp) = now();
        let body = body.to_string();
        let signed = self.authorize(operation, body.as_bytes(), &stamp);
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nX-Amz-Date: {stamp}\r\n\
             X-Amz-Target: {SERVICE}.{operation}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: {signed}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("{operation} failed: {answer}").into());
        }
        let start = answer.find('{').unwrap_or(answer.len());
        Ok(serde_json::from_str(answer[start..].trim_end())?)
    }
}

fn headers(operation: &str, stamp: &str) -> String {
    format!(
        "wrk.headers['Host'] = '{HOST}'\n\
         wrk.headers['Content-Type'] = 'application/x-amz-json-1.1'\n\
         wrk.headers['X-Amz-Date'] = '{stamp}'\n\
         wrk.headers['X-Amz-Target'] = '{SERVICE}.{operation}'\n"
    )
}

fn now() -> (Timestamp, String) {
    let now = jiff::Timestamp::now();
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    (Timestamp::from_micros(now.as_microsecond()), stamp)
}
