use crate::import;
use crate::import::Import;
use crate::import::ImportError;

use super::*;

/// The declarations as our manifest, which has to take them.
fn manifest(import: &Import) -> (String, Manifest) {
    let profiles = ["development", "staging", "production"];
    let tables = import.declared.iter().map(|one| one.toml(&profiles));
    let text = format!(
        "[project]\nname = \"x\"\n{}",
        tables.collect::<Vec<_>>().join("\n")
    );
    let source = Source {
        name: "strongroom.toml",
        text: &text,
    };
    let parsed = Manifest::parse(&[source]);
    let (manifest, _) = parsed.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    (text, manifest)
}

const SECRETSPEC: &str = r#"
[project]
name = "my-app"
revision = "1.0"
extends = ["../shared"]

[profiles.default]
DATABASE_URL = { description = "PostgreSQL \"main\"", required = true }
LOG_LEVEL = { description = "Logs", default = "info" }
SESSION_SECRET = { description = "signs", required = true, type = "hex", generate = { bytes = 24 } }
LEAKED_SECRET = { description = "x", default = "canary-c0ffee-0123456789abcdef" }
PEM = { description = "a file", as_path = true, providers = ["prod"] }

[profiles.production]
DATABASE_URL = { required = true }
LOG_LEVEL = { required = true }

[profiles.qa]
LOG_LEVEL = { required = false, default = "debug" }
"#;

#[test]
fn secretspec_manifests_become_ours() {
    let import = import::from_secretspec(SECRETSPEC.as_bytes()).unwrap();
    assert_eq!(import.skipped.len(), 1, "../shared is another file");
    let (text, manifest) = manifest(&import);
    assert!(!text.contains("canary"), "{text}");
    let one = |name: &str| manifest.declaration(name).unwrap();
    let database = one("DATABASE_URL");
    assert_eq!(database.description.as_deref(), Some("PostgreSQL \"main\""));
    assert!(database.is_required("development") && database.is_sensitive);
    let level = one("LOG_LEVEL");
    assert!(!level.is_sensitive && level.is_required("production"));
    assert_eq!(level.default("staging"), Some("info"));
    assert!(text.contains("the profile 'qa' is left out"));
    let session = one("SESSION_SECRET");
    assert_eq!(session.class, Class::PerInstallGenerated);
    assert!(text.contains("{ type = \"hex\", length = 48 }"));
    assert!(one("LEAKED_SECRET").is_sensitive);
    assert!(text.contains("# it was handed over as a file"));
}

#[test]
fn fnox_manifests_become_ours_without_their_values() {
    let import = import::from_fnox(
        br#"
        [providers]
        age = { type = "age", recipients = ["age1x"] }
        [secrets]
        JWT_SECRET = { provider = "age", value = "canary-ciphertext", description = "signs" }
        DATABASE_URL = { provider = "aws", value = "db", if_missing = "error" }
        API_URL = { default = "http://localhost:3000" }
        PLAIN = "canary-plain"
        [profiles.production.secrets]
        API_URL = { default = "https://api.example.com" }
        OPTIONAL = { provider = "aws", value = "x", if_missing = "ignore" }
        "#,
    );
    let import = import.unwrap();
    let (text, manifest) = manifest(&import);
    assert!(!text.contains("canary"), "{text}");
    assert!(!format!("{import:?}").contains("canary"));
    let one = |name: &str| manifest.declaration(name).unwrap();
    assert!(one("JWT_SECRET").is_sensitive);
    assert!(one("DATABASE_URL").is_required("production"));
    let url = one("API_URL");
    assert_eq!(url.default("development"), Some("http://localhost:3000"));
    assert_eq!(url.default("production"), Some("https://api.example.com"));
    assert!(!one("OPTIONAL").is_required("production"));
    assert!(text.contains("# fnox had it from the provider 'age': fnox get JWT_SECRET"));
    assert!(manifest.declaration("PLAIN").is_none());
}

#[test]
fn varlock_schemas_become_ours() {
    let import = import::from_varlock(
        br#"# the application's schema
# @defaultSensitive=false @defaultRequired=infer @currentEnv=$APP_ENV
# @import(../.env.schema)
# ---
# our environment flag
# @type=enum(development, preview, production)
APP_ENV=development # can be overridden

# @type=port @example=3000
API_PORT=
# API url
# @required @type=url @docs("Guide", https://example.com/guide)
API_URL=http://localhost:${API_PORT}

# a comment block that belongs to nothing

# key for the model
# @required @sensitive @type=string(startsWith=sk-)
OPENAI_API_KEY=exec('op read "op://api-prod/openai/api-key"')
# @sensitive
LEAKED="canary-0123456789"
# @optional
QUOTED="two words"
"#,
    );
    let import = import.unwrap();
    let (text, manifest) = manifest(&import);
    assert!(!text.contains("canary"), "{text}");
    let one = |name: &str| manifest.declaration(name).unwrap();
    let flag = one("APP_ENV");
    assert_eq!(flag.default("production"), Some("development"));
    assert_eq!(
        flag.description.as_deref(),
        Some("our environment flag can be overridden")
    );
    assert!(
        text.contains("format = \"^(development|preview|production)$\"") || {
            text.contains("format = '^(development|preview|production)$'")
        }
    );
    let port = one("API_PORT");
    assert_eq!(port.value_type, Some(ValueType::Port));
    assert_eq!(port.example.as_deref(), Some("3000"));
    assert!(!port.is_required("production") && !port.is_sensitive);
    assert!(one("API_URL").is_required("production"));
    assert!(text.contains("https://example.com/guide"));
    let key = one("OPENAI_API_KEY");
    assert!(key.is_sensitive && key.is_required("production"));
    assert_eq!(key.description.as_deref(), Some("key for the model"));
    assert!(one("LEAKED").is_sensitive);
    assert_eq!(one("QUOTED").default("production"), Some("two words"));
    assert_eq!(import.skipped.len(), 1);
}

