//! Answers: a status and an object.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

pub(super) type Answer = (u16, Value);

/// A Status object.
pub(super) fn failure(code: u16, reason: &str, kind: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": { "kind": kind }, "code": code,
    });
    (code, status)
}

/// A field that does not pass.
pub(super) fn refused(field: &str, message: &str) -> Answer {
    let (code, mut status) = failure(422, "Invalid", "secrets", "Secret is invalid");
    status["details"]["causes"] =
        json!([{ "reason": "FieldValueInvalid", "message": message, "field": field }]);
    (code, status)
}

pub(super) fn send((code, object): Answer) -> Response {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string()))
        .unwrap()
}

/// Without the data for a client that wants none of it.
pub(super) fn send_as((code, mut object): Answer, headers: &HeaderMap) -> Response {
    let accept = headers
        .get("accept")
        .and_then(|accept| accept.to_str().ok());
    if code < 300 && accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadata")) {
        object = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        });
    }
    send((code, object))
}
