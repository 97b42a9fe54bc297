//! What Secrets Manager can do beyond the contract, against moto.

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;

use crate::support::Moto;
use crate::support::Reply;
use crate::support::Trap;
use crate::support::current;
use crate::support::lookup;
use crate::support::open_at;
use crate::support::said;
use crate::support::shown;
use crate::support::text;
use crate::support::wait;

#[test]
fn a_declared_secret_has_the_name_that_other_clients_use() {
    let moto = Moto::start();
    let plain = open_at("/", moto.address, "");
    let body = r#"{"Name":"jwt/secret_key","SecretString":"from the aws command",
        "ClientRequestToken":"00000000-0000-0000-0000-000000000001"}"#;
    moto.call("secretsmanager.CreateSecret", body);
    wait(async {
        let found = plain.get_many(&[lookup("jwt/secret_key")]).await;
        let found = found.into_iter().next().unwrap().unwrap().unwrap();
        assert_eq!(shown(&found.value), "from the aws command");
        let value = SecretValue::copy_from(b"from here");
        plain.set(&lookup("jwt/secret_key"), &value).await.unwrap();
        plain.set(&lookup("new/key"), &value).await.unwrap();
    });
    let read = moto.call(
        "secretsmanager.GetSecretValue",
        r#"{"SecretId":"jwt/secret_key"}"#,
    );
    assert!(read.contains("\"from here\""), "{read}");
    let read = moto.call("secretsmanager.GetSecretValue", r#"{"SecretId":"new/key"}"#);
    assert!(read.contains("\"from here\""), "{read}");
    for (place, more, expected) in [
        ("/store/front", "", "store/front/jwt/key"),
        ("", "", "shop/production/jwt/key"),
        ("", "&name={profile}-{name}", "production-JWT_KEY"),
    ] {
        let backend = open_at(place, moto.address, more);
        assert_eq!(backend.address(&lookup("jwt/key")), expected);
    }
}

#[test]
fn a_field_of_a_json_secret_is_a_value_of_its_own() {
    let moto = Moto::start();
    let whole = open_at("/", moto.address, "");
    let json = r#"{"username":"app","port":5432,"none":null}"#;
    wait(async {
        whole.write("db", &text(json)).await.unwrap();
        whole.write("plain", &text("no object")).await.unwrap();
        let item = whole
            .read("db", &VersionRef::Current)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(item.payload.shape, Shape::Fields);
        assert_eq!(shown(&item.payload.value), json);
    });
    for (field, expected) in [
        ("field=username", Some("app")),
        ("json_key=port", Some("5432")),
        ("field=none", None),
        ("field=other", None),
    ] {
        let backend = open_at("/", moto.address, &format!("&{field}"));
        let found = wait(backend.get_many(&[lookup("db")])).remove(0).unwrap();
        assert_eq!(found.map(|found| shown(&found.value)).as_deref(), expected);
    }
    let backend = open_at("/", moto.address, "&field=username");
    let error = wait(backend.get_many(&[lookup("plain")]))
        .remove(0)
        .unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Malformed);
    let value = SecretValue::copy_from(b"x");
    let error = wait(backend.set(&lookup("db"), &value)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
}

