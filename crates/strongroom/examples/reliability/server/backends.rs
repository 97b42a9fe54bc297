//! Managers and databases that are slow or gone: every command ends in time, and asks little.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;
use strongroom_fakes::proxy::Line;
use strongroom_fakes::proxy::Proxy;
use strongroom_testkit::postgres::Postgres;
use tokio::runtime::Runtime;

use super::node::Node;
use super::node::free_address;
use super::node::pause;
use super::requests::zero;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Secrets that a check asks for.
const SECRETS: usize = 200;
/// A command may take so long: the time limit of a question, and its own start.
const COMMAND_MAX: Duration = Duration::from_secs(11);
/// A check may take so long: what it cannot have at once it asks for again after that.
const CHECK_MAX: Duration = Duration::from_secs(31);
/// What a server read from its store it may still show a second later.
const MEMORY: Duration = Duration::from_secs(2);
/// Most requests that may be on their way to one server.
const IN_FLIGHT_MAX: usize = 64;
/// The code of what cannot be reached.
const UNREACHABLE: i32 = 8;
const LINES: [(&str, Line); 4] = [
    (
        "answers come 30 s late",
        Line::Late(Duration::from_secs(30)),
    ),
    ("nothing comes back", Line::BlackHole),
    ("the line is reset", Line::Reset),
    ("half an answer comes", Line::Half),
];

/// What is behind the line, and how it is named.
struct Target {
    name: &'static str,
    rig: Rig,
    variables: Vec<(&'static str, String)>,
    proxy: Proxy,
    /// A server before the line, and where it lives.
    server: Option<(Node, Rig)>,
}

/// What came of one target.
#[derive(Default)]
struct Figures {
    read: Duration,
    check: Duration,
    /// Commands that did not say that the server cannot be reached.
    others: u64,
    /// Commands that failed although the line was whole again.
    unwell: u64,
}

/// Each kind of backend behind each kind of line, so many times.
pub(crate) fn run(times: u64) -> AnyResult<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let upstream_rig = Rig::new()?;
    let upstream = Node::dev(&upstream_rig)?;
    let database = Postgres::start();
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut is_good = true;
    for target in [
        vault(&runtime, &upstream)?,
        aws(&runtime, &upstream)?,
        postgres(&runtime, &database)?,
    ] {
        note(target.name);
        let mut figures = Figures::default();
        target.try_line(Line::Whole, &mut figures)?;
        if figures.others > 0 {
            return Err(format!("{}: it does not answer", target.name).into());
        }
        for _ in 0..times {
            for (what, line) in LINES {
                note(what);
                target.try_line(line, &mut figures)?;
                target.try_line(Line::Whole, &mut figures)?;
            }
        }
        is_good &= target.tell(&figures);
    }
    Ok(is_good)
}

