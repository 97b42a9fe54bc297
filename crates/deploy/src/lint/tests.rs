use serde_json::json;

use super::*;

/// A manifest that nothing is wrong with.
fn sound() -> Value {
    json!({
        "schema_version": "v0.1",
        "target": "desktop",
        "app": { "name": "wheel", "version": "1.0.0" },
        "ipc": {
            "mode": "loopback-http", "host": "127.0.0.1", "port": 47710,
            "auth_token_path": "runtime/auth-token",
        },
        "telemetry": { "file": "telemetry/events.jsonl" },
        "ports": { "default_range": { "min": 47000, "max": 47999 }, "reserved": null },
        "swaps": [{ "original": "postgres", "replacement": "sqlite" }],
        "secrets": [
            {
                "id": "jwt", "class": "per_install_generated", "format": "^[A-Za-z0-9]{32,}$",
                "generator": { "type": "random", "length": 32, "charset": "alnum" },
                "target": { "type": "env", "name": "JWT_SECRET" },
            },
            {
                "id": "key", "class": "user_prompt", "required": false,
                "prompt": { "label": "API key", "description": "Create one." },
                "target": { "type": "file", "name": "keys/api" },
            },
        ],
        "services": [{
            "id": "api", "type": "api-binary",
            "binaries": { "linux-x64": { "path": "bin/api", "args": ["--port", "${api.http}"] } },
            "env": { "DB": "file:${data}/app.db" },
            "secrets": ["jwt", "key"],
            "ports": { "requested": [{ "name": "http", "range": { "min": 47010, "max": 47020 } }] },
            "health": { "type": "http", "path": "/healthz", "port_name": "http" },
            "readiness": { "type": "health_success", "timeout_ms": 30000.0 },
            "assets": [{ "path": "ui/app.js", "sha256": "0".repeat(64), "size_bytes": 10 }],
        }],
    })
}

fn found(findings: &[Finding]) -> Vec<(&'static str, &str)> {
    let pairs = findings.iter();
    pairs
        .map(|finding| (finding.code, finding.path.as_str()))
        .collect()
}

#[test]
fn a_sound_manifest_has_no_findings() {
    assert_eq!(strict(&sound()), []);
    assert_eq!(compat(&sound()), []);
}

/// Puts a value somewhere in the sound manifest.
fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = sound();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = manifest.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => {
            let at: usize = key.parse().unwrap();
            if at == items.len() {
                items.push(value);
            } else {
                items[at] = value;
            }
        }
        _ => parent[key] = value,
    }
    manifest
}

/// Each manifest has this finding by the strict reading, and none by the schema's.
fn has_findings(cases: &[(Value, &'static str, &'static str)]) {
    for (manifest, code, path) in cases {
        let findings = strict(manifest);
        assert!(
            found(&findings).contains(&(*code, *path)),
            "{code}: {findings:#?}"
        );
        assert!(findings.iter().all(|finding| !finding.fix.is_empty()));
        // The schema knows that null is no object.
        let is_null = *code == "bundle.generator_missing";
        assert_eq!(compat(manifest).is_empty(), !is_null, "{code}");
    }
}

#[test]
fn secrets_that_the_schema_lets_pass_are_found() {
    let generator = |value: Value| with("/secrets/0/generator", value);
    has_findings(&[
        (
            with("/secrets/0/class", json!("infrastructure")),
            "bundle.infrastructure",
            "$.secrets[0].class",
        ),
        (
            generator(Value::Null),
            "bundle.generator_missing",
            "$.secrets[0]",
        ),
        (
            generator(json!({ "type": "file" })),
            "bundle.generator_invalid",
            "$.secrets[0].generator",
        ),
        (
            generator(json!({ "type": "random", "length": 0 })),
            "bundle.generator_invalid",
            "$.secrets[0].generator",
        ),
        (
            generator(json!({ "length": "64" })),
            "bundle.generator_length",
            "$.secrets[0].generator.length",
        ),
        (
            generator(json!({ "length": 32, "charset": "-_" , "allow_short_charset": true })),
            "bundle.generator_weak",
            "$.secrets[0].generator",
        ),
        (
            generator(json!({ "type": "uuid" })),
            "bundle.generator_format",
            "$.secrets[0].generator",
        ),
        (
            with("/secrets/1/prompt", json!({})),
            "bundle.prompt_label",
            "$.secrets[1]",
        ),
        (
            with("/secrets/0/format", json!("(?=x)")),
            "bundle.format",
            "$.secrets[0].format",
        ),
        (
            with("/secrets/1/format", json!("^[a-z.-_]+$")),
            "bundle.format_lint",
            "$.secrets[1].format",
        ),
    ]);
}

