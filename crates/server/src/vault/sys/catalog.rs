//! The engines and methods there are, as a catalog of plugins: all are built in.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// By type, each sorted.
const CATALOG: [(&str, &[&str]); 3] = [
    ("auth", &["approle", "userpass"]),
    (
        "database",
        &[
            "mysql-aurora-database-plugin",
            "mysql-database-plugin",
            "mysql-legacy-database-plugin",
            "mysql-rds-database-plugin",
            "postgresql-database-plugin",
            "redis-database-plugin",
            "valkey-database-plugin",
        ],
    ),
    ("secret", &["kv"]),
];

fn version(call: &Call) -> String {
    format!("v{}+builtin.strongroom", call.node.settings.version)
}

pub(super) async fn all(call: &mut Call) -> Result<Answer, Fault> {
    let mut map = Map::new();
    let mut detailed = Vec::new();
    for (kind, names) in CATALOG {
        map.insert(kind.into(), json!(names));
        let details = names.iter().map(|name| {
            json!({
                "builtin": true,
                "deprecation_status": "supported",
                "name": name,
                "type": kind,
                "version": version(call),
            })
        });
        detailed.extend(details);
    }
    map.insert("detailed".into(), detailed.into());
    Ok(Answer::data(Value::Object(map)))
}

fn names(kind: &str) -> Option<&'static [&'static str]> {
    let known = CATALOG.iter().find(|(known, _)| *known == kind);
    known.map(|(_, names)| *names)
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let names = names(call.capture(0)).ok_or(Fault::UnsupportedOperation)?;
    Ok(Answer::data(json!({ "keys": names })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = call.capture(1);
    let names = names(call.capture(0)).ok_or(Fault::NotFound)?;
    if !names.contains(&name) {
        return Err(Fault::NotFound);
    }
    Ok(Answer::data(json!({
        "args": null,
        "builtin": true,
        "command": "",
        "declarative": false,
        "deprecation_status": "supported",
        "name": name,
        "oci": false,
        "sha256": "",
        "version": version(call),
    })))
}
