//! What an attacker sends: malformed HTTP, JSON bombs, paths that want to be others, pieces of
//! tokens, guesses at names. The server answers once, tells nothing and goes on.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::attacks;
use crate::served::DEADLINE;
use crate::served::Served;
use crate::served::answers_in;

/// The server still does its work.
pub(crate) fn assert_works(served: &Served) {
    let (status, body) = served.ask("GET", "auth/token/lookup-self", "root", "");
    assert_eq!(status, 200, "{body} {}", served.log());
}

/// A token with one policy and nothing else. The text is as it stands in JSON.
pub(crate) fn token_with(served: &Served, policy: &str) -> String {
    let body = format!("{{\"policy\":\"{}\"}}", policy.replace('\n', " "));
    let (status, answer) = served.ask("PUT", "sys/policies/acl/one", "root", &body);
    assert_eq!(status, 204, "{answer}");
    let body = r#"{"policies":["one"],"no_default_policy":true}"#;
    let (_, made) = served.ask("POST", "auth/token/create", "root", body);
    client_token(&made)
}

fn client_token(answer: &str) -> String {
    let rest = answer.split_once("\"client_token\":\"").unwrap().1;
    rest.split('"').next().unwrap().to_owned()
}

/// RUSTSEC-2021-0078, RUSTSEC-2021-0020: one request that two readers cut differently.
#[test]
fn a_request_that_can_be_cut_in_two_ways_is_refused() {
    let served = Served::dev();
    for case in &attacks::cuts() {
        let answer = served.exchange(case);
        let text = String::from_utf8_lossy(&answer);
        assert!(answers_in(&answer) <= 1, "two answers to {case:?}: {text}");
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 505"),
            "{case:?} is answered with {text}"
        );
        assert!(!text.contains("cubbyhole/"), "{case:?}: {text}");
    }
    assert_works(&served);
}

#[test]
fn headers_have_a_bound() {
    let served = Served::dev();
    for head in attacks::heads() {
        let answer = served.exchange(&head);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{text}"
        );
    }
    assert_works(&served);
}

#[test]
fn requests_in_a_row_get_an_answer_each() {
    let served = Served::dev();
    let one = "GET /v1/sys/seal-status HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /v1/sys/init HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = served.exchange(one.repeat(20) + last);
    assert_eq!(answers_in(&answer), 21);
}

