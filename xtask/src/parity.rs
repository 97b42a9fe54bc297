//! `cargo xtask parity`: the same requests to a real OpenBao and to our server.

mod clients;
mod compare;
mod database;
mod databases;
mod emulator;
mod http;
mod policies;
mod pytest;
mod report;
mod script;
mod server;
mod shares;
mod suites;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::failure::Failure;
use crate::repo;
use crate::repo::Metadata;
use crate::shell;
use compare::Difference;
use databases::Databases;
use http::Request;
use http::Response;
use report::Outcome;
use script::Step;
use server::Kind;
use server::Mode;
use server::Server;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Send the same requests to a real OpenBao and to strongroom, and compare the answers

Usage: cargo xtask parity [--self | --binary FILE] [--area NAME] [--all]
       cargo xtask parity policies [ROUNDS]
       cargo xtask parity shares
       cargo xtask parity clients [--self | --binary FILE]
       cargo xtask parity suites [--binary FILE]
       cargo xtask parity emulator [--binary FILE]

  policies      Compare the decisions of generated policies (500 rounds of 100 paths)
  shares        Open OpenBao with unseal shares that were made here
  clients       Run scripts with hvac and bao against strongroom, or OpenBao itself, one of them
                with users that are made in a real PostgreSQL, and with
                boto3, aws, AWS's caching library and terraform against strongroom. Terraform is
                in no package registry: it is skipped where it is not on the PATH;
                TERRAFORM_PLUGINS names a folder with its provider
  suites        Run hvac's own tests against OpenBao and strongroom
  emulator      Run moto's own tests of Secrets Manager against moto and strongroom
  --self        OpenBao on both sides: there must be no difference
  --binary FILE This strongroom instead of one that is built now
  --area NAME   Compare only the areas whose name begins so (the others are run, not shown)
  --all         Show also where the answers agree, and what OpenBao answers

Users of databases are made in a Redis and a MariaDB that each server has to itself. The tables go
to docs/compat/vault.md, those of moto's tests to docs/compat/aws.md. OpenBao is
installed by `cargo xtask peers`.";

/// Runs the scripts and compares.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    match args.first().map(String::as_str) {
        Some("policies") => return policies::run(&root, args.get(1).map(String::as_str)),
        Some("shares") => return shares::run(&root),
        Some("clients") => {
            let options = Options::parse(args.get(1..).unwrap_or_default())?;
            return clients::run(&root, &options.kind(&root)?);
        }
        Some("suites") => {
            let options = Options::parse(args.get(1..).unwrap_or_default())?;
            return suites::run(&root, &options.binary(&root)?);
        }
        Some("emulator") => {
            let options = Options::parse(args.get(1..).unwrap_or_default())?;
            return emulator::run(&root, &options.binary(&root)?);
        }
        _ => {}
    }
    let options = Options::parse(args)?;
    let ours = options.kind(&root)?;
    let mut outcomes = Vec::new();
    for script in SCRIPTS {
        outcomes.extend(run_script(&root, &ours, script)?);
    }
    outcomes.retain(|outcome| outcome.step.area.starts_with(&options.area));
    report::print(&outcomes, options.is_all);
    if !options.is_self && options.area.is_empty() {
        report::write(&root, &outcomes)?;
    }
    let differing = outcomes
        .iter()
        .filter(|outcome| outcome.is_differing())
        .count();
    match differing {
        0 => Ok(()),
        count => Err(Failure::new(format!("parity: {count} answers differ"))),
    }
}

/// Requests, and what they are sent to.
struct Script {
    mode: Mode,
    text: &'static str,
    /// Whether each server has databases to make users in.
    has_databases: bool,
}

const SCRIPTS: &[Script] = &[
    Script {
        mode: Mode::Dev,
        text: include_str!("parity/dev.txt"),
        has_databases: false,
    },
    Script {
        mode: Mode::Dev,
        text: include_str!("parity/databases.txt"),
        has_databases: true,
    },
    Script {
        mode: Mode::Empty,
        text: include_str!("parity/operator.txt"),
        has_databases: false,
    },
];

