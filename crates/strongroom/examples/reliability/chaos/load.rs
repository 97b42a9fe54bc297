//! Clients of all servers, and what each of them saw.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::history::Deed;
use strongroom_testkit::history::Event;
use strongroom_testkit::history::Listing;
use strongroom_testkit::history::Sight;
use strongroom_testkit::history::linearize;
use strongroom_testkit::history::lists_follow;
use strongroom_testkit::history::never_goes_back;

use super::net::SERVERS;
use super::net::client_side;
use crate::draw::Draw;
use crate::rig::AnyResult;
use crate::server::client::Answer;
use crate::server::client::Client;
use crate::server::node::pause;

pub(super) const CLIENTS: u64 = 12;
const KEYS: u64 = 12;
pub(super) const PORT: u16 = 8200;
/// What one server acknowledged is seen by each of the others after this, in nanoseconds.
const STALENESS_NS: u64 = 1_000_000_000;
/// A client gives up and goes to another server.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// Clients do not fill the machine.
const BETWEEN: Duration = Duration::from_millis(4);

/// Everything that clients saw.
pub(super) struct Load {
    begun: Instant,
    token: String,
    is_over: AtomicBool,
    numbers: AtomicU64,
    seen: Mutex<Seen>,
}

/// By key, by server, by name.
#[derive(Default)]
pub(super) struct Seen {
    events: BTreeMap<u64, Vec<Event>>,
    sights: BTreeMap<(u64, usize), Vec<Sight>>,
    made: BTreeMap<u64, (u64, Option<u64>)>,
    listings: Vec<Listing>,
    /// When writes were acknowledged.
    pub(super) acknowledged: Vec<u64>,
    pub(super) reads: u64,
    /// Requests whose connection ended, or was never made.
    pub(super) unanswered: u64,
    /// Answers that ask to try again, by status.
    pub(super) again: BTreeMap<u16, u64>,
    /// Answers that no client expects.
    pub(super) strange: Vec<String>,
}

/// What a request came to.
enum Outcome {
    Answer(Answer, u64),
    /// It may have happened.
    Unknown,
    /// It was never sent, or the answer says that nothing was done.
    Nothing,
}

