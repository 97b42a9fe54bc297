use super::ParamValue::Bool;
use super::ParamValue::Null;
use super::ParamValue::Number;
use super::ParamValue::Other;
use super::ParamValue::Text;
use super::*;
use crate::time::Span;

mod model;
mod reading;
mod reference;

fn name(text: &str) -> PolicyName {
    text.parse().unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::parse(&name("test"), text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn set(text: &str) -> PolicySet {
    PolicySet::compile([&policy(text)])
}

fn words(set: &PolicySet, path: &str) -> String {
    set.capabilities(&path.parse().unwrap()).words().join(" ")
}

fn is_allowed(set: &PolicySet, capability: Capability, params: &[(&str, ParamValue<'_>)]) -> bool {
    let path = "kv/p".parse().unwrap();
    let access = Access {
        path: &path,
        capability,
        params,
        wrap_ttl: None,
    };
    set.decide(&access).is_allowed
}

/// What OpenBao 2.7.2 answers through `sys/capabilities-self`.
#[test]
fn the_most_specific_path_wins() {
    let set = set(r#"
path "foo/*" {capabilities=["read"]} path "foo/+" {capabilities=["deny"]}
path "z*" {capabilities=["read"]} path "z/" {capabilities=["deny"]}
path "y*" {policy="read"} path "y/*" {capabilities=["deny"]}
path "w/+" {policy="read"} path "w/a*" {capabilities=["create"]}
path "v/a+b/+" {capabilities=["read"]}
path "u/+/" {policy="read"} path "u/a" {capabilities=["delete"]}
path "t/+" {capabilities=["read"]} path "t/+/" {capabilities=["list"]}
path "s" {capabilities=["read"]} path "s/" {capabilities=["list"]}
path "r/+" {capabilities=["read"]} path "r/*" {capabilities=["deny"]}
path "q" {capabilities=["create","update","patch","scan","sudo","delete","read","list"]}
path "+/a" {capabilities=["create"]} path "+" {capabilities=["scan"]}
path "c/+x" {capabilities=["patch"]} path "c/+x*" {capabilities=["scan"]}
path "d+/a*" {capabilities=["read"]} path "d+/+" {capabilities=["list"]}
path "d*" {capabilities=["delete"]} path "e" {}
"#);
    for (path, expected) in [
        ("foo/", "deny"),
        ("foo/a/", "read"),
        ("foo/a/b", "read"),
        ("z/", "deny"),
        ("zz/", "read"),
        ("y/", "deny"),
        ("y", "list read"),
        ("w/a", "create"),
        ("w/ab", "create"),
        ("w/b", "list read"),
        ("v/a+b/c", "read"),
        ("v/aab/c", "deny"),
        ("u/a/", "delete"),
        ("u/b/", "list read"),
        ("t/a", "read"),
        ("t/a/", "list"),
        ("s", "read"),
        ("s/", "list"),
        ("r/", "read"),
        ("r/a", "read"),
        ("r/a/", "deny"),
        ("r/a/b", "deny"),
        ("q", "create delete list patch read scan sudo update"),
        ("q/", "create delete list patch read scan sudo update"),
        ("x", "scan"),
        ("b/a", "create"),
        ("c/+x", "patch"),
        ("c/+xy", "scan"),
        ("d+/ab", "read"),
        ("d+/ab/", "read"),
        ("d+/b", "list"),
        ("d+", "delete"),
        ("e", "deny"),
        ("nope/nope", "deny"),
    ] {
        assert_eq!(words(&set, path), expected, "{path}");
    }
}

#[test]
fn rules_for_one_path_are_put_together() {
    let one = policy(r#"path "kv/p" { capabilities = ["read"] } path "kv/d" { policy = "write" }"#);
    let two =
        policy(r#"path "/kv/p" { capabilities = ["update"] } path "kv/d" { policy = "deny" }"#);
    let set = PolicySet::compile([&one, &two]);
    assert_eq!(words(&set, "kv/p"), "read update");
    assert_eq!(words(&set, "kv/d"), "deny");
    let other_order = PolicySet::compile([&two, &one]);
    assert_eq!(words(&other_order, "kv/d"), "deny");
    let within = policy(r#"path "a" { capabilities = ["read"] } path "a" { policy = "deny" }"#);
    assert_eq!(words(&PolicySet::compile([&within]), "a"), "deny");
    assert_eq!(words(&PolicySet::compile([]), "a"), "deny");
}

#[test]
fn root_may_do_everything_and_has_no_text() {
    let root = PolicySet::root();
    assert_eq!(words(&root, "sys/seal"), "root");
    let path = "sys/seal".parse().unwrap();
    for capability in Capability::ALL {
        let access = Access {
            path: &path,
            capability,
            params: &[],
            wrap_ttl: None,
        };
        let decision = root.decide(&access);
        assert!(decision.is_allowed && decision.has_sudo);
    }
    let error = Policy::parse(&PolicyName::root(), r#"path "a" { policy = "read" }"#).unwrap_err();
    assert!(error.to_string().ends_with("cannot update \"root\" policy"));
}

/// CVE-2025-5999, CVE-2025-64761: a spelling of `root` that was only made plain after the check.
#[test]
fn no_spelling_of_root_is_another_policy() {
    for text in [
        "root",
        "ROOT",
        " root",
        "root ",
        "\u{a0}Root\u{3000}",
        "rOOt",
    ] {
        assert_eq!(name(text), PolicyName::root(), "{text:?}");
        assert!(name(text).is_root() && name(text).is_fixed());
    }
    // Looks alike, is another, and gives nothing that its own text does not.
    for text in [
        "ｒｏｏｔ",
        "r\u{43e}ot",
        "root\u{200b}",
        "ro\u{301}ot",
        "root/a",
        "rооt",
    ] {
        assert!(!name(text).is_root(), "{text:?}");
    }
    for text in [
        "",
        " ",
        "root\0",
        "root\n",
        "a//b",
        "../root",
        "root/",
        &"a".repeat(257),
    ] {
        assert!(text.parse::<PolicyName>().is_err(), "{text:?}");
    }
    assert_eq!(name(" Foo/Bar ").as_str(), "foo/bar");
}

/// A rule, a request's fields, and whether they are let through.
type FieldCase = (
    &'static str,
    &'static [(&'static str, ParamValue<'static>)],
    bool,
);

const FIELD_CASES: &[FieldCase] = &[
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Text("abc"))],
        true,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("X", Text("abc"))],
        true,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Text("qz"))],
        true,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Text("5"))],
        false,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Bool(true))],
        true,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Text("true"))],
        false,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Null)],
        false,
    ),
    (
        r#"allowed_parameters = { x = [5, "a*", true, "*z"] }"#,
        &[("x", Other)],
        false,
    ),
    (
        r#"allowed_parameters = { x = [5] }"#,
        &[("y", Number("5"))],
        false,
    ),
    (
        r#"allowed_parameters = { x = [5] }"#,
        &[("x", Number("5")), ("y", Null)],
        false,
    ),
    (
        r#"allowed_parameters = { x = [null] }"#,
        &[("x", Null)],
        true,
    ),
    (r#"allowed_parameters = { x = [] }"#, &[("x", Other)], true),
    (r#"allowed_parameters = { x = ["a"] }"#, &[], true),
    (r#"allowed_parameters = { }"#, &[("x", Null)], true),
    (
        r#"allowed_parameters = { x = ["*"] }"#,
        &[("x", Text("q"))],
        false,
    ),
    (
        r#"allowed_parameters = { x = ["*b*"] }"#,
        &[("x", Text("abc"))],
        true,
    ),
    (
        r#"allowed_parameters = { x = ["a*b"] }"#,
        &[("x", Text("aqb"))],
        false,
    ),
    (
        r#"allowed_parameters = { x = ["a*b"] }"#,
        &[("x", Text("a*b"))],
        true,
    ),
    (
        r#"allowed_parameters = { "x*" = [] }"#,
        &[("xy", Null)],
        false,
    ),
    (r#"allowed_parameters = { "*" = [] }"#, &[("y", Null)], true),
    (
        r#"allowed_parameters = { "*" = ["a"] }"#,
        &[("y", Null)],
        true,
    ),
    (
        r#"allowed_parameters = { "*" = [] x = ["a"] }"#,
        &[("y", Null)],
        true,
    ),
    (
        r#"allowed_parameters = { "*" = [] x = ["a"] }"#,
        &[("x", Null)],
        false,
    ),
    (
        r#"denied_parameters = { x = ["a*"] }"#,
        &[("x", Text("abc"))],
        false,
    ),
    (
        r#"denied_parameters = { x = ["a*"] }"#,
        &[("X", Text("abc"))],
        false,
    ),
    (
        r#"denied_parameters = { x = ["a*"] }"#,
        &[("x", Text("b")), ("y", Null)],
        true,
    ),
    (r#"denied_parameters = { x = [] }"#, &[("x", Other)], false),
    (r#"denied_parameters = { "*" = [] }"#, &[("x", Null)], false),
    (
        r#"denied_parameters = { "*" = ["a"] }"#,
        &[("x", Null)],
        false,
    ),
    (r#"denied_parameters = { "*" = [] }"#, &[], true),
    (r#"required_parameters = ["X"]"#, &[("x", Null)], true),
    (r#"required_parameters = ["X"]"#, &[("X", Null)], false),
    (r#"required_parameters = ["x"]"#, &[("y", Null)], false),
    (r#"required_parameters = ["x"]"#, &[], false),
    // Unlike OpenBao, which never finds a number equal to another.
    (
        r#"allowed_parameters = { x = [5] }"#,
        &[("x", Number("5"))],
        true,
    ),
    (
        r#"allowed_parameters = { x = [5] }"#,
        &[("x", Number("5.0"))],
        true,
    ),
    (
        r#"denied_parameters = { x = [5] }"#,
        &[("x", Number("5e0"))],
        false,
    ),
    (
        r#"denied_parameters = { x = [9007199254740993] }"#,
        &[("x", Number("9007199254740992"))],
        true,
    ),
];

#[test]
fn fields_are_compared_as_vault_compares_them() {
    for (rule, params, expected) in FIELD_CASES {
        let text = format!("path \"kv/p\" {{ capabilities = [\"update\", \"list\"]\n {rule} }}");
        let set = set(&text);
        assert_eq!(
            is_allowed(&set, Capability::Update, params),
            *expected,
            "{rule}"
        );
        assert!(
            is_allowed(&set, Capability::List, params),
            "{rule}: lists have no fields"
        );
    }
}

#[test]
fn rules_about_fields_are_put_together() {
    let one = policy(
        r#"path "kv/p" { capabilities = ["update"] allowed_parameters = { x = ["a"] y = [] }
           denied_parameters = { z = ["1"] } required_parameters = ["x"] }"#,
    );
    let two = policy(
        r#"path "kv/p" { capabilities = ["update"]
           allowed_parameters = { x = ["b"] y = ["c"] z = [] }
           denied_parameters = { z = ["2"] } required_parameters = ["y"] }"#,
    );
    let set = PolicySet::compile([&one, &two]);
    let may = |x, z| {
        let text = ParamValue::Text;
        let params = [("x", text(x)), ("y", text("q")), ("z", text(z))];
        is_allowed(&set, Capability::Update, &params)
    };
    assert!(may("a", "3") && may("b", "3"));
    assert!(!may("c", "3") && !may("a", "1") && !may("a", "2"));
    assert!(!is_allowed(
        &set,
        Capability::Update,
        &[("x", ParamValue::Text("a"))]
    ));
}

#[test]
fn wrapping_is_asked_for() {
    let set = set(
        r#"path "kv/p" { capabilities = ["read"] min_wrapping_ttl = "1m"
                     max_wrapping_ttl = 120 }"#,
    );
    let path = "kv/p".parse().unwrap();
    for (ttl, expected) in [
        (None, false),
        (Some(59), false),
        (Some(60), true),
        (Some(120), true),
        (Some(121), false),
    ] {
        let access = Access {
            path: &path,
            capability: Capability::Read,
            params: &[],
            wrap_ttl: ttl.map(Span::from_seconds),
        };
        assert_eq!(set.decide(&access).is_allowed, expected, "{ttl:?}");
    }
}

#[test]
fn why_names_the_path_and_the_policies() {
    let one = Policy::parse(&name("one"), r#"path "kv/*" { policy = "read" }"#).unwrap();
    let two = Policy::parse(&name("two"), r#"path "kv/*" { policy = "sudo" }"#).unwrap();
    let set = PolicySet::compile([&one, &two]);
    let path = "kv/a".parse().unwrap();
    let why = set.why(&path, Capability::Read).unwrap();
    assert_eq!(
        (why.pattern, why.policies),
        ("kv/*", &[name("one"), name("two")][..])
    );
    assert!(why.capabilities.has(Capability::Sudo));
    assert!(
        set.why(&"other".parse().unwrap(), Capability::Read)
            .is_none()
    );
}

#[test]
fn a_mount_shows_to_those_who_may_use_something_below() {
    for (rule, is_shown) in [
        (r#"path "secret/data/a" { policy = "read" }"#, true),
        (r#"path "secret/*" { policy = "read" }"#, true),
        (r#"path "sec*" { policy = "read" }"#, true),
        (r#"path "+/data/a" { policy = "read" }"#, true),
        (r#"path "*" { policy = "read" }"#, true),
        (r#"path "secret/" { policy = "read" }"#, true),
        (r#"path "secret" { policy = "read" }"#, false),
        (r#"path "secret/*" { policy = "deny" }"#, false),
        (r#"path "secret/*" { capabilities = [] }"#, false),
        (r#"path "secrets/*" { policy = "read" }"#, false),
        (r#"path "+" { policy = "read" }"#, false),
    ] {
        assert_eq!(set(rule).may_use_below("secret/"), is_shown, "{rule}");
    }
    assert!(PolicySet::root().may_use_below("secret/"));
    assert!(set(r#"path "a/+/c/*" { policy = "read" }"#).may_use_below("a/b/"));
}

/// CVE-2026-3605: `..` that was taken away after the decision.
#[test]
fn a_path_has_one_spelling() {
    for raw in [
        "secret/../sys/seal",
        "secret/%2e%2e/sys/seal",
        "secret/.%2E/sys",
        "secret/..%2fsys",
        "secret/..;/sys",
        "secret/.;x/sys",
        "secret/./a",
        "secret//a",
        "secret/%2fa",
        "/secret/a",
        "%2fsecret/a",
        "secret\\..\\sys",
        "secret/%5c..",
        "secret/a%00",
        "secret/a%0a",
        "secret/a%7f",
        "secret/%ff",
        "secret/%c0%ae%c0%ae/a",
        "secret/%",
        "secret/%2",
        "secret/%zz",
        "secret/%+1",
        "..",
        ".",
    ] {
        assert!(RequestPath::decode(raw).is_err(), "{raw}");
    }
    for (raw, path) in [
        ("secret/data/a%2Fb", "secret/data/a/b"),
        ("secret/data/a%20b;c+d", "secret/data/a b;c+d"),
        ("secret/metadata/", "secret/metadata/"),
        ("secret/%C3%A9", "secret/é"),
        ("secret/...", "secret/..."),
        ("secret/.a/b..", "secret/.a/b.."),
        // Decoded once: a name, and no way up.
        ("secret/%252e%252e/a", "secret/%2e%2e/a"),
        ("", ""),
    ] {
        assert_eq!(RequestPath::decode(raw).unwrap().as_str(), path);
    }
    let longest = "a".repeat(REQUEST_PATH_BYTES_MAX);
    assert!(RequestPath::decode(&longest).is_ok());
    assert!(RequestPath::decode(&format!("{longest}a")).is_err());
    assert!(RequestPath::decode(&"%61".repeat(REQUEST_PATH_BYTES_MAX)).is_ok());
}

#[test]
fn the_fixed_policies_are_policies() {
    let default = set(DEFAULT_POLICY);
    assert_eq!(words(&default, "auth/token/lookup-self"), "read");
    assert_eq!(
        words(&default, "cubbyhole/a/b"),
        "create delete list read update"
    );
    assert_eq!(words(&default, "sys/mounts"), "deny");
    let wrapping = set(RESPONSE_WRAPPING_POLICY);
    assert_eq!(words(&wrapping, "cubbyhole/response"), "create read");
    assert_eq!(words(&wrapping, "cubbyhole/other"), "deny");
}
