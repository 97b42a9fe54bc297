//! What a program of a service finds: its environment, its secrets, where it is.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use strongroom_core::secret::SecretValue;

use crate::folder::OwnFolder;
use crate::manifest::Secret;
use crate::manifest::Service;
use crate::manifest::Target;
use crate::supervisor::State;

/// Longest value of a variable that the system takes, with its name.
const VARIABLE_BYTES_MAX: usize = 128 * 1024 - 2;

/// Whether files with secrets are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// They are written.
    Write,
    /// They were, when the service's program started.
    Keep,
}

/// The environment of a service's programs: nothing is inherited that is not named.
pub(crate) async fn of(
    state: &State,
    service: &Service,
    files: Files,
) -> Result<Vec<(OsString, OsString)>, String> {
    let template = state.template();
    let mut variables = state.environment.clone();
    let mut set = |name: &str, value: OsString| {
        variables.retain(|(known, _)| known != name);
        variables.push((name.into(), value));
    };
    set("APP_DATA_DIR", state.folder.path().into());
    set("BUNDLE_ROOT", state.bundle_root.clone().into());
    let path = (state.environment.iter()).find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(PATH_DEFAULT), |(_, path)| path);
    let own = ["bin", "cli"].map(|folder| state.bundle_root.join(folder));
    let folders = own.into_iter().chain(std::env::split_paths(path));
    if let Ok(path) = std::env::join_paths(folders) {
        set("PATH", path);
    }
    let of_binary = service.binary.iter().flat_map(|binary| &binary.env);
    for (name, value) in service.env.iter().chain(of_binary) {
        set(name, template.fill(value).into());
    }
    for (name, value) in secrets(state, service, files).await? {
        set(&name, value);
    }
    for (name, _) in &variables {
        let name = name.as_encoded_bytes();
        if name.is_empty() || name.iter().any(|byte| matches!(byte, b'=' | b'\0')) {
            return Err("a variable's name is empty, or holds = or NUL".to_owned());
        }
    }
    Ok(variables)
}

const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// The service's secrets: as variables, or the names of the files that were written.
async fn secrets(
    state: &State,
    service: &Service,
    files: Files,
) -> Result<Vec<(String, OsString)>, String> {
    let secrets = state.secrets.lock().await;
    let mut variables = Vec::new();
    if files == Files::Write {
        let noted = secrets.note(&service.id, &service.secrets).await;
        noted.map_err(|error| format!("the ledger cannot be written: {error}"))?;
    }
    for id in &service.secrets {
        let Some(secret) = state.manifest.secret(id) else {
            return Err(format!("there is no secret {id}"));
        };
        let Some(value) = secrets.value_of(id) else {
            if secret.is_required {
                return Err(format!("secret {id} is missing"));
            }
            if let (Target::File(path), Files::Write) = (&secret.target, files)
                && state.leftovers.wrote(path)
            {
                // It had a value until it was taken away.
                let removed = state.folder.remove(path);
                removed.map_err(|error| error.to_string())?;
            }
            continue;
        };
        variables.push(hand_over(state, secret, value, files)?);
    }
    Ok(variables)
}

fn hand_over(
    state: &State,
    secret: &Secret,
    value: &SecretValue,
    files: Files,
) -> Result<(String, OsString), String> {
    let id = &secret.id;
    match &secret.target {
        Target::Env(name) => {
            // EXPOSE: into the environment of the service that declares it.
            let bytes = value.expose_secret();
            if bytes.contains(&0) {
                let why = "a NUL byte, which no variable can hold: give it as a file";
                return Err(format!("secret {id} holds {why}"));
            }
            if name.len() + bytes.len() > VARIABLE_BYTES_MAX {
                return Err(format!(
                    "secret {id} is too long for a variable: give it as a file"
                ));
            }
            Ok((name.clone(), OsString::from_vec(bytes.to_vec())))
        }
        Target::File(path) => {
            if is_ours(state, path) {
                return Err(format!("secret {id} would lie in the place of {path}"));
            }
            if files == Files::Write {
                state.leftovers.will_write(path);
                // EXPOSE: into the file, for its owner only, that the service is told of.
                let bytes = value.expose_secret();
                let written = state.folder.write_private(path, bytes, OwnFolder::Close);
                written.map_err(|error| error.to_string())?;
            }
            let variable = id.to_uppercase().replace(['-', '.', ' '], "_");
            let place = state.folder.below(path);
            Ok((format!("SECRET_FILE_{variable}"), place.into()))
        }
    }
}

/// Whether a path is one of the supervisor's own files.
fn is_ours(state: &State, path: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let parts_of_it = parts(path);
    let first = parts_of_it.first().map(String::as_str);
    let own = [
        "runtime/lock",
        "runtime/running.json",
        "runtime/ipc_port",
        "migrations.json",
        "secrets.json",
        state.manifest.token_path.as_str(),
        state.manifest.telemetry_file.as_str(),
    ];
    first.is_none_or(|first| first == "store") || own.iter().any(|own| parts(own) == parts_of_it)
}

/// Where a service's programs run.
pub(crate) fn folder(state: &State, service: &Service) -> PathBuf {
    let cwd = service
        .binary
        .as_ref()
        .and_then(|binary| binary.cwd.as_ref());
    match cwd {
        Some(cwd) => state.bundle_root.join(state.template().fill(cwd)),
        None => state.bundle_root.clone(),
    }
}

/// The program that a command means: below the service's folder, its binary's or the bundle's, or
/// one of the search path.
pub(crate) fn program(state: &State, service: &Service, name: &str) -> PathBuf {
    let name = state.template().fill(name);
    if !name.contains('/') {
        return PathBuf::from(name);
    }
    let binary = service.binary.as_ref();
    let beside = binary.map(|binary| state.bundle_root.join(&binary.path));
    let beside = beside.and_then(|path| path.parent().map(PathBuf::from));
    let folders = [
        Some(folder(state, service)),
        beside,
        Some(state.bundle_root.clone()),
    ];
    let mut candidates = folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join(&name));
    let found = candidates.find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| state.bundle_root.join(&name))
}
