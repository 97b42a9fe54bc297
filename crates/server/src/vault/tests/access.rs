//! Who may do what: every route with every kind of caller.

use std::collections::BTreeSet;

use strongroom_engine::mounts::Engines;

use super::DENIED;
use super::World;
use crate::vault::call::Verb;
use crate::vault::route;
use crate::vault::route::Access;
use crate::vault::route::Route;

const MOUNTS: [(&str, Engines); 8] = [
    ("secret/", Engines::Kv2),
    ("old/", Engines::Kv1),
    ("cubbyhole/", Engines::Cubbyhole),
    ("sys/", Engines::System),
    ("auth/token/", Engines::Token),
    ("auth/userpass/", Engines::Userpass),
    ("auth/approle/", Engines::AppRole),
    ("database/", Engines::Database),
];

pub(super) async fn world() -> World {
    let world = World::new().await;
    world.root("POST sys/mounts/old", r#"{"type":"kv"}"#).await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    world
        .root("POST sys/mounts/database", r#"{"type":"database"}"#)
        .await;
    world
        .policy(
            "nothing",
            r#"path "elsewhere/*" { capabilities = ["read"] }"#,
        )
        .await;
    world
}

pub(super) fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Read => "GET",
        Verb::List => "LIST",
        Verb::Scan => "SCAN",
        Verb::Write => "POST",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
    }
}

pub(super) fn path_of(mount: &str, route: &Route, name: &str) -> String {
    let below = route.pattern.replace(['+', '*'], name);
    format!("{mount}{below}")
}

/// Every route and verb, with who may use it.
pub(super) fn rows() -> Vec<(&'static str, &'static Route, Verb)> {
    let mut rows = Vec::new();
    for (mount, engine) in MOUNTS {
        let below: &[Route] = match engine {
            Engines::System => crate::api::ROUTES,
            _ => &[],
        };
        for route in route::table(engine).iter().chain(below) {
            for (verb, _) in route.verbs {
                rows.push((mount, route, *verb));
            }
        }
    }
    rows
}

/// Routes that anybody may use, each with its reason. A new one has to be put here.
const OPEN: [&str; 23] = [
    // How one gets a token.
    "POST auth/userpass/login/+",
    "POST auth/approle/login",
    // Whether it is there.
    "GET sys/api/health",
    "GET sys/api/v1/health",
    // For the holders of shares, who may have no token; nothing happens without the shares.
    "GET sys/generate-root/attempt",
    "POST sys/generate-root/attempt",
    "DELETE sys/generate-root/attempt",
    "POST sys/generate-root/update",
    "GET sys/generate-root-token/attempt",
    "POST sys/generate-root-token/attempt",
    "DELETE sys/generate-root-token/attempt",
    "POST sys/generate-root-token/update",
    "GET sys/rekey/init",
    "POST sys/rekey/init",
    "DELETE sys/rekey/init",
    "POST sys/rekey/update",
    "GET sys/rekey/verify",
    "POST sys/rekey/verify",
    "DELETE sys/rekey/verify",
    // The token that is looked up is what allows it.
    "GET sys/wrapping/lookup",
    "POST sys/wrapping/lookup",
    "POST sys/wrapping/unwrap",
    // The public halves of keys, for whoever checks tokens.
    "GET sys/jwks/*",
];

/// Routes for whoever has a living token, which show only what that token may see.
const ANY_TOKEN: [&str; 3] = [
    "GET sys/internal/ui/mounts",
    "GET sys/internal/ui/mounts/*",
    "POST sys/wrapping/rewrap",
];

#[test]
fn every_route_without_a_policy_has_a_reason() {
    let (mut open, mut any_token) = (BTreeSet::new(), BTreeSet::new());
    for (mount, route, verb) in rows() {
        let row = format!("{} {mount}{}", method(verb), route.pattern);
        match route.access {
            Access::Open => open.insert(row),
            Access::AnyToken => any_token.insert(row),
            Access::Policy | Access::Sudo => true,
        };
    }
    let as_set = |list: &[&str]| list.iter().map(|row| (*row).to_owned()).collect();
    assert_eq!(open, as_set(&OPEN));
    assert_eq!(any_token, as_set(&ANY_TOKEN));
}

