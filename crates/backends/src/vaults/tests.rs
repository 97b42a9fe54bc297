//! `pass` and `gpg` are the real ones. `op` and `bw` are stand-ins that answer as their
//! documentation says: nobody has an account here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pollster::block_on;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::NewValue;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_testkit::backend_contract;
use tempfile::TempDir;

use super::*;

/// A home with a key without a passphrase and a password store. Its gpg agent ends with it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::Builder::new().prefix("p").tempdir().unwrap());
        let gnupg = home.0.path().join("g");
        fs::create_dir(&gnupg).unwrap();
        fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
        let generate = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
        let key = ["--quick-generate-key", "t@example.org", "future-default"];
        home.run("gpg", &[&generate[..], &key].concat());
        home.run("pass", &["init", "t@example.org"]);
        home
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin");
        command
            .env("HOME", self.0.path())
            .env("GNUPGHOME", self.0.path().join("g"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
    }

    fn open(&self, folder: Option<&str>, value: PassValue) -> Box<dyn Backend> {
        let text = |path: &Path| path.display().to_string();
        let variables = Variables::new([
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOME", text(self.0.path())),
            ("GNUPGHOME", text(&self.0.path().join("g"))),
        ]);
        pass(folder, value, &variables).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command
            .args(["--kill", "all"])
            .env("GNUPGHOME", self.0.path().join("g"));
        let _ = command.output();
    }
}

fn exact() -> (Box<dyn Backend>, Home) {
    let home = Home::new();
    (home.open(Some("team"), PassValue::Exact), home)
}

backend_contract!(contract_of_pass, block_on, exact());

fn text(value: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(value.as_bytes())))
}

fn read(backend: &dyn Backend, address: &str) -> Result<Option<Vec<u8>>, BackendError> {
    let item = block_on(backend.read(address, &VersionRef::Current))?;
    Ok(item.map(|item| item.payload.value.expose_secret().to_vec()))
}

#[test]
fn what_of_an_entry_is_the_value_is_said_and_not_guessed() {
    let home = Home::new();
    let (all, first) = (
        home.open(None, PassValue::Exact),
        home.open(None, PassValue::FirstLine),
    );
    let only = home.open(None, PassValue::OnlyLine);
    block_on(all.write("web/one", &text("pw\n"))).unwrap();
    block_on(all.write("web/two", &text("pw\nuser: me\n"))).unwrap();
    assert_eq!(read(&*only, "web/one").unwrap().unwrap(), b"pw");
    assert_eq!(read(&*first, "web/two").unwrap().unwrap(), b"pw");
    assert_eq!(read(&*all, "web/two").unwrap().unwrap(), b"pw\nuser: me\n");
    let error = read(&*only, "web/two").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Malformed);
    assert!(error.hint.unwrap().contains("value=first-line"));
    let error = block_on(only.write("web/pem", &text("a\nb"))).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Invalid);
    for name in ["../up", "-x", "web/.git", "a//b", "/etc/x"] {
        assert_eq!(read(&*only, name).unwrap(), None, "{name}");
        let error = block_on(only.write(name, &text("x"))).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid, "{name}");
    }
    let listed = block_on(all.page("web/", None, 9)).unwrap().addresses;
    assert_eq!(listed, ["web/one", "web/two"]);
    // Without its key the store is there and cannot be read: never "not found".
    home.run("gpgconf", &["--kill", "all"]);
    fs::remove_dir_all(home.0.path().join("g/private-keys-v1.d")).unwrap();
    let error = read(&*only, "web/one").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied, "{error}");
}

fn stand_in(name: &str, script: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn with_path(folder: &TempDir, more: (&str, &str)) -> Variables {
    let path = folder.path().display().to_string();
    Variables::new([("PATH", path.as_str()), more])
}

const OP: &str = r#"
test "$OP_SERVICE_ACCOUNT_TOKEN" = t || { echo "[ERROR] you are not signed in" >&2; exit 1; }
case "$*" in
"item list --vault Prod --format json")
    printf '%s\n' '[{"id":"i1","title":"DATABASE_URL"},{"id":"i2","title":"Twice"},
           {"id":"i3","title":"Twice"}]';;
"item get i1 --vault Prod --format json")
    printf '%s\n' '{"id":"i1","title":"DATABASE_URL","fields":[
        {"id":"username","type":"STRING","purpose":"USERNAME","label":"username","value":"u"},
        {"id":"password","type":"CONCEALED","purpose":"PASSWORD","label":"password","value":"p\n"},
        {"id":"notesPlain","type":"STRING","purpose":"NOTES","label":"notesPlain"}]}';;
