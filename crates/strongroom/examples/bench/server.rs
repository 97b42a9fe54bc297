//! The server beside OpenBao on raft and a bare handler: the same client, in turn, over loopback,
//! with an audit file on both.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::openbao::program;

use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;

pub(crate) mod more;
mod rusty;

/// Seconds of each measurement.
pub(crate) const SECONDS: u32 = 5;
/// Connections of the measurements under load.
pub(crate) const CONNECTIONS: u32 = 32;
/// Bytes of the value that is read and written.
pub(crate) const VALUE_BYTES: usize = 256;
/// A server has so long to start.
const START: Duration = Duration::from_secs(60);

pub(crate) fn bench() -> AnyResult<()> {
    let rig = Rig::new()?;
    let ours = Server::strongroom(&rig)?;
    let theirs = Server::openbao(&rig)?;
    let floor = Server::floor()?;
    for server in [&ours, &theirs] {
        server.prepare()?;
    }
    let scripts = Scripts::write(&rig)?;
    for connections in [CONNECTIONS, 1] {
        let is_loaded = connections > 1;
        let at = format!("at {connections} connections");
        let reads = [&ours, &theirs, &floor].map(|server| server.load(connections, None));
        let [read, their_read, floor_read] = reads;
        let (read, their_read, floor_read) = (read?, their_read?, floor_read?);
        let goal = if is_loaded { 10.0 } else { 4.0 };
        compare(
            &format!("reads of {VALUE_BYTES} bytes {at}"),
            &read,
            &their_read,
            goal,
        );
        if is_loaded {
            report::row(&[
                &format!("p99 of those reads {at}"),
                &format!("{:.2} ms", read.p99_ms),
                &format!("OpenBao: {:.2} ms", their_read.p99_ms),
                &format!("1/{:.0}", their_read.p99_ms / read.p99_ms),
                "at most 1/8",
                verdict(read.p99_ms * 8.0 <= their_read.p99_ms),
            ]);
        }
        let share = read.rate / floor_read.rate;
        report::row(&[
            &format!("the same, beside a bare handler {at}"),
            &format!("{:.0}/s", read.rate),
            &format!("{:.0}/s", floor_read.rate),
            &format!("{share:.2}"),
            if is_loaded { "at least 0.50" } else { "" },
            if is_loaded { verdict(share >= 0.5) } else { "" },
        ]);
        if is_loaded {
            rusty::compare(&rig, &read)?;
        }
        let write = ours.load(connections, Some(&scripts.write))?;
        let their_write = theirs.load(connections, Some(&scripts.write))?;
        compare(&format!("durable writes {at}"), &write, &their_write, goal);
    }
    let tokens = ours.load(CONNECTIONS, Some(&scripts.token))?;
    let their_tokens = theirs.load(CONNECTIONS, Some(&scripts.token))?;
    compare("tokens made", &tokens, &their_tokens, 10.0);
    more::logins(&rig, &ours, &theirs)?;
    more::listings(&rig, &ours, &theirs)?;
    more::reads_over_tls(&rig, &ours, &theirs)?;
    more::decisions()?;
    let memory = (ours.memory_kib()?, theirs.memory_kib()?);
    report::row(&[
        "memory after all that",
        &format!("{} MB", memory.0 / 1024),
        &format!("{} MB", memory.1 / 1024),
        "",
        "at most 120 MB",
        verdict(memory.0 <= 120 * 1024),
    ]);
    report::row(&[
        "ready after its start",
        &format!("{} ms", ours.ready.as_millis()),
        &format!("{} ms", theirs.ready.as_millis()),
        "",
        "at most 60 ms",
        verdict(ours.ready <= Duration::from_millis(60)),
    ]);
    Ok(())
}

fn compare(what: &str, ours: &Rate, theirs: &Rate, goal: f64) {
    let ratio = ours.rate / theirs.rate;
    report::row(&[
        what,
        &format!("{:.0}/s, p99 {:.2} ms", ours.rate, ours.p99_ms),
        &format!("OpenBao: {:.0}/s, p99 {:.2} ms", theirs.rate, theirs.p99_ms),
        &format!("{ratio:.1}"),
        &format!("at least {goal}"),
        verdict(ratio >= goal),
    ]);
}

