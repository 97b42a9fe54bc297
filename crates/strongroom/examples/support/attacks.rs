//! What an attacker sends, for the tests and for `cargo xtask reliability`.

/// Requests that two readers could cut differently, and others that are none.
pub(crate) fn cuts() -> Vec<String> {
    let inner = "GET /v1/sys/mounts HTTP/1.1\r\nHost: a\r\nX-Vault-Token: root\r\n\r\n";
    let length = inner.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let post = "POST /v1/sys/wrapping/lookup HTTP/1.1\r\nHost: a\r\n";
    vec![
        format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("{post}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{inner}"),
        format!("{post}Content-Length: 0, {length}\r\n\r\n{inner}"),
        format!(
            "{post}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
        ),
        format!(
            "{post}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{inner}"
        ),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n{inner}"),
        format!("{post}{chunked}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Content-Length: +0\r\n\r\n{inner}"),
        format!("{post}Content-Length: -1\r\n\r\n{inner}"),
        format!("{post}Content-Length: 0x0\r\n\r\n{inner}"),
        format!("{post}Content-Length: 99999999999999999999\r\n\r\n{inner}"),
        format!("{post}Content-Length : 0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{inner}"),
        format!("{post}Content-Length\r\n\r\n{inner}"),
        format!("{post}X: a\0b\r\n\r\n{inner}"),
        format!("{post}X: a\rb\r\n\r\n{inner}"),
        format!("GET  /v1/sys/health HTTP/1.1\r\nHost: a\r\n\r\n{inner}"),
        format!("GET /v1/sys/health HTTP/9.9\r\nHost: a\r\n\r\n{inner}"),
        format!("GET /v1/sys/health\r\n\r\n{inner}"),
        format!("GET /v1/sys/he\0alth HTTP/1.1\r\nHost: a\r\n\r\n{inner}"),
    ]
}

/// Heads that are too large.
pub(crate) fn heads() -> Vec<String> {
    let long = "x".repeat(1 << 20);
    let many: String = (0..1_001).map(|n| format!("X-{n}: y\r\n")).collect();
    vec![
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n{long}: x\r\n\r\n"),
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        format!("GET /v1/{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
}

/// Where bombs are thrown.
pub(crate) const BOMB_PATHS: [&str; 3] = [
    "secret/data/bomb",
    "sys/wrapping/unwrap",
    "auth/token/create",
];

/// JSON that eats memory.
pub(crate) fn bombs() -> Vec<String> {
    let keys: String = (0..300_000).map(|n| format!("\"k{n}\":1,")).collect();
    vec![
        "[".repeat(1_000_000),
        "{\"a\":".repeat(1_000_000),
        format!(
            "{{\"data\":{}1{}}}",
            "{\"a\":".repeat(5_000),
            "}".repeat(5_000)
        ),
        format!(
            "{{\"data\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        format!("{{{keys}\"end\":1}}"),
        format!("{{\"data\":{{{keys}\"end\":1}}}}"),
        format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(40 << 20)),
    ]
}
