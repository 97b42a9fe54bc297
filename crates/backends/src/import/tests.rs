use std::fs;

use data_encoding::BASE64URL;
use sha2::Digest;

use super::*;

fn imported(import: &Import) -> Vec<(&str, &str, Shape)> {
    import
        .imported
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.value.expose_secret_text().unwrap(),
                one.shape,
            )
        })
        .collect()
}

fn texts(import: &Import) -> Vec<(&str, &str)> {
    imported(import)
        .into_iter()
        .map(|(name, value, _)| (name, value))
        .collect()
}

fn referenced(import: &Import) -> Vec<(&str, &str, Option<&str>, Need)> {
    let row = |one: &'static Referenced| {
        (
            one.name.as_str(),
            one.place.as_str(),
            one.source.as_deref(),
            one.need,
        )
    };
    Box::leak(Box::new(import.clone()))
        .referenced
        .iter()
        .map(row)
        .collect()
}

fn skipped(import: &Import) -> Vec<(&str, SkipReason)> {
    import
        .skipped
        .iter()
        .map(|one| (one.name.as_str(), one.reason))
        .collect()
}

#[test]
fn dotenv_values_and_what_was_assigned_twice() {
    let import = from_dotenv(b"A=1\nB='2'\nA=3\n").unwrap();
    assert_eq!(texts(&import), [("B", "2"), ("A", "3")]);
    assert_eq!(
        import.imported[1].note.as_deref(),
        Some("assigned 2 times; the last one counts")
    );
    assert_eq!(
        from_dotenv(b"\nA='").unwrap_err().to_string(),
        "2:3: unterminated quote"
    );
}

#[test]
fn secrets_json_in_three_forms() {
    let wrapped = br#"{"secrets": {"A": "1", "b/c": "x\ny"}}"#;
    assert_eq!(
        texts(&from_secrets_json(wrapped).unwrap()),
        [("A", "1"), ("b/c", "x\ny")]
    );
    assert_eq!(
        texts(&from_secrets_json(br#"{"A": "1"}"#).unwrap()),
        [("A", "1")]
    );
    let with_metadata = br#"{"_metadata": {"environment": "production",
        "last_updated": "2026-01-02T03:04:05Z", "notes": "x"}, "A": "1"}"#;
    let import = from_secrets_json(with_metadata).unwrap();
    assert_eq!(texts(&import), [("A", "1")]);
    assert_eq!(import.imported[0].tags["environment"], "production");
    assert_eq!(
        import.imported[0].updated_at.unwrap().to_string(),
        "2026-01-02T03:04:05Z"
    );
    assert!(from_secrets_json(b"{}").unwrap().imported.is_empty());
}

