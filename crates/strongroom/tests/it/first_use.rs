//! The first run makes what it needs and says so; the second makes nothing new.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::Case;
use crate::support::files_below;
use crate::support::mode;

/// The example of the repository, copied into the case's project.
fn storefront() -> Case {
    let case = Case::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/storefront");
    for name in ["strongroom.toml", ".env", "app.sh"] {
        let from = example.join(name);
        let text = std::fs::read_to_string(&from).unwrap();
        let copy = case.write_open(name, &text);
        std::fs::set_permissions(copy, from.metadata().unwrap().permissions()).unwrap();
        if name != ".env" {
            continue;
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.split_once('=').unwrap();
            case.watch(value.as_bytes());
        }
    }
    case
}

#[test]
fn the_example_runs_at_once_and_again() {
    let case = storefront();
    let first = case.sr("run -- ./app.sh").transcript();
    let second = case.sr("run -- ./app.sh").transcript();
    let check = case.sr("check").transcript();
    let list = case.sr("list").transcript();
    insta::assert_snapshot!(format!("{first}\n{second}\n{check}\n{list}"));
    let keys = case.sr("list --json").ok().json();
    for secret in keys["secrets"].as_array().unwrap() {
        assert_eq!(secret["secret_version"], 1, "{secret}");
    }
}

#[test]
fn generated_values_stay() {
    let case = storefront();
    case.sr("run -- true").ok();
    let before = case.get("JWT_SECRET");
    assert_eq!(before.len(), 64);
    case.watch(&before);
    case.sr("run -- ./app.sh").ok();
    assert_eq!(case.get("JWT_SECRET"), before);
}

#[test]
fn what_is_made_is_for_its_owner_only_whatever_the_umask() {
    let case = Case::new();
    let value = case.canary("");
    case.shell(
        "umask 000; echo \"$VALUE\" | strongroom set token; strongroom key add recovery -o kit",
    )
    .env("VALUE", &value)
    .ok()
    .says("made the store")
    .says("opened by the key file");
    for folder in ["data/strongroom", "config/strongroom"] {
        assert_eq!(mode(&case.path(folder)), 0o700, "{folder}");
        for file in files_below(&case.path(folder)) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }
    assert_eq!(mode(&case.in_project("kit")), 0o600);
}

#[test]
fn the_key_file_never_lies_beside_the_store() {
    let case = Case::new();
    case.sr("set token --store ../data/s.db --key-file ../data/k")
        .stdin("value-of-token")
        .code(2)
        .says("would lie beside the store");
    assert!(!case.path("data/k").exists());
}

#[test]
fn a_store_others_could_replace_is_refused() {
    let case = Case::new();
    let folder = case.path("data/shared");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    case.sr("set token --store ../data/shared/s.db")
        .stdin("value-of-token")
        .code(4)
        .says("others can write to the folder");
}

#[test]
fn a_store_that_is_a_link_is_refused() {
    let case = Case::new();
    case.set("token", "value-of-token");
    let real = case.store("real.db");
    std::fs::rename(case.store("store.db"), &real).unwrap();
    std::os::unix::fs::symlink(&real, case.store("store.db")).unwrap();
    case.sr("get token").code(4).says("is not a regular file");
    std::fs::remove_file(case.store("store.db")).unwrap();
    std::fs::hard_link(&real, case.store("store.db")).unwrap();
    case.sr("get token").code(4).says("more than one hard link");
}

#[test]
fn a_store_others_can_read_is_mended_and_said() {
    let case = Case::new();
    case.set("token", "value-of-token");
    let store = case.store("store.db");
    std::fs::set_permissions(&store, PermissionsExt::from_mode(0o644)).unwrap();
    case.sr("get token")
        .ok()
        .says("could be read by others (mode 644); it is 600 now");
    assert_eq!(mode(&store), 0o600);
}