impl Load {
    pub(super) fn new(token: &str) -> Self {
        Self {
            begun: Instant::now(),
            token: token.to_owned(),
            is_over: AtomicBool::new(false),
            numbers: AtomicU64::new(1),
            seen: Mutex::default(),
        }
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// One client, until the end.
    pub(super) fn client(&self, seed: u64) {
        let mut draw = Draw::new(seed);
        let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
        let mut lines: Vec<Line> = (0..SERVERS).map(Line::new).collect();
        while !self.is_over.load(Ordering::SeqCst) {
            let at = usize::try_from(draw.below(SERVERS as u64)).unwrap_or(0);
            let Some(line) = lines.get_mut(at) else {
                return;
            };
            let key = draw.below(KEYS);
            match draw.below(100) {
                0..45 => self.read(line, key, &mut versions),
                45..88 => self.write(line, key, &mut versions),
                88..95 => self.make(line),
                _ => self.list(line),
            }
            pause(BETWEEN);
        }
    }

    fn ask(&self, line: &mut Line, method: &str, path: &str, body: &Value) -> Outcome {
        let outcome = line.ask(&self.token, method, path, body);
        let end = self.now();
        let mut seen = self.seen();
        match outcome {
            None => {
                seen.unanswered += 1;
                Outcome::Nothing
            }
            Some(None) => {
                seen.unanswered += 1;
                Outcome::Unknown
            }
            Some(Some(answer)) if matches!(answer.status, 412 | 429 | 500..=599) => {
                *seen.again.entry(answer.status).or_default() += 1;
                match answer.status {
                    412 | 429 | 503 => Outcome::Nothing,
                    _ => Outcome::Unknown,
                }
            }
            Some(Some(answer)) => Outcome::Answer(answer, end),
        }
    }

    fn read(&self, line: &mut Line, key: u64, versions: &mut BTreeMap<u64, u64>) {
        let begin = self.now();
        let asked = self.ask(
            line,
            "GET",
            &format!("secret/data/chaos/key-{key}"),
            &Value::Null,
        );
        let Outcome::Answer(answer, end) = asked else {
            return;
        };
        let json = answer.json();
        let found = match answer.status {
            404 => Some((0, 0)),
            200 => json["data"]["metadata"]["version"]
                .as_u64()
                .zip(json["data"]["data"]["v"].as_u64()),
            _ => None,
        };
        let Some((version, value)) = found else {
            return self.strange("a read", &answer);
        };
        versions.insert(key, version);
        let mut seen = self.seen();
        seen.reads += 1;
        // What it saw was current at a time from a bound before it began.
        let event = Event {
            begin: begin.saturating_sub(STALENESS_NS),
            end: Some(end),
            deed: Deed::Read { version, value },
        };
        seen.events.entry(key).or_default().push(event);
        let sight = Sight {
            begin,
            end,
            version,
        };
        seen.sights
            .entry((key, line.server))
            .or_default()
            .push(sight);
    }

    fn write(&self, line: &mut Line, key: u64, versions: &mut BTreeMap<u64, u64>) {
        let expected = versions.get(&key).copied().unwrap_or(0);
        let value = self.numbers.fetch_add(1, Ordering::SeqCst);
        let body = json!({"data": {"v": value}, "options": {"cas": expected}});
        let begin = self.now();
        let asked = self.ask(line, "POST", &format!("secret/data/chaos/key-{key}"), &body);
        let deed = Deed::Write { expected, value };
        let (end, deed) = match asked {
            Outcome::Nothing => return,
            Outcome::Unknown => {
                versions.remove(&key);
                (None, deed)
            }
            Outcome::Answer(answer, end) if answer.status == 200 => {
                let made = answer.json()["data"]["version"].as_u64();
                if made != Some(expected + 1) {
                    return self.strange("a write that made another version", &answer);
                }
                versions.insert(key, expected + 1);
                (Some(end), deed)
            }
            Outcome::Answer(answer, end) if is_refusal(&answer) => {
                versions.remove(&key);
                (Some(end), Deed::Refused { expected })
            }
            Outcome::Answer(answer, _) => return self.strange("a write", &answer),
        };
        let mut seen = self.seen();
        if let (Some(end), Deed::Write { .. }) = (end, &deed) {
            seen.acknowledged.push(end);
            let sight = Sight {
                begin,
                end,
                version: expected + 1,
            };
            seen.sights
                .entry((key, line.server))
                .or_default()
                .push(sight);
        }
        let event = Event { begin, end, deed };
        seen.events.entry(key).or_default().push(event);
    }

    /// A new name in a folder that only grows.
    fn make(&self, line: &mut Line) {
        let name = self.numbers.fetch_add(1, Ordering::SeqCst);
        let begin = self.now();
        self.seen().made.insert(name, (begin, None));
        let body = json!({"data": {"v": name}});
        let asked = self.ask(line, "POST", &format!("secret/data/growing/{name}"), &body);
        match asked {
            Outcome::Nothing => drop(self.seen().made.remove(&name)),
            Outcome::Unknown => {}
            Outcome::Answer(answer, end) if answer.status == 200 => {
                let mut seen = self.seen();
                seen.made.insert(name, (begin, Some(end)));
                seen.acknowledged.push(end);
            }
            Outcome::Answer(answer, _) => self.strange("a new secret", &answer),
        }
    }

    fn list(&self, line: &mut Line) {
        let begin = self.now();
        let asked = self.ask(line, "LIST", "secret/metadata/growing", &Value::Null);
        let Outcome::Answer(answer, end) = asked else {
            return;
        };
        let json = answer.json();
        let names = json["data"]["keys"].as_array().cloned().unwrap_or_default();
        let read = |name: &Value| name.as_str().and_then(|name| name.parse().ok());
        let names: Option<BTreeSet<u64>> = names.iter().map(read).collect();
        match (answer.status, names) {
            (200 | 404, Some(names)) => {
                self.seen().listings.push(Listing { begin, end, names });
            }
            _ => self.strange("a listing", &answer),
        }
    }

    fn strange(&self, what: &str, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let text = format!("{what}: {} {}", answer.status, text.trim());
        self.seen().strange.push(text);
    }

    /// After all is well again: every key and the folder, at every server. What does not answer is
    /// said.
    pub(super) fn look_at_all(&self) -> AnyResult<()> {
        pause(Duration::from_nanos(STALENESS_NS) + Duration::from_millis(1));
        for server in 0..SERVERS {
            let mut line = Line::new(server);
            let before = self.seen().not_answered();
            for key in 0..KEYS {
                self.read(&mut line, key, &mut BTreeMap::new());
            }
            self.list(&mut line);
            let after = self.seen().not_answered();
            if after > before {
                return Err(format!("server {server} does not answer when all is well").into());
            }
        }
        Ok(())
    }

    /// Status of `sys/health`, on a connection of its own.
    pub(super) fn health(&self, server: usize) -> Option<u16> {
        let answer = Line::new(server).ask("", "GET", "sys/health", &Value::Null);
        answer.flatten().map(|answer| answer.status)
    }
}

impl Seen {
    pub(super) fn operations(&self) -> u64 {
        let events: usize = self.events.values().map(Vec::len).sum();
        (events + self.made.len() + self.listings.len()) as u64
    }

