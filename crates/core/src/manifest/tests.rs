use super::*;

fn parse(text: &str) -> Result<(Manifest, Vec<Problem>), Vec<Problem>> {
    Manifest::parse(&[Source {
        name: "strongroom.toml",
        text,
    }])
}

fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .into_iter()
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{problem} ({hint})"),
                None => problem.to_string(),
            })
            .collect(),
    }
}

#[test]
fn a_small_manifest_reads() {
    let (manifest, notices) = parse(
        r#"
[project]
name = "shop"

[profiles.staging]
inherits = "production"

[profiles.production]
chain = ["env"]

[secrets.TOKEN]
path = "api/token"

[secrets.LOG_LEVEL]
sensitive = false
default = { production = "warn", "*" = "debug" }
required = false
"#,
    )
    .unwrap();
    assert_eq!(notices, []);
    assert_eq!(manifest.project, "shop");
    assert_eq!(
        manifest.profile("staging").unwrap().chain,
        Some(vec!["env".to_owned()])
    );
    assert!(manifest.profile("production").unwrap().is_strict);
    let level = manifest.declaration("LOG_LEVEL").unwrap();
    assert_eq!(
        (level.default("production"), level.default("x")),
        (Some("warn"), Some("debug"))
    );
    assert!(
        manifest
            .declaration("TOKEN")
            .unwrap()
            .is_required("staging")
    );
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion_and_all_come_at_once() {
    let found =
        problems("[project]\nname = \"a\"\n[secret.A]\n[secrets.B]\nformt = \"x\"\nzzz = 1\n");
    assert_eq!(
        found,
        [
            "strongroom.toml:3:2: secret: this key is not known (did you mean 'secrets'?)",
            "strongroom.toml:5:1: secrets.B.formt: this key is not known (did you mean 'format'?)",
        ]
    );
}

#[test]
fn no_problem_quotes_a_value() {
    const CANARY: &str = "canary-7f31c9";
    let wrong = [
        "[project]\nname = \"a\"\n[secrets.A]\nrequired = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\nclass = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\ntype = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\ngenerator = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\ngenerator = { type = \"canary-7f31c9\" }\n",
        "[project]\nname = \"a\"\n[secrets.A]\ntarget = { type = \"canary-7f31c9\" }\n",
        "[project]\nname = \"a\"\n[secrets.A]\nformat = \"(?=canary-7f31c9)\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\ndefault = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\nsensitive = false\ntype = \"port\"\n\
         default = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\nsecrets = \"canary-7f31c9\"\n",
        "[project]\nname = \"canary-7f31c9\n",
        "[project]\nname = canary-7f31c9\n",
        "canary-7f31c9\n",
        "[secrets]\nA = \"canary-7f31c9\"\n",
        "[project]\nname = \"a\"\n[secrets.A]\nfallback = [[\"canary-7f31c9\"]]\n",
        "[project]\nname = \"a\"\n[secrets.A]\nrotation = { every = \"canary-7f31c9\" }\n",
    ];
    for text in wrong {
        let found = problems(text);
        assert!(!found.is_empty(), "{text}");
        assert!(!found.join("\n").contains(CANARY), "{found:?}");
    }
}

#[test]
fn contradictions_are_named() {
    let found = problems(
        r#"
[project]
name = "a"
[profiles.one]
inherits = "two"
[profiles.two]
inherits = "one"
[secrets.A]
class = "user_prompt"
generator = { type = "hex" }
[secrets.B]
path = "a/../b"
[secrets.C]
default = "x"
[secrets.D]
path = "same"
[secrets.E]
path = "same"
[secrets.F]
required = { prodution = true }
"#,
    );
    let text = found.join("\n");
    for expected in [
        "profiles.one: inherits goes in a circle",
        "secrets.A: class user_prompt has a generator",
        "secrets.B.path: the path has a '.' or '..' segment",
        "secrets.C: a secret has a default",
        "secrets.F: required names a profile that is not declared (did you mean 'production'?)",
        "secrets.E.path: the path same is taken by D already",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn a_local_file_overrides_field_by_field() {
    let base = "[project]\nname = \"a\"\n[secrets.A]\ndescription = \"d\"\nrequired = true\n";
    let local = "[profiles.development]\nchain = [\"env\"]\n[secrets.A]\nrequired = false\n";
    let sources = [
        Source {
            name: "strongroom.toml",
            text: base,
        },
        Source {
            name: "strongroom.local.toml",
            text: local,
        },
    ];
    let (manifest, _) = Manifest::parse(&sources).unwrap();
    let a = manifest.declaration("A").unwrap();
    assert_eq!(a.description.as_deref(), Some("d"));
    assert!(!a.is_required("development"));
}

#[test]
fn did_you_mean_finds_near_words_only() {
    assert_eq!(did_you_mean("formt", ["format", "path"]), Some("format"));
    assert_eq!(did_you_mean("zzz", ["format", "path"]), None);
}