#[derive(Default)]
struct Options {
    is_self: bool,
    is_all: bool,
    area: String,
    binary: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match (arg.as_str(), args.as_slice().first()) {
                ("--self", _) => options.is_self = true,
                ("--all", _) => options.is_all = true,
                ("--area", Some(area)) => {
                    options.area.clone_from(area);
                    args.next();
                }
                ("--binary", Some(file)) => {
                    let path = fs::canonicalize(file)
                        .map_err(|e| Failure::new(format!("no program at {file}: {e}")))?;
                    options.binary = Some(path);
                    args.next();
                }
                _ => {
                    return Err(Failure::usage(format!(
                        "parity: unknown option `{arg}` (see --help)"
                    )));
                }
            }
        }
        Ok(options)
    }

    /// Which server is looked at.
    fn kind(&self, root: &Path) -> Result<Kind, Failure> {
        if self.is_self {
            return Ok(Kind::OpenBao);
        }
        self.binary(root).map(Kind::Strongroom)
    }

    fn binary(&self, root: &Path) -> Result<PathBuf, Failure> {
        match &self.binary {
            Some(file) => Ok(file.clone()),
            None => debug_binary(root),
        }
    }
}

fn debug_binary(root: &Path) -> Result<PathBuf, Failure> {
    let mut command = shell::cargo(root);
    shell::run(command.args(["build", "--locked", "--package", "strongroom"]))?;
    let name = format!("strongroom{}", std::env::consts::EXE_SUFFIX);
    let target = Metadata::load(root)?.target_directory;
    Ok(target.join("debug").join(name))
}

fn run_script(root: &Path, ours: &Kind, script: &Script) -> Result<Vec<Outcome>, Failure> {
    let steps = script::parse(script.text).map_err(Failure::new)?;
    let mut sides = [
        Side::start(root, &Kind::OpenBao, script)?,
        Side::start(root, ours, script)?,
    ];
    let mut outcomes = Vec::new();
    for step in steps {
        let [expected, found] = sides.each_mut().map(|side| side.ask(&step));
        let expected = expected
            .map_err(|what| Failure::new(format!("OpenBao, line {}: {what}", step.line)))?;
        let differences = match found {
            Ok(found) => compare::compare(&expected, &found),
            Err(what) => vec![Difference {
                place: "answer".to_owned(),
                what,
            }],
        };
        outcomes.push(Outcome::new(step, &expected, &differences));
    }
    Ok(outcomes)
}

/// One of the two servers, with what was kept from its answers.
struct Side {
    server: Server,
    variables: BTreeMap<String, String>,
    /// They live for as long as it is asked.
    _databases: Option<Databases>,
}

impl Side {
    fn start(root: &Path, kind: &Kind, script: &Script) -> Result<Self, Failure> {
        let databases = script.has_databases.then(Databases::start).transpose()?;
        let server = Server::start(root, kind, script.mode)?;
        let folder = server.folder().display().to_string();
        let mut variables = vec![("ROOT", "root".to_owned()), ("FOLDER", folder)];
        variables.extend(databases.iter().flat_map(Databases::variables));
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        Ok(Self {
            server,
            variables: variables.into_iter().map(owned).collect(),
            _databases: databases,
        })
    }

    fn ask(&mut self, step: &Step) -> Result<Response, String> {
        let fill = |text: &str| script::fill(text, &self.variables);
        let mut headers: Vec<(String, String)> = step
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), fill(value)))
            .collect();
        if step.token != "-" {
            let token = fill(&format!("${}", step.token));
            headers.push(("X-Vault-Token".to_owned(), token));
        }
        let has_type = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if step.body.is_some() && !has_type {
            let json = match step.method.as_str() {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            headers.push(("Content-Type".to_owned(), json.to_owned()));
        }
        let request = Request {
            method: step.method.clone(),
            path: fill(&step.path),
            headers,
            body: step.body.as_deref().map(fill),
        };
        let response = http::send(self.server.address, &request)?;
        let body = response.json().unwrap_or(Value::Null);
        for (variable, place) in &step.kept {
            let value = match at(&body, place) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                // So that what follows fails by itself.
                None => "nothing-was-kept".to_owned(),
            };
            self.variables.insert(variable.clone(), value);
        }
        Ok(response)
    }
}

fn at<'a>(value: &'a Value, place: &str) -> Option<&'a Value> {
    place.split('.').try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => value.get(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_can_be_read() {
        for script in SCRIPTS {
            let steps = script::parse(script.text).unwrap();
            assert!(steps.len() > 20);
            assert!(steps.iter().all(|step| !step.area.is_empty()));
        }
    }
}
