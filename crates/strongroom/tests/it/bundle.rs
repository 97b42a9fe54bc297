//! Bundles that are exported, and manifests whose secrets are replaced.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use serde_json::json;

use crate::plan::WHEEL;
use crate::support::Case;

/// A manifest with a secret of the server and an asset.
fn base() -> String {
    WHEEL
        .replace(
            "\"secrets\": [\n",
            "\"secrets\": [{\"id\": \"pg\", \"class\": \"infrastructure\", \"target\": \
             {\"type\": \"env\", \"name\": \"POSTGRES_PASSWORD\"}},\n",
        )
        .replace(
            "[\"jwt_secret\", \"session_secret\"]",
            "[\"pg\", \"jwt_secret\", \"session_secret\"], \"assets\": [{\"path\": \"ui/app.js\"}]",
        )
}

fn with_files(case: &Case) {
    case.write("base.json", base());
    case.write("build/ui/app.js", "abc");
    let program = case.write("build/services/api/linux-x64/api", "#!/bin/sh\n");
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
}

const EXPORT: &str = "bundle export --bundle base.json --root build --output-dir dist/wheel";

#[test]
fn an_exported_bundle_is_whole_and_has_its_checksum() {
    let case = Case::with_manifest("[secrets.API_TOKEN]\n");
    with_files(&case);
    std::fs::create_dir(case.in_project("dist")).unwrap();
    let told = case.sr(&format!("{EXPORT} --json")).ok().json();
    assert_eq!(told["status"], "exported");
    assert_eq!(told["tier"], "tier-2-desktop");
    let text = case.read("dist/wheel/bundle.json");
    let made: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(made, told["manifest"]);
    assert_eq!(
        made["services"][0]["secrets"],
        json!(["jwt_secret", "session_secret"])
    );
    let sum = std::process::Command::new("sha256sum")
        .arg(case.in_project("dist/wheel/bundle.json"))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let (sum, _) = sum.split_once(' ').unwrap();
    assert_eq!(told["checksum"], format!("sha256:{sum}"));
    assert_eq!(
        told["files"],
        json!(["services/api/linux-x64/api", "ui/app.js"])
    );
    assert_eq!(case.read("dist/wheel/ui/app.js"), b"abc");
    let program = case.in_project("dist/wheel/services/api/linux-x64/api");
    let mode = std::fs::metadata(program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    case.sr("bundle lint dist/wheel/bundle.json").ok();
    // What is there is left alone.
    case.sr(EXPORT).code(6).says("is there already");
    assert_eq!(case.read("dist/wheel/bundle.json"), text);
}

#[test]
fn a_bundle_with_something_missing_or_known_is_not_exported() {
    let case = Case::with_manifest("[secrets.API_TOKEN]\n");
    with_files(&case);
    std::fs::remove_file(case.in_project("build/services/api/linux-x64/api")).unwrap();
    case.sr(EXPORT)
        .code(5)
        .says("services/api/linux-x64/api is not below build");
    case.sr(&format!("{EXPORT} --manifest-only")).ok();
    assert!(!case.in_project("dist/wheel/ui").exists());
    std::fs::remove_dir_all(case.in_project("dist")).unwrap();
    // A program may be a link, but only to what lies below.
    let program = case.in_project("build/services/api/linux-x64/api");
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    case.sr(EXPORT).code(5).says("is not below build");
    std::fs::remove_file(&program).unwrap();
    // In a program's bytes, in a text, and as the whole of a file.
    let token = case.canary("");
    case.set("API_TOKEN", &token);
    let asset = case.write_open("build/ui/app.js", "abc");
    let held = [
        ("services/api/linux-x64/api", format!("\0\u{1}{token}\0")),
        ("ui/app.js", format!("fetch(\"/x?key={token}\")")),
        ("ui/app.js", format!("{token}\n")),
    ];
    case.leave_open(&program);
    for (path, text) in held {
        std::fs::write(&program, "\0").unwrap();
        std::fs::write(&asset, "abc").unwrap();
        std::fs::write(case.in_project("build").join(path), text).unwrap();
        let said = format!("the value of /shop/development/API_TOKEN stands in {path}");
        case.sr(EXPORT).code(5).says(&said);
        assert!(!case.in_project("dist").exists(), "{path}");
    }
}

#[test]
fn secrets_are_merged_without_looking_for_files() {
    let case = Case::with_manifest("[secrets.API_TOKEN]\n");
    case.write("base.json", base());
    let merged = case
        .sr("bundle merge-secrets --bundle base.json --json")
        .ok()
        .json();
    assert_eq!(merged["status"], "merged");
    let manifest = &merged["manifest"];
    assert_eq!(manifest["secrets"].as_array().unwrap().len(), 2);
    let service = &manifest["services"][0];
    assert_eq!(service["secrets"], json!(["jwt_secret", "session_secret"]));
    assert_eq!(service["assets"], json!([{"path": "ui/app.js"}]));
    // A reference that leads nowhere is not written on.
    let dangling = base().replace("[\"pg\", ", "[\"pgg\", ");
    case.write("dangling.json", dangling);
    case.sr("bundle merge-secrets --bundle dangling.json -o out.json")
        .code(5)
        .says("no secret has this id");
    assert!(!case.in_project("out.json").exists());
}

const DEPLOYMENT: &str = r#"# Ours.
[profiles.wheel]
scenario = "picker-wheel"
bundle = "base.json"

[[overrides]]
scenario = "picker-wheel"
tier = "desktop"
secret = "session_secret"
strategy = "generate"   # not asked for
reason = "nobody types that"

[[overrides]]
scenario = "picker-wheel"
tier = "desktop"
secret = "GONE"
strategy = "prompt"

[[overrides]]
tier = "mobile"
secret = "jwt_secret"
strategy = "generate"
expires = "2020-01-31"

[[overrides]]
scenario = "shop"
tier = "desktop"
secret = "jwt_secret"
prompt_label = "Key"
"#;

#[test]
fn overrides_are_shown_copied_and_tidied_up() {
    let case = Case::new();
    case.write("base.json", WHEEL);
    case.sr("overrides list").code(3);
    case.write("strongroom.deploy.toml", DEPLOYMENT);
    let shown = [
        "overrides list",
        "overrides list --tier mobile",
        "overrides effective wheel",
        "overrides copy --from-tier desktop --to-tier desktop",
        "overrides copy",
        "overrides cleanup --dry-run",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
    let effective = case.sr("overrides effective wheel --json").ok().json();
    let row = &effective["strategies"][1];
    assert_eq!(row["overridden_fields"], json!(["handling_strategy"]));
    assert_eq!(row["override_reason"], "nobody types that");

    let copy = "overrides copy --from-tier desktop --to-tier mobile --json";
    let copied = case.sr(copy).ok().json();
    assert_eq!((&copied["copied"], &copied["kept"]), (&json!(3), &json!(0)));
    let again = case.sr(copy).ok().json();
    assert_eq!((&again["copied"], &again["kept"]), (&json!(0), &json!(3)));
    let over = case.sr(&format!("{copy} --overwrite")).ok().json();
    assert_eq!(over["copied"], 3);
    let from = "overrides copy --from-scenario shop --scenario picker-wheel --tier desktop --json";
    assert_eq!(case.sr(from).ok().json()["copied"], 1);
    let listed = case.sr("overrides list --json").ok().json();
    assert_eq!(listed["count"], 8);
    let text = String::from_utf8(case.read("strongroom.deploy.toml")).unwrap();
    assert!(
        text.starts_with("# Ours.\n") && text.contains("# not asked for"),
        "{text}"
    );

    let cleaned = case.sr("overrides cleanup --json").ok().json();
    // GONE twice, the one that has ended, and shop's two, of which no profile is here.
    assert_eq!(cleaned["deleted"], 5, "{cleaned}");
    let left = case.sr("overrides list --json").ok().json();
    assert_eq!(left["count"], 3);
    case.sr("overrides cleanup")
        .ok()
        .says("removed 0 overrides");
    let effective = case
        .sr("overrides effective wheel --tier mobile --json")
        .ok();
    assert_eq!(effective.json()["strategies"][1]["is_overridden"], true);
}

/// A program in Rust and one that a script makes.
fn with_sources(case: &Case) {
    let tools = std::path::Path::new(env!("CARGO")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path));
    case.env("PATH", std::env::join_paths(path).unwrap());
    let services = WHEEL.replace(
        "\"binaries\": {\"linux-x64\": {\"path\": \"services/api/linux-x64/api\"}},",
        "\"binaries\": {\"linux-x64\": {\"path\": \"old/api\", \"args\": [\"-v\"]}}, \"build\": \
         {\"type\": \"rust\", \"source_dir\": \"api\", \"entry_point\": \"api\", \
         \"output_pattern\": \"bin/{{platform}}/api{{ext}}\"},",
    );
    let services = services.replace(
        "\"services\": [",
        "\"services\": [{\"id\": \"tool\", \"type\": \"worker\", \"build\": {\"type\": \"custom\", \
         \"source_dir\": \"tool\", \"args\": [\"./make.sh\", \"{{output}}\"], \"env\": {\"FOR\": \
         \"{{goos}}\"}}},",
    );
    case.write("src/bundle.json", services);
    case.write(
        "src/api/Cargo.toml",
        "[package]\nname = \"api\"\nedition = \"2024\"\n\n[workspace]\n",
    );
    case.write(
        "src/api/src/main.rs",
        "fn main() { println!(\"served\"); }\n",
    );
    let script = "#!/bin/sh\necho talking\nprintf '%s %s' \"$FOR\" \
                  \"${STRONGROOM_PASSPHRASE-none}\" > \"$1\"\n";
    let script = case.write("src/tool/make.sh", script);
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn programs_are_built_as_the_manifest_says() {
    let case = Case::new();
    with_sources(&case);
    case.env("STRONGROOM_PASSPHRASE", "of the store, and of nobody else");
    let build = "bundle build src/bundle.json --root out --platform linux-x64";
    let planned = case.sr(&format!("{build} --dry-run --json")).ok().json();
    assert_eq!(planned["builds"][0]["service"], "tool");
    assert!(!case.in_project("out").exists());
    let built = case
        .sr(&format!("{build} -o built.json --json"))
        .ok()
        .says("talking")
        .says("api: the program for linux-x64 was old/api in the manifest");
    assert_eq!(built.json()["builds"][1]["path"], "bin/linux-x64/api");
    assert_eq!(case.read("out/bin/linux-x64/tool"), b"linux none");
    let served = std::process::Command::new(case.in_project("out/bin/linux-x64/api"))
        .output()
        .unwrap();
    assert_eq!(served.stdout, b"served\n");
    let made: Value = serde_json::from_slice(&case.read("built.json")).unwrap();
    let api = &made["services"][1]["binaries"]["linux-x64"];
    assert_eq!(*api, json!({ "path": "bin/linux-x64/api", "args": ["-v"] }));
    case.sr(&format!("{build} --service tool -o built.json"))
        .code(6)
        .says("--force replaces it");
    case.sr(&format!("{build} --service tool -o built.json --force"))
        .ok();
}

#[test]
fn what_cannot_be_built_is_told_all_at_once() {
    let case = Case::new();
    with_sources(&case);
    case.write("src/api/src/main.rs", "fn main() { serve() }\n");
    case.write("src/tool/make.sh", "#!/bin/sh\ntrue\n");
    let build = "bundle build src/bundle.json --root out --platform linux-x64";
    case.sr(build)
        .code(1)
        .says("0 of 2 programs could be built")
        .says("tool for linux-x64: ./make.sh went well and left nothing at")
        .says("api for linux-x64: cargo ended with exit code 101");
    case.write(
        "src/bundle.json",
        r#"{"services": [{"id": "a", "build": {"type": "custom", "args": ["no-such-program"]}}]}"#,
    );
    case.sr(build)
        .code(1)
        .says("no-such-program is not installed");
    case.sr("bundle build src/bundle.json --platform amiga")
        .code(2)
        .says("platforms: linux-x64, ");
    case.sr("bundle build none.json")
        .code(3)
        .says("none.json cannot be read");
}
