//! Certificates, which OpenSSL has to take, by authorities that others have made.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SignatureAlgorithm;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::rotator::Certificate;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::object::Object;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

/// The time of tests, in seconds since 1970: in December 2023.
const NOW: i64 = 1_702_000_000;

fn spec() -> Certificate {
    Certificate {
        common_name: "db.internal".into(),
        dns_names: vec!["db.internal".into(), "*.db.internal".into()],
        ips: vec!["10.0.0.5".into(), "fd00::5".into()],
        validity: None,
        key: None,
        issuer: None,
    }
}

fn field(payload: &Payload, name: &str) -> String {
    let object = Object::read(&payload.value).unwrap();
    let text = object.text(name).unwrap();
    text.expose_secret_text().unwrap().to_owned()
}

/// What OpenSSL says, which has to succeed.
fn openssl(folder: &Path, line: &str) -> String {
    let mut openssl = Command::new("openssl");
    let output = openssl
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Has OpenSSL check a pair, as a client that trusts an authority.
fn check_by_openssl(certificate: &str, key: &str, trusted: &str, between: &str) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, text) in [
        ("leaf", certificate),
        ("key", key),
        ("trusted", trusted),
        ("between", between),
    ] {
        fs::write(at.join(name), text).unwrap();
    }
    let verify = format!("verify -x509_strict -purpose sslserver -attime {NOW} -CAfile trusted");
    for asked in [
        "-verify_hostname db.internal",
        "-verify_hostname a.db.internal",
        "-verify_ip 10.0.0.5",
        "-verify_ip fd00::5",
    ] {
        let between = match between {
            "" => "",
            _ => " -untrusted between",
        };
        openssl(at, &format!("{verify} {asked}{between} leaf"));
    }
    let of_key = openssl(at, "pkey -in key -pubout");
    assert_eq!(of_key, openssl(at, "x509 -in leaf -noout -pubkey"));
    let shown = openssl(at, "x509 -in leaf -noout -text -nameopt RFC2253");
    assert!(shown.contains("Subject: CN=db.internal\n"), "{shown}");
    assert!(shown.contains("CA:FALSE"), "{shown}");
    assert!(shown.contains("TLS Web Server Authentication"), "{shown}");
}

#[tokio::test]
async fn a_pair_that_signs_itself_is_taken_by_openssl_and_made_anew_each_time() {
    for key in ["P-256", "RSA", "Ed25519"] {
        let world = World::with("{\"note\":\"of the database\"}").await;
        let of = RotatorSpec::Certificate(Certificate {
            key: Some(key.into()),
            ..spec()
        });
        let rotator = build(&of, None);
        world.rotate(&*rotator).await;
        let first = world.current().await;
        assert_eq!(field(&first, "note"), "of the database");
        let certificate = field(&first, "certificate");
        check_by_openssl(
            &certificate,
            &field(&first, "private_key"),
            &certificate,
            "",
        );
        assert!(
            Object::read(&first.value)
                .unwrap()
                .text("ca_chain")
                .is_none()
        );
        world.rotate(&*rotator).await;
        let second = world.current().await;
        assert_ne!(field(&second, "certificate"), certificate);
        assert_ne!(field(&second, "private_key"), field(&first, "private_key"));
        // Who has the old one reads it on.
        let stages: Vec<Vec<String>> = world.stages().await;
        let of_first = &stages[stages.len() - 2];
        assert_eq!(of_first, &["AWSPREVIOUS".to_owned()]);
    }
}

/// An authority of somebody else's.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

