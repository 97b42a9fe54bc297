//! Lists, versions, moves, tags, comparisons: everything about secrets but their values.

use crate::support::Case;

/// A store with some secrets of one project.
fn shop() -> Case {
    let case = Case::with_manifest(
        "[secrets.API_KEY]\ndescription = \"pays\"\n[secrets.TOKEN]\npath = \"deep/er/token\"\n",
    );
    case.set("API_KEY", case.canary("first"));
    case.set("API_KEY", case.canary("second"));
    case.set("TOKEN", case.canary(""));
    case.set("deep/other", case.canary(""));
    case
}

#[test]
fn lists_are_trees() {
    let case = shop();
    case.sr("set API_KEY --profile staging")
        .stdin(case.canary(""))
        .ok();
    case.sr("rm deep/other").ok();
    let lists: Vec<String> = [
        "list",
        "list /",
        "list deep",
        "list --flat",
        "list --long",
        "list no",
    ]
    .iter()
    .map(|line| case.sr(line).transcript())
    .collect();
    insta::assert_snapshot!(lists.join("\n"));
}

#[test]
fn versions_come_and_go() {
    let case = shop();
    let talk: Vec<String> = [
        "history API_KEY",
        "rollback API_KEY",
        "rollback API_KEY --version 9",
        "rm API_KEY",
        "get API_KEY",
        "undelete API_KEY",
        "destroy API_KEY",
        "destroy API_KEY --versions 1,2 --yes",
        "get API_KEY --version 1",
        "undelete API_KEY --versions 1",
        "history API_KEY",
        "destroy API_KEY --yes",
        "history API_KEY",
        "rollback TOKEN",
        "rm nothing/there",
    ]
    .iter()
    .map(|line| case.sr(line).reveals().transcript())
    .collect();
    insta::assert_snapshot!(talk.join("\n"));
}

#[test]
fn a_rollback_gives_the_old_value_back() {
    let case = Case::new();
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.set("token", &old);
    case.set("token", &new);
    case.sr("rollback token").ok();
    assert_eq!(case.get("token"), old.as_bytes());
    let second = case.sr("get token --version 2").reveals().ok();
    assert_eq!(second.stdout, new.as_bytes());
}

#[test]
fn moves_and_copies_keep_versions_and_show_nothing() {
    let case = Case::new();
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.set("a", &old);
    case.set("a", &new);
    case.set("taken", "something-else");
    case.sr("mv a taken")
        .code(6)
        .says("is in the store already");
    case.sr("cp a taken").code(6);
    case.sr("mv nothing b").code(3);
    case.sr("mv a a").code(2).says("source and target at once");
    case.sr("cp a folder/b").ok().says("copied /a to /folder/b");
    case.sr("mv a c").ok().says("moved /a to /c");
    case.sr("get a").code(3);
    for name in ["c", "folder/b"] {
        assert_eq!(case.get(name), new.as_bytes());
        let first = case.run(&["get", name, "--version", "1"]).reveals().ok();
        assert_eq!(first.stdout, old.as_bytes());
    }
}

#[test]
fn tags_are_set_and_removed() {
    let case = shop();
    let talk: Vec<String> = [
        "tag API_KEY team=payments compliance=pci-dss --owner me --expires 2030-01-31 \
         --rotate-every 90d",
        "tag API_KEY team- --json",
        "tag API_KEY bogus",
        "tag API_KEY --expires yesterday",
        "tag API_KEY --expires never --json",
        "tag nothing a=b",
    ]
    .iter()
    .map(|line| case.sr(line).transcript())
    .collect();
    insta::assert_snapshot!(talk.join("\n"));
}

#[test]
fn profiles_are_compared_by_fingerprint() {
    let case = Case::with_manifest("[secrets.SAME]\n[secrets.OTHER]\n[secrets.LOCAL]\n");
    let (same, one, two) = (case.canary("same"), case.canary("one"), case.canary("two"));
    for (profile, name, value) in [
        ("development", "SAME", &same),
        ("staging", "SAME", &same),
        ("development", "OTHER", &one),
        ("staging", "OTHER", &two),
        ("development", "LOCAL", &one),
        ("staging", "extra/one", &one),
    ] {
        case.run(&["set", name, "--profile", profile])
            .stdin(value)
            .ok();
    }
    let talk: Vec<String> = [
        "diff staging",
        "diff staging development --all",
        "diff production",
        "diff stagin",
        "diff staging --profile staging",
    ]
    .iter()
    .map(|line| case.sr(line).transcript())
    .collect();
    insta::assert_snapshot!(talk.join("\n"));
}