/// A server that is killed at the end.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    /// The port with TLS, where there is one.
    tls_port: u16,
    token: String,
    /// What is read where no script says otherwise.
    read: &'static str,
    ready: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What was measured.
pub(crate) struct Rate {
    pub(crate) rate: f64,
    pub(crate) p99_ms: f64,
}

impl Server {
    pub(crate) fn strongroom(rig: &Rig) -> AnyResult<Self> {
        let port = free_port()?;
        let audit = rig.file("audit");
        let listen = format!("127.0.0.1:{port}");
        let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
        let mut command = rig.strongroom(&["serve", "--listen", &listen, "--audit-folder"]);
        let mut server = Self::start(command.arg(audit), port)?;
        server.token = token.trim().to_owned();
        Ok(server)
    }

    pub(crate) fn openbao(rig: &Rig) -> AnyResult<Self> {
        let (port, cluster, tls_port) = (free_port()?, free_port()?, free_port()?);
        let (certificate, key) = more::certificate(rig)?;
        let (certificate, key) = (certificate.display(), key.display());
        let folder = rig.file("openbao");
        fs::create_dir_all(folder.join("raft"))?;
        let shown = folder.display();
        let config = format!(
            "storage \"raft\" {{ path = \"{shown}/raft\" node_id = \"n1\" }}\n\
             listener \"tcp\" {{ address = \"127.0.0.1:{port}\" \
             cluster_address = \"127.0.0.1:{cluster}\" tls_disable = true }}\n\
             listener \"tcp\" {{ address = \"127.0.0.1:{tls_port}\" \
             tls_cert_file = \"{certificate}\" tls_key_file = \"{key}\" }}\n\
             api_addr = \"http://127.0.0.1:{port}\"\n\
             cluster_addr = \"https://127.0.0.1:{cluster}\"\n\
             disable_mlock = true\nunsafe_allow_api_audit_creation = true\n"
        );
        let path = folder.join("server.hcl");
        fs::write(&path, config)?;
        let mut command = Command::new(program());
        command.arg("server").arg("-config").arg(&path);
        let mut server = Self::start(&mut command, port)?;
        server.tls_port = tls_port;
        let body = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = server.ask("PUT", "sys/init", &body)?;
        server.token = made["root_token"]
            .as_str()
            .ok_or("no root token")?
            .to_owned();
        let key = json!({ "key": made["keys_base64"][0] });
        let begun = Instant::now();
        loop {
            let status = server.ask("PUT", "sys/unseal", &key)?;
            let health = server.ask("GET", "sys/health", &Value::Null);
            if status["sealed"] == false && health.is_ok_and(|health| health["standby"] == false) {
                break;
            }
            if begun.elapsed() > START {
                return Err("OpenBao does not become active".into());
            }
        }
        let audit = json!({
            "type": "file",
            "options": {"file_path": folder.join("audit.log").display().to_string()},
        });
        server.ask("PUT", "sys/audit/file", &audit)?;
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        server.ask("POST", "sys/mounts/secret", &mount)?;
        Ok(server)
    }

