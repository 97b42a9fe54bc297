//! From the files that a project has to a manifest and values in the store.

use crate::support::Case;

/// A project as one finds them: values, settings, placeholders, a template.
fn project(case: &Case) -> (String, String) {
    let (password, key) = (case.canary(""), case.canary("sk-proj-"));
    let jwt = case.canary("");
    case.write_open(
        ".env",
        format!(
            "# the shop\nDATABASE_URL=postgres://app:{password}@db.internal:5432/shop\n\
             OPENAI_API_KEY=\"{key}\"\nJWT_SECRET={jwt}\nSTRIPE_KEY=changeme\nSMTP_PASSWORD=\n\
             PORT=3000\nLOG_LEVEL=info\nDEBUG=true\nPUBLIC_URL=https://shop.test\n"
        ),
    );
    case.write(".env.example", "EXTRA_TOKEN=<your-token>\nPORT=1\n");
    (password, key)
}

#[test]
fn init_writes_a_manifest_and_imports() {
    let case = Case::new();
    let (password, key) = project(&case);
    let before = case.read(".env");
    let init = case.sr("init --yes --name shop").transcript();
    let manifest = String::from_utf8(case.read("strongroom.toml")).unwrap();
    let check = case.sr("check").transcript();
    insta::assert_snapshot!(format!("{init}\n{manifest}\n{check}"));
    let url = format!("postgres://app:{password}@db.internal:5432/shop");
    assert_eq!(case.get("DATABASE_URL"), url.as_bytes());
    assert_eq!(case.get("OPENAI_API_KEY"), key.as_bytes());
    assert_eq!(case.get("PORT"), b"3000");
    assert_eq!(case.read(".env"), before);
}

#[test]
fn init_asks_first_and_overwrites_nothing() {
    let case = Case::new();
    project(&case);
    case.sr("init").code(2).says("add --yes");
    case.sr("init --json").code(2);
    assert!(!case.in_project("strongroom.toml").exists());
    assert!(!case.store("store.db").exists());
    case.write("strongroom.toml", "# mine\n");
    case.sr("init --yes").code(6).says("is there already");
    assert_eq!(case.read("strongroom.toml"), b"# mine\n");
    case.sr("init --yes --force --no-import").ok();
    assert_ne!(case.read("strongroom.toml"), b"# mine\n");
    assert!(!case.store("store.db").exists());
}

#[test]
fn init_begins_an_empty_project() {
    let case = Case::new();
    case.write(".git/HEAD", "ref: refs/heads/main\n");
    case.sr("init --yes")
        .ok()
        .says("found no .env file here")
        .says("added strongroom.local.toml to .gitignore");
    assert_eq!(case.read(".gitignore"), b"strongroom.local.toml\n");
    case.sr("check").ok();
}

#[test]
fn a_dry_run_masks_values_and_writes_nothing() {
    let case = Case::new();
    project(&case);
    insta::assert_snapshot!(case.sr("import .env --dry-run").transcript());
    assert!(!case.in_project("strongroom.toml").exists());
    assert!(!case.store("store.db").exists());
    case.sr("import .env --json").code(2).says("needs a yes");
    assert!(!case.store("store.db").exists());
}

#[test]
fn import_stores_declares_and_verifies() {
    let case = Case::with_manifest("# kept\n[secrets.OPENAI_API_KEY]\nclass = \"user_prompt\"\n");
    let (_, key) = project(&case);
    case.sr("import .env --yes")
        .ok()
        .says("imported 3 secrets and read them back");
    assert_eq!(case.get("OPENAI_API_KEY"), key.as_bytes());
    let manifest = String::from_utf8(case.read("strongroom.toml")).unwrap();
    assert!(manifest.contains("# kept\n"));
    assert_eq!(manifest.matches("[secrets.OPENAI_API_KEY]").count(), 1);
    assert!(manifest.contains("[secrets.DATABASE_URL]"));
    assert!(manifest.contains("default = \"3000\""));
    case.sr("get STRIPE_KEY").code(3);
    let again = case.sr("import .env --yes --json").ok().json();
    assert_eq!(again["imported"].as_array().unwrap().len(), 3);
    let history = case.sr("history OPENAI_API_KEY --json").ok().json();
    assert_eq!(
        history["versions"].as_array().unwrap().len(),
        1,
        "no new version"
    );
    assert_eq!(history["versions"][0]["provenance"], "imported from .env");
}

#[test]
fn placeholders_are_imported_on_demand() {
    let case = Case::with_manifest("[secrets.STRIPE_KEY]\n");
    case.write(".env", "STRIPE_KEY=changeme\n");
    case.sr("import .env --yes").ok().says("imported 0 secrets");
    case.sr("import .env --yes --placeholders")
        .ok()
        .says("imported 1 secret");
    assert_eq!(case.get("STRIPE_KEY"), b"changeme");
}

#[test]
fn json_files_are_imported_in_all_forms() {
    let case = Case::with_manifest("");
    let (a, b, c) = (case.canary("a"), case.canary("b"), case.canary("c"));
    case.write_open("flat.json", format!("{{\"FLAT_SECRET\": \"{a}\"}}"));
    case.write_open(
        "wrapped.json",
        format!("{{\"secrets\": {{\"WRAPPED_SECRET\": \"{b}\"}}, \"note\": 1}}"),
    );
    case.write_open(
        "meta.json",
        format!(
            "{{\"_metadata\": {{\"environment\": \"dev\"}}, \"META_SECRET\": {{\"k\": \"{c}\"}}}}"
        ),
    );
    for file in ["flat.json", "wrapped.json", "meta.json"] {
        case.run(&["import", file, "--yes"])
            .ok()
            .says("imported 1 secret");
    }
    assert_eq!(case.get("FLAT_SECRET"), a.as_bytes());
    assert_eq!(case.get("WRAPPED_SECRET"), b.as_bytes());
    assert_eq!(
        case.get("META_SECRET"),
        format!("{{\"k\":\"{c}\"}}").as_bytes()
    );
}

