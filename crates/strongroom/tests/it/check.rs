//! `check`: all that is wrong, at once, in words one can act on.

use std::fmt::Write as _;

use crate::support::Case;

/// The registry of a real application of eleven secrets, eight of them required.
const REGISTRY: &str = include_str!("fixtures/registry.toml");

fn registry_case() -> (Case, Vec<String>) {
    let case = Case::with_manifest(REGISTRY);
    let values = vec![
        ("CLERK_SECRET_KEY", case.canary("sk_test_")),
        ("CLERK_PUBLISHABLE_KEY", case.canary("pk_test_")),
        ("CLERK_WEBHOOK_SECRET", case.canary("whsec_")),
        ("ANTHROPIC_API_KEY", case.canary("sk-ant-")),
        ("OPENAI_API_KEY", case.canary("sk-")),
        (
            "MONGODB_URI",
            format!("mongodb+srv://u:{}@db.internal/vf", case.canary("")),
        ),
        ("QDRANT_URL", "https://qdrant.internal:6333".to_owned()),
        ("USER_SECRET_ENCRYPTION_KEY", case.canary("user-")),
    ];
    let mut env = String::new();
    for (name, value) in &values {
        writeln!(env, "{name}={value}").unwrap();
    }
    case.write_open(".env", env);
    (case, values.into_iter().map(|(_, value)| value).collect())
}

#[test]
fn the_inventory_of_eleven_secrets_is_reported() {
    let (case, _) = registry_case();
    let good = case.sr("check").transcript();
    let json = case.sr("check --json").ok().json();
    let secrets = json["secrets"].as_array().unwrap();
    let required = secrets
        .iter()
        .filter(|secret| secret["required"] == true)
        .count();
    assert_eq!((secrets.len(), required), (11, 8));
    let strict = case.sr("check --profile production").transcript();
    insta::assert_snapshot!(format!("{good}\n{strict}"));
}

#[test]
fn every_problem_comes_in_one_report() {
    let (case, _) = registry_case();
    case.write_open(
        ".env",
        "CLERK_SECRET_KEY=sk_wrong\nCLERK_PUBLISHABLE_KEY=pk_test_your-key-here\n\
         QDRANT_URL=not a url\nUSER_SECRET_ENCRYPTION_KEY=short\nANTHROPIC_API_KEY=\n",
    );
    let table = case.sr("check").transcript();
    let json = case.sr("check --json").transcript();
    let github = case.sr("check --format github").transcript();
    let run = case.sr("run -- echo started").code(5);
    assert_eq!(run.out(), "");
    run.says("the command was not started");
    insta::assert_snapshot!(format!("{table}\n{github}\n{json}"));
}

#[test]
fn a_strict_profile_lets_nothing_pass() {
    let case = Case::with_manifest(
        "[secrets.PLACE]\n[secrets.HTTP]\ntype = \"url\"\n[secrets.SHARED]\n[secrets.GOOD]\n\
         [secrets.GEN]\nclass = \"per_install_generated\"\n",
    );
    let (shared, good) = (case.canary(""), case.canary(""));
    for profile in ["development", "staging", "production"] {
        for (name, value) in [
            ("PLACE", "changeme"),
            ("HTTP", "http://api.internal/"),
            ("SHARED", shared.as_str()),
        ] {
            case.run(&["set", name, "-p", profile]).stdin(value).ok();
        }
    }
    case.sr("set GOOD -p production").stdin(&good).ok();
    let production = case.sr("check -p production").transcript();
    insta::assert_snapshot!(production);
    case.sr("set GOOD").stdin(&good).ok();
    case.sr("check")
        .ok()
        .prints("warning PLACE looks like a placeholder");
    case.sr("check --strict").code(5);
    case.sr("check --allow-placeholder PLACE --strict").ok();
}

/// A look at the first bytes must not stop within a character.
#[test]
fn a_strict_profile_takes_values_of_any_script() {
    let case = Case::with_manifest("[secrets.WORD]\n");
    for value in [
        "ключ-ö-значение",
        "http:/\u{2044}x-ключ",
        "日本語の合言葉です",
    ] {
        case.run(&["set", "WORD", "-p", "production"])
            .stdin(value)
            .ok();
        case.sr("check -p production").ok();
    }
}