    /// A handler that does nothing but answer with as many bytes.
    pub(crate) fn floor() -> AnyResult<Self> {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
            {
                runtime.block_on(floor::serve(&sender));
            }
        });
        Ok(Self {
            child: None,
            port: receiver.recv()?,
            tls_port: 0,
            token: String::new(),
            read: "secret/data/bench/read",
            ready: Duration::ZERO,
        })
    }

    pub(crate) fn start(command: &mut Command, port: u16) -> AnyResult<Self> {
        let begun = Instant::now();
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self {
            child: Some(child),
            port,
            tls_port: 0,
            token: String::new(),
            read: "secret/data/bench/read",
            ready: Duration::ZERO,
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START {
                return Err("a server does not start".into());
            }
            std::thread::yield_now();
        }
        server.ready = begun.elapsed();
        Ok(server)
    }

    /// Memory that it takes now, in MB, and how long it took to listen.
    pub(crate) fn start_up(&self) -> AnyResult<(f64, Duration)> {
        let id = self.child.as_ref().map_or(0, Child::id);
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: f64 = kib.ok_or("no memory is told")?.parse()?;
        Ok((kib / 1024.0, self.ready))
    }

    /// Requests have this token from now on.
    pub(crate) fn use_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// The value that is read.
    pub(crate) fn prepare(&self) -> AnyResult<()> {
        let body = json!({"data": {"password": "x".repeat(VALUE_BYTES)}});
        let put = self.ask("POST", "secret/data/bench/read", &body)?;
        match put["data"]["version"].as_u64() {
            Some(_) => Ok(()),
            None => Err(format!("cannot write: {put}").into()),
        }
    }

    /// One request; the answer's JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> AnyResult<Value> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START))?;
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let start = answer.find('{').unwrap_or(answer.len());
        let end = answer.rfind('}').map_or(start, |end| end + 1);
        Ok(serde_json::from_str(&answer[start..end]).unwrap_or(Value::Null))
    }

    fn load(&self, connections: u32, script: Option<&Path>) -> AnyResult<Rate> {
        self.load_at(
            &format!("http://127.0.0.1:{}", self.port),
            connections,
            script,
        )
    }

    pub(crate) fn load_at(
        &self,
        at: &str,
        connections: u32,
        script: Option<&Path>,
    ) -> AnyResult<Rate> {
        let mut command = Command::new("wrk");
        command
            .arg(format!("-t{}", connections.min(2)))
            .arg(format!("-c{connections}"))
            .arg(format!("-d{SECONDS}s"))
            .arg("--latency")
            .args(["-H", &format!("X-Vault-Token: {}", self.token)]);
        if let Some(script) = script {
            command.arg("-s").arg(script);
        }
        command.arg(format!("{at}/v1/{}", self.read));
        let output = command.output().map_err(|error| {
            format!("wrk cannot be started (cargo xtask peers --bench): {error}")
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("Non-2xx") {
            return Err(format!("some requests failed: {text}").into());
        }
        Ok(Rate {
            rate: field(&text, "Requests/sec:")
                .and_then(|text| text.parse().ok())
                .ok_or("no rate")?,
            p99_ms: field(&text, "99%")
                .and_then(milliseconds)
                .ok_or("no latency")?,
        })
    }

    fn memory_kib(&self) -> AnyResult<u64> {
        let id = self.child.as_ref().map(Child::id).ok_or("no process")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = field(&status, "VmRSS:").ok_or("no VmRSS")?;
        Ok(line.parse()?)
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(name))?;
    line.trim_start()[name.len()..].split_whitespace().next()
}

fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        _ if text.ends_with("us") => (text.trim_end_matches("us"), 0.001),
        _ if text.ends_with("ms") => (text.trim_end_matches("ms"), 1.0),
        _ => (text.trim_end_matches('s'), 1000.0),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// What wrk runs.
struct Scripts {
    write: PathBuf,
    token: PathBuf,
}

impl Scripts {
    fn write(rig: &Rig) -> AnyResult<Self> {
        let value = "x".repeat(VALUE_BYTES);
        let mut write = String::from("local count = 0\nlocal thread = 0\n");
        let _ = write!(
            write,
            "function setup(t) t:set('id', thread) thread = thread + 1 end\n\
             function request()\n  count = count + 1\n  \
             return wrk.format('POST', '/v1/secret/data/bench/w' .. id .. '/' .. (count % 1000), \
             nil, '{{\"data\":{{\"password\":\"{value}\"}}}}')\nend\n"
        );
        let token = "wrk.method = 'POST'\nwrk.path = '/v1/auth/token/create'\n\
                     wrk.body = '{\"ttl\":\"1h\",\"policies\":[\"default\"]}'\n\
                     function request() return wrk.format('POST', '/v1/auth/token/create') end\n";
        let scripts = Self {
            write: rig.file("write.lua"),
            token: rig.file("token.lua"),
        };
        fs::write(&scripts.write, write)?;
        fs::write(&scripts.token, token)?;
        Ok(scripts)
    }
}

pub(crate) fn free_port() -> AnyResult<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What a server costs that does nothing.
mod floor {
    use std::convert::Infallible;
    use std::sync::mpsc::Sender;

    use http_body_util::Full;
    use hyper::Response;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    /// As many bytes as an answer with a secret of 256 bytes has.
    const BODY: &[u8] = &[b'x'; 560];

    pub(super) async fn serve(ready: &Sender<u16>) {
        let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await else {
            return;
        };
        if let Ok(address) = listener.local_addr() {
            let _ = ready.send(address.port());
        }
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let answer = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    }
}
