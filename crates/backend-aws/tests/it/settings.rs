//! Without settings, with wrong ones: the message says what is missing and how to mend it.

use std::process::Command;

use strongroom_backend_aws::AwsBackend;
use strongroom_backend_aws::credentials_resolve;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::uri::BackendUri;

use crate::support::Reply;
use crate::support::Trap;
use crate::support::said;
use crate::support::variables;
use crate::support::wait;

const INNER: &str = "STRONGROOM_TEST_INNER";

/// The SDK reads the environment and the home folder: runs a test of this file in a process that
/// has neither.
fn alone(test: &str, config: Option<&str>) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let home = tempfile::tempdir().unwrap();
    if let Some(config) = config {
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("settings::{test}")])
        .env_clear()
        .env(INNER, "1")
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .status()
        .unwrap();
    assert!(status.success());
    false
}

fn uri(text: &str) -> BackendUri {
    BackendUri::parse(text).unwrap()
}

#[test]
fn without_a_region_the_fix_is_named() {
    if !alone("without_a_region_the_fix_is_named", None) {
        return;
    }
    let opened = wait(AwsBackend::open(&uri("aws:"), &variables()));
    let error = opened.err().unwrap();
    assert_eq!(error.kind, BackendErrorKind::Misconfigured);
    let text = said(&error);
    assert!(text.contains("set AWS_REGION"), "{text}");
    let set = Variables::new([("AWS_DEFAULT_REGION", "eu-west-1")]);
    assert!(wait(AwsBackend::open(&uri("aws:"), &set)).is_ok());
}

#[test]
fn without_credentials_nobody_is_asked() {
    if !alone("without_credentials_nobody_is_asked", None) {
        return;
    }
    let trap = Trap::new(|_, _| Reply::Silence);
    let text = format!("aws:us-east-1/?endpoint=http://{}", trap.address);
    let backend = wait(AwsBackend::open(&uri(&text), &Variables::default())).unwrap();
    let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    let text = said(&error);
    assert!(text.contains("no AWS credentials were found"), "{text}");
    assert!(text.contains("aws configure"), "{text}");
    assert_eq!(trap.seen().len(), 0);
    let error = wait(credentials_resolve(
        Some("us-east-1"),
        None,
        &Variables::default(),
    ));
    assert_eq!(error.unwrap_err().kind, BackendErrorKind::Denied);
}

const CONFIG: &str = "[profile ops]\nregion = eu-north-1\n\
                      aws_access_key_id = AKIAOPSOPSOPSOPSOPSO\n\
                      aws_secret_access_key = canary-of-profile\n";

#[test]
fn a_profile_brings_region_and_credentials() {
    if !alone("a_profile_brings_region_and_credentials", Some(CONFIG)) {
        return;
    }
    let trap = Trap::new(|_, _| Reply::Json(200, r#"{"SecretList":[]}"#.into()));
    let text = format!("aws:/?profile=ops&endpoint=http://{}", trap.address);
    // An explicit profile comes before keys in variables.
    let backend = wait(AwsBackend::open(&uri(&text), &variables())).unwrap();
    let health = wait(backend.health()).unwrap();
    assert_eq!(
        health,
        "AWS Secrets Manager in eu-north-1, with a profile (key …OPSO)"
    );
    assert!(trap.seen()[0].head.contains("/eu-north-1/secretsmanager/"));
    let resolved = wait(credentials_resolve(
        None,
        Some("ops"),
        &Variables::default(),
    ));
    assert_eq!(resolved.unwrap(), "a profile (key …OPSO)");
    let resolved = wait(credentials_resolve(Some("us-east-1"), None, &variables()));
    assert_eq!(resolved.unwrap(), "environment variables (key …MPLE)");
    let missing = wait(credentials_resolve(None, Some("nobody"), &variables()));
    let error = missing.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert!(
        said(&error).contains("of profile `nobody`"),
        "{}",
        said(&error)
    );
}

#[test]
fn endpoints_of_variables_are_used_and_checked() {
    let trap = Trap::new(|_, _| Reply::Json(200, r#"{"SecretList":[]}"#.into()));
    let endpoint = format!("http://{}", trap.address);
    let with = |name: &'static str, value: &str| {
        let pairs = [
            (name, value),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("AWS_REGION", "us-west-2"),
        ];
        wait(AwsBackend::open(&uri("aws:"), &Variables::new(pairs)))
    };
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"] {
        let backend = with(name, &endpoint).unwrap();
        assert!(wait(backend.health()).unwrap().contains("us-west-2"));
    }
    let text = "aws:us-east-1/?endpoint=https://me:canary@example.com";
    let error = wait(AwsBackend::open(&uri(text), &variables()));
    let error = error.err().unwrap();
    assert_eq!(error.kind, BackendErrorKind::Misconfigured);
    assert!(said(&error).contains("user name or password"));
    for wrong in ["http://example.com", "https://me:canary@example.com"] {
        let error = with("AWS_ENDPOINT_URL", wrong).err().unwrap();
        assert_eq!(error.kind, BackendErrorKind::Misconfigured);
        said(&error);
    }
}