#[test]
fn json_values_keep_their_text() {
    let json =
        br#"{"A": "123456", "B": 1.50, "C": true, "D": null, "E": {"z": 1e9, "a": "q\"\u0001"},
        "F": 123456789012345678901234567890, "G": "null", "H": [1, "x"], "I": "{\"a\": 1}"}"#;
    let import = from_secrets_json(json).unwrap();
    assert_eq!(
        imported(&import),
        [
            ("A", "123456", Shape::Text),
            ("B", "1.50", Shape::Text),
            ("C", "true", Shape::Text),
            ("E", "{\"z\":1e+9,\"a\":\"q\\\"\\u0001\"}", Shape::Fields),
            ("F", "123456789012345678901234567890", Shape::Text),
            ("G", "null", Shape::Text),
            ("H", "[1,\"x\"]", Shape::Text),
            ("I", "{\"a\": 1}", Shape::Text),
        ]
    );
    assert_eq!(skipped(&import), [("D", SkipReason::Null)]);
    let mixed = from_secrets_json(br#"{"secrets": {"A": "1"}, "version": 1}"#).unwrap();
    assert_eq!(skipped(&mixed), [("version", SkipReason::Outside)]);
    assert_eq!(
        texts(&from_secrets_json(br#"{"secrets": "s"}"#).unwrap()),
        [("secrets", "s")]
    );
}

#[test]
fn broken_json_is_never_an_empty_file_and_shows_nothing() {
    for (json, expected) in [
        (&b""[..], "1:0: not valid JSON"),
        (b"{\"A\": \"canary\"", "1:14: not valid JSON"),
        (b"{\"A\": canary}", "1:7: not valid JSON"),
        (b"{\"A\": \"1\"} canary", "1:12: not valid JSON"),
        (b"[\"canary\"]", "1:1: not the expected form: an object"),
        (
            b"{\"A\": \"canary\", \"A\": \"canary\"}",
            "1:30: the same name is there twice",
        ),
    ] {
        assert_eq!(from_secrets_json(json).unwrap_err().to_string(), expected);
    }
    let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
    assert!(matches!(
        from_secrets_json(&deep),
        Err(ImportError::Json { .. })
    ));
    let large = vec![b' '; IMPORT_BYTES_MAX + 1];
    assert_eq!(
        from_secrets_json(&large).unwrap_err(),
        ImportError::TooLarge
    );
    assert_eq!(from_kubernetes(&large).unwrap_err(), ImportError::TooLarge);
}

fn fernet_folder(key: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = BASE64URL.encode(&sha2::Sha256::digest(key.as_bytes()));
    let fernet = fernet::Fernet::new(&key).unwrap();
    for (name, json) in files {
        fs::write(folder.path().join(name), fernet.encrypt(json.as_bytes())).unwrap();
    }
    folder
}

fn key(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

#[test]
fn a_fernet_folder_gives_names_values_and_times() {
    let folder = fernet_folder(
        "k",
        &[
            (
                "a_b.enc",
                r#"{"value": "1", "metadata": {"secret_name": "a/b", "version": "3",
                "created_at": "2025-12-19T00:00:00Z", "updated_at": "2025-12-20T00:00:00.5",
                "tags": {"service": "x"}}}"#,
            ),
            (
                "a_b2.enc",
                r#"{"value": "null", "metadata": {"secret_name": "a_b", "tags": {}}}"#,
            ),
            (
                "c.enc",
                r#"{"value": "{\"user\": \"u\", \"n\": 1.0}", "metadata": {"secret_name": "c"}}"#,
            ),
            (
                "d.enc",
                r#"{"value": {"user": "u", "n": 1.0}, "metadata": {}}"#,
            ),
            ("readme.txt", "not looked at"),
        ],
    );
    let import = from_fernet_folder(folder.path(), &key("k")).unwrap();
    assert_eq!(
        imported(&import),
        [
            ("a/b", "1", Shape::Text),
            ("a_b", "null", Shape::Text),
            ("c", "{\"user\": \"u\", \"n\": 1.0}", Shape::Fields),
            ("d", "{\"user\":\"u\",\"n\":1.0}", Shape::Fields),
        ]
    );
    let first = &import.imported[0];
    assert_eq!(
        first.created_at.unwrap().to_string(),
        "2025-12-19T00:00:00Z"
    );
    assert_eq!(
        first.updated_at.unwrap().to_string(),
        "2025-12-20T00:00:00.5Z"
    );
    assert_eq!(
        (first.tags["service"].as_str(), first.note.as_deref()),
        ("x", Some("was version 3"))
    );
}

#[test]
fn a_fernet_folder_opens_wholly_or_not_at_all() {
    let good = r#"{"value": "canary", "metadata": {"secret_name": "a"}}"#;
    let folder = fernet_folder("k", &[("a.enc", good)]);
    let open = |key_text: &str| from_fernet_folder(folder.path(), &key(key_text)).map(|_| ());
    let shown = |result: Result<(), ImportError>| result.unwrap_err().to_string();
    assert_eq!(
        shown(open("wrong")),
        "a.enc: the encryption key is wrong, or the file is damaged"
    );
    fs::write(folder.path().join("b.enc"), b"\xff").unwrap();
    assert_eq!(
        shown(open("k")),
        "b.enc: the encryption key is wrong, or the file is damaged"
    );
    fs::remove_file(folder.path().join("b.enc")).unwrap();
    fs::copy(folder.path().join("a.enc"), folder.path().join("c.enc")).unwrap();
    assert_eq!(
        shown(open("k")),
        "c.enc: another file holds the same secret 'a'"
    );
    for json in [
        "canary",
        "[]",
        r#"{"metadata": {}}"#,
        r#"{"value": 1}"#,
        r#"{"value": "canary", "metadata": {"secret_name": "../canary"}}"#,
    ] {
        let folder = fernet_folder("k", &[("x.enc", json)]);
        let error = from_fernet_folder(folder.path(), &key("k")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.enc: decrypted, but not in the expected form"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(
        from_fernet_folder(empty.path(), &key("k")).unwrap_err(),
        ImportError::Empty
    );
}

#[test]
fn kubernetes_secrets_give_values() {
    let import = from_kubernetes(
        b"---\n# c\napiVersion: v1\nkind: Secret\nmetadata: {name: app, namespace: prod}\n\
          data:\n  PASSWORD: cDRzcw==\n  both: eA==\n  BAD: LS0tLS1CRUdJTi...\n  bin.key: /wA=\n\
          stringData:\n  URL: \"postgres://u:p@h/db\"\n  both: plain\n  PIN: 1234\n  NONE:\n\
          ---\nkind: Secret\nmetadata: {name: other}\n\
          stringData: {URL: x, T: \"{{ .Values.t }}\"}\n---\n",
    )
    .unwrap();
    let values: Vec<(&str, &[u8], Shape)> = import
        .imported
        .iter()
        .map(|one| (one.name.as_str(), one.value.expose_secret(), one.shape))
        .collect();
    assert_eq!(
        values,
        [
            ("PASSWORD", &b"p4ss"[..], Shape::Text),
            ("app/bin.key", b"\xff\0", Shape::Binary),
            ("app/URL", b"postgres://u:p@h/db", Shape::Text),
            ("both", b"plain", Shape::Text),
            ("other/URL", b"x", Shape::Text),
        ]
    );
    assert_eq!(import.imported[0].tags["kubernetes.secret"], "app");
    assert_eq!(import.imported[0].tags["kubernetes.namespace"], "prod");
    assert_eq!(
        skipped(&import),
        [
            ("app/BAD", SkipReason::NotBase64),
            ("app/PIN", SkipReason::NotText),
            ("app/NONE", SkipReason::Null),
            ("other/T", SkipReason::Template),
        ]
    );
}

#[test]
fn kubernetes_workloads_give_names() {
    let import = from_kubernetes(
        br#"
apiVersion: v1
kind: List
items:
- kind: Deployment
  metadata: {name: api}
  spec:
    template:
      spec:
        imagePullSecrets: [{name: registry}]
        initContainers:
        - name: init
          envFrom: [{secretRef: {name: init-env, optional: true}}, {configMapRef: {name: c}}]
        containers:
        - name: web
          env:
          - {name: PLAIN, value: x}
          - name: DATABASE_URL
            valueFrom: {secretKeyRef: {name: db, key: url}}
        volumes:
        - {name: tls, secret: {secretName: web-tls}}
        - name: all
          projected: {sources: [{secret: {name: extra, optional: true}}]}
- kind: Ingress
  metadata: {name: web}
  spec: {tls: [{hosts: [h], secretName: web-cert}]}
- kind: ExternalSecret
  metadata: {name: ext}
  spec:
    data: [{secretKey: TOKEN, remoteRef: {key: prod/app, property: token}}]
    dataFrom: [{extract: {key: prod/all}}]
- kind: VaultStaticSecret
  metadata: {name: v}
  spec: {path: app/config, destination: {name: app-config}}
- kind: SealedSecret
  metadata: {name: s}
  spec: {encryptedData: {KEY: AgB}}
"#,
    )
    .unwrap();
    use Need::{Optional, Required};
    assert_eq!(
        referenced(&import),
        [
            (
                "registry",
                "Deployment/api image pull secret",
                None,
                Required
            ),
            (
                "init-env",
                "Deployment/api container init envFrom",
                Some("every key of secret init-env"),
                Optional
            ),
            (
                "DATABASE_URL",
                "Deployment/api container web env",
                Some("secret db key url"),
                Required
            ),
            ("web-tls", "Deployment/api volume tls", None, Required),
            ("extra", "Deployment/api volume all", None, Optional),
            ("web-cert", "Ingress/web tls", None, Required),
            (
                "TOKEN",
                "ExternalSecret/ext",
                Some("remote prod/app property token"),
                Required
            ),
            (
                "prod/all",
                "ExternalSecret/ext",
                Some("every field of remote prod/all"),
                Required
            ),
            (
                "app-config",
                "VaultStaticSecret/v",
                Some("vault path app/config"),
                Required
            ),
            (
                "KEY",
                "SealedSecret/s",
                Some("encrypted for the cluster"),
                Required
            ),
        ]
    );
    assert!(import.imported.is_empty() && import.skipped.is_empty());
}

#[test]
fn compose_files_give_literals_and_names() {
    let import = from_compose(
        br#"
x-common: &common
  LOG: info
  KEY: ${KEY:?set KEY}
services:
  api:
    build: {args: {REF: "${REF:-main}"}}
    environment:
      <<: *common
      LOG: debug
      PORT: 3000
      TLS: true
      PASS: "a$$b"
      URL: redis://${HOST}/0
      THROUGH:
      RATE: 1.50
    secrets: [db, {source: tls, target: /x}]
    env_file: [.env]
  web:
    environment:
      - LOG=info
      - PORT=3000
      - TOKEN=${TOKEN:-none}
      - THROUGH
    command: run --key $FLAG
secrets:
  db: {file: ./db.txt}
  tls: {external: true}
  env: {environment: ENV_SECRET}
"#,
    )
    .unwrap();
    assert_eq!(
        texts(&import),
        [
            ("api/LOG", "debug"),
            ("PORT", "3000"),
            ("TLS", "true"),
            ("PASS", "a$b"),
            ("web/LOG", "info")
        ]
    );
    use Need::{Optional, Required, Unstated};
    assert_eq!(
        referenced(&import),
        [
            ("REF", "services.api.build.args.REF", None, Optional),
            ("HOST", "services.api.environment.URL", None, Unstated),
            ("THROUGH", "services.api.environment", None, Unstated),
            ("KEY", "services.api.environment.KEY", None, Required),
            ("db", "services.api.secrets", None, Required),
            ("tls", "services.api.secrets", None, Required),
            ("TOKEN", "services.web.environment.TOKEN", None, Optional),
            ("THROUGH", "services.web.environment", None, Unstated),
            ("FLAG", "services.web.command", None, Unstated),
            ("db", "secrets", Some("file ./db.txt"), Unstated),
            ("tls", "secrets", Some("external"), Unstated),
            ("env", "secrets", Some("variable ENV_SECRET"), Unstated),
        ]
    );
    assert_eq!(
        skipped(&import),
        [
            ("services.api.environment.URL", SkipReason::Composed),
            ("services.api.environment.RATE", SkipReason::UnquotedNumber),
            ("services.api.env_file", SkipReason::OtherFile),
        ]
    );
}

fn yaml_error(text: &str) -> String {
    from_kubernetes(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn yaml_that_cannot_be_read_says_where_and_shows_nothing() {
    assert_eq!(
        yaml_error("{{- if .Values.x }}\nkind: Secret\n{{- end }}\n"),
        "line 1: the file is a template ('{{'): import what it renders to"
    );
    assert_eq!(
        yaml_error("kind: Secret\nmetadata:\n  name: {{ .name }}\n"),
        "line 3: the file is a template ('{{'): import what it renders to"
    );
    assert_eq!(
        yaml_error("kind: Secret\ndata: \"canary\n"),
        "3:1: not valid YAML"
    );
    assert_eq!(
        yaml_error("kind: Secret\n\tdata: canary\n"),
        "2:1: not valid YAML"
    );
    assert_eq!(
        yaml_error("a: 1\na: 2\n"),
        "1:1: the same name is there twice"
    );
    assert_eq!(
        yaml_error("a: 1\n"),
        "1:1: not the expected form: a Kubernetes object with 'apiVersion' and 'kind'"
    );
    assert_eq!(
        from_compose(b"kind: Secret\n").unwrap_err().to_string(),
        "1:1: not the expected form: a Compose file with 'services' or 'secrets'"
    );
    assert!(matches!(
        from_kubernetes(b"a: \xff"),
        Err(ImportError::Yaml { line: 1, column: 4 })
    ));
    assert!(from_kubernetes(b"").unwrap().imported.is_empty());
}

#[test]
fn yaml_bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let wide = format!(
        "a: &a \"{}\"\nb: [{}]\n",
        "x".repeat(1 << 20),
        "*a, ".repeat(1000)
    );
    let merges = {
        let many: String = (0..20_000).map(|key| format!("  k{key}: v\n")).collect();
        format!("a: &a\n{many}b: [{}]\n", "{<<: *a}, ".repeat(1000))
    };
    for text in [
        bomb,
        wide,
        merges,
        "[".repeat(IMPORT_BYTES_MAX),
        "- ".repeat(100_000),
        format!("{}{}", "[".repeat(1000), "]".repeat(1000)),
        "a: &a [*a]\n".to_owned(),
    ] {
        let error = from_kubernetes(text.as_bytes()).unwrap_err();
        assert_eq!(
            error,
            ImportError::TooComplex,
            "{}",
            &text[..40.min(text.len())]
        );
    }
}
