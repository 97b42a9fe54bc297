//! An application that works with its credential all the time.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tokio_postgres::NoTls;

use super::super::client::Client;
use super::super::node::pause;
use crate::note::note;

/// Between two questions where something is waited for.
const MOMENT: Duration = Duration::from_millis(15);
/// An application pauses so long before each secret: there are many at once.
const BETWEEN: Duration = Duration::from_millis(150);

/// What a secret is to its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// One role: whoever is refused reads the secret anew, the version that waits too, as the
    /// guide says.
    OneRole,
    /// Roles that take turns: what was read is never refused.
    Turns,
    /// It is only read.
    Read,
}

/// What applications saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) logins: AtomicU64,
    pub(super) reads: AtomicU64,
    /// No value that the server gave was let in.
    pub(super) refused: AtomicU64,
    /// A read without a value.
    pub(super) empty: AtomicU64,
    /// The longest time that an application was kept out by its database, in milliseconds.
    pub(super) locked_out_ms: AtomicU64,
    said: Mutex<Vec<String>>,
}

impl Seen {
    pub(super) fn bad(&self, counter: &AtomicU64, text: String) {
        counter.fetch_add(1, Ordering::Relaxed);
        note(&format!("BAD: {text}"));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(text);
    }
}

/// What an application has read.
#[derive(Clone)]
struct Held {
    value: String,
    version: u64,
}

/// What a login came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    In,
    Refused,
    /// Nobody answered, or the line broke.
    Broken,
}

/// One application: the secrets that it has, and where it reads them.
pub(super) struct Application<'a> {
    pub(super) servers: &'a [SocketAddr],
    pub(super) token: &'a str,
    pub(super) secrets: &'a [String],
    pub(super) kind: Use,
    pub(super) seen: &'a Seen,
    pub(super) is_over: &'a AtomicBool,
}

impl Application<'_> {
    pub(super) fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        let mut held: Vec<Option<Held>> = vec![None; self.secrets.len()];
        let mut round = 0_usize;
        while !self.is_over.load(Ordering::Relaxed) {
            for (secret, held) in self.secrets.iter().zip(&mut held) {
                pause(BETWEEN);
                // Some read the secret for each login, some keep what they read for a while.
                if held.is_none() || round.is_multiple_of(3) {
                    match self.read(secret, "") {
                        Some(value) => *held = Some(value),
                        None if held.is_none() => continue,
                        None => {}
                    }
                }
                let Some(own) = held.clone() else { continue };
                if self.kind == Use::Read {
                    continue;
                }
                self.seen.logins.fetch_add(1, Ordering::Relaxed);
                if runtime.block_on(login(&own.value)) == Login::Refused {
                    *held = match self.kind {
                        Use::Turns => self.outdated(secret, &own),
                        Use::OneRole | Use::Read => self.refused(&runtime, secret),
                    };
                }
            }
            round += 1;
        }
    }

    /// A value was refused: of roles that take turns only one that a second rotation has replaced,
    /// or is replacing now.
    fn outdated(&self, secret: &str, own: &Held) -> Option<Held> {
        while !self.is_over.load(Ordering::Relaxed) {
            if let (Some(newest), Some(now)) = (self.newest(secret), self.read(secret, "")) {
                if newest < own.version + 2 {
                    let text = format!(
                        "{secret}: version {} is refused, and {newest} is the newest",
                        own.version
                    );
                    self.seen.bad(&self.seen.refused, text);
                }
                return Some(now);
            }
            pause(MOMENT);
        }
        None
    }

    /// A value was refused: what works is looked for until the server and the database answer.
    fn refused(&self, runtime: &tokio::runtime::Runtime, secret: &str) -> Option<Held> {
        let begun = Instant::now();
        let mut refusals = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let candidates = [self.read(secret, ""), self.pending(secret)];
            let is_told = candidates[0].is_some();
            for held in candidates.into_iter().flatten() {
                match runtime.block_on(login(&held.value)) {
                    Login::In => {
                        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                        self.seen.locked_out_ms.fetch_max(ms, Ordering::Relaxed);
                        return Some(held);
                    }
                    Login::Refused => {}
                    // It is asked again.
                    Login::Broken => refusals = 0,
                }
            }
            // Both may have moved on between the two questions, but not again and again.
            refusals += u32::from(is_told);
            if refusals == 20 {
                let text = format!("{secret}: neither the current nor the waiting value is let in");
                self.seen.bad(&self.seen.refused, text);
            }
            pause(MOMENT);
        }
        None
    }

    /// The value of a version, the current one without a query.
    fn read(&self, secret: &str, query: &str) -> Option<Held> {
        let path = format!("secret/data/{secret}{query}");
        for server in self.servers {
            let Ok(mut client) = Client::connect(*server, self.token) else {
                continue;
            };
            let Ok(answer) = client.ask("GET", &path, &Value::Null) else {
                continue;
            };
            if answer.status != 200 {
                // Sealed, or on its way to its end; a current value is never missing.
                if answer.status == 404 && query.is_empty() {
                    let text = format!("{secret}: 404 for the current value");
                    self.seen.bad(&self.seen.empty, text);
                }
                continue;
            }
            self.seen.reads.fetch_add(1, Ordering::Relaxed);
            let json = answer.json();
            let fields = json["data"]["data"].as_object();
            let value = fields.and_then(|fields| fields.values().next()?.as_str());
            if value.is_none() && query.is_empty() {
                let text = format!("{secret}: an answer without a value");
                self.seen.bad(&self.seen.empty, text);
            }
            return Some(Held {
                value: value?.to_owned(),
                version: json["data"]["metadata"]["version"].as_u64()?,
            });
        }
        None
    }

    /// The number of the newest version, which may wait.
    fn newest(&self, secret: &str) -> Option<u64> {
        let path = format!("secret/metadata/{secret}");
        let mut servers = self.servers.iter();
        servers.find_map(|server| {
            let mut client = Client::connect(*server, self.token).ok()?;
            let json = client.ask("GET", &path, &Value::Null).ok()?.json();
            let versions = json["data"]["versions"].as_object()?;
            let numbers = versions.keys().filter_map(|one| one.parse::<u64>().ok());
            numbers.max()
        })
    }

    /// The value of the newest version.
    fn pending(&self, secret: &str) -> Option<Held> {
        let newest = self.newest(secret)?;
        self.read(secret, &format!("?version={newest}"))
    }
}

/// Logs in with a `postgres://` address. Only a wrong password is a refusal.
async fn login(url: &str) -> Login {
    match tokio_postgres::connect(url, NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            match client.simple_query("SELECT 1").await {
                Ok(_) => Login::In,
                Err(_) => Login::Broken,
            }
        }
        Err(error) => match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("28P01" | "28000") => Login::Refused,
            _ => Login::Broken,
        },
    }
}
