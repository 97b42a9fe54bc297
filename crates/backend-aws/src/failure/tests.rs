use std::time::Duration;

use super::*;

fn site() -> Site {
    Site {
        backend: "aws:eu-central-1/shop".into(),
        host: "secretsmanager.eu-central-1.amazonaws.com:443".into(),
        region: "eu-central-1".into(),
        profile: Some("ops".into()),
        timeout: Duration::from_secs(30),
        gate: std::sync::Arc::default(),
    }
}

const CALL: Call<'_> = Call {
    action: "secretsmanager:GetSecretValue",
    address: "shop/key",
};

fn answered(code: &str, message: &str, status: u16) -> (BackendErrorKind, String) {
    let error = site().answered(CALL, code, message, status).error;
    let hint = error.hint.clone().unwrap_or_default();
    (error.kind, format!("{error}; {hint}"))
}

#[test]
fn a_denial_names_action_and_resource() {
    let message = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: \
                   secretsmanager:BatchGetSecretValue on resource: \
                   arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf \
                   because no identity-based policy allows it";
    let (kind, text) = answered("AccessDeniedException", message, 400);
    assert_eq!(kind, BackendErrorKind::Denied);
    assert!(
        text.contains("secretsmanager:BatchGetSecretValue on `arn:aws:"),
        "{text}"
    );
    assert!(
        text.contains("add `secretsmanager:BatchGetSecretValue`"),
        "{text}"
    );
    let (_, text) = answered("AccessDeniedException", "no", 400);
    assert!(
        text.contains("GetSecretValue on `shop/key` is not allowed"),
        "{text}"
    );
}

#[test]
fn no_message_of_the_service_is_quoted() {
    let message = "1 validation error detected: Value 'canary-77' at 'secretString' failed on \
                   resource: canary-77'x to perform: canary-77'";
    for code in [
        "ValidationException",
        "AccessDeniedException",
        "InvalidRequestException",
        "DecryptionFailure",
        "canary-77 code",
        "",
    ] {
        for status in [400, 403, 429, 500] {
            let (_, text) = answered(code, message, status);
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

#[test]
fn codes_have_kinds_and_hints() {
    use BackendErrorKind as Kind;
    for (code, status, kind, part) in [
        (
            "ExpiredTokenException",
            400,
            Kind::Denied,
            "aws sso login --profile ops",
        ),
        (
            "InvalidClientTokenId",
            403,
            Kind::Denied,
            "aws sts get-caller-identity",
        ),
        (
            "UnrecognizedClientException",
            400,
            Kind::Denied,
            "does not know these",
        ),
        ("InvalidSignatureException", 400, Kind::Denied, "clock"),
        ("DecryptionFailure", 400, Kind::Denied, "kms:Decrypt"),
        ("ThrottlingException", 400, Kind::Throttled, "fewer"),
        ("", 429, Kind::Throttled, "fewer"),
        (
            "InternalServiceError",
            500,
            Kind::Unreachable,
            "amazonaws.com:443 is in trouble",
        ),
        ("", 404, Kind::Malformed, "check the endpoint"),
        (
            "x#ResourceExistsException",
            400,
            Kind::Conflict,
            "there already",
        ),
        (
            "UnknownOperationException",
            400,
            Kind::Unsupported,
            "does not know",
        ),
        (
            "InvalidParameterException",
            400,
            Kind::Invalid,
            "InvalidParameterException",
        ),
    ] {
        let (found, text) = answered(code, "", status);
        assert_eq!(found, kind, "{code}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_name_that_waits_for_deletion_says_how_to_get_it_back() {
    let message = "You can't create this secret because a secret with this name is already \
                   scheduled for deletion.";
    let (kind, text) = answered("InvalidRequestException", message, 400);
    assert_eq!(kind, BackendErrorKind::Conflict);
    assert!(
        text.contains("restore-secret --region eu-central-1 --secret-id shop/key"),
        "{text}"
    );
    let failure = site().answered(CALL, "ValidationException", message, 400);
    assert!(!failure.is_marked_deleted());
}
