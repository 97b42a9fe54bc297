//! What kubectl asks before it does anything.

use axum::routing::get;
use serde_json::Value;
use serde_json::json;

use super::Routes;
use super::answer::send;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/version", get(async || send((200, version()))))
        .route("/api", get(async || send((200, versions()))))
        .route("/apis", get(async || send((200, groups()))))
        .route("/api/v1", get(async || send((200, resources()))))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.2", "gitCommit": "0",
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25",
        "compiler": "gc", "platform": "linux/amd64",
    })
}

fn versions() -> Value {
    json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
}

fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] })
}

fn resources() -> Value {
    let verbs = ["create", "delete", "get", "list", "patch", "update"];
    json!({
        "kind": "APIResourceList", "groupVersion": "v1",
        "resources": [{
            "name": "secrets", "singularName": "secret", "namespaced": true, "kind": "Secret",
            "verbs": verbs,
        }],
    })
}