fn authority(
    way: &'static SignatureAlgorithm,
    name: &str,
    until: i32,
    by: Option<&Authority>,
) -> Authority {
    let key = KeyPair::generate_for(way).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Ämter & Söhne, Ltd");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = by.is_some();
    params.not_before = rcgen::date_time_ymd(2023, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = match by {
        Some(by) => params.signed_by(&key, &by.issuer),
        None => params.self_signed(&key),
    };
    let certificate = certificate.unwrap().pem();
    Authority {
        issuer: Issuer::new(params, key),
        certificate,
    }
}

impl Authority {
    /// As a secret keeps it.
    fn secret(&self, above: &str) -> String {
        serde_json::json!({
            "certificate": self.certificate,
            "private_key": self.issuer.key().serialize_pem(),
            "ca_chain": above,
        })
        .to_string()
    }
}

fn of_issuer() -> RotatorSpec {
    RotatorSpec::Certificate(Certificate {
        issuer: Some("pki/ca".into()),
        ..spec()
    })
}

#[tokio::test]
async fn an_authority_of_any_kind_signs() {
    for way in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let root = authority(way, "root", 2040, None);
        let world = World::with("{}").await;
        let rotator = build(&of_issuer(), Some(&root.secret("")));
        world.rotate(&*rotator).await;
        let made = world.current().await;
        assert_eq!(
            field(&made, "ca_chain").trim(),
            root.certificate.replace('\r', "").trim()
        );
        let key = field(&made, "private_key");
        check_by_openssl(&field(&made, "certificate"), &key, &root.certificate, "");
        let expires = strongroom_rotators::expires(&made).unwrap();
        let days = expires.seconds_since(Timestamp::from_micros(1_700_000_000_000_000)) / 86_400;
        assert!((90..100).contains(&days), "{days}");
    }
}

#[tokio::test]
async fn a_chain_leads_to_the_root_and_a_text_stays_a_text() {
    let root = authority(&rcgen::PKCS_ECDSA_P256_SHA256, "root", 2040, None);
    let below = authority(&rcgen::PKCS_RSA_SHA256, "below", 2040, Some(&root));
    let secret = below.secret(&root.certificate);
    let rotator = build(&of_issuer(), Some(&secret));
    let world = World::with("{}").await;
    world.rotate(&*rotator).await;
    let first = world.current().await;
    let (leaf, key) = (field(&first, "certificate"), field(&first, "private_key"));
    check_by_openssl(&leaf, &key, &root.certificate, &field(&first, "ca_chain"));
    // As servers read it: the certificate, its chain, its key.
    let world = World::with(&format!("{leaf}{key}")).await;
    world.rotate(&*rotator).await;
    let second = shown(&world.current().await);
    let blocks: Vec<&str> = second
        .lines()
        .filter(|line| line.starts_with("-----BEGIN"))
        .collect();
    let certificate = "-----BEGIN CERTIFICATE-----";
    let expected = [certificate; 3]
        .into_iter()
        .chain(["-----BEGIN PRIVATE KEY-----"]);
    assert_eq!(blocks, expected.collect::<Vec<&str>>());
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, chain) = second.split_once(end).unwrap();
    let leaf = format!("{leaf}{end}");
    check_by_openssl(&leaf, &second, &root.certificate, chain);
    assert_ne!(shown(&first), second);
}

#[tokio::test]
async fn an_issuer_that_is_no_authority_signs_nothing() {
    let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (root, other) = (
        authority(p256, "root", 2040, None),
        authority(p256, "b", 2040, None),
    );
    let soon = authority(p256, "soon", 2024, None);
    let leaf = {
        let world = World::with("{}").await;
        world
            .rotate(&*build(&of_issuer(), Some(&root.secret(""))))
            .await;
        shown(&world.current().await)
    };
    let stranger = Authority {
        certificate: other.certificate.clone(),
        ..root
    };
    for (secret, code) in [
        (leaf, "rotator.no_issuer"),
        (stranger.secret(""), "rotator.no_issuer"),
        (soon.secret(""), "rotator.issuer_expires"),
    ] {
        let world = World::with("{}").await;
        let failure = world.fail(&*build(&of_issuer(), Some(&secret))).await;
        assert_eq!(failure.code, code, "{}", failure.message);
        assert_eq!(shown(&world.current().await), "{}");
        assert!(!failure.message.contains("BEGIN"));
    }
    let needs = |admin: Option<&str>| strongroom_rotators::Needs {
        rng: std::sync::Arc::new(strongroom_crypto::SystemRng),
        admin: admin.map(text),
        backends: strongroom_core::port::Variables::default(),
    };
    for (admin, code) in [
        (None, "rotator.no_admin"),
        (Some("canary"), "rotator.no_issuer"),
        (
            Some("{\"certificate\":\"canary\",\"private_key\":\"canary\"}"),
            "rotator.no_issuer",
        ),
    ] {
        let built = strongroom_rotators::build(&of_issuer(), needs(admin));
        let error = built.err().unwrap();
        assert_eq!(error.code, code);
        assert!(!error.message.contains("canary"));
    }
}

