//! Behaviour of types and patterns.

use super::*;

#[test]
fn names_round_trip_and_agree_with_serde() {
    for value_type in ValueType::all() {
        assert_eq!(value_type.to_string().parse::<ValueType>(), Ok(value_type));
        let text = format!("x = \"{value_type}\"");
        let table: std::collections::BTreeMap<String, ValueType> = toml::from_str(&text).unwrap();
        assert_eq!(table["x"], value_type);
    }
    assert_eq!("URL".parse::<ValueType>(), Err(ParseValueTypeError));
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\nBQYDK2Vw\n-----END PRIVATE KEY-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
const CUT: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n";
/// Type, values of it, values that are not.
const TYPE_CASES: &[(&str, &[&str], &[&str])] = &[
    ("text", &["x", " x "], &[""]),
    (
        "url",
        &[
            "https://h/p?q",
            "sqlite:///./a.db",
            "amqp://u:p@h:5672/v",
            "http://[::1]:80/",
        ],
        &[
            "h.example",
            "http://",
            "http://a b",
            "1http://x",
            "http://h:port/",
            "http:///x",
        ],
    ),
    (
        "https-url",
        &["https://h", "HTTPS://h"],
        &["http://h", "https://"],
    ),
    (
        "postgres-url",
        &[
            "postgres://u:p@h/d",
            "postgresql://h:5432,g:5433/d",
            "postgresql:///d",
        ],
        &["mysql://h/d", "postgres:/h", "postgres://u:p/w@h/d"],
    ),
    ("mysql-url", &["mysql://u:p@h:3306/d"], &["postgres://h/d"]),
    (
        "mongodb-url",
        &["mongodb://a:1,b:2/d", "mongodb+srv://u:p@c.net/d"],
        &["mongo://a"],
    ),
    (
        "redis-url",
        &["redis://:pw@h:6379/0", "rediss://h"],
        &["redis:h"],
    ),
    (
        "amqp-url",
        &["amqp://guest:guest@mq_1:5672/"],
        &["http://mq"],
    ),
    (
        "email",
        &["a.b+c@d.org", "root@localhost"],
        &["a", "@b", "a b@c", "a@-b"],
    ),
    (
        "hostname",
        &["a", "a.b-c.org.", "127.0.0.1", "::1"],
        &["a_b", "a..b", "-a", "a b"],
    ),
    (
        "port",
        &["1", "65535"],
        &["0", "65536", "+80", "80 ", "http"],
    ),
    (
        "integer",
        &["0", "-5", "9223372036854775807"],
        &["1.5", "9223372036854775808", "a"],
    ),
    (
        "boolean",
        &["true", "OFF", "Yes", "0"],
        &["2", "t", "enabled", "wahr"],
    ),
    ("hex", &["00fF", "abc", "0x1f"], &["0x", "xyz", "00 11"]),
    (
        "base64",
        &["YQ==", "YQ", "YWI=", "YWJj", "+/+/"],
        &["Y", "Y=", "YQ=", "YWJj=", "_-_-"],
    ),
    ("base64url", &["_-_-", "YQ"], &["+/+/", "Y", "===="]),
    (
        "uuid",
        &["6F9619FF-8b86-4011-b42d-00cf4fc964ff"],
        &["6f9619ff8b864011b42d00cf4fc964ff"],
    ),
    (
        "jwt",
        &[JWT],
        &["a.b.c", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0."],
    ),
    (
        "pem",
        &[PEM, CERTIFICATE],
        &[CUT, "MC4CAQAw", "-----BEGIN X-----\\nMC4\\n-----END X-----"],
    ),
    ("ssh-private-key", &[PEM], &[CERTIFICATE, CUT]),
    ("json", &["{\"a\":1}\n", "[]"], &["{a:1}", "x"]),
];
#[test]
fn types_accept_theirs_and_refuse_others() {
    assert_eq!(TYPE_CASES.len(), ValueType::all().count());
    for (name, good, bad) in TYPE_CASES {
        let value_type: ValueType = name.parse().unwrap();
        for value in *good {
            assert_eq!(
                value_type.check(value.as_bytes()),
                Ok(()),
                "{name} {value:?}"
            );
        }
        for value in *bad {
            assert!(
                value_type.check(value.as_bytes()).is_err(),
                "{name} {value:?}"
            );
        }
        assert!(value_type.check(b"\xff\xfe").is_err());
        assert!(value_type.check(b"").is_err());
    }
}

#[test]
fn problems_never_hold_the_value() {
    let canary = "canary-77be:x@y/z q";
    for value_type in ValueType::all() {
        if let Err(problem) = value_type.check(canary.as_bytes()) {
            assert!(!problem.to_string().contains("canary"), "{problem}");
        }
    }
    let problem = Pattern::parse("^[0-9]$")
        .unwrap()
        .check(canary.as_bytes())
        .unwrap_err();
    assert_eq!(problem.to_string(), "does not match its format ^[0-9]$");
}

#[test]
fn booleans_are_the_eight_words() {
    assert_eq!(parse_bool("ON"), Some(true));
    assert_eq!(parse_bool("no"), Some(false));
    assert_eq!(parse_bool("TRUE "), None);
}

#[test]
fn patterns_search_and_mean_ascii() {
    let cases: &[(&str, &str, bool)] = &[
        ("^sk-", "sk-abc", true),
        ("^sk-", "xsk-abc", false),
        ("b", "abc", true),
        (r"^\d{2}$", "42", true),
        (r"^\d{2}$", "٤٢", false),
        (r"^\w+$", "été", false),
        (r"^\W+$", "éé", true),
        (r"^[\w.]+$", "a_1.b", true),
        (r"\bkey\b", "a key b", true),
        (r"\bkey\b", "monkeys", false),
        (r"^.{2}$", "éé", true),
        ("(?i)^ABC$", "abc", true),
        (r"^\p{Greek}+$", "αβγ", true),
        ("^$", "", true),
        ("^a$", "a\n", false),
        ("^(?:a|b)*$", "abba", true),
    ];
    for (pattern, value, matches) in cases {
        let compiled = Pattern::parse(pattern).unwrap();
        assert_eq!(
            compiled.is_match(value.as_bytes()),
            *matches,
            "{pattern} {value}"
        );
        assert_eq!(
            compiled.is_match(value.as_bytes()),
            *matches,
            "{pattern} {value} again"
        );
    }
    assert!(Pattern::parse("x").unwrap().is_match(b"\xff\xfex"));
}

#[test]
fn what_is_not_linear_is_refused_with_its_place() {
    let cases = [
        (
            "^(?=x)",
            "character 2: look-around is not supported, patterns run in linear time",
        ),
        (
            "é(?<!x)y",
            "character 2: look-around is not supported, patterns run in linear time",
        ),
        (
            r"(a)\1",
            "character 4: backreferences are not supported, patterns run in linear time",
        ),
        (
            "a{2,1}",
            "character 2: invalid repetition count range, the start must be <= the end",
        ),
        ("(a", "character 1: unclosed group"),
    ];
    for (pattern, message) in cases {
        assert_eq!(
            Pattern::parse(pattern).unwrap_err().to_string(),
            message,
            "{pattern}"
        );
    }
}

#[test]
fn patterns_and_inputs_have_bounds() {
    assert!(Pattern::parse(&"a".repeat(PATTERN_CHARS_MAX)).is_ok());
    let longer = "a".repeat(PATTERN_CHARS_MAX + 1);
    assert_eq!(
        Pattern::parse(&longer).unwrap_err(),
        ParsePatternError::TooLong
    );
    assert!(Pattern::parse("a{1000}{1000}").is_err());
    let any = Pattern::parse("a").unwrap();
    assert!(any.is_match(&vec![b'a'; PATTERN_INPUT_BYTES_MAX]));
    assert!(!any.is_match(&vec![b'a'; PATTERN_INPUT_BYTES_MAX + 1]));
}

/// Patterns that are slow elsewhere: each must compile or be refused, and then match 64 KiB.
pub(crate) const EVIL: [&str; 30] = [
    "(a+)+$",
    "^(a+)+$",
    "([a-zA-Z]+)*$",
    "(a|aa)+$",
    "(a|a?)+$",
    "(.*a){20}",
    "(.*a){50}$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(x+x+)+y",
    "(a*)*b",
    "(a*)*(a*)*(a*)*b",
    "((((a*)*)*)*)*b",
    "^(\\w+\\s?)*$",
    "^([\\w.]+)*@$",
    "(a?){64}a{64}",
    "(?:a?){500}a{500}",
    "[ab]*a[ab]{200}",
    "[ab]*a[ab]{900}$",
    "a{1000}{1000}",
    "((a{100}){100}){100}",
    "(?i)(\\pL{50}){50}",
    "\\pL{1000}",
    "(?:[\\pL\\pN]{1,100}-){20}",
    ".{1,5000}x",
    "(.{0,100}){10}y",
    "(a|b|c|d|e|f)*[^a-f]{300}z",
    "^(?:(?:[0-9a-f]{2}:)*)*$",
    "(?:(?:(?:(?:a|b)|c)|d)|e)*{3}{3}",
    "(\\d+(\\.\\d+)?)+(e\\d+)*!$",
    "(?s).*.*.*.*.*.*=.*",
];

#[test]
fn evil_patterns_compile_or_are_refused_and_match_in_linear_time() {
    let mut refused = 0;
    for text in EVIL {
        let Ok(pattern) = Pattern::parse(text) else {
            refused += 1;
            continue;
        };
        let value: Vec<u8> = b"ab"
            .iter()
            .copied()
            .cycle()
            .take(PATTERN_INPUT_BYTES_MAX)
            .collect();
        let _ = pattern.is_match(&value);
        assert!(
            Pattern::parse(text).unwrap().check(&value[1..]).is_ok()
                || !pattern.is_match(&value[1..])
        );
    }
    assert!((1..20).contains(&refused), "{refused}");
}

#[test]
fn lints_name_accidental_ranges_and_missing_anchors() {
    let kinds = |text: &str| -> Vec<LintKind> {
        Pattern::parse(text)
            .unwrap()
            .lint()
            .iter()
            .map(|lint| lint.kind)
            .collect()
    };
    assert_eq!(kinds("^[a-zA-Z0-9.-_]+$"), [LintKind::AccidentalRange]);
    assert_eq!(kinds("^[A-z]+$"), [LintKind::AccidentalRange]);
    assert_eq!(kinds(r"^[!-~]+$").len(), 0);
    assert_eq!(kinds(r"^[\x00-\x7f]+$").len(), 0);
    assert_eq!(kinds("^[a-z0-9._-]+$").len(), 0);
    assert_eq!(kinds("^sk-").len(), 0);
    assert_eq!(
        kinds("[a-z]+"),
        [LintKind::UnanchoredStart, LintKind::UnanchoredEnd]
    );
    assert_eq!(kinds("^sk-[a-z]+"), [LintKind::UnanchoredEnd]);
    assert_eq!(
        kinds("^a|b$"),
        [LintKind::UnanchoredStart, LintKind::UnanchoredEnd]
    );
    assert_eq!(kinds("^(?:a|b)$").len(), 0);
    let pattern = Pattern::parse("^[a-zA-Z0-9.-_]+$").unwrap();
    let lint = &pattern.lint()[0];
    assert_eq!(lint.column, 12);
    assert!(
        lint.message
            .starts_with("`.-_` is a range of 50 characters"),
        "{}",
        lint.message
    );
}

#[test]
fn a_set_compiles_each_pattern_once() {
    let set = PatternSet::new();
    let one = set.pattern("^a$").unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &set.pattern("^a$").unwrap()));
    assert!(set.pattern("(").is_err());
    assert!(set.pattern("(").is_err());
}

#[test]
fn entropy_is_bounded_and_tells_random_from_repeated() {
    let near = |value: &[u8], low: f64, high: f64| {
        let bits = entropy_bits_estimate(value);
        assert!((low..=high).contains(&bits), "{bits}");
    };
    near(b"", 0.0, 0.0);
    near(b"aaaaaaaaaaaaaaaa", 0.0, 0.0);
    near(b"abababababababab", 0.0, 20.0);
    near(b"9f86d081884c7d659a2feaa0c55ad015", 110.0, 128.0);
    near(b"12345678", 20.0, 8.0 * 10_f64.log2() + 0.01);
    assert!(check_min_length("éé".as_bytes(), 2).is_ok());
    assert!(check_min_length(b"abc", 4).is_err());
    assert!(check_min_entropy(b"aaaa", 64.0).is_err());
    assert!(check_min_entropy(b"Qm3kP9xZt7LwB2vN8sYc", 64.0).is_ok());
}