const SECRETS_YAML: &str = r#"
version: "1.0"
resource: broker
secrets:
  api_keys:
    - name: "main-key"
      path: "secret/resources/{resource}/api/main"
      description: "the key"
      required: true
      validation: { pattern: "^sk-[a-f0-9]{8}$" }
      default_env: "BROKER_KEY"
      example: "sk-..."
      links: [{label: docs, url: "https://example.com"}]
  odd_category:
    - name: optional_one
      required: false
      fields: [{user: BROKER_USER}, {password: BROKER_PASSWORD}]
      path: secret/resources/broker/login
    - name: encryption_key
      auto_generate: true
      validation: { min_length: 32 }
    - name: endpoint
      format: url
      default_value: "http://localhost:1883"
      fallback: "env:MQTT_URL"
    - name: mode
      allowed_values: [fast, slow]
      default_value: fast
    - name: session_id
  empty:
initialization:
  auto_generate: [{name: session-id, type: uuid}]
  prompt_user: [{name: "main key", prompt: "Your key?"}]
"#;

#[test]
fn a_secrets_yaml_becomes_ours() {
    let import = import::from_secrets_yaml(SECRETS_YAML.as_bytes()).unwrap();
    let names: Vec<&str> = import
        .declared
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let (text, manifest) = manifest(&import);
    assert_eq!(
        names,
        [
            "BROKER_KEY",
            "BROKER_USER",
            "BROKER_PASSWORD",
            "ENCRYPTION_KEY",
            "ENDPOINT",
            "MODE",
            "SESSION_ID"
        ]
    );
    let one = |name: &str| manifest.declaration(name).unwrap();
    let key = one("BROKER_KEY");
    assert_eq!(key.path.to_string(), "resources/broker/api/main");
    assert_eq!(key.prompt.as_ref().unwrap().label, "Your key?");
    assert!(key.format.is_some() && key.is_required("production"));
    let password = one("BROKER_PASSWORD");
    assert_eq!(password.path.to_string(), "resources/broker/login/password");
    assert!(!password.is_required("production"));
    assert_eq!(one("ENCRYPTION_KEY").class, Class::PerInstallGenerated);
    let endpoint = one("ENDPOINT");
    assert!(!endpoint.is_sensitive);
    assert_eq!(
        endpoint.default("production"),
        Some("http://localhost:1883")
    );
    assert_eq!(one("MODE").default("production"), Some("fast"));
    assert_eq!(one("SESSION_ID").class, Class::PerInstallGenerated);
    assert!(text.contains("# it fell back to the variable MQTT_URL"));
}

#[test]
fn a_stray_line_in_yaml_or_toml_is_an_error_with_its_place() {
    let broken = format!("{SECRETS_YAML}canary-stray-line < /dev/null\n");
    let error = import::from_secrets_yaml(broken.as_bytes()).unwrap_err();
    assert!(
        matches!(error, ImportError::Yaml { line: 34..=35, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("canary"));
    let broken = format!("{SECRETSPEC}\nX = canary-stray\n");
    for read in [import::from_secretspec, import::from_fnox] {
        let error = read(broken.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ImportError::Toml { line: 21, .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("canary"));
        let error = read(b"a = 1").unwrap_err();
        assert!(matches!(error, ImportError::Form { .. }), "{error}");
        let error = read(b"a = \"\xff\"").unwrap_err();
        assert!(
            matches!(error, ImportError::Toml { line: 1, .. }),
            "{error}"
        );
    }
    for text in [
        "",
        "secrets: 1",
        "secrets: {a: {b: c}}",
        "a: b",
        "secrets: {a: [1]}",
    ] {
        let error = import::from_secrets_yaml(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ImportError::Form { .. }), "{text}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_left_out_with_a_note() {
    let mut one = Declared::new("PORT_KEY");
    one.class = Some(Class::PerInstallGenerated);
    one.generator = Some(Generated::Random(8));
    one.format = Some("^[0-9]{64}$".to_owned());
    one.example = Some("not digits".to_owned());
    one.path = Some("../up".to_owned());
    let import = Import {
        declared: vec![one],
        ..Import::default()
    };
    let (text, _) = manifest(&import);
    assert!(text.contains("# its path is not taken over"), "{text}");
    let mut bad = Declared::new("BAD");
    bad.format = Some("(?=look-ahead)".to_owned());
    bad.description = Some("line\n[secrets.INJECTED]\n\"\"\"'".to_owned());
    bad.note("a note\n[secrets.INJECTED]");
    let import = Import {
        declared: vec![bad],
        ..Import::default()
    };
    let (text, manifest) = manifest(&import);
    assert!(text.contains("# its pattern is not taken over"), "{text}");
    assert!(manifest.declaration("INJECTED").is_none());
}
