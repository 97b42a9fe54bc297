//! Keys of tokens, which OpenSSL has to understand.

use std::fs;
use std::process::Command;

use strongroom_core::rotator::RotatorSpec;
use strongroom_core::rotator::SigningKey;
use strongroom_engine::object::Object;

use crate::support::World;
use crate::support::build;

fn spec(algorithm: &str) -> RotatorSpec {
    RotatorSpec::SigningKey(SigningKey {
        algorithm: algorithm.into(),
        token_ttl: None,
    })
}

fn text(object: &Object, name: &str) -> String {
    let text = object.text(name).unwrap();
    text.expose_secret_text().unwrap().to_owned()
}

/// Signs a message with the private key of a secret, as OpenSSL does.
fn signed_by_openssl(private_key: &str, is_raw: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("key.pem"), private_key).unwrap();
    fs::write(place("message"), "message").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-sign", "-rawin", "-inkey"]);
    openssl
        .arg(place("key.pem"))
        .arg("-in")
        .arg(place("message"));
    if !is_raw {
        openssl.args(["-digest", "sha256"]);
    }
    let output = openssl.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

#[tokio::test]
async fn others_can_sign_with_the_key_and_its_public_half_checks_it() {
    for (algorithm, is_raw) in [("RS256", false), ("EdDSA", true)] {
        let world = World::with("{\"issuer\":\"https://example.org\"}").await;
        let rotator = build(&spec(algorithm), None);
        world.rotate(&*rotator).await;
        let first = world.current().await;
        let object = Object::read(&first.value).unwrap();
        assert_eq!(text(&object, "alg"), algorithm);
        assert_eq!(text(&object, "issuer"), "https://example.org");
        let public = strongroom_rotators::public_key(&first).unwrap();
        assert_eq!(text(&object, "kid"), public.id());
        let signature = signed_by_openssl(&text(&object, "private_key"), is_raw);
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        world.rotate(&*rotator).await;
        let second = strongroom_rotators::public_key(&world.current().await).unwrap();
        assert_ne!(second.id(), public.id());
        assert!(!second.verifies(b"message", &signature));
    }
}

#[tokio::test]
async fn a_key_that_both_sides_hold_has_no_public_half() {
    let world = World::with("anything").await;
    let rotator = build(&spec("HS256"), None);
    world.rotate(&*rotator).await;
    let current = world.current().await;
    let object = Object::read(&current.value).unwrap();
    assert_eq!(text(&object, "secret").len(), 86);
    assert_eq!(text(&object, "kid").len(), 22);
    assert!(strongroom_rotators::public_key(&current).is_none());
    // Another algorithm leaves no key of the one before.
    world.rotate(&*build(&spec("EdDSA"), None)).await;
    let current = world.current().await;
    let object = Object::read(&current.value).unwrap();
    assert!(object.text("secret").is_none() && object.text("private_key").is_some());
    assert!(strongroom_rotators::check(&spec("none")).is_err());
    assert!(strongroom_rotators::check(&spec("ES256")).is_err());
}
