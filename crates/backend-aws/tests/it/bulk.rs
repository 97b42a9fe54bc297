//! Many secrets in few requests, and each failure where it belongs.

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;

use crate::support::Moto;
use crate::support::Reply;
use crate::support::Trap;
use crate::support::lookup;
use crate::support::open_at;
use crate::support::refusal;
use crate::support::said;
use crate::support::shown;
use crate::support::text;
use crate::support::wait;

#[test]
fn two_hundred_secrets_are_ten_requests() {
    let moto = Moto::start();
    let address = moto.address;
    let trap = Trap::new(move |_, _| Reply::Forward(address));
    let direct = open_at("/", address, "");
    let backend = open_at("/", trap.address, "");
    let lookups: Vec<_> = (0..200).map(|n| lookup(&format!("bulk/s{n}"))).collect();
    wait(async {
        for lookup in &lookups {
            direct
                .write(&lookup.path, &text(&lookup.path))
                .await
                .unwrap();
        }
        let found = backend.get_many(&lookups).await;
        assert_eq!(found.len(), 200);
        for (lookup, found) in lookups.iter().zip(found) {
            assert_eq!(shown(&found.unwrap().unwrap().value), lookup.path);
        }
    });
    assert_eq!(trap.count("BatchGetSecretValue"), 10);
    assert_eq!(trap.seen().len(), 10);
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}")).collect()
}

/// Answers GetSecretValue with the name itself.
fn single(body: &str) -> Reply {
    let name = body.split("\"SecretId\":\"").nth(1).unwrap();
    let name = name.split('"').next().unwrap();
    Reply::Json(
        200,
        format!(r#"{{"Name":"{name}","SecretString":"{name}","VersionStages":["AWSCURRENT"]}}"#),
    )
}

#[test]
fn without_the_batch_operation_each_is_asked_for() {
    for (status, code) in [
        (400, "AccessDeniedException"),
        (400, "UnknownOperationException"),
    ] {
        let trap = Trap::new(move |_, request| match request.operation.as_str() {
            "BatchGetSecretValue" => refusal(status, code),
            _ => single(&request.body),
        });
        let backend = open_at("/", trap.address, "");
        for round in 1..=2 {
            let found = wait(backend.read_many(&names(25)));
            for (name, found) in names(25).iter().zip(found) {
                assert_eq!(shown(&found.unwrap().unwrap().payload.value), *name);
            }
            assert_eq!(trap.count("GetSecretValue"), round * 25);
            // One for the first twenty; the other five were a batch as well, once.
            assert!(trap.count("BatchGetSecretValue") <= 2);
        }
    }
}

const NOT_AUTHORIZED: &str = "User: u is not authorized to perform: \
                              secretsmanager:GetSecretValue on resource: n2 because";
const MARKED: &str = "You can't perform this operation on the secret because it was marked for \
                      deletion.";

fn error(id: &str, code: &str, message: &str) -> Value {
    json!({"SecretId": id, "ErrorCode": code, "Message": message})
}

#[test]
fn a_failure_of_one_is_the_failure_of_one() {
    let answer = json!({
        "SecretValues": [{"Name": "n0", "SecretString": "n0"}],
        "Errors": [
            error("n1", "ResourceNotFoundException", "x"),
            error("n2", "AccessDeniedException", NOT_AUTHORIZED),
            error("n3", "DecryptionFailure", "x"),
            error("n4", "InvalidRequestException", MARKED),
            error("n5", "InvalidRequestException", "x"),
        ],
    });
    let trap = Trap::new(move |_, request| match request.operation.as_str() {
        "BatchGetSecretValue" => Reply::Json(200, answer.to_string()),
        _ => single(&request.body),
    });
    let backend = open_at("/", trap.address, "");
    let mut asked = names(7);
    asked.push("no good name".into());
    let found = wait(backend.read_many(&asked));
    let kinds: Vec<Result<bool, BackendErrorKind>> = found
        .iter()
        .map(|found| match found {
            Ok(item) => Ok(item.is_some()),
            Err(error) => Err(error.kind),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            Ok(true),
            Ok(false),
            Err(BackendErrorKind::Denied),
            Err(BackendErrorKind::Denied),
            Ok(false),
            Err(BackendErrorKind::Invalid),
            // The answer does not speak of it, so that it is asked for.
            Ok(true),
            Err(BackendErrorKind::Invalid),
        ]
    );
    let denied = said(found[2].as_ref().unwrap_err());
    assert!(
        denied.contains("secretsmanager:GetSecretValue on `n2`"),
        "{denied}"
    );
    assert!(said(found[3].as_ref().unwrap_err()).contains("kms:Decrypt"));
    assert_eq!(trap.count("GetSecretValue"), 1);
}

#[test]
fn a_batch_that_is_refused_as_a_whole_is_asked_for_singly() {
    let trap = Trap::new(|_, request| match request.operation.as_str() {
        "BatchGetSecretValue" => refusal(400, "ValidationException"),
        _ => single(&request.body),
    });
    let backend = open_at("/", trap.address, "");
    let found = wait(backend.read_many(&names(3)));
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
}

#[test]
fn another_stage_is_asked_for_singly() {
    let trap = Trap::new(|_, request| single(&request.body));
    let backend = open_at("/", trap.address, "&version_stage=AWSPREVIOUS");
    let found = wait(backend.read_many(&names(3)));
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(trap.count("GetSecretValue"), 3);
    let seen = trap.seen();
    assert!(
        seen.iter()
            .all(|r| r.body.contains("\"VersionStage\":\"AWSPREVIOUS\""))
    );
}

#[test]
fn an_expired_session_is_an_error_of_all() {
    let trap = Trap::new(|_, _| refusal(400, "ExpiredTokenException"));
    let backend = open_at("/", trap.address, "");
    for found in wait(backend.read_many(&names(3))) {
        let error = found.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(said(&error).contains("aws sso login"));
    }
    assert_eq!(trap.count("GetSecretValue"), 0);
}

#[test]
fn a_listing_tells_in_one_request_what_is_not_there() {
    let moto = Moto::start();
    let address = moto.address;
    let trap = Trap::new(move |_, _| Reply::Forward(address));
    let direct = open_at("/", address, "");
    let backend = open_at("/", trap.address, "");
    let wanted: Vec<String> = (0..60).map(|n| format!("team/s{n}")).collect();
    wait(async {
        for there in ["team/s7", "team/s8", "team/of-others", "elsewhere"] {
            direct.write(there, &text(there)).await.unwrap();
        }
        let listed = backend.listed(&wanted).await.unwrap().unwrap();
        assert_eq!(
            listed.into_iter().collect::<Vec<_>>(),
            ["team/s7", "team/s8"]
        );
        assert_eq!(trap.count("ListSecrets"), 1);
        // No page is cheaper than one batch, and without a common beginning all is listed.
        assert!(backend.listed(&wanted[..10]).await.unwrap().is_none());
        let apart: Vec<String> = (0..60).map(|n| format!("{n}/s")).collect();
        assert!(backend.listed(&apart).await.unwrap().is_none());
        assert_eq!(trap.seen().len(), 1);
        // What can be no name is left for the reading to refuse.
        let wrong = [wanted.as_slice(), &["team/ä".to_owned()]].concat();
        assert!(
            backend
                .listed(&wrong)
                .await
                .unwrap()
                .unwrap()
                .contains("team/ä")
        );
    });
}
