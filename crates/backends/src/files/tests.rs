use std::os::unix::fs::symlink;
use std::path::Path;

use pollster::block_on;
use strongroom_core::port::Expected;
use strongroom_testkit::backend_contract;
use tempfile::TempDir;

use super::*;

fn own_folder() -> (Box<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let backend = FilesBackend::new(folder.path().join("secrets")).writable();
    (Box::new(backend), folder)
}

fn mounted_folder() -> (Box<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Box::new(FilesBackend::new(folder.path())), folder)
}

backend_contract!(a_folder_of_the_users_own, block_on, own_folder());
backend_contract!(a_mounted_folder, block_on, mounted_folder());

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn get(folder: &Path, name: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
    let place = format!("app/dev/{path}").parse().unwrap();
    let lookups = [Lookup {
        name: name.into(),
        path: path.into(),
        place,
    }];
    let backend = FilesBackend::new(folder);
    let found = block_on(backend.get_many(&lookups)).pop().unwrap()?;
    Ok(found.map(|fetched| fetched.value.expose_secret().to_vec()))
}

fn check(folder: &TempDir, name: &str, path: &str, expected: Option<&[u8]>) {
    assert_eq!(
        get(folder.path(), name, path).unwrap().as_deref(),
        expected,
        "{name} {path}"
    );
}

#[test]
fn names_are_matched_in_every_spelling() {
    for file in [
        "DATABASE_URL",
        "database-url",
        "database_url",
        "Database-URL",
        "database/url",
    ] {
        let folder = folder(&[(file, b"v\n"), (".hidden", b"x"), ("other", b"x")]);
        check(&folder, "DATABASE_URL", "db/url", Some(b"v\n"));
        check(&folder, "DATABASE", "database", None);
    }
    let folder = folder(&[("jwt/secret_key", b"1"), ("stripe-key", b"2")]);
    check(&folder, "SIGNING", "jwt/secret_key", Some(b"1"));
    check(&folder, "PAYMENT", "stripe/key", Some(b"2"));
}

#[test]
fn an_exact_name_wins_and_two_that_fit_alike_are_refused() {
    let folder = folder(&[("API_KEY", b"1"), ("api-key", b"2"), ("api_key", b"3")]);
    check(&folder, "API_KEY", "x", Some(b"1"));
    check(&folder, "api-key", "x", Some(b"2"));
    let error = get(folder.path(), "Api_Key", "x").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Malformed);
    assert_eq!(error.message, "Api_Key fits both 'API_KEY' and 'api-key'");
}

#[test]
fn bytes_are_exact_and_bounded() {
    let folder = folder(&[("a", b" \xff\0\r\n"), ("b", b""), ("c", &vec![0; 1 << 20])]);
    check(&folder, "a", "a", Some(b" \xff\0\r\n"));
    check(&folder, "b", "b", Some(b""));
    check(&folder, "c", "c", Some(&vec![0; 1 << 20]));
    fs::write(folder.path().join("c"), vec![0; (1 << 20) + 1]).unwrap();
    let error = get(folder.path(), "c", "c").unwrap_err();
    assert_eq!(error.message, "c: it is larger than 1048576 bytes");
}

#[test]
fn a_mounted_kubernetes_secret_is_followed_through_its_links() {
    let folder = folder(&[("..2026_01/tls.key", b"old"), ("..2026_01/deep/a", b"in")]);
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    symlink("..data/tls.key", folder.path().join("tls.key")).unwrap();
    symlink("..data/deep", folder.path().join("deep")).unwrap();
    symlink(".", folder.path().join("loop")).unwrap();
    check(&folder, "tls.key", "tls.key", Some(b"old"));
    check(&folder, "X", "deep/a", Some(b"in"));
    let backend = FilesBackend::new(folder.path());
    assert_eq!(block_on(backend.list()).unwrap(), ["deep/a", "tls.key"]);
    fs::create_dir(folder.path().join("..2026_02")).unwrap();
    fs::write(folder.path().join("..2026_02/tls.key"), b"new").unwrap();
    symlink("..2026_02", folder.path().join("..next")).unwrap();
    fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
    check(&folder, "tls.key", "tls.key", Some(b"new"));
}

#[test]
fn links_that_lead_out_are_refused() {
    let outside = folder(&[("key", b"canary"), ("folder/key", b"canary")]);
    let folder = folder(&[("ok", b"1")]);
    symlink(outside.path().join("key"), folder.path().join("out")).unwrap();
    symlink(outside.path().join("folder"), folder.path().join("dir")).unwrap();
    symlink("gone", folder.path().join("dangling")).unwrap();
    for (name, path) in [("out", "x"), ("OUT", "x"), ("x", "dir/key")] {
        let error = get(folder.path(), name, path).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied, "{name}");
        assert!(
            error
                .message
                .ends_with(": it is a link that leads out of the folder")
        );
    }
    assert_eq!(
        get(folder.path(), "dangling", "x").unwrap_err().message,
        "dangling: there is no such file"
    );
    check(&folder, "ok", "ok", Some(b"1"));
}

#[test]
fn a_missing_folder_holds_nothing_and_a_file_is_no_folder() {
    let folder = folder(&[("file", b"1")]);
    assert_eq!(get(&folder.path().join("none"), "A", "a").unwrap(), None);
    let error = get(&folder.path().join("file"), "A", "a").unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unreachable);
}

#[test]
fn too_many_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..SECRET_FILES_MAX {
        fs::write(folder.path().join(number.to_string()), b"").unwrap();
    }
    assert_eq!(
        get(folder.path(), "1", "x").unwrap().as_deref(),
        Some(&b""[..])
    );
    fs::write(folder.path().join("more"), b"").unwrap();
    assert_eq!(
        get(folder.path(), "1", "x").unwrap_err().message,
        "more than 10000 files"
    );
}

#[test]
fn files_that_are_written_are_private_and_links_are_not_followed() {
    let outside = folder(&[("key", b"old")]);
    let folder = folder(&[("plain", b"old")]);
    symlink(outside.path(), folder.path().join("dir")).unwrap();
    symlink(outside.path().join("key"), folder.path().join("key")).unwrap();
    let backend = FilesBackend::new(folder.path()).writable();
    let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"new")));
    for address in ["dir/key", "dir/other", "key"] {
        let error = block_on(backend.write(address, &value)).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied, "{address}");
        let removed = block_on(backend.remove(address, Removal::Final));
        assert!(removed.is_err(), "{address}");
    }
    for address in [
        "../up",
        "/etc/x",
        "a//b",
        ".hidden",
        "a/../b",
        "",
        "a\nb",
        "plain/below",
    ] {
        let error = block_on(backend.write(address, &value)).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid, "{address}");
    }
    assert_eq!(fs::read(outside.path().join("key")).unwrap(), b"old");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    block_on(backend.write("deep/new", &value)).unwrap();
    let mode = |path: &str| {
        let metadata = fs::metadata(folder.path().join(path)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!((mode("deep"), mode("deep/new")), (0o700, 0o600));
    assert!(!block_on(backend.write("deep/new", &value)).unwrap().is_new);
}

#[test]
fn a_folder_that_kubernetes_manages_is_not_written() {
    let folder = folder(&[("..2026_01/a", b"1")]);
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    let backend = FilesBackend::new(folder.path()).writable();
    let value = NewValue {
        expected: Expected::Absent,
        ..NewValue::new(Payload::detect(SecretValue::copy_from(b"new")))
    };
    let error = block_on(backend.write("b", &value)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
}