/// A connection that never finishes its request is closed; others are served meanwhile.
#[test]
fn half_requests_are_dropped() {
    let served = Served::dev();
    let starts = ["GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX: ", "GET"];
    let mut held = Vec::new();
    for at in 0..300 {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(starts[at % 2].as_bytes()).unwrap();
        held.push(stream);
    }
    assert_works(&served);
    for mut stream in held {
        // An answer such as 408 may come first; then the end, and not our patience's.
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
}

/// CVE-2025-6203, CVE-2025-12044: JSON that eats memory before anybody is asked who they are.
#[test]
fn bombs_of_json_are_refused() {
    let served = Served::dev();
    assert_works(&served);
    let before = served.memory_kib();
    let bombs = attacks::bombs();
    for path in attacks::BOMB_PATHS {
        for bomb in &bombs {
            for token in ["", "root"] {
                let (status, body) = served.ask("POST", path, token, bomb);
                assert!(
                    (400..500).contains(&status),
                    "{path} {token}: {status} {body:.200}"
                );
            }
        }
    }
    // And two hundred smaller ones in a row.
    for at in 0..200_usize {
        let open = ["[", "{\"a\":", "[[0],", "{\"a\":["][at % 4];
        let bomb = open.repeat(1_000 + at * 500);
        let (status, body) = served.ask("POST", attacks::BOMB_PATHS[at % 3], "root", &bomb);
        assert!((400..500).contains(&status), "{at}: {status} {body:.200}");
    }
    let grown = served.memory_kib().saturating_sub(before);
    assert!(grown < 100 << 10, "{grown} KiB more");
    assert_works(&served);
}

#[test]
fn numbers_come_back_digit_for_digit() {
    let served = Served::dev();
    let numbers =
        r#"{"a":123456789012345678901234567890,"b":9007199254740993,"c":1.50,"d":1e+400,"e":-0.0}"#;
    let body = format!("{{\"data\":{numbers}}}");
    assert_eq!(served.ask("POST", "secret/data/n", "root", &body).0, 200);
    let (_, body) = served.ask("GET", "secret/data/n", "root", "");
    let back = body.split_once("\"data\":{\"data\":").unwrap().1;
    assert!(back.starts_with(numbers), "{back}");
}

/// CVE-2026-3605: a path that is another one after the policy was asked.
#[test]
fn a_path_reaches_nothing_under_another_spelling() {
    let served = Served::dev();
    let put = |path: &str, body: &str| {
        let (status, answer) = served.ask("POST", path, "root", body);
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    };
    put(
        "secret/data/hidden/canary",
        r#"{"data":{"v":"cnry-8f41d0"}}"#,
    );
    put(
        "sys/policies/acl/open",
        r#"{"policy":"path \"secret/data/open/*\" { policy = \"read\" }"}"#,
    );
    let made = put(
        "auth/token/create",
        r#"{"policies":["open"],"no_default_policy":true}"#,
    );
    let token = &client_token(&made);
    let ups = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2e.",
        "%2E%2E",
        "..;",
        "..;x",
        "..%3b",
        "%2e%2e%3b",
        ".",
        "%2e",
        ".;",
        "",
        "..%2f..",
        "%2e%2e%2f%2e%2e",
        "..%5c..",
        "..\\..",
        "%5c",
        "..%00",
        "%00",
        "..%0d",
        "%0a",
        "%c0%ae%c0%ae",
        "%ff",
        "..%09",
        "%7f",
    ];
    let shapes = [
        "secret/data/open/{}/hidden/canary",
        "secret/data/open/{}/{}/data/hidden/canary",
        "secret/data/open/x/{}/{}/hidden/canary",
        "secret/data/open/{}%2fhidden%2fcanary",
        "secret/data/open%2f{}/hidden/canary",
        "{}/secret/data/hidden/canary",
        "secret/{}/secret/data/hidden/canary",
        "secret/data/{}/data/hidden/canary",
    ];
    let mut count = 0;
    for shape in shapes {
        for up in ups {
            for method in ["GET", "LIST"] {
                let path = shape.replace("{}", up);
                let (status, body) = served.ask(method, &path, token, "");
                assert!((400..500).contains(&status), "{path}: {status} {body}");
                assert!(!body.contains("cnry-8f41d0"), "{path}: {body}");
                let (status, body) = served.ask("PUT", &path, "root", r#"{"data":{"w":"x"}}"#);
                assert_eq!(status, 400, "{path}: {body}");
                count += 1;
            }
        }
    }
    assert!(count >= 200);
    let (_, body) = served.ask("GET", "secret/data/hidden/canary", "root", "");
    assert!(
        body.contains("cnry-8f41d0") && body.contains("\"version\":1}"),
        "{body}"
    );
    let (_, body) = served.ask("LIST", "secret/metadata/", "root", "");
    assert!(body.contains(r#"{"keys":["hidden/"]}"#), "{body}");
}

/// ZITADEL CVE-2026-27840: a piece of a token that was as good as the whole.
#[test]
fn only_the_whole_token_counts() {
    let served = Served::dev();
    for body in [
        r#"{"policies":["default"]}"#,
        r#"{"policies":["default"],"type":"batch","ttl":"1h"}"#,
    ] {
        let (_, made) = served.ask("POST", "auth/token/create", "root", body);
        let token = client_token(&made);
        let accessor = made.split_once("\"accessor\":\"").unwrap().1;
        let accessor = accessor.split('"').next().unwrap();
        assert_eq!(
            served.ask("GET", "auth/token/lookup-self", &token, "").0,
            200
        );
        let others = [
            accessor.to_owned(),
            format!("{token}{token}"),
            token.to_uppercase(),
        ];
        for wrong in others.into_iter().chain(spoiled(&token)) {
            let (status, body) = served.ask("GET", "auth/token/lookup-self", &wrong, "");
            assert_eq!(status, 403, "{wrong} for {token}: {body}");
            assert_eq!(body.trim_end(), r#"{"errors":["permission denied"]}"#);
        }
    }
}

/// Beginnings, ends, one character changed, one more.
fn spoiled(token: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for at in 1..token.len() {
        let (start, end) = token.split_at(at);
        let c = end.chars().next().unwrap();
        let other_case = match c.is_ascii_uppercase() {
            true => c.to_ascii_lowercase(),
            false => c.to_ascii_uppercase(),
        };
        let next = char::from(u8::try_from(c).unwrap() + 1);
        for changed in [other_case, next] {
            wrong.push(format!("{start}{changed}{}", &end[1..]));
        }
        wrong.extend([start.to_owned(), end.to_owned()]);
    }
    for end in ["a", ".", "=", ",", "\u{e9}", "%20"] {
        wrong.push(format!("{token}{end}"));
    }
    wrong.retain(|wrong| wrong != token);
    wrong
}

/// CVE-2025-6010, CVE-2023-3462, CVE-2020-35177: an answer that tells which names are known.
#[test]
fn a_known_name_cannot_be_told_from_an_unknown_one() {
    let served = Served::dev();
    assert_eq!(
        served
            .ask(
                "POST",
                "sys/auth/userpass",
                "root",
                r#"{"type":"userpass"}"#
            )
            .0,
        204
    );
    let user = r#"{"password":"correct horse battery"}"#;
    assert_eq!(
        served
            .ask("POST", "auth/userpass/users/ann", "root", user)
            .0,
        204
    );
    let attempt = |name: &str, body: &str| {
        let bytes = served.exchange(format!(
            "POST /v1/auth/userpass/login/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let text = String::from_utf8(bytes).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    for body in [
        r#"{"password":"wrong"}"#,
        "{}",
        r#"{"password":""}"#,
        r#"{"password":7}"#,
    ] {
        for round in 0..10 {
            assert_eq!(
                attempt("ann", body),
                attempt("bob", body),
                "{round}: {body}"
            );
        }
    }
}

/// CVE-2025-4166: an error that quoted the secret which could not be read.
#[test]
fn nothing_of_a_malformed_value_comes_back() {
    let served = Served::dev();
    let good = r#"{"data":{"password":"cnry-51fe77","deep":{"list":["cnry-51fe77",1,null]}}}"#;
    let canary = "cnry-51fe77";
    let mut count = 0;
    for (path, method) in [
        ("secret/data/a", "POST"),
        ("secret/data/a", "PATCH"),
        ("cubbyhole/a", "POST"),
        ("sys/wrapping/unwrap", "POST"),
        ("auth/token/create", "POST"),
        ("sys/policies/acl/a", "PUT"),
    ] {
        for at in (0..good.len()).step_by(2) {
            let broken = format!("{}\u{1}{}", &good[..at], &good[at..]);
            for body in [&good[..at], &broken] {
                let (status, answer) = served.ask(method, path, "root", body);
                assert!((200..500).contains(&status), "{status} {answer}");
                assert!(!answer.contains(canary), "{method} {path} {body}: {answer}");
                count += 1;
            }
        }
    }
    for body in [
        r#"{"data":"cnry-51fe77"}"#,
        r#"{"data":["cnry-51fe77"]}"#,
        r#"{"data":{"a":"b"},"options":"cnry-51fe77"}"#,
        r#"{"data":{"a":"b"},"options":{"cas":"cnry-51fe77"}}"#,
        r#"{"token":["cnry-51fe77"]}"#,
        r#"{"ttl":"cnry-51fe77"}"#,
        r#"{"policies":[{"cnry-51fe77":1}]}"#,
        r#"{"versions":"cnry-51fe77"}"#,
    ] {
        for path in [
            "secret/data/a",
            "secret/delete/a",
            "auth/token/create",
            "auth/token/lookup",
        ] {
            let (_, answer) = served.ask("POST", path, "root", body);
            assert!(!answer.contains(canary), "{path} {body}: {answer}");
        }
    }
    assert!(count > 200);
    assert!(!served.log().contains(canary));
}

/// CVE-2024-8185, CVE-2023-6337: memory that requests without a token leave behind.
#[test]
fn requests_without_a_token_leave_nothing_behind() {
    let served = Served::dev();
    let round = |count: usize| {
        for at in 0..count {
            let name = format!("{}{at}", "n".repeat(400));
            let body = format!("{{\"password\":\"{}\"}}", "p".repeat(400));
            served.ask("POST", &format!("auth/userpass/login/{name}"), "", &body);
            served.ask("GET", &format!("secret/data/{name}"), &name, "");
            served.ask(
                "POST",
                "sys/wrapping/lookup",
                "",
                &format!("{{\"token\":\"{name}\"}}"),
            );
        }
    };
    assert_eq!(
        served
            .ask(
                "POST",
                "sys/auth/userpass",
                "root",
                r#"{"type":"userpass"}"#
            )
            .0,
        204
    );
    round(300);
    let before = served.memory_kib();
    round(1_000);
    let grown = served.memory_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn odd_methods_reach_nothing() {
    let served = Served::dev();
    for (method, header) in [
        ("OPTIONS", ""),
        ("TRACE", ""),
        ("CONNECT", ""),
        ("REVOKE", ""),
        ("ROLLBACK", ""),
        ("get", ""),
        ("POST", "X-HTTP-Method-Override: DELETE\r\n"),
        ("GET", "X-HTTP-Method: DELETE\r\n"),
    ] {
        let answer = served.exchange(format!(
            "{method} /v1/sys/policies/acl/default HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             X-Vault-Token: root\r\n{header}Content-Length: 0\r\n\r\n"
        ));
        let text = String::from_utf8_lossy(&answer);
        assert!(
            !text.starts_with("HTTP/1.1 5") && !text.starts_with("HTTP/1.1 204"),
            "{text}"
        );
    }
    assert_eq!(
        served.ask("GET", "sys/policies/acl/default", "root", "").0,
        200
    );
}

/// What a policy says about fields holds for those of a query as well.
#[test]
fn fields_of_a_query_are_fields() {
    let served = Served::dev();
    for value in ["one", "two"] {
        let body = format!("{{\"data\":{{\"v\":\"{value}\"}}}}");
        assert_eq!(served.ask("POST", "secret/data/q", "root", &body).0, 200);
    }
    let token = token_with(
        &served,
        r#"path \"secret/data/q\" { capabilities = [\"read\"]
           denied_parameters = { version = [] } }"#,
    );
    assert_eq!(served.ask("GET", "secret/data/q", &token, "").0, 200);
    let (status, body) = served.ask("GET", "secret/data/q?version=1", &token, "");
    assert_eq!(status, 403, "{body}");
}