    pub(super) fn unknown(&self) -> u64 {
        let events = self.events.values().flatten();
        let unknown = events.filter(|event| event.end.is_none()).count();
        let made = self.made.values().filter(|(_, end)| end.is_none()).count();
        (unknown + made) as u64
    }

    fn not_answered(&self) -> u64 {
        self.unanswered + self.again.values().sum::<u64>()
    }

    pub(super) fn lists(&self) -> u64 {
        self.listings.len() as u64
    }

    /// Keys whose answers no order explains.
    pub(super) fn unexplained(&self) -> Vec<String> {
        let failed = |(key, events): (&u64, &Vec<Event>)| {
            let found = linearize(events).err()?;
            Some(format!("key {key}: {found}"))
        };
        self.events.iter().filter_map(failed).collect()
    }

    /// Servers that showed an older version after a newer one.
    pub(super) fn gone_back(&self) -> Vec<String> {
        let failed = |(at, sights): (&(u64, usize), &Vec<Sight>)| {
            let found = never_goes_back(sights).err()?;
            Some(format!("key {} at server {}: {found}", at.0, at.1))
        };
        self.sights.iter().filter_map(failed).collect()
    }

    pub(super) fn wrong_lists(&self) -> Vec<String> {
        let wrong = lists_follow(&self.made, &self.listings, STALENESS_NS);
        wrong.err().into_iter().collect()
    }
}

/// A connection to one server, made anew when it broke.
struct Line {
    server: usize,
    client: Option<Client>,
}

impl Line {
    fn new(server: usize) -> Self {
        Self {
            server,
            client: None,
        }
    }

    /// Nothing when there is no connection; nothing in it when there is no answer.
    fn ask(
        &mut self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<Option<Answer>> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => connect(self.server, token).ok()?,
        };
        let answer = client.ask(method, path, body).ok();
        if answer.is_some() {
            self.client = Some(client);
        }
        Some(answer)
    }
}

fn connect(server: usize, token: &str) -> AnyResult<Client> {
    let address: SocketAddr = format!("{}:{PORT}", client_side(server)).parse()?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    let same = stream.try_clone()?;
    let client = Client::over(stream, token)?;
    same.set_read_timeout(Some(ANSWER_MAX))?;
    same.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(client)
}

fn is_refusal(answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    answer.status == 400 && text.contains("check-and-set")
}