#[test]
fn status_tells_what_is_in_use_and_why() {
    let case = Case::with_manifest("[profiles.production]\nchain = [\"env\"]\n[secrets.A]\n");
    let before = case.sr("status").transcript();
    case.set("A", case.canary(""));
    let after = case
        .sr("status")
        .env("APP_PROFILE", "production")
        .transcript();
    let cloud = case
        .sr("status")
        .env("AWS_REGION", "eu-central-1")
        .env("APP_PROFILE", "production")
        .env("STRONGROOM_PROFILE", "staging")
        .transcript();
    insta::assert_snapshot!(format!("{before}\n{after}\n{cloud}"));
}

#[test]
fn doctor_reads_the_whole_store() {
    let case = shop();
    insta::assert_snapshot!(case.sr("doctor").transcript());
}

#[test]
fn the_audit_log_tells_who_did_what_and_no_value() {
    let case = shop();
    case.get("API_KEY");
    case.sr("get nothing").code(3);
    case.sr("run --only API_KEY -- true").ok();
    let events = case.sr("audit --json").ok().json();
    let events = events["events"].as_array().unwrap();
    let done: Vec<String> = events
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("door"),
                text("action"),
                event["paths"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|path| path.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" "),
                text("outcome")
            )
        })
        .collect();
    insta::assert_snapshot!(done.join("\n"));
    assert!(
        events
            .iter()
            .all(|event| event["actor"].as_str().unwrap().starts_with("tester (uid "))
    );
    let few = case
        .sr("audit -n 2 --path shop/development/API --json")
        .ok()
        .json();
    assert_eq!(few["events"].as_array().unwrap().len(), 2);
    let none = case.sr("audit --since 2099-01-01 --json").ok().json();
    assert_eq!(none["events"].as_array().unwrap().len(), 0);
    case.sr("audit --since tomorrowish").code(2);
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let case = Case::new();
    for name in [
        "odd/\u{202e}evil",
        "a\u{1b}]52;c;eA==\u{7}b",
        "a\rb",
        "a\u{2028}b",
    ] {
        let said = case.run(&["set", name]).stdin("value-of-odd").code(2).err();
        assert!(
            !said.contains(['\u{202e}', '\u{1b}', '\u{7}', '\r', '\u{2028}']),
            "{said:?}"
        );
    }
    case.run(&["set", "it's \"odd\" & ünï/code"])
        .stdin("value-of-odd")
        .ok();
    case.sr("tag /x").code(3);
    let label = "\u{1b}[2Jlabel\u{202e}";
    case.run(&["key", "add", "key-file", "../home/k", "--label", label])
        .ok();
    case.run(&[
        "tag",
        "it's \"odd\" & ünï/code",
        &format!("k={label}"),
        "--owner",
        label,
    ])
    .output();
    for line in ["list", "list --long", "audit", "doctor", "key list"] {
        let outcome = case.sr(line).ok();
        let all = outcome.out() + &outcome.err();
        assert!(!all.contains('\u{202e}'), "{line}: {all}");
        let control = all.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{line}: {all:?}");
    }
}

#[test]
fn the_schema_is_json_and_knows_what_the_example_uses() {
    let case = Case::new();
    let schema = case.sr("schema").ok().json();
    assert_eq!(schema["title"], "strongroom.toml");
    let text = schema.to_string();
    for key in [
        "profiles",
        "secrets",
        "generator",
        "target",
        "prompt",
        "rotation",
        "sensitive",
        "chain",
        "strict",
    ] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn completions_and_manual_are_printed() {
    let case = Case::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = case.run(&["completions", shell]).ok().out();
        assert!(script.contains("strongroom"), "{shell}");
    }
    case.sr("completions tcsh").code(2);
    case.sr("man").ok().prints(".TH strongroom");
    let checked = case.shell("strongroom completions bash | bash -n").ok();
    assert_eq!(checked.err(), "");
}
