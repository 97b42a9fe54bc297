//! Who may do what: every operation with every kind of caller.

use serde_json::Value;
use serde_json::json;

use super::Sent;
use super::Signer;
use crate::aws::op::ALL;
use crate::aws::op::Area;
use crate::aws::op::Need;
use crate::aws::op::Op;
use crate::vault::call::Verb;
use crate::vault::tests::World;

const TOKEN: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// A request that would do something, if it were allowed, to a secret of this name.
fn body(op: Op, name: &str) -> Value {
    let mut body = match op {
        Op::CreateSecret => json!({
            "Name": name, "SecretString": "x", "ClientRequestToken": TOKEN, "Description": "d",
        }),
        Op::PutSecretValue => json!({ "SecretString": "x", "ClientRequestToken": TOKEN }),
        Op::UpdateSecret => json!({ "Description": "d" }),
        Op::UpdateSecretVersionStage => json!({
            "VersionStage": "blue", "MoveToVersionId": TOKEN,
        }),
        Op::TagResource => json!({ "Tags": [{ "Key": "a", "Value": "b" }] }),
        Op::UntagResource => json!({ "TagKeys": ["a"] }),
        Op::PutResourcePolicy | Op::ValidateResourcePolicy => json!({
            "ResourcePolicy": "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"1\"},\
                \"Action\":\"*\",\"Resource\":\"*\"}}",
        }),
        Op::ReplicateSecretToRegions => json!({ "AddReplicaRegions": [{ "Region": "us-east-1" }] }),
        Op::RemoveRegionsFromReplication => json!({ "RemoveReplicaRegions": ["us-east-1"] }),
        Op::BatchGetSecretValue => json!({ "SecretIdList": [name] }),
        Op::AssociateCrossAccountReplica
        | Op::CancelRotateSecret
        | Op::DeleteResourcePolicy
        | Op::DeleteSecret
        | Op::DescribeSecret
        | Op::DisassociateCrossAccountReplica
        | Op::GetRandomPassword
        | Op::GetResourcePolicy
        | Op::GetSecretValue
        | Op::ListResourcePolicies
        | Op::ListSecretVersionIds
        | Op::ListSecrets
        | Op::RestoreSecret
        | Op::RotateSecret
        | Op::StopReplicationToReplica => json!({}),
    };
    let is_named = !matches!(
        op,
        Op::CreateSecret | Op::BatchGetSecretValue | Op::ListSecrets | Op::GetRandomPassword
    );
    if is_named {
        body["SecretId"] = json!(name);
    }
    body
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Read => "read",
        Verb::List | Verb::Scan => "list",
        Verb::Write => "update\", \"create",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
    }
}

/// The policy that allows this operation below `app/`, and no other one.
fn policy(op: Op) -> String {
    let rule = |path: &str, verb| {
        format!(
            "path \"{path}\" {{ capabilities = [\"{}\"] }}\n",
            word(verb)
        )
    };
    let of = |area: Area, verb| rule(&format!("secret/{}/app/*", area.folder()), verb);
    match op.need() {
        Need::Secret(area, verb) | Need::PerhapsSecret(area, verb) => of(area, verb),
        Need::Parts => of(Area::Data, Verb::Write) + &of(Area::Metadata, Verb::Write),
        Need::Path(path, Verb::Write) => {
            format!("path \"{path}\" {{ capabilities = [\"update\"] }}\n")
        }
        Need::Path(path, verb) => rule(path, verb),
        Need::Each => of(Area::Data, Verb::Read) + &of(Area::Metadata, Verb::List),
    }
}

