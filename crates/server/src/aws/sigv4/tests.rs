use http::HeaderValue;
use strongroom_crypto::request::sign;

use super::*;

/// 2026-01-31T12:00:00Z.
const NOW: i64 = 1_769_860_800;
const STAMP: &str = "20260131T120000Z";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn secret() -> SecretValue {
    SecretValue::copy_from(b"secret")
}

fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "h"),
        ("x-amz-date", STAMP),
        ("authorization", authorization),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn signed<'a>(headers: &'a HeaderMap, query: Option<&'a str>, body: &'a [u8]) -> Signed<'a> {
    Signed {
        method: &Method::POST,
        query,
        authority: None,
        headers,
        body,
    }
}

fn refusal(authorization: &str) -> String {
    let headers = headers(authorization);
    match Claim::read(&signed(&headers, None, b"")) {
        Err(Refusal::Incomplete(text) | Refusal::Unfit(text)) => text,
        other => format!("{other:?}"),
    }
}

const GOOD: &str = "AWS4-HMAC-SHA256 Credential=K/20260131/r-1/s/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=00";

#[test]
fn what_is_no_signature_is_told_apart() {
    let good = headers(GOOD);
    assert!(Claim::read(&signed(&good, None, b"")).is_ok());
    let none = HeaderMap::new();
    assert_eq!(
        Claim::read(&signed(&none, None, b"")).unwrap_err(),
        Refusal::Missing
    );
    for (from, to, expected) in [
        (
            "AWS4-HMAC-SHA256 ",
            "AWS4-HMAC-SHA1 ",
            "Unsupported AWS 'algorithm'.",
        ),
        ("Credential=", "Credentials=", "'Credential' parameter"),
        ("SignedHeaders=", "Signed=", "'SignedHeaders' parameter"),
        (", Signature=00", "", "'Signature' parameter"),
        ("/aws4_request", "", "5 slash-delimited"),
        ("K/2026", "/2026", "5 slash-delimited"),
        ("/r-1/", "//", "5 slash-delimited"),
        ("K/2026", "K\u{1}/2026", "malformed"),
        ("20260131/", "20260130/", "does not match YYYYMMDD"),
        ("host;x-amz-date", "x-amz-date;host", "signed headers"),
        ("host;x-amz-date", "host;host", "signed headers"),
        ("host;x-amz-date", "Host", "signed headers"),
        ("host;x-amz-date", "", "signed headers"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        if HeaderValue::from_str(&text).is_ok() {
            let found = refusal(&text);
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
    let both = Claim::read(&signed(
        &good,
        Some("X-Amz-Algorithm=AWS4-HMAC-SHA256"),
        b"",
    ));
    assert!(matches!(both, Err(Refusal::Incomplete(_))), "{both:?}");
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let headers = headers(GOOD);
    let claim = Claim::read(&signed(&headers, None, b"")).unwrap();
    for (seconds, expected) in [
        (
            -301,
            "not yet current: 20260131T120000Z is still later than 20260131T115959Z",
        ),
        (-300, ""),
        (0, ""),
        (300, ""),
        (
            301,
            "expired: 20260131T120000Z is now earlier than 20260131T120001Z",
        ),
        (1_000_000_000, "expired"),
    ] {
        match claim.check("s", at(NOW + seconds)) {
            Ok(()) => assert_eq!(expected, "", "{seconds}"),
            Err(Refusal::Unfit(text)) => {
                assert!(!expected.is_empty() && text.contains(expected), "{text}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let other = claim.check("sts", at(NOW));
    assert!(matches!(other, Err(Refusal::Unfit(text)) if text.contains("'sts'")));
}

#[test]
fn an_address_holds_as_long_as_it_says() {
    let query = |seconds: &str| {
        format!(
            "Action=A&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260131%2Fr%2Fs\
             %2Faws4_request&X-Amz-Date={STAMP}&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=00"
        )
    };
    let headers = HeaderMap::new();
    for bad in ["0", "-1", "604801", "x", ""] {
        let text = query(bad);
        let read = Claim::read(&signed(&headers, Some(&text), b""));
        assert!(
            matches!(read, Err(Refusal::Incomplete(_))),
            "{bad}: {read:?}"
        );
    }
    let text = query("60");
    let claim = Claim::read(&signed(&headers, Some(&text), b"")).unwrap();
    for (seconds, is_good) in [(-301, false), (-300, true), (60, true), (61, false)] {
        let checked = claim.check("s", at(NOW + seconds));
        assert_eq!(checked.is_ok(), is_good, "{seconds}: {checked:?}");
    }
    let twice = format!("{text}&X-Amz-Expires=600");
    let read = Claim::read(&signed(&headers, Some(&twice), b""));
    assert!(matches!(read, Err(Refusal::Incomplete(_))), "{read:?}");
}

/// The header of a request that is signed by the book, byte by byte as it has to be.
fn authorize(canonical: &str, names: &str) -> String {
    let scope = Scope {
        date: "20260131",
        region: "r-1",
        service: "s",
    };
    let mut text = format!("AWS4-HMAC-SHA256\n{STAMP}\n20260131/r-1/s/aws4_request\n");
    push_hex(&mut text, &request::sha256(canonical.as_bytes()));
    let mut signature = String::new();
    push_hex(&mut signature, &sign(&secret(), &scope, text.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential=K/20260131/r-1/s/aws4_request, SignedHeaders={names}, \
         Signature={signature}"
    )
}

#[test]
fn everything_that_is_signed_counts() {
    let sum = data_encoding::HEXLOWER.encode(&request::sha256(b"body"));
    let canonical = format!(
        "POST\n/\na=%2F%20&a=b&b=\nhost:h\nmine:1 2,3\nx-amz-date:{STAMP}\n\nhost;mine;x-amz-date\
         \n{sum}"
    );
    let mut sent = headers(&authorize(&canonical, "host;mine;x-amz-date"));
    sent.append("mine", HeaderValue::from_static("  1   2 "));
    sent.append("mine", HeaderValue::from_static("3"));
    let verify = |headers: &HeaderMap, query: &str, body: &[u8]| {
        let request = signed(headers, Some(query), body);
        Claim::read(&request)?.verify(&request, &secret(), &SigningKeys::default())
    };
    let query = "b&a=b&a=%2f%20";
    assert_eq!(verify(&sent, query, b"body"), Ok(()));
    assert_eq!(verify(&sent, query, b"bodY"), Err(Refusal::Wrong));
    assert_eq!(verify(&sent, "b&a=b", b"body"), Err(Refusal::Wrong));
    let mut changed = sent.clone();
    changed.insert("mine", HeaderValue::from_static("1 2,4"));
    assert_eq!(verify(&changed, query, b"body"), Err(Refusal::Wrong));
    let mut missing = sent.clone();
    missing.remove("mine");
    assert_eq!(verify(&missing, query, b"body"), Err(Refusal::Wrong));
    // What the client did not sign must not have come.
    let mut more = sent.clone();
    more.insert("x-amz-target", HeaderValue::from_static("s.Other"));
    let refused = verify(&more, query, b"body");
    assert!(matches!(&refused, Err(Refusal::Unfit(text)) if text.contains("x-amz-target")));
    let mut sum = sent.clone();
    sum.insert(
        "x-amz-content-sha256",
        HeaderValue::from_static("UNSIGNED-PAYLOAD"),
    );
    assert_eq!(verify(&sum, query, b"body"), Err(Refusal::Wrong));
    let other = SecretValue::copy_from(b"other");
    let request = signed(&sent, Some(query), b"body");
    let claim = Claim::read(&request).unwrap();
    assert_eq!(
        claim.verify(&request, &other, &SigningKeys::default()),
        Err(Refusal::Wrong)
    );
}

#[test]
fn the_host_has_to_be_signed() {
    let sum = data_encoding::HEXLOWER.encode(&request::sha256(b""));
    let canonical = format!("POST\n/\n\nx-amz-date:{STAMP}\n\nx-amz-date\n{sum}");
    let sent = headers(&authorize(&canonical, "x-amz-date"));
    let request = signed(&sent, None, b"");
    let refused =
        Claim::read(&request)
            .unwrap()
            .verify(&request, &secret(), &SigningKeys::default());
    assert!(matches!(&refused, Err(Refusal::Unfit(text)) if text.contains("'Host'")));
}