#[test]
fn a_write_carries_description_tags_stages_and_token() {
    let moto = Moto::start();
    let backend = open_at("/app", moto.address, "");
    let annotation = Annotation {
        description: Some("signs sessions".into()),
        tags: [("team".to_owned(), Some("pay".to_owned()))].into(),
        ..Annotation::default()
    };
    let value = NewValue {
        token: Some("0123456789abcdef0123456789abcdef".into()),
        stages: vec!["BLUE".into()],
        annotation: annotation.clone(),
        ..text("first")
    };
    wait(async {
        let stored = backend.write("app/key", &value).await.unwrap();
        assert_eq!(stored.version, value.token);
        let again = backend.write("app/key", &value).await.unwrap();
        assert_eq!(
            again.version, stored.version,
            "a repeated write is one write"
        );
        let blue = VersionRef::Stage("BLUE".into());
        let item = backend.read("app/key", &blue).await.unwrap().unwrap();
        assert_eq!(shown(&item.payload.value), "first");
        let next = NewValue {
            stages: vec!["BLUE".into()],
            annotation: Annotation {
                description: Some("signs more".into()),
                tags: [("team".to_owned(), None)].into(),
                ..Annotation::default()
            },
            ..text("second")
        };
        backend.write("app/key", &next).await.unwrap();
        let item = backend.read("app/key", &blue).await.unwrap().unwrap();
        assert_eq!(shown(&item.payload.value), "second");
        let details = backend.details("app/key").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("signs more"));
        assert!(details.tags.is_empty());
        assert_eq!(details.versions.len(), 2);
        assert!(details.created.is_some() && details.removed.is_none());

        backend.write("app/other", &text("x")).await.unwrap();
        backend.write("apple", &text("x")).await.unwrap();
        assert_eq!(backend.list().await.unwrap(), ["key", "other"]);
        let page = backend.page("", None, 100).await.unwrap();
        assert_eq!(page.addresses.len(), 2);
        let page = backend.page("apple", None, 100).await.unwrap();
        assert_eq!(page.addresses, [""; 0]);
        // By ARN, whole and without its random end.
        let arn = moto.call("secretsmanager.DescribeSecret", r#"{"SecretId":"app/key"}"#);
        let arn = arn.split("\"ARN\": \"").nth(1).unwrap();
        let arn = arn.split('"').next().unwrap();
        assert_eq!(current(&backend, arn).await.as_deref(), Some("second"));
        let error = backend.write(arn, &text("x")).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid);
    });
}

#[test]
fn what_aws_would_refuse_is_refused_before_it_is_sent() {
    let trap = Trap::new(|_, _| Reply::Silence);
    let backend = open_at("/", trap.address, "");
    let tags = |count: usize| (0..count).map(|n| (format!("t{n}"), Some("x".to_owned())));
    let refused = |address: &str, value: &NewValue| {
        let error = wait(backend.write(address, value)).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid, "{address}");
        said(&error)
    };
    assert!(refused("empty", &text("")).contains("no empty value"));
    assert!(refused("bad name!", &text("x")).contains("needs another name"));
    assert!(refused("", &text("x")).contains("1 to 512"));
    let mut value = text("x");
    value.annotation.tags = tags(51).collect();
    assert!(refused("tags", &value).contains("50 tags"));
    value.annotation.tags = [("aws:x".to_owned(), None)].into();
    assert!(refused("tags", &value).contains("begin with `aws:`"));
    value.annotation.tags.clear();
    value.token = Some("short".into());
    assert!(refused("token", &value).contains("32 to 64"));
    assert!(refused("long", &text(&"x".repeat(65_537))).contains("65536 bytes"));
    assert_eq!(trap.seen().len(), 0);
}

#[test]
fn a_secret_scheduled_for_deletion_is_absent_and_can_be_restored() {
    let moto = Moto::start();
    let backend = open_at("/", moto.address, "&recovery_days=7");
    wait(async {
        backend.write("gone", &text("value")).await.unwrap();
        backend.write("here", &text("value")).await.unwrap();
        assert!(backend.remove("gone", Removal::Recoverable).await.unwrap());
        assert!(!backend.remove("gone", Removal::Recoverable).await.unwrap());
        assert_eq!(current(&backend, "gone").await, None);
        let both = backend.read_many(&["gone".into(), "here".into()]).await;
        let both: Vec<bool> = both.into_iter().map(|f| f.unwrap().is_some()).collect();
        assert_eq!(both, [false, true]);
        let details = backend.details("gone").await.unwrap().unwrap();
        assert!(details.removed.is_some());
        assert!(backend.restore("gone").await.unwrap());
        assert!(!backend.restore("gone").await.unwrap());
        assert!(!backend.restore("never").await.unwrap());
        assert!(backend.remove("gone", Removal::Recoverable).await.unwrap());
        assert!(backend.remove("gone", Removal::Final).await.unwrap());
        assert!(!backend.remove("gone", Removal::Final).await.unwrap());
        assert!(backend.details("gone").await.unwrap().is_none());
    });
}