#[test]
fn what_cannot_be_longer_is_to_be_drawn_otherwise() {
    let manifest = with("/secrets/0/generator", json!({ "type": "uuid" }));
    let found = strict(&manifest).into_iter();
    let weak = found.filter(|finding| finding.code == "bundle.generator_weak");
    let fixes: Vec<String> = weak.map(|finding| finding.fix).collect();
    assert_eq!(
        fixes,
        ["draw a text instead: \"random\" with a length of 32"]
    );
}

#[test]
fn places_and_references_that_the_schema_lets_pass_are_found() {
    let env = |name: &str| json!({ "type": "env", "name": name });
    has_findings(&[
        (
            with("/ipc/host", json!("0.0.0.0")),
            "bundle.ipc_host",
            "$.ipc.host",
        ),
        (with("/ipc/port", json!(99999)), "bundle.port", "$.ipc.port"),
        (
            with("/secrets/1/id", json!("jwt")),
            "bundle.duplicate_secret",
            "$.secrets[1].id",
        ),
        (
            with("/secrets/1/target", env("JWT_SECRET")),
            "bundle.duplicate_target",
            "$.secrets[1].target.name",
        ),
        (
            with("/services/0/secrets/2", json!("jtw")),
            "bundle.unknown_secret",
            "$.services[0].secrets[2]",
        ),
        (
            with("/services/0/secrets", json!(["jwt"])),
            "bundle.unused_secret",
            "$.secrets[1]",
        ),
        (
            with("/secrets/1/target/name", json!("../key")),
            "bundle.path",
            "$.secrets[1].target.name",
        ),
        (
            with("/ipc/auth_token_path", json!("C:\\token")),
            "bundle.path",
            "$.ipc.auth_token_path",
        ),
        (
            with("/services/0/assets/0", json!({ "path": "a" })),
            "bundle.asset_sha256",
            "$.services[0].assets[0]",
        ),
        (
            with("/secrets/0/requierd", json!(true)),
            "bundle.unknown_key",
            "$.secrets[0].requierd",
        ),
        (
            with("/services/0/env/URL", json!("http://x:${ui.http}/${data}")),
            "bundle.unresolved_variable",
            "$.services[0].env.URL",
        ),
        (
            with("/secrets/1/class", json!("remote_fetch")),
            "bundle.no_source",
            "$.secrets[1]",
        ),
        (
            with("/services/0/health/port_name", json!("htpp")),
            "bundle.port_name",
            "$.services[0].health.port_name",
        ),
        (
            with("/services/0/dependencies", json!(["api"])),
            "bundle.dependency_circle",
            "$.services[0].dependencies",
        ),
    ]);
}

#[test]
fn what_the_schema_refuses_is_found_by_both() {
    for (manifest, code, path) in [
        (
            with("/schema_version", json!("0.1")),
            "bundle.unknown_word",
            "$.schema_version",
        ),
        (
            with("/ipc/mode", json!("http")),
            "bundle.unknown_word",
            "$.ipc.mode",
        ),
        (
            with("/secrets/0/class", json!("")),
            "bundle.unknown_word",
            "$.secrets[0].class",
        ),
        (
            with("/secrets/0/required", Value::Null),
            "bundle.null",
            "$.secrets[0].required",
        ),
        (with("/services", json!([])), "bundle.empty", "$.services"),
        (
            with("/services/0/binaries", json!({})),
            "bundle.empty",
            "$.services[0].binaries",
        ),
        (
            with("/app", json!({ "name": "x" })),
            "bundle.missing",
            "$.app",
        ),
        (
            with("/app/version", json!("")),
            "bundle.empty",
            "$.app.version",
        ),
        (
            with("/ipc/port", json!(1.5)),
            "bundle.wrong_type",
            "$.ipc.port",
        ),
        (with("/ipc/port", json!(0)), "bundle.number", "$.ipc.port"),
        (
            with("/services/0/env", json!({ "A": 1 })),
            "bundle.wrong_type",
            "$.services[0].env.A",
        ),
    ] {
        assert_eq!(found(&compat(&manifest)), [(code, path)]);
        assert!(found(&strict(&manifest)).contains(&(code, path)), "{code}");
    }
    assert_eq!(found(&compat(&json!([]))), [("bundle.wrong_type", "$")]);
}
