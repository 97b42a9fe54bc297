//! How a failure looks below `/api/`: the only place that chooses statuses for it.

use http::StatusCode;
use serde_json::json;

use crate::node::Node;
use crate::vault::dispatch;
use crate::vault::dispatch::Outgoing;
use crate::vault::error::Fault;

/// `{"error": …}`, whatever stands in the text; `errors` for clients of Vault.
pub(super) fn render(node: &Node, fault: &Fault, is_head: bool) -> Outgoing {
    let mut response = dispatch::render_fault(node, fault);
    let (_, texts) = fault.answer();
    let texts: Vec<&str> = texts.iter().map(|text| plain(text)).collect();
    let text = match texts.as_slice() {
        [] => "not found".to_owned(),
        texts => texts.join("; "),
    };
    if matches!(fault, Fault::NoToken) {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    let body = match is_head {
        true => String::new(),
        false => json!({ "error": text, "errors": texts }).to_string(),
    };
    response.map(|_| body.into())
}

/// Without the frame that Vault puts round some texts.
fn plain(text: &str) -> &str {
    let inner = text.strip_prefix("1 error occurred:\n\t* ");
    inner.unwrap_or(text).trim_end()
}
