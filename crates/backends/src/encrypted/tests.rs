//! With the real `age` and `sops`.

use std::fs;
use std::process::Command;

use pollster::block_on;
use strongroom_core::port::Lookup;
use strongroom_core::port::VersionRef;
use strongroom_testkit::backend_contract;
use tempfile::TempDir;

use super::*;

/// A folder with an age key in it; its public half.
fn keys(folder: &Path) -> String {
    let key = folder.join("key.txt");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "age-keygen");
    let shown = Command::new("age-keygen")
        .arg("-y")
        .arg(&key)
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap().trim().to_owned()
}

fn path_with_peers() -> String {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv/bin");
    let venv = fs::canonicalize(&venv).unwrap_or(venv);
    format!("{}:/usr/local/bin:/usr/bin:/bin", venv.display())
}

fn variables(folder: &Path) -> Variables {
    Variables::new([
        ("PATH", path_with_peers()),
        ("HOME", folder.display().to_string()),
        (
            "SOPS_AGE_KEY_FILE",
            folder.join("key.txt").display().to_string(),
        ),
    ])
}

/// Encrypts with the tool itself.
fn sealed(folder: &Path, name: &str, text: &str, args: &[&str]) -> PathBuf {
    let (plain, sealed) = (folder.join(format!("plain-{name}")), folder.join(name));
    fs::write(&plain, text).unwrap();
    let mut command = Command::new(args[0]);
    command
        .args(&args[1..])
        .arg(&plain)
        .env("PATH", path_with_peers());
    let output = command.env("HOME", folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(&sealed, output.stdout).unwrap();
    sealed
}

fn get(backend: &dyn Backend, name: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
    let place = format!("app/dev/{path}").parse().unwrap();
    let (name, path) = (name.to_owned(), path.to_owned());
    let found = block_on(backend.get_many(&[Lookup { name, path, place }]))
        .pop()
        .unwrap()?;
    Ok(found.map(|found| found.value.expose_secret().to_vec()))
}

fn an_age_file() -> (Box<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = keys(folder.path());
    let path = sealed(folder.path(), ".env.age", "OTHER=1\n", &["age", "-r", &key]);
    let identity = folder.path().join("key.txt");
    let backend = age(path, ".env.age", identity, &variables(folder.path())).unwrap();
    (backend, folder)
}

backend_contract!(contract_of_age, block_on, an_age_file());

#[test]
fn a_dotenv_or_json_file_is_opened_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let key = keys(folder.path());
    let identity = folder.path().join("key.txt");
    for (name, text, options) in [
        ("env.age", "API_KEY='k 1'\nEMPTY=\n", &["age", "-r"][..]),
        ("env.asc", "API_KEY='k 1'\n", &["age", "-a", "-r"]),
        (
            "json.age",
            "{\"API_KEY\":\"k 1\",\"db\":{\"port\":5432}}",
            &["age", "-r"],
        ),
    ] {
        let path = sealed(
            folder.path(),
            name,
            text,
            &[options, &[key.as_str()]].concat(),
        );
        let variables = variables(folder.path());
        let backend = age(path, name, identity.clone(), &variables).unwrap();
        let found = get(&*backend, "API_KEY", "api/key").unwrap();
        assert_eq!(found.as_deref(), Some(&b"k 1"[..]), "{name}");
        assert_eq!(get(&*backend, "EMPTY", "empty").unwrap(), None);
        let is_json = name.starts_with("json");
        let port = get(&*backend, "DB_PORT", "db/port").unwrap();
        assert_eq!(port.as_deref(), is_json.then_some(&b"5432"[..]));
    }
}

#[test]
fn a_wrong_key_a_passphrase_and_damage_are_no_missing_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (key, _) = (keys(folder.path()), keys(other.path()));
    let path = sealed(
        folder.path(),
        "a.age",
        "A=canary-12\n",
        &["age", "-r", &key],
    );
    let open = |path: &Path, keys: &Path| {
        let identity = keys.join("key.txt");
        age(
            path.to_owned(),
            "a.age",
            identity,
            &variables(folder.path()),
        )
        .unwrap()
    };
    let error = get(&*open(&path, other.path()), "A", "a").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert!(error.hint.unwrap().contains("key.txt"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = get(&*open(&path, folder.path()), "A", "a").unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    let header = "age-encryption.org/v1\n-> scrypt bBvEKQ1Nf3AYSbtv2d0y5w 18\nxxxx\n";
    fs::write(&path, header).unwrap();
    let error = get(&*open(&path, folder.path()), "A", "a").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
    let armoured = data_encoding::BASE64.encode(header.as_bytes());
    let text = format!("-----BEGIN AGE ENCRYPTED FILE-----\n{armoured}\n");
    fs::write(&path, text).unwrap();
    let error = get(&*open(&path, folder.path()), "A", "a").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
    fs::remove_file(&path).unwrap();
    assert_eq!(get(&*open(&path, folder.path()), "A", "a").unwrap(), None);
}

#[test]
fn a_nested_yaml_and_a_dotenv_file_are_opened_by_sops() {
    let folder = tempfile::tempdir().unwrap();
    let key = keys(folder.path());
    for (name, text) in [
        (
            "s.yaml",
            "db:\n  password: 'p #1'\n  port: 5432\napi_key: k\n",
        ),
        (
            "s.json",
            "{\"db\":{\"password\":\"p #1\",\"port\":5432},\"api_key\":\"k\"}",
        ),
    ] {
        let args = ["sops", "--encrypt", "--age", &key];
        let path = sealed(folder.path(), name, text, &args);
        let backend = sops(path, name, &variables(folder.path())).unwrap();
        let listed = block_on(backend.list()).unwrap();
        assert_eq!(listed, ["api_key", "db/password", "db/port"]);
        let found = get(&*backend, "X", "db/password").unwrap();
        assert_eq!(found.as_deref(), Some(&b"p #1"[..]));
        let item = block_on(backend.read("db/port", &VersionRef::Current)).unwrap();
        assert_eq!(item.unwrap().payload.value.expose_secret(), b"5432");
    }
    let args = ["sops", "--encrypt", "--age", &key];
    let path = sealed(folder.path(), "s.env", "API_KEY=k\n", &args);
    let backend = sops(path.clone(), "s.env", &variables(folder.path())).unwrap();
    assert_eq!(get(&*backend, "API_KEY", "x").unwrap().unwrap(), b"k");
    fs::remove_file(folder.path().join("key.txt")).unwrap();
    let error = get(&*backend, "API_KEY", "x").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied, "{error}");
    fs::write(&path, "API_KEY=canary-no-sops\n").unwrap();
    let error = get(&*backend, "API_KEY", "x").unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
}