"item get "*) echo '{"title":"Twice","fields":[]}';;
*) echo "[ERROR] unknown command" >&2; exit 1;;
esac"#;

#[test]
fn onepassword_items_are_found_by_title_and_field() {
    let folder = stand_in("op", OP);
    let token = ("OP_SERVICE_ACCOUNT_TOKEN", "t");
    let backend = onepassword("Prod", &with_path(&folder, token)).unwrap();
    assert_eq!(read(&*backend, "DATABASE_URL").unwrap().unwrap(), b"p\n");
    assert_eq!(
        read(&*backend, "DATABASE_URL/username").unwrap().unwrap(),
        b"u"
    );
    assert_eq!(read(&*backend, "DATABASE_URL/other").unwrap(), None);
    assert_eq!(read(&*backend, "Other").unwrap(), None);
    assert_eq!(
        read(&*backend, "Twice").unwrap_err().kind,
        BackendErrorKind::Malformed
    );
    assert_eq!(block_on(backend.list()).unwrap(), ["DATABASE_URL", "Twice"]);
    let signed_out = onepassword("Prod", &with_path(&folder, ("X", "y"))).unwrap();
    let error = read(&*signed_out, "DATABASE_URL").unwrap_err();
    assert!(error.message.contains("you are not signed in"), "{error}");
    assert_eq!(error.hint.as_deref(), Some("op signin"));
}

fn contract_op() -> (Box<dyn Backend>, TempDir) {
    let folder = stand_in("op", OP);
    let variables = with_path(&folder, ("OP_SERVICE_ACCOUNT_TOKEN", "t"));
    (onepassword("Prod", &variables).unwrap(), folder)
}

backend_contract!(contract_of_op, block_on, contract_op());

const BW: &str = r#"
case "$*" in
"status --nointeraction") echo "{\"serverUrl\":null,\"status\":\"$BW_SESSION\"}";;
"list folders --nointeraction") echo '[{"id":"f1","name":"Prod"},{"id":null,"name":"No Folder"}]';;
"list items --nointeraction --folderid f1")
    printf '%s\n' '[{"id":"1","type":1,"name":"API_KEY","notes":null,
            "login":{"username":"u","password":"p","totp":null},
            "fields":[{"name":"region","value":"eu","type":0}]},
           {"id":"2","type":2,"name":"pem","notes":"a\nb","login":null}]';;
*) echo '[]';;
esac"#;

#[test]
fn bitwarden_items_are_found_by_name_and_field() {
    let folder = stand_in("bw", BW);
    let open =
        |status| bitwarden(Some("Prod"), &with_path(&folder, ("BW_SESSION", status))).unwrap();
    let backend = open("unlocked");
    for (address, value) in [
        ("API_KEY", &b"p"[..]),
        ("API_KEY/username", b"u"),
        ("API_KEY/region", b"eu"),
        ("pem", b"a\nb"),
    ] {
        assert_eq!(read(&*backend, address).unwrap().unwrap(), value);
    }
    assert_eq!(read(&*backend, "API_KEY/none").unwrap(), None);
    let listed = block_on(backend.list()).unwrap();
    assert_eq!(
        listed,
        ["API_KEY", "API_KEY/region", "API_KEY/username", "pem"]
    );
    let kind = |status| read(&*open(status), "API_KEY").unwrap_err().kind;
    assert_eq!(kind("locked"), BackendErrorKind::Sealed);
    assert_eq!(kind("unauthenticated"), BackendErrorKind::Denied);
    let elsewhere = with_path(&folder, ("BW_SESSION", "unlocked"));
    let elsewhere = bitwarden(Some("Other"), &elsewhere).unwrap();
    let error = read(&*elsewhere, "API_KEY").unwrap_err();
    assert_eq!(error.message, "the vault has no folder 'Other'");
}

#[test]
fn a_program_that_is_not_installed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let variables = with_path(&folder, ("HOME", "/nowhere"));
    for error in [
        bitwarden(None, &variables).err(),
        onepassword("V", &variables).err(),
        pass(None, PassValue::Exact, &variables).err(),
    ] {
        let error = error.unwrap();
        assert_eq!(error.kind, BackendErrorKind::Misconfigured);
        assert!(error.message.ends_with("is not installed"), "{error}");
    }
}