/// Has a rotator try a value.
async fn try_out(of: &RotatorSpec, admin: Option<&str>, pending: &Payload, now: i64) -> String {
    let call = StepCall {
        step: Step::Test,
        secret: "tls",
        token: "token",
        current: None,
        pending: Some(pending),
        now: Timestamp::from_micros(now * 1_000_000),
    };
    let tried = build(of, admin).step(&call).await;
    match tried {
        Ok(_) => "taken".into(),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

#[tokio::test]
async fn the_trial_is_a_handshake_and_a_pair_that_nobody_trusts_fails_it() {
    let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (root, other) = (
        authority(p256, "root", 2040, None),
        authority(p256, "root", 2040, None),
    );
    let world = World::with("{}").await;
    world
        .rotate(&*build(&of_issuer(), Some(&root.secret(""))))
        .await;
    let made = world.current().await;
    let good = try_out(&of_issuer(), Some(&root.secret("")), &made, NOW).await;
    assert_eq!(good, "taken");
    let elsewhere = RotatorSpec::Certificate(Certificate {
        dns_names: vec!["other.internal".into()],
        issuer: Some("pki/ca".into()),
        ..spec()
    });
    let day = Span::from_seconds(86_400).as_seconds();
    let key_of_another = {
        let mut object = Object::read(&made.value).unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        object.set("private_key", &text(&key).value);
        object.payload()
    };
    for (of, authority, pending, now, why) in [
        (&of_issuer(), &other, &made, NOW, "BadSignature"),
        (&elsewhere, &root, &made, NOW, "not valid for name"),
        (&of_issuer(), &root, &made, NOW + 200 * day, "expired"),
        (&of_issuer(), &root, &made, NOW - 100 * day, "not valid yet"),
        (&of_issuer(), &root, &key_of_another, NOW, "KeyMismatch"),
    ] {
        let said = try_out(of, Some(&authority.secret("")), pending, now).await;
        assert!(said.starts_with("rotation.no_handshake: "), "{why}: {said}");
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn declarations_that_name_nobody_are_refused() {
    let refused =
        |of: Certificate| strongroom_rotators::check(&RotatorSpec::Certificate(of)).unwrap_err();
    let bare = Certificate {
        dns_names: Vec::new(),
        ips: Vec::new(),
        ..spec()
    };
    let good = RotatorSpec::Certificate(bare.clone());
    assert_eq!(strongroom_rotators::check(&good), Ok(()));
    for (of, word) in [
        (
            Certificate {
                common_name: "two words".into(),
                ..bare.clone()
            },
            "common_name",
        ),
        (
            Certificate {
                common_name: String::new(),
                ..spec()
            },
            "common_name",
        ),
        (
            Certificate {
                common_name: "a\nb".into(),
                ..spec()
            },
            "common_name",
        ),
        (
            Certificate {
                common_name: "x".repeat(65),
                ..spec()
            },
            "common_name",
        ),
        (
            Certificate {
                dns_names: vec!["a b".into()],
                ..spec()
            },
            "dns_names",
        ),
        (
            Certificate {
                dns_names: vec!["*.*.a".into()],
                ..spec()
            },
            "dns_names",
        ),
        (
            Certificate {
                dns_names: vec!["10.0.0.5".into()],
                ..spec()
            },
            "dns_names",
        ),
        (
            Certificate {
                ips: vec!["10.0.0".into()],
                ..spec()
            },
            "ips",
        ),
        (
            Certificate {
                validity: Some("59m".into()),
                ..spec()
            },
            "validity",
        ),
        (
            Certificate {
                validity: Some("4000d".into()),
                ..spec()
            },
            "validity",
        ),
        (
            Certificate {
                validity: Some("soon".into()),
                ..spec()
            },
            "validity",
        ),
        (
            Certificate {
                key: Some("P-521".into()),
                ..spec()
            },
            "key",
        ),
    ] {
        let said = refused(of);
        assert!(said.contains(word), "{said}");
    }
}