impl Target {
    fn of(
        name: &'static str,
        runtime: &Runtime,
        port: u16,
        chain: impl Fn(u16) -> Option<String>,
    ) -> AnyResult<Self> {
        let rig = Rig::new()?;
        let proxy = runtime.block_on(Proxy::start(port));
        let mut manifest = "[project]\nname = \"shop\"\n".to_owned();
        if let Some(chain) = chain(proxy.port()) {
            write!(manifest, "[profiles.development]\nchain = [\"{chain}\"]\n")?;
        }
        for number in 0..SECRETS {
            writeln!(
                manifest,
                "[secrets.S{number}]\nrequired = false\npath = \"s{number}\""
            )?;
        }
        fs::write(rig.file("strongroom.toml"), manifest)?;
        Ok(Self {
            name,
            rig,
            variables: Vec::new(),
            proxy,
            server: None,
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.rig.strongroom(words);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// A read of one secret, and a check of all.
    fn try_line(&self, line: Line, figures: &mut Figures) -> AnyResult<()> {
        self.proxy.set(line);
        if self.server.is_some() {
            pause(MEMORY);
        }
        let mut timed = |words: &[&str]| {
            let begun = Instant::now();
            let output = self.command(words).output()?;
            let code = output.status.code().unwrap_or(-1);
            let is_expected = match line {
                Line::Whole => code == 0,
                _ => code == UNREACHABLE,
            };
            if !is_expected {
                let said = String::from_utf8_lossy(&output.stderr);
                note(&format!("{line:?}: {words:?}: {code}: {}", said.trim()));
                match line {
                    Line::Whole => figures.unwell += 1,
                    _ => figures.others += 1,
                }
            }
            AnyResult::Ok(begun.elapsed())
        };
        let read = timed(&["get", "S0"])?;
        let check = timed(&["check"])?;
        if line != Line::Whole {
            figures.read = figures.read.max(read);
            figures.check = figures.check.max(check);
        }
        Ok(())
    }

    fn tell(&self, figures: &Figures) -> bool {
        let row = |what: &str, took: Duration, goal: Duration| {
            report::row(&[
                &format!("{}: {what}", self.name),
                &format!("at most {:.1} s", took.as_secs_f64()),
                &format!("at most {} s", goal.as_secs()),
                report::verdict(took <= goal),
            ]);
            took <= goal
        };
        let mut is_good = row("`get` of a secret ends", figures.read, COMMAND_MAX);
        is_good &= row("`check` of 200 secrets ends", figures.check, CHECK_MAX);
        let most = self.proxy.open_most();
        let is_few = (1..=IN_FLIGHT_MAX).contains(&most);
        report::row(&[
            &format!("{}: requests without an answer at the same time", self.name),
            &format!("at most {most}"),
            &format!("at most {IN_FLIGHT_MAX}"),
            report::verdict(is_few),
        ]);
        zero(
            &format!("{}: commands that end otherwise than with 8", self.name),
            figures.others,
        );
        zero(
            &format!(
                "{}: commands that fail when the line is whole again",
                self.name
            ),
            figures.unwell,
        );
        is_good & is_few && figures.others + figures.unwell == 0
    }
}

fn vault(runtime: &Runtime, upstream: &Node) -> AnyResult<Target> {
    fill(upstream)?;
    let name = "a manager that speaks Vault's API";
    let chain = |port| Some(format!("vault://127.0.0.1:{port}/secret/apps?tls=false"));
    let mut target = Target::of(name, runtime, upstream.address.port(), chain)?;
    let address = format!("http://127.0.0.1:{}", target.proxy.port());
    target.variables = vec![
        ("VAULT_ADDR", address),
        ("VAULT_TOKEN", upstream.token.clone()),
    ];
    Ok(target)
}

fn aws(runtime: &Runtime, upstream: &Node) -> AnyResult<Target> {
    let made = upstream.demand("POST", "sys/aws/keys", &json!({ "policies": ["root"] }))?;
    let text = |name: &str| made["data"][name].as_str().map(str::to_owned);
    let id = text("access_key_id").ok_or("no access key")?;
    let secret = text("secret_access_key").ok_or("no access key")?;
    let name = "a manager that speaks AWS's API";
    let chain = |port| {
        Some(format!(
            "aws:us-east-1/apps?endpoint=http://127.0.0.1:{port}"
        ))
    };
    let mut target = Target::of(name, runtime, upstream.address.port(), chain)?;
    target.variables = vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
    Ok(target)
}

/// A server whose store lies behind the line.
fn postgres(runtime: &Runtime, database: &Postgres) -> AnyResult<Target> {
    let name = "a server with its store in PostgreSQL";
    let rig = Rig::new()?;
    let url = database.url("postgres");
    let address = free_address()?;
    let mut node = Node::start_at(&rig, &["--storage", &url], address)?;
    node.until_ready()?;
    let token = rig.ask(&["operator", "root-token", "--store", &url])?;
    node.end(Signal::TERM)?;
    let chain = format!("vault://{address}/secret/apps?tls=false");
    let mut target = Target::of(name, runtime, database.port(), |_| Some(chain.clone()))?;
    let own = format!(":{}/", database.port());
    let through = url.replace(&own, &format!(":{}/", target.proxy.port()));
    if through == url {
        return Err(format!("no port in {url}").into());
    }
    let mut node = Node::start_at(&rig, &["--storage", &through], address)?;
    String::from_utf8(token)?.trim().clone_into(&mut node.token);
    node.until_ready()?;
    fill(&node)?;
    target.variables = vec![
        ("VAULT_ADDR", format!("http://{address}")),
        ("VAULT_TOKEN", node.token.clone()),
    ];
    target.server = Some((node, rig));
    Ok(target)
}

fn fill(node: &Node) -> AnyResult<()> {
    for number in 0..SECRETS {
        let body = json!({ "data": { "value": format!("of-{number}") } });
        node.demand("POST", &format!("secret/data/apps/s{number}"), &body)?;
    }
    Ok(())
}
