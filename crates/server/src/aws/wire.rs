//! Answers on the wire.

use bytes::Bytes;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use zeroize::Zeroizing;

use super::error::Protocol;
use super::error::Told;
use crate::vault::body::compact;
use crate::vault::dispatch::Outgoing;
use crate::vault::dispatch::to_bytes;

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// An answer that went well.
pub(super) fn good(protocol: Protocol, body: Zeroizing<Vec<u8>>, request_id: &str) -> Outgoing {
    respond(StatusCode::OK, protocol, body, request_id)
}

/// A failure.
pub(super) fn bad(protocol: Protocol, told: &Told, request_id: &str) -> Outgoing {
    let body = match protocol {
        Protocol::Json => compact(&serde_json::json!({
            "__type": told.code,
            "Message": told.text,
        })),
        Protocol::Query => {
            let kind = match told.status.is_server_error() {
                true => "Receiver",
                false => "Sender",
            };
            let text = format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
                 <Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
                 <RequestId>{request_id}</RequestId></ErrorResponse>",
                told.code,
                escaped(&told.text)
            );
            Zeroizing::new(text.into_bytes())
        }
    };
    let mut response = respond(told.status, protocol, body, request_id);
    if protocol == Protocol::Json {
        let code = HeaderValue::from_static(told.code);
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

fn respond(
    status: StatusCode,
    protocol: Protocol,
    body: Zeroizing<Vec<u8>>,
    request_id: &str,
) -> Outgoing {
    let sum = crc32(&body);
    let mut response = Response::new(Full::new(match body.is_empty() {
        true => Bytes::new(),
        false => to_bytes(body),
    }));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = match protocol {
        Protocol::Json => JSON,
        Protocol::Query => XML,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    headers.insert("x-amz-crc32", HeaderValue::from(sum));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// A text within XML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            _ if strongroom_core::path::is_forbidden(letter) => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// The checksum that AWS's services send along: against accidents, not against people.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum = CRC32[usize::from((sum as u8) ^ byte)] ^ (sum >> 8);
    }
    !sum
}

const CRC32: [u32; 256] = crc32_table();

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = match value & 1 {
                1 => (value >> 1) ^ 0xedb8_8320,
                _ => value >> 1,
            };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_others() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn xml_stays_xml() {
        assert_eq!(escaped("a<b>&\"'\u{1}c"), "a&lt;b&gt;&amp;&quot;&apos; c");
    }
}
