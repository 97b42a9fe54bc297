//! A machine on which one recorded run is replayed.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::ChildStdout;
use tokio::process::Command;

use crate::AnyResult;
use crate::compare::Answer;

/// Longest that something is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// What stood in the file that cannot be read.
const CORRUPT: &str = "{bad";

/// How a start went.
pub(crate) enum Outcome {
    Ready,
    Ended(i32),
}

pub(crate) struct Machine {
    home: TempDir,
    manifest: Value,
    child: Option<Child>,
    stdout: Option<BufReader<ChildStdout>>,
    said: String,
    port: u16,
    token: String,
    /// Somebody else's listener.
    _busy: Option<TcpListener>,
}

impl Machine {
    pub(crate) fn new(name: &str, run: &Value) -> AnyResult<Self> {
        let home = tempfile::tempdir()?;
        let manifest = run["manifest"].clone();
        let data = home.path().join("data");
        std::fs::create_dir(&data)?;
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700))?;
        std::fs::write(data.join("bundle.json"), manifest.to_string())?;
        let old = match name {
            "16-legacy-flat-secrets-json" => Some("{\"API_KEY\": \"old\"}".to_owned()),
            "17-corrupt-secrets-json" => Some(CORRUPT.to_owned()),
            _ => (!run["preexisting_secrets_json"].is_null())
                .then(|| run["preexisting_secrets_json"].to_string()),
        };
        if let Some(old) = old {
            let path = data.join("secrets.json");
            std::fs::write(&path, old)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644))?;
        }
        let port = manifest["ipc"]["port"].as_u64().unwrap_or_default();
        let busy = match name.starts_with("18") {
            true => TcpListener::bind(("127.0.0.1", u16::try_from(port)?)).ok(),
            false => None,
        };
        Ok(Self {
            home,
            manifest,
            child: None,
            stdout: None,
            said: String::new(),
            port: 0,
            token: String::new(),
            _busy: busy,
        })
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts the program, and waits until it is ready or has ended.
    pub(crate) async fn start(&mut self) -> AnyResult<Outcome> {
        let binary = std::env::var_os("STRONGROOM_BIN");
        let own = std::env::current_exe()?;
        let beside = own.parent().and_then(|folder| folder.parent());
        let beside = beside.map(|folder| folder.join("strongroom").into_os_string());
        let binary = binary.or(beside).ok_or("there is no program")?;
        let mut command = Command::new(binary);
        command
            .args(["supervise", "bundle.json", "--dry-run", "--app-data"])
            .arg(self.data())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.data())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await??;
        if line.is_empty() {
            let status = tokio::time::timeout(PATIENCE, child.wait()).await??;
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut self.said).await?;
            }
            return Ok(Outcome::Ended(status.code().unwrap_or(-1)));
        }
        self.port = self.read("runtime/ipc_port")?.parse()?;
        let token = self.manifest["ipc"]["auth_token_path"].as_str();
        self.token = self.read(token.unwrap_or_default())?;
        let host = self.manifest["ipc"]["host"].as_str().unwrap_or_default();
        let port = self.port;
        let expected =
            format!("runtime ready \u{2014} IPC listening on {host}:{port} (dry-run=true)\n");
        if line != expected {
            return Err(format!("it said {line:?}").into());
        }
        self.child = Some(child);
        self.stdout = Some(stdout);
        Ok(Outcome::Ready)
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    fn read(&self, relative: &str) -> AnyResult<String> {
        let path = self.data().join(relative);
        Ok(std::fs::read_to_string(&path).map_err(|error| format!("{relative}: {error}"))?)
    }

    /// After a start that was refused: what was there is there, and nothing is outside.
    pub(crate) fn check_untouched(&self, name: &str) -> AnyResult<()> {
        if self.home.path().join("escape").exists() {
            return Err("it wrote outside of the application's folder".into());
        }
        match name.starts_with("17") && self.read("secrets.json")? != CORRUPT {
            true => Err("the file that cannot be read was changed".into()),
            false => Ok(()),
        }
    }

    /// Modes of files, the port and the token's length as they were recorded.
    pub(crate) fn check_files(&self, run: &Value) -> AnyResult<()> {
        let recorded = run["ipc_port"].as_u64();
        let declared = self.manifest["ipc"]["port"].as_u64();
        let is_declared = Some(u64::from(self.port)) == declared;
        if recorded.is_some() && (recorded == declared) != is_declared {
            return Err(format!("it listens on port {}", self.port).into());
        }
        if self.token.len() != 48 {
            return Err("the token has another length".into());
        }
        let token = self.manifest["ipc"]["auth_token_path"].as_str();
        for (relative, wanted) in [
            ("runtime", 0o700),
            ("runtime/ipc_port", 0o600),
            (token.unwrap_or_default(), 0o600),
        ] {
            let mode = std::fs::metadata(self.data().join(relative))?
                .permissions()
                .mode();
            if mode & 0o777 != wanted {
                return Err(format!("{relative} has mode {mode:o}").into());
            }
        }
        Ok(())
    }

    /// Sends a recorded request.
    pub(crate) async fn send(&self, request: &Value) -> AnyResult<Answer> {
        let method = request["method"].as_str().unwrap_or_default();
        let path = request["path"].as_str().unwrap_or_default();
        let authorization = request["authorization"].as_str();
        let body = expand(&request["body"]);
        let answer = self.ask(method, path, authorization, body);
        let mut answer = tokio::time::timeout(PATIENCE, answer).await??;
        let data = self.data().display().to_string();
        answer.text = answer.text.replace(&data, "<APP_DATA>");
        Ok(answer)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: String,
    ) -> AnyResult<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path);
        request = request.header("host", format!("127.0.0.1:{}", self.port));
        if let Some(authorization) = authorization {
            let authorization = authorization.replace("<token>", &self.token);
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        let status = u64::from(answer.status().as_u16());
        let content_type = answer.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let bytes = answer.into_body().collect().await?.to_bytes();
        drop(sender);
        let _ = connection.await;
        Ok(Answer {
            status,
            content_type,
            text: String::from_utf8(bytes.to_vec())?,
        })
    }

    /// Brings us to where the older runtime is after a request that we answer otherwise.
    pub(crate) async fn catch_up(&self, request: &Value, number: &str) -> AnyResult<()> {
        let bearer = Some("Bearer <token>");
        let body = expand(&request["body"]);
        let answer = match number {
            "D1" if !request["body"]["value"].is_null() => {
                let path = "/secrets/API_KEY";
                self.ask("DELETE", path, bearer, String::new()).await?
            }
            "D3" => {
                let path = "/secrets?allow_unknown=true";
                self.ask("POST", path, bearer, body).await?
            }
            _ => return Ok(()),
        };
        match answer.status {
            200 => Ok(()),
            _ => Err(format!("{number} cannot be caught up with: {answer:?}").into()),
        }
    }

    /// Every secret has a value: one that was drawn, or that an earlier installation had.
    pub(crate) async fn check_all_set(&self) -> AnyResult<()> {
        let list = self.ask("GET", "/secrets", Some("Bearer <token>"), String::new());
        let list: Value = serde_json::from_str(&list.await?.text)?;
        let secrets = list["secrets"].as_array().ok_or("no list")?;
        match secrets.iter().all(|secret| secret["has_value"] == true) {
            true => Ok(()),
            false => Err("a secret was lost".into()),
        }
    }

    /// Ends the program, and looks at what it leaves.
    pub(crate) async fn end(mut self, run: &Value) -> AnyResult<()> {
        let answer = self.ask("POST", "/shutdown", Some("Bearer <token>"), String::new());
        let answer = answer.await?;
        if answer.text != "{\"status\":\"stopping\"}\n" {
            return Err(format!("{answer:?}").into());
        }
        let mut child = self.child.take().ok_or("nothing runs")?;
        let status = tokio::time::timeout(PATIENCE, child.wait()).await??;
        let mut rest = String::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut rest).await?;
        }
        if !status.success() || rest != "shutdown requested\n" {
            return Err(format!("it ended with {status} and {rest:?}").into());
        }
        if self.data().join("secrets.json").exists() {
            return Err("there is a file with secrets in clear".into());
        }
        self.check_events(run)
    }

    /// The same events, in the same order, beside those that are new.
    fn check_events(&self, run: &Value) -> AnyResult<()> {
        const NEW: [&str; 3] = ["secrets_imported", "secrets_rotated", "secret_fetch_failed"];
        let name = run["name"].as_str().unwrap_or_default();
        let is_diverted = |start: &str| name.starts_with(start);
        // Other requests were sent, or none was recorded.
        if is_diverted("01") || is_diverted("23") || run["telemetry_events"].is_null() {
            return Ok(());
        }
        let file = self.manifest["telemetry"]["file"]
            .as_str()
            .unwrap_or_default();
        let text = self.read(file)?;
        let lines = text.lines().map(serde_json::from_str::<Value>);
        let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
        let ours: Vec<&str> = (lines.iter())
            .filter_map(|line| line["event"].as_str())
            .filter(|event| !NEW.contains(event))
            .collect();
        let recorded = run["telemetry_events"].as_array();
        let wanted: Vec<&str> = (recorded.into_iter().flatten())
            .filter_map(|event| event["event"].as_str())
            .collect();
        match ours == wanted {
            true => Ok(()),
            false => Err(format!("events {ours:?}, not {wanted:?}").into()),
        }
    }
}

/// A recorded body as it was sent; long ones were described.
fn expand(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        Value::String(text) => repeated(text).unwrap_or_else(|| text.clone()),
        body => {
            let text = body.to_string();
            let start = text.find("<'");
            let end = text.rfind('>');
            match (start, end) {
                (Some(start), Some(end)) if end > start => {
                    let described = text.get(start..=end).and_then(repeated);
                    let (before, after) = (text.get(..start), text.get(end + 1..));
                    let parts = (before.unwrap_or_default(), after.unwrap_or_default());
                    format!("{}{}{}", parts.0, described.unwrap_or_default(), parts.1)
                }
                _ => text,
            }
        }
    }
}

/// `<'y' repeated, total text length 1000000>`
fn repeated(text: &str) -> Option<String> {
    let rest = text.strip_prefix("<'")?;
    let (unit, rest) = rest.split_once("' repeated, total text length ")?;
    let length: usize = rest.strip_suffix('>')?.parse().ok()?;
    Some(unit.repeat(length / unit.len()))
}