#[test]
fn the_paths_of_administrators_ask_for_sudo() {
    let sudo: BTreeSet<&str> = rows()
        .into_iter()
        .filter(|(_, route, _)| route.access == Access::Sudo)
        .map(|(_, route, _)| route.pattern)
        .collect();
    for pattern in [
        "accessors",
        "revoke-orphan",
        "audit",
        "audit/+",
        "auth/*",
        "config/auditing/request-headers",
        "config/auditing/request-headers/+",
        "leases",
        "leases/lookup/*",
        "leases/revoke-force/*",
        "leases/revoke-prefix/*",
        "plugins/catalog/+",
        "plugins/catalog/+/+",
        "remount",
        "rotate",
        "seal",
        "step-down",
        "rekey/backup",
    ] {
        assert!(sudo.contains(pattern), "{pattern}");
    }
}

#[tokio::test]
async fn nothing_works_without_a_token_or_with_the_wrong_policy() {
    let world = world().await;
    let wrong = world.token(&["nothing"]).await;
    world
        .root("PUT secret/data/there", r#"{"data":{"a":1}}"#)
        .await;
    world.root("PUT old/there", r#"{"a":1}"#).await;
    let mut checked = 0;
    for (mount, route, verb) in rows() {
        if matches!(route.access, Access::Open | Access::AnyToken) {
            continue;
        }
        let mut answers = BTreeSet::new();
        for name in ["there", "missing"] {
            let line = format!("{} {}", method(verb), path_of(mount, route, name));
            for token in [None, Some("hvs.AAAAAAAAAAAAAAAAAAAAAAAA"), Some("")] {
                let reply = world.ask(token, &line, "{}").await;
                assert_eq!(reply.error(), (403, "permission denied".into()), "{line}");
            }
            let reply = world.ask(Some(&wrong), &line, "{}").await;
            assert_eq!(reply.error(), (403, DENIED.into()), "{line}");
            answers.insert(reply.text);
            checked += 1;
        }
        // There or not: nobody who may not know can tell.
        assert_eq!(answers.len(), 1, "{}", route.pattern);
    }
    assert!(checked > 200, "{checked}");
}

#[tokio::test]
async fn the_right_policy_is_enough_and_sudo_is_asked_for_where_it_must_be() {
    let all = r#"["create", "read", "update", "delete", "list", "patch", "scan"]"#;
    for (mount, route, verb) in rows() {
        if matches!(route.access, Access::Open | Access::AnyToken) {
            continue;
        }
        // A world of its own: some routes end it.
        let world = world().await;
        let path = path_of(mount, route, "there");
        let line = format!("{} {path}", method(verb));
        let listed = format!("path \"{path}/\" {{ capabilities = {all} }}");
        let plain = format!("path \"{path}\" {{ capabilities = {all} }}\n{listed}");
        world.policy("plain", &plain).await;
        world
            .policy("sudo", &plain.replace(']', ", \"sudo\"]"))
            .await;
        let token = world.token(&["plain"]).await;
        let reply = world.ask(Some(&token), &line, "{}").await;
        let is_denied = reply.error() == (403, DENIED.into());
        assert_eq!(is_denied, route.access == Access::Sudo, "{line} {reply:?}");
        if route.access == Access::Sudo {
            let token = world.token(&["sudo"]).await;
            let reply = world.ask(Some(&token), &line, "{}").await;
            assert_ne!(reply.error(), (403, DENIED.into()), "{line}");
        }
    }
}

#[tokio::test]
async fn making_and_changing_are_two_things() {
    let world = world().await;
    world
        .policy(
            "maker",
            r#"path "secret/data/*" { capabilities = ["create"] }"#,
        )
        .await;
    world
        .policy(
            "changer",
            r#"path "secret/data/*" { capabilities = ["update"] }"#,
        )
        .await;
    let (maker, changer) = (
        world.token(&["maker"]).await,
        world.token(&["changer"]).await,
    );
    let (line, body) = ("POST secret/data/x", r#"{"data":{"a":1}}"#);
    assert_eq!(world.ask(Some(&changer), line, body).await.status, 403);
    assert_eq!(world.ask(Some(&maker), line, body).await.status, 200);
    assert_eq!(world.ask(Some(&maker), line, body).await.status, 403);
    assert_eq!(world.ask(Some(&changer), line, body).await.status, 200);
}

#[tokio::test]
async fn a_change_of_a_policy_holds_at_once() {
    let world = world().await;
    world.root("PUT secret/data/x", r#"{"data":{"a":1}}"#).await;
    world
        .policy(
            "reader",
            r#"path "secret/data/x" { capabilities = ["read"] }"#,
        )
        .await;
    let token = world.token(&["reader"]).await;
    let line = "GET secret/data/x";
    assert_eq!(world.ask(Some(&token), line, "").await.status, 200);
    world
        .policy(
            "reader",
            r#"path "secret/data/x" { capabilities = ["deny"] }"#,
        )
        .await;
    assert_eq!(world.ask(Some(&token), line, "").await.status, 403);
    world
        .policy(
            "reader",
            r#"path "secret/data/x" { capabilities = ["read"] }"#,
        )
        .await;
    assert_eq!(world.ask(Some(&token), line, "").await.status, 200);
    assert_eq!(
        world
            .root("DELETE sys/policies/acl/reader", "")
            .await
            .status,
        204
    );
    assert_eq!(world.ask(Some(&token), line, "").await.status, 403);
}

#[tokio::test]
async fn another_spelling_is_no_way_round_a_policy() {
    let world = world().await;
    let all = r#"["create", "read", "update", "delete", "list", "sudo"]"#;
    let wide = |path: &str| format!("path \"{path}\" {{ capabilities = {all} }}\n");
    let deny = |path: &str| format!("path \"{path}\" {{ capabilities = [\"deny\"] }}\n");
    let read = |path: &str| format!("path \"{path}\" {{ capabilities = [\"read\"] }}\n");
    let user = r#"{"password":"long-enough","policies":"x"}"#;
    world.root("POST auth/userpass/users/ann", user).await;
    world.root("POST auth/approle/role/web", "{}").await;
    for (policy, line, is_denied) in [
        (
            wide("sys/mounts/*") + &deny("sys/mounts/old"),
            "GET sys/mounts/old",
            true,
        ),
        (
            wide("sys/mounts/*") + &deny("sys/mounts/old"),
            "GET sys/mounts/old/",
            true,
        ),
        (
            wide("sys/mounts/*") + &deny("sys/mounts/old/"),
            "GET sys/mounts/old",
            true,
        ),
        (
            wide("sys/mounts/*") + &deny("sys/mounts/+"),
            "GET sys/mounts/old/",
            true,
        ),
        (
            wide("sys/mounts/*") + &read("sys/mounts/old"),
            "GET sys/mounts/old/",
            false,
        ),
        (
            wide("sys/mounts/*") + &read("sys/mounts/old"),
            "DELETE sys/mounts/old/",
            true,
        ),
        (
            deny("sys/mounts/*") + &wide("sys/mounts/old"),
            "GET sys/mounts/old",
            false,
        ),
        (
            deny("sys/mounts/*") + &wide("sys/mounts/old/"),
            "GET sys/mounts/old/",
            false,
        ),
        (
            wide("sys/mounts/*") + &deny("sys/mounts/old/*"),
            "GET sys/mounts/old",
            false,
        ),
        (
            wide("sys/auth/*") + &deny("sys/auth/userpass"),
            "DELETE sys/auth/userpass/",
            true,
        ),
        (
            wide("sys/auth/*") + &read("sys/auth/userpass"),
            "GET sys/auth/userpass/",
            true,
        ),
        (
            wide("sys/leases/revoke-prefix/*") + &deny("sys/leases/revoke-prefix/auth/userpass"),
            "PUT sys/leases/revoke-prefix/auth/userpass/",
            true,
        ),
        (
            wide("sys/policies/acl/*") + &deny("sys/policies/acl/nothing"),
            "GET sys/policies/acl/NOTHING",
            true,
        ),
        (
            wide("sys/policy/*") + &deny("sys/policy/noth*"),
            "DELETE sys/policy/%20Nothing",
            true,
        ),
        (
            wide("auth/userpass/users/*") + &deny("auth/userpass/users/ann"),
            "POST auth/userpass/users/Ann/password",
            false,
        ),
        (
            wide("auth/userpass/users/*") + &deny("auth/userpass/users/ann/password"),
            "POST auth/userpass/users/Ann/password",
            true,
        ),
        (
            wide("auth/approle/role/+") + &read("auth/approle/role/web"),
            "DELETE auth/approle/role/WEB",
            true,
        ),
        (
            wide("auth/approle/role/Web"),
            "GET auth/approle/role/Web",
            false,
        ),
        (
            wide("secret/data/*") + &deny("secret/data/a"),
            "GET secret/data/A",
            false,
        ),
    ] {
        world.policy("tested", &policy).await;
        let token = world.token(&["tested"]).await;
        let reply = world.ask(Some(&token), line, "{}").await;
        assert_eq!(
            reply.error() == (403, DENIED.into()),
            is_denied,
            "{line} with {policy}: {reply:?}"
        );
    }
}
