//! The programs of others that do the same, where `cargo xtask peers --bench` has put them.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::run::Peer;

/// Gives the peers the same values, and checks that each does hand them to its child.
pub(crate) fn set_up(rig: &Rig, secrets: &[(String, String)]) -> AnyResult<Vec<Peer>> {
    let mut peers = Vec::new();
    let (Some(age), Some(keygen)) = (find("age"), find("age-keygen")) else {
        return Ok(peers);
    };
    let key = rig.file("peer-key.txt");
    done(rig.program(&keygen).arg("-o").arg(&key))?;
    if let Some(binary) = find("secretspec") {
        peers.push(secretspec(rig, &binary, &age, &key, secrets)?);
    }
    if let Some(binary) = find("sops") {
        peers.push(sops(rig, &binary, &key, secrets)?);
    }
    for peer in &mut peers {
        expect_value(peer, secrets)?;
    }
    Ok(peers)
}

/// SecretSpec with its age provider.
fn secretspec(
    rig: &Rig,
    binary: &Path,
    age: &Path,
    key: &Path,
    secrets: &[(String, String)],
) -> AnyResult<Peer> {
    let mut manifest =
        String::from("[project]\nname = \"bench\"\nrevision = \"1.0\"\n\n[profiles.default]\n");
    for (name, _) in secrets {
        writeln!(
            manifest,
            "{name} = {{ description = \"made up\", required = true }}"
        )?;
    }
    fs::write(rig.file("secretspec.toml"), manifest)?;
    let plain = rig.file("plain.env");
    fs::write(&plain, lines(secrets))?;
    let blob = rig.file("secrets.age");
    let mut encrypt = rig.program(age);
    encrypt
        .args(["--armor", "--encrypt", "--identity"])
        .arg(key);
    done(encrypt.arg("--output").arg(&blob).arg(&plain))?;
    let provider = format!("age://{}?identity={}", blob.display(), key.display());
    let mut command = rig.program(binary);
    command.args(["run", "--provider", &provider, "--", "true"]);
    Ok(Peer {
        name: "SecretSpec with age",
        command,
    })
}

/// sops with an age key and a dotenv file, as its `exec-env` reads it.
fn sops(rig: &Rig, binary: &Path, key: &Path, secrets: &[(String, String)]) -> AnyResult<Peer> {
    let plain = rig.file("sops.env");
    fs::write(&plain, lines(secrets))?;
    let text = fs::read_to_string(key)?;
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .ok_or("no public key in the key file")?
        .to_owned();
    let encrypted = rig.file("sops.enc.env");
    let mut encrypt = rig.program(binary);
    encrypt.args(["encrypt", "--age", &recipient, "--output"]);
    done(encrypt.arg(&encrypted).arg(&plain))?;
    let mut command = rig.program(binary);
    command.env("SOPS_AGE_KEY_FILE", key).arg("exec-env");
    command.arg(&encrypted).arg("true");
    Ok(Peer {
        name: "sops with age",
        command,
    })
}

/// Runs the peer's command once with `printenv` in the place of `true`.
fn expect_value(peer: &Peer, secrets: &[(String, String)]) -> AnyResult<()> {
    let (name, value) = secrets.last().ok_or("no secrets")?;
    let mut command = Command::new(peer.command.get_program());
    command.env_clear();
    for (key, value) in peer.command.get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    if let Some(folder) = peer.command.get_current_dir() {
        command.current_dir(folder);
    }
    let mut words: Vec<_> = peer.command.get_args().map(ToOwned::to_owned).collect();
    words.pop();
    if peer.name.starts_with("sops") {
        command.args(words).arg(format!("printenv {name}"));
    } else {
        command.args(words).args(["printenv", name]);
    }
    let output = command.output()?;
    if String::from_utf8_lossy(&output.stdout).trim() == value {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{} does not hand over the values: {}",
        peer.name,
        said.trim()
    )
    .into())
}

fn lines(secrets: &[(String, String)]) -> String {
    secrets
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

fn done(command: &mut Command) -> AnyResult<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.trim()).into())
}

/// On `PATH`, or where `cargo xtask peers` installs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let installed = [".peers/cargo/bin", ".peers/venv/bin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = installed.into_iter().chain(std::env::split_paths(&path));
    let found = candidates
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())?;
    std::path::absolute(found).ok()
}