/// Before there is a store, `check` says what the first `run` will do.
#[test]
fn what_will_be_generated_is_not_missing() {
    let case = Case::with_manifest(
        "[secrets.GEN]\nclass = \"per_install_generated\"\n[secrets.KEY]\nrequired = false\n",
    );
    case.sr("check").ok().prints("generated on first run");
    assert!(!case.store("store.db").exists());
    case.sr("get KEY").code(3).says("looked in: store, env");
    case.sr("run -- true").ok();
    let after = case.sr("check --json").ok().json();
    assert_eq!(after["secrets"][0]["source"], "store");
}

#[test]
fn booleans_are_read_in_all_spellings() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"env\"]\n\
         [secrets.AUTH_ENABLED]\nsensitive = false\ntype = \"boolean\"\n",
    );
    for value in ["true", "FALSE", "1", "0", "Yes", "no", "ON", "off"] {
        case.sr("check").env("AUTH_ENABLED", value).ok();
    }
    for value in ["2", "maybe", "tru", "enabled"] {
        case.sr("check")
            .env("AUTH_ENABLED", value)
            .code(5)
            .prints("AUTH_ENABLED is not a boolean (true, false, 1, 0, yes, no, on or off)");
    }
    case.sr("check")
        .env("AUTH_ENABLED", "")
        .code(5)
        .prints("is missing");
}

#[test]
fn an_expired_value_is_an_error() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.sr("set TOKEN --expires 2020-01-31")
        .stdin(case.canary(""))
        .ok();
    case.sr("check").code(5).prints("expired at 2020-01-31");
}

#[test]
fn white_space_is_kept_and_warned_of() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.set("TOKEN", format!("{} ", case.canary("")));
    case.sr("check")
        .ok()
        .prints("begins or ends with white space, which is kept");
}

#[test]
fn what_is_wrong_with_a_manifest_is_told_at_once_and_never_quoted() {
    let case = Case::new();
    let value = case.canary("");
    let manifest = format!(
        "[project]\nname = \"shop\"\ncolour = \"{value}\"\n\
         [profiles.prod]\ninherits = \"produktion\"\n\
         [secrets.A]\nformt = \"{value}\"\n\
         [secrets.B]\nclass = \"{value}\"\n\
         [secrets.C]\nrequired = {{ prodution = true }}\n\
         [secrets.D]\ntype = \"{value}\"\n\
         [secret.E]\n"
    );
    case.write_open("strongroom.toml", manifest);
    let unknown = case.sr("check").transcript();
    let contradictions = format!(
        "[project]\nname = \"shop\"\n\
         [secrets.DEFAULT]\ndefault = \"{value}\"\n\
         [secrets.PROMPT]\nclass = \"user_prompt\"\ngenerator = {{ type = \"hex\" }}\n\
         [secrets.SHORT]\nformat = \"^[a-z]{{64}}$\"\n\
         generator = {{ type = \"random\", length = 32, charset = \"alnum\" }}\n\
         [secrets.LOOK]\nformat = \"(?={value})\"\n\
         [secrets.EVIL]\nformat = \"((((a{{1,100}}){{1,100}}){{1,100}}){{1,100}})\"\n\
         [secrets.UP]\npath = \"../up\"\n\
         [secrets.ONE]\npath = \"same\"\n[secrets.TWO]\npath = \"same\"\n\
         [secrets.OPEN]\ntarget = {{ type = \"file\", mode = \"0644\" }}\n\
         [secrets.PORT]\nsensitive = false\ntype = \"port\"\ndefault = \"{value}\"\n"
    );
    case.write_open("strongroom.toml", contradictions);
    let contradictions = case.sr("check").transcript();
    case.write_open(
        "strongroom.toml",
        format!("[project]\nname = \"shop\n{value}\n"),
    );
    let syntax = case.sr("check").transcript();
    insta::assert_snapshot!(format!("{unknown}\n{contradictions}\n{syntax}"));
}

#[test]
fn an_evil_pattern_costs_nothing() {
    let case = Case::with_manifest(
        "[secrets.A]\nformat = \"^(a+)+$\"\n\
         [secrets.B]\nformat = \"^(([a-z])+.)+[A-Z]([a-z])+$\"\n",
    );
    let text = "a".repeat(65_000) + "!";
    case.set("A", &text);
    case.set("B", &text);
    case.sr("check")
        .code(5)
        .prints("A does not match")
        .prints("B does not match");
}

#[test]
fn a_local_file_overrides_the_manifest() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.sr("check").code(5);
    case.write(
        "strongroom.local.toml",
        "[secrets.TOKEN]\nrequired = false\n",
    );
    case.sr("check").ok();
}
