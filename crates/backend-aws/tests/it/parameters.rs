//! Parameter Store against moto.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_testkit::backend_contract;

use crate::support::Moto;
use crate::support::Reply;
use crate::support::Trap;
use crate::support::current;
use crate::support::lookup;
use crate::support::open_parameters;
use crate::support::shown;
use crate::support::wait;

fn put(moto: &Moto, name: &str, value: &str, kind: &str) {
    let body = format!(
        r#"{{"Name":"{name}","Value":"{value}","Type":"{kind}","Overwrite":true,
            "Description":"about"}}"#
    );
    let answer = moto.call("AmazonSSM.PutParameter", &body);
    assert!(answer.contains("Version"), "{answer}");
}

#[test]
fn parameters_are_read_in_tens_and_listed_below_a_folder() {
    let moto = Moto::start();
    let address = moto.address;
    for number in 0..23 {
        let kind = if number % 2 == 0 {
            "SecureString"
        } else {
            "String"
        };
        put(
            &moto,
            &format!("/shop/prod/p{number:02}"),
            &format!("v{number}"),
            kind,
        );
    }
    put(&moto, "/shopping/p", "other", "String");
    put(&moto, "TOP", "level", "String");
    let trap = Trap::new(move |_, _| Reply::Forward(address));
    let backend = open_parameters("/shop/prod", trap.address, "");
    let mut lookups: Vec<_> = (0..23).map(|n| lookup(&format!("p{n:02}"))).collect();
    lookups.push(lookup("absent"));
    wait(async {
        let found = backend.get_many(&lookups).await;
        for (number, found) in found.into_iter().enumerate() {
            let found = found.unwrap().map(|found| shown(&found.value));
            assert_eq!(found, (number < 23).then(|| format!("v{number}")));
        }
        assert_eq!(trap.count("GetParameters"), 3);
        let names = backend.list().await.unwrap();
        assert_eq!(names.len(), 23);
        assert_eq!(names[0], "p00");
        let page = backend.page("/shop/prod/p1", None, 10).await.unwrap();
        assert!(
            page.addresses
                .iter()
                .all(|a| a.starts_with("/shop/prod/p1"))
        );
        assert_eq!(current(&backend, "TOP").await.as_deref(), Some("level"));
        assert_eq!(
            current(&backend, "shop/prod/p01").await.as_deref(),
            Some("v1")
        );
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/shop/prod/p01";
        assert_eq!(current(&backend, arn).await.as_deref(), Some("v1"));
    });
}

#[test]
fn versions_and_fields_of_parameters() {
    let moto = Moto::start();
    put(&moto, "/app/key", "first", "SecureString");
    put(&moto, "/app/key", "second", "SecureString");
    put(&moto, "/app/json", r#"{\"user\":\"me\"}"#, "String");
    let backend = open_parameters("/app", moto.address, "");
    wait(async {
        let version = |id: &str| VersionRef::Id(id.to_owned());
        let first = backend.read("/app/key", &version("1")).await.unwrap();
        assert_eq!(shown(&first.unwrap().payload.value), "first");
        assert!(
            backend
                .read("/app/key", &version("9"))
                .await
                .unwrap()
                .is_none()
        );
        let details = backend.details("/app/key").await.unwrap().unwrap();
        let ids: Vec<&str> = details.versions.iter().map(|v| v.id.as_str()).collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(details.description.as_deref(), Some("about"));
        let value = SecretValue::copy_from(b"x");
        let error = backend.set(&lookup("key"), &value).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
    });
    let backend = open_parameters("/app", moto.address, "&field=user");
    let found = wait(backend.get_many(&[lookup("json")])).remove(0).unwrap();
    assert_eq!(shown(&found.unwrap().value), "me");
}

#[test]
fn what_it_does_not_claim_is_unsupported() {
    let moto = Moto::start();
    let backend = open_parameters("/", moto.address, "");
    let at = |case: &str, leaf: &str| format!("contract/{case}/{leaf}");
    wait(async {
        backend_contract::what_is_not_there_is_not_found(&backend, &at).await;
        backend_contract::awkward_values_come_back_exactly(&backend, &at).await;
        backend_contract::no_error_shows_a_value(&backend, &at).await;
        backend_contract::it_is_healthy(&backend, &at).await;
    });
}