/// moto lets such a secret be written; this is what AWS answers.
#[test]
fn a_name_that_is_scheduled_for_deletion_is_taken() {
    let trap = Trap::new(|_, request| {
        let message = match request.operation.as_str() {
            "CreateSecret" => {
                "You can't create this secret because a secret with this name is already \
                 scheduled for deletion."
            }
            _ => {
                "You can't perform this operation on the secret because it was marked for \
                 deletion."
            }
        };
        let body = format!(r#"{{"__type":"InvalidRequestException","Message":"{message}"}}"#);
        Reply::Json(400, body)
    });
    let backend = open_at("/", trap.address, "");
    wait(async {
        assert_eq!(current(&backend, "gone").await, None);
        let mut errors = Vec::new();
        for expected in [Expected::Any, Expected::Absent] {
            let value = NewValue {
                expected,
                ..text("again")
            };
            errors.push(backend.write("gone", &value).await.unwrap_err());
        }
        let value = SecretValue::copy_from(b"again");
        errors.push(backend.set(&lookup("gone"), &value).await.unwrap_err());
        for error in errors {
            assert_eq!(error.kind, BackendErrorKind::Conflict);
            assert!(said(&error).contains("restore-secret --region us-east-1 --secret-id gone"));
        }
    });
}

#[test]
fn a_write_of_another_between_look_and_exchange_is_not_lost() {
    let moto = Moto::start();
    let address = moto.address;
    let trap = Trap::new(move |_, request| {
        let moves = request.operation == "UpdateSecretVersionStage";
        if moves && request.body.contains("AWSCURRENT") {
            let body = r#"{"SecretId":"raced","SecretString":"theirs",
                "ClientRequestToken":"00000000-0000-0000-0000-000000000002"}"#;
            crate::support::call(address, "secretsmanager.PutSecretValue", body);
        }
        Reply::Forward(address)
    });
    let backend = open_at("/", trap.address, "");
    wait(async {
        let first = backend.write("raced", &text("first")).await.unwrap();
        let value = NewValue {
            expected: Expected::Version(first.version.unwrap()),
            ..text("ours")
        };
        let error = backend.write("raced", &value).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Conflict);
        assert_eq!(current(&backend, "raced").await.as_deref(), Some("theirs"));
        let details = backend.details("raced").await.unwrap().unwrap();
        let stages: Vec<&String> = details.versions.iter().flat_map(|v| &v.stages).collect();
        assert!(
            stages.iter().all(|stage| *stage != "STRONGROOM_NEXT"),
            "{stages:?}"
        );
    });
}

#[test]
fn rotation_is_asked_for_only_where_there_is_a_function() {
    let moto = Moto::start();
    let address = moto.address;
    let trap = Trap::new(move |_, request| match request.operation.as_str() {
        "DescribeSecret" if request.body.contains("rotated") => Reply::Json(
            200,
            r#"{"Name":"rotated","RotationEnabled":true,"RotationLambdaARN":"arn:x"}"#.into(),
        ),
        "RotateSecret" => Reply::Json(200, r#"{"Name":"rotated","VersionId":"v2"}"#.into()),
        _ => Reply::Forward(address),
    });
    let backend = open_at("/", trap.address, "");
    wait(async {
        backend.write("plain", &text("value")).await.unwrap();
        let error = backend.rotate("plain").await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Misconfigured);
        assert!(said(&error).contains("--rotation-lambda-arn"));
        assert_eq!(current(&backend, "plain").await.as_deref(), Some("value"));
        assert_eq!(trap.count("RotateSecret"), 0);
        let version = backend.rotate("rotated").await.unwrap();
        assert_eq!(version.as_deref(), Some("v2"));
    });
}