async fn world() -> (World, Signer) {
    let world = World::new().await;
    let root = world.key(&["root"]).await;
    let made = json!({ "Name": "app/here", "SecretString": "canary-1", "ClientRequestToken":
        "11111111-89ab-cdef-0123-456789abcdef" });
    let made = world.aws(&root, "CreateSecret", &made.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    (world, root)
}

#[tokio::test]
async fn every_operation_asks_who_one_is() {
    let (world, root) = world().await;
    for op in ALL {
        let target = format!("secretsmanager.{}", op.name());
        let body = body(op, "app/here").to_string();
        let sent = Sent {
            service: "secretsmanager",
            target: Some(&target),
            body: body.as_bytes(),
        };
        let mut unsigned = world.signed(&root, &sent);
        unsigned.headers_mut().remove("authorization");
        let reply = world.send(unsigned).await;
        assert_eq!(reply.code(), (403, "MissingAuthenticationToken"), "{op:?}");
        let wrong = Signer {
            secret: "wrong".into(),
            ..root.clone()
        };
        let reply = world.send(world.signed(&wrong, &sent)).await;
        assert_eq!(reply.code(), (400, "InvalidSignatureException"), "{op:?}");
    }
}

#[tokio::test]
async fn every_operation_asks_whether_one_may() {
    let (world, _) = world().await;
    let nothing = r#"path "elsewhere/*" { capabilities = ["read"] }"#;
    world.policy("nothing", nothing).await;
    let nobody = world.key(&["nothing"]).await;
    for op in ALL {
        let mut told = Vec::new();
        for name in ["app/here", "app/absent"] {
            let reply = world
                .aws(&nobody, op.name(), &body(op, name).to_string())
                .await;
            if op == Op::BatchGetSecretValue {
                let error = &reply.body["Errors"][0];
                assert_eq!(error["ErrorCode"], "AccessDeniedException", "{reply:?}");
                assert_eq!(reply.body["SecretValues"], json!([]));
            } else {
                assert_eq!(
                    reply.code(),
                    (400, "AccessDeniedException"),
                    "{op:?} {reply:?}"
                );
            }
            assert!(!reply.text.contains("canary"), "{op:?} {reply:?}");
            told.push(reply.text.replace(name, "NAME"));
        }
        assert_eq!(told[0], told[1], "{op:?} tells what is there");
        // What is right for one name is not for another one.
        world.policy("right", &policy(op)).await;
        let right = world.key(&["right"]).await;
        if !matches!(op.need(), Need::Path(..) | Need::Each) {
            let reply = world
                .aws(&right, op.name(), &body(op, "other").to_string())
                .await;
            assert_eq!(
                reply.code(),
                (400, "AccessDeniedException"),
                "{op:?} {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_operation_does_what_a_policy_allows() {
    for op in ALL {
        let (world, root) = world().await;
        world.policy("right", &policy(op)).await;
        let right = world.key(&["right"]).await;
        let name = match op {
            Op::CreateSecret => "app/new",
            _ => "app/here",
        };
        if op == Op::RemoveRegionsFromReplication {
            let body = body(Op::ReplicateSecretToRegions, name).to_string();
            let made = world.aws(&root, "ReplicateSecretToRegions", &body).await;
            assert_eq!(made.status, 200, "{made:?}");
        }
        let mut asked = body(op, name);
        if op == Op::UpdateSecretVersionStage {
            asked["MoveToVersionId"] = json!("11111111-89ab-cdef-0123-456789abcdef");
        }
        let reply = world.aws(&right, op.name(), &asked.to_string()).await;
        // These have nothing they could do; what they say is not that it is forbidden.
        let expected = match op {
            Op::AssociateCrossAccountReplica
            | Op::DisassociateCrossAccountReplica
            | Op::StopReplicationToReplica
            | Op::RotateSecret
            | Op::CancelRotateSecret => (400, "InvalidRequestException"),
            _ => (200, ""),
        };
        assert_eq!(reply.code(), expected, "{op:?} {reply:?}");
        // With the same policy: what is not there.
        let reply = world
            .aws(&right, op.name(), &body(op, "app/absent").to_string())
            .await;
        let expected = match op {
            Op::CreateSecret
            | Op::ListSecrets
            | Op::GetRandomPassword
            | Op::BatchGetSecretValue => (200, ""),
            Op::AssociateCrossAccountReplica | Op::DisassociateCrossAccountReplica => {
                (400, "InvalidRequestException")
            }
            _ => (400, "ResourceNotFoundException"),
        };
        assert_eq!(reply.code(), expected, "{op:?} {reply:?}");
    }
}

#[tokio::test]
async fn lists_show_what_one_may_see() {
    let (world, root) = world().await;
    for (name, token) in [("app/deep/x", "22"), ("other/y", "33"), ("top", "44")] {
        let token = format!("{token}222222-89ab-cdef-0123-456789abcdef");
        let made = json!({
            "Name": name, "SecretString": "x", "ClientRequestToken": token, "Description": "told",
        });
        world.aws(&root, "CreateSecret", &made.to_string()).await;
    }
    let list = r#"path "secret/metadata/app/" { capabilities = ["list"] }
                  path "secret/metadata/other/*" { capabilities = ["list", "read"] }"#;
    world.policy("list", list).await;
    let key = world.key(&["list"]).await;
    let listed = world.aws(&key, "ListSecrets", "{}").await;
    let rows = listed.body["SecretList"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["Name"].as_str()).collect();
    assert_eq!(names, ["app/here", "other/y"], "{listed:?}");
    assert!(rows[0].get("CreatedDate").is_none(), "{listed:?}");
    assert_eq!(rows[1]["Description"], "told");
    let all = world.aws(&root, "ListSecrets", "{}").await;
    assert_eq!(all.body["SecretList"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn create_and_update_are_two_things() {
    let (world, _) = world().await;
    for (capability, name, expected) in [
        ("create", "app/here", "AccessDeniedException"),
        ("create", "app/new", ""),
        ("update", "app/new-too", "AccessDeniedException"),
        ("update", "app/here", "ResourceExistsException"),
    ] {
        let text = format!("path \"secret/data/app/*\" {{ capabilities = [\"{capability}\"] }}");
        world.policy("one", &text).await;
        let key = world.key(&["one"]).await;
        let body = json!({ "Name": name, "SecretString": "x", "ClientRequestToken": TOKEN });
        let reply = world.aws(&key, "CreateSecret", &body.to_string()).await;
        assert_eq!(reply.code().1, expected, "{capability} {name} {reply:?}");
    }
}

#[tokio::test]
async fn a_resource_policy_denies_those_it_names() {
    let (world, root) = world().await;
    world
        .policy(
            "all",
            r#"path "secret/*" { capabilities = ["read", "update", "list"] }"#,
        )
        .await;
    let key = world.key(&["all"]).await;
    let user = format!("arn:aws:iam::000000000000:user/{}", key.id);
    let policy = json!({"Statement": {
        "Effect": "Deny", "Principal": { "AWS": user }, "Action": "*", "Resource": "*",
    }});
    let put = json!({ "SecretId": "app/here", "ResourcePolicy": policy.to_string() });
    let reply = world
        .aws(&root, "PutResourcePolicy", &put.to_string())
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let read = r#"{"SecretId":"app/here"}"#;
    let reply = world.aws(&key, "GetSecretValue", read).await;
    assert_eq!(reply.code(), (400, "AccessDeniedException"));
    let reply = world.aws(&key, "DeleteResourcePolicy", read).await;
    assert_eq!(reply.code(), (400, "AccessDeniedException"));
    assert_eq!(world.aws(&root, "GetSecretValue", read).await.status, 200);
    // What it allows is nothing that path policies do not allow.
    world
        .policy("none", r#"path "elsewhere" { capabilities = ["read"] }"#)
        .await;
    let other = world.key(&["none"]).await;
    let policy = json!({"Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
    }});
    let put = json!({ "SecretId": "app/here", "ResourcePolicy": policy.to_string() });
    world
        .aws(&root, "PutResourcePolicy", &put.to_string())
        .await;
    let reply = world.aws(&other, "GetSecretValue", read).await;
    assert_eq!(reply.code(), (400, "AccessDeniedException"));
}