#[test]
fn other_peoples_yaml_is_imported() {
    let case = Case::with_manifest("");
    let (kube, plain) = (case.canary("kube"), case.canary("compose"));
    let encoded = data_encoding::BASE64.encode(kube.as_bytes());
    case.write_open(
        "secret.yaml",
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\ndata:\n  KUBE_TOKEN: {encoded}\n"
        ),
    );
    case.write_open(
        "docker-compose.yml",
        format!(
            "services:\n  web:\n    image: x\n    environment:\n\
             \x20     COMPOSE_TOKEN: {plain}\n      NAMED_TOKEN: ${{NAMED_TOKEN}}\n"
        ),
    );
    case.sr("import secret.yaml --yes").ok();
    case.sr("import docker-compose.yml --yes")
        .ok()
        .says("names only: NAMED_TOKEN");
    assert_eq!(case.get("COMPOSE_TOKEN"), plain.as_bytes());
    let list = case.sr("list").ok().out();
    assert!(list.contains("KUBE_TOKEN"), "{list}");
}

#[test]
fn a_malformed_file_is_named_with_its_place_and_not_quoted() {
    let case = Case::with_manifest("");
    let value = case.canary("");
    let broken = [
        (
            "bad.env",
            format!("A=1\nB=\"{value}\nC=2\n"),
            "bad.env:2:3: unterminated quote",
        ),
        (
            "bad.json",
            format!("{{\"A\": \"{value}\",\n"),
            "bad.json:2:0: not valid JSON",
        ),
        (
            "list.json",
            format!("[\"{value}\"]"),
            "list.json:1:1: not the expected form",
        ),
        (
            "twice.json",
            format!("{{\"A\": \"{value}\", \"A\": \"x\"}}"),
            "the same name is there twice",
        ),
        ("bad.yaml", format!("kind: [{value}\n"), "not valid YAML"),
    ];
    for (name, text, message) in broken {
        case.write_open(name, text);
        case.run(&["import", name, "--yes"])
            .code(5)
            .says(message)
            .says("nothing was imported");
    }
    std::fs::rename(case.in_project("bad.env"), case.in_project(".env")).unwrap();
    case.leave_open(&case.in_project(".env"));
    case.sr("init --yes --force")
        .code(5)
        .says(".env:2:3: unterminated quote");
    assert!(!case.store("store.db").exists());
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    let case =
        Case::with_manifest("[profiles.development]\nchain = [\"dotenv:.env\"]\n[secrets.A]\n");
    let file = std::fs::File::create(case.in_project(".env")).unwrap();
    file.set_len(100 * 1024 * 1024).unwrap();
    for (line, code) in [
        ("import .env --yes", 1),
        ("init --yes --force", 1),
        ("check", 5),
        ("run -- true", 5),
    ] {
        let said = case.sr(line).code(code);
        let all = said.out() + &said.err();
        assert!(all.contains(".env"), "{line}: {all}");
        assert!(all.contains("larger than"), "{line}: {all}");
    }
    drop(file);
    std::fs::remove_file(case.in_project(".env")).unwrap();
}

/// Names and no values: they become declarations, and what is declared already is left alone.
#[test]
fn a_manifest_of_another_tool_becomes_declarations() {
    let case = Case::with_manifest("[secrets.API_KEY]\nclass = \"user_prompt\"\n");
    case.write(
        "secretspec.toml",
        "[project]\nname = \"shop\"\nrevision = \"1.0\"\n\n[profiles.default]\n\
         DATABASE_URL = { description = \"where the data is\", required = true }\n\
         API_KEY = { description = \"of the vendor\", required = false }\n",
    );
    let dry = case
        .sr("import secretspec.toml --dry-run --json")
        .ok()
        .json();
    assert_eq!(dry["declared"], serde_json::json!(["DATABASE_URL"]));
    case.sr("import secretspec.toml --yes")
        .ok()
        .says("declared DATABASE_URL");
    let manifest = String::from_utf8(case.read("strongroom.toml")).unwrap();
    assert!(manifest.contains("where the data is"), "{manifest}");
    assert_eq!(manifest.matches("[secrets.API_KEY]").count(), 1);
    let again = case.sr("import secretspec.toml --yes --json").ok().json();
    assert_eq!(again["declared"], serde_json::json!([]));
    case.sr("check").code(5);
}

#[test]
fn a_file_that_is_not_there_or_unknown_is_told() {
    let case = Case::with_manifest("");
    case.sr("import nothing.env")
        .code(3)
        .says("nothing.env cannot be read");
    case.write("values.txt", "nothing that anybody writes\n");
    case.sr("import values.txt").code(2).says("--from says it");
    case.sr("import values.txt --from nonsense")
        .code(2)
        .says("known: dotenv");
    case.write("values.txt", "A=1\n");
    case.sr("import values.txt --dry-run")
        .ok()
        .says("read values.txt as dotenv");
    case.sr("import values.txt --from env --dry-run").ok();
    case.sr("import . ").code(2).says("SECRETS_ENCRYPTION_KEY");
}
