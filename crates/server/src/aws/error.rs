//! Why a request of an AWS client fails, and what it is told: the only place that chooses codes
//! and statuses. Names and statuses are those of AWS's documentation.

use http::StatusCode;
use strongroom_engine::Error;
use strongroom_engine::error::ErrorKind;
use strongroom_engine::secrets::GraphError;

use super::sigv4::Refusal;
use crate::audit::AuditFailed;
use crate::audit::line::Lines;
use crate::node::StartError;

/// A request that fails.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The signature is missing or not accepted.
    Signature(Refusal),
    /// No such access key, or it opens nothing any more, or its session token is not the one.
    UnknownKey,
    /// Policies do not allow it, whether or not there is anything.
    Denied(Denied),
    /// There is no such operation.
    UnknownOperation,
    /// The body is no JSON, or not of the form it should have.
    Malformed(String),
    /// A field breaks the model.
    Constraint(String),
    /// The body is over the limit.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// Over a rate; seconds to wait.
    TooMany(i64),
    /// Too much of this is under way.
    Busy,
    /// Nobody has unsealed the store, or there is none yet.
    Sealed,
    /// The audit log cannot be written: nothing was done.
    Audit,
    /// The audit log could not be written after something was done.
    AuditAfterwards,
    /// What was asked makes no sense.
    Parameter(String),
    /// It cannot be done to this, or not now.
    Request(String),
    /// Over a bound.
    Limit(String),
    /// There is no such secret.
    NotFound,
    /// There is nothing, in words of its own.
    NotFoundWith(String),
    /// The token of a page is none of ours.
    NextToken,
    /// A resource policy that cannot be read.
    MalformedPolicy(String),
    /// A resource policy that lets anybody in.
    PublicPolicy,
    /// The version graph refused a change of a secret.
    Graph {
        error: GraphError,
        name: String,
        arn: String,
    },
    /// The engine refused or failed.
    Engine(Error),
    /// A bug, or something that must not happen; the text goes to the log.
    Internal(String),
}

/// What is not allowed to whom.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) user: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) why: &'static str,
}

/// How the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON 1.1.
    Json,
    /// A form in, XML out.
    Query,
}

/// What a client is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<AuditFailed> for Fault {
    fn from(AuditFailed: AuditFailed) -> Self {
        Self::Audit
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Engine(error) => Self::Engine(error),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Signature(refusal)
    }
}

const WRONG_SIGNATURE: &str = "The request signature we calculated does not match the signature \
    you provided. Check your AWS Secret Access Key and signing method. Consult the service \
    documentation for details.";
/// What is said of a secret that is to be removed.
pub(super) const MARKED: &str = "You can't perform this operation on the secret because it was \
    marked for deletion.";
const ABSENT: &str = "Secrets Manager can't find the specified secret.";
const INTERNAL: &str = "An error occurred on the server side.";

impl Fault {
    /// Code, status and text for the client.
    pub(crate) fn tell(&self, protocol: Protocol) -> Told {
        let (status, json, query, text) = self.row(protocol);
        let code = match protocol {
            Protocol::Json => json,
            Protocol::Query => query,
        };
        Told { status, code, text }
    }

    /// Status, code in JSON, code in XML, text.
    fn row(&self, protocol: Protocol) -> (StatusCode, &'static str, &'static str, String) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const INSIDE: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const INVALID: (&str, &str) = ("ValidationException", "ValidationError");
        const FAILED: (&str, &str) = ("InternalServiceError", "InternalFailure");
        // Services that speak JSON say 400 where the others say 403.
        let refused = match protocol {
            Protocol::Json => BAD,
            Protocol::Query => FORBIDDEN,
        };
        let both = |name| (name, name);
        let (status, (json, query), text) = match self {
            Self::Signature(refusal) => return of_signature(refusal, refused),
            Self::UnknownKey => (
                FORBIDDEN,
                both("InvalidClientTokenId"),
                "The security token included in the request is invalid.".to_owned(),
            ),
            Self::Denied(denied) => {
                let text = format!(
                    "User: {} is not authorized to perform: {} on resource: {} {}",
                    denied.user, denied.action, denied.resource, denied.why
                );
                (refused, ("AccessDeniedException", "AccessDenied"), text)
            }
            Self::UnknownOperation => (
                BAD,
                ("UnknownOperationException", "InvalidAction"),
                "the operation is not one of the service".to_owned(),
            ),
            Self::Malformed(text) => {
                let code = ("SerializationException", "MalformedInput");
                (BAD, code, text.clone())
            }
            Self::Constraint(text) => (BAD, INVALID, text.clone()),
            Self::TooLarge => {
                let code = ("RequestEntityTooLargeException", "RequestEntityTooLarge");
                (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    code,
                    "the body is over the limit of 512 KiB, or of 64 KiB without a known access \
                     key"
                    .to_owned(),
                )
            }
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                both("RequestTimeout"),
                "the body did not come in time".to_owned(),
            ),
            Self::TooMany(_) => (
                BAD,
                ("ThrottlingException", "Throttling"),
                "Rate exceeded".to_owned(),
            ),
            Self::Busy => (
                UNAVAILABLE,
                both("ServiceUnavailable"),
                "too much is under way: try again".to_owned(),
            ),
            Self::Sealed => (
                UNAVAILABLE,
                both("ServiceUnavailable"),
                "the store is sealed".to_owned(),
            ),
            Self::Audit => (
                UNAVAILABLE,
                both("ServiceUnavailable"),
                "the audit log cannot be written".to_owned(),
            ),
            // Not 503: a client that tries again would do it twice.
            Self::AuditAfterwards => (
                INSIDE,
                FAILED,
                "the audit log cannot be written: look whether the change was made".to_owned(),
            ),
            Self::Parameter(text) => (BAD, both("InvalidParameterException"), text.clone()),
            Self::Request(text) => (BAD, both("InvalidRequestException"), text.clone()),
            Self::Limit(text) => (BAD, both("LimitExceededException"), text.clone()),
            Self::NotFound => (BAD, both("ResourceNotFoundException"), ABSENT.to_owned()),
            Self::NotFoundWith(text) => (BAD, both("ResourceNotFoundException"), text.clone()),
            Self::NextToken => (
                BAD,
                both("InvalidNextTokenException"),
                "Invalid NextToken".to_owned(),
            ),
            Self::MalformedPolicy(text) => {
                (BAD, both("MalformedPolicyDocumentException"), text.clone())
            }
            Self::PublicPolicy => (
                BAD,
                both("PublicPolicyException"),
                "You can't attach a resource policy that allows broad access to the secret."
                    .to_owned(),
            ),
            Self::Graph { error, name, arn } => return of_graph(error, name, arn),
            Self::Engine(error) => return of_engine(error),
            Self::Internal(_) => (INSIDE, FAILED, INTERNAL.to_owned()),
        };
        (status, json, query, text)
    }

    /// The line of the audit log that tells it: what is refused to somebody is that there, whatever
    /// status the protocol gives it.
    pub(crate) fn logged(&self, lines: &Lines, protocol: Protocol) -> String {
        let told = self.tell(protocol);
        let is_refusal = matches!(
            self,
            Self::Signature(_) | Self::UnknownKey | Self::Denied(_)
        );
        let status = match is_refusal {
            true => StatusCode::FORBIDDEN,
            false => told.status,
        };
        let error = format!("{}: {}", told.code, told.text);
        lines.response(status.as_u16(), None, Some(&error))
    }

    /// What the operators' log says, where there is more to say than the client is told.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Internal(text) => Some(text.clone()),
            Self::Engine(error @ (Error::Damaged { .. } | Error::Storage(_)))
            | Self::Graph {
                error: GraphError::Engine(error @ (Error::Damaged { .. } | Error::Storage(_))),
                ..
            } => Some(error.to_string()),
            Self::Audit => Some("the audit log cannot be written: requests are refused".into()),
            Self::AuditAfterwards => {
                Some("the audit log cannot be written: a change has no line for its answer".into())
            }
            Self::Signature(_)
            | Self::UnknownKey
            | Self::Denied(_)
            | Self::UnknownOperation
            | Self::Malformed(_)
            | Self::Constraint(_)
            | Self::TooLarge
            | Self::TooSlow
            | Self::TooMany(_)
            | Self::Busy
            | Self::Sealed
            | Self::Parameter(_)
            | Self::Request(_)
            | Self::Limit(_)
            | Self::NotFound
            | Self::NotFoundWith(_)
            | Self::NextToken
            | Self::MalformedPolicy(_)
            | Self::PublicPolicy
            | Self::Graph { .. }
            | Self::Engine(_) => None,
        }
    }
}

fn of_signature(
    refusal: &Refusal,
    refused: StatusCode,
) -> (StatusCode, &'static str, &'static str, String) {
    const MISSING: &str = "MissingAuthenticationToken";
    const INCOMPLETE: &str = "IncompleteSignature";
    let unfit = |text: &str| {
        let text = text.to_owned();
        (
            refused,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            text,
        )
    };
    match refusal {
        Refusal::Missing => {
            let text = "Missing Authentication Token".to_owned();
            (StatusCode::FORBIDDEN, MISSING, MISSING, text)
        }
        Refusal::Incomplete(text) => (
            StatusCode::BAD_REQUEST,
            INCOMPLETE,
            INCOMPLETE,
            text.clone(),
        ),
        Refusal::Unfit(text) => unfit(text),
        Refusal::Wrong => unfit(WRONG_SIGNATURE),
    }
}

/// The refusals of the version graph.
fn of_graph(
    error: &GraphError,
    name: &str,
    arn: &str,
) -> (StatusCode, &'static str, &'static str, String) {
    let (code, text) = match error {
        GraphError::Engine(error) => return of_engine(error),
        GraphError::Exists => (
            "ResourceExistsException",
            format!("The operation failed because the secret {name} already exists."),
        ),
        GraphError::IdTaken { id } => (
            "ResourceExistsException",
            format!(
                "You can't use ClientRequestToken {id} because that value is already in use for \
                 a version of secret {arn}."
            ),
        ),
        GraphError::MarkedForDeletion => ("InvalidRequestException", MARKED.to_owned()),
        GraphError::NameMarkedForDeletion => (
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled \
             for deletion."
                .to_owned(),
        ),
        GraphError::NoVersion { id } => (
            "ResourceNotFoundException",
            format!("Secrets Manager can't find the specified secret value for VersionId: {id}"),
        ),
        GraphError::StageElsewhere { stage, holder } => (
            "InvalidParameterException",
            match holder {
                Some(holder) => format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is \
                     currently attached to version {holder}, so you must explicitly reference \
                     that version in RemoveFromVersionId."
                ),
                None => format!(
                    "Staging label {stage} is not attached to the version in RemoveFromVersionId."
                ),
            },
        ),
        GraphError::CurrentStays => (
            "InvalidParameterException",
            "You can only move staging label AWSCURRENT to a different secret version. It can't \
             be completely removed."
                .to_owned(),
        ),
        GraphError::TooManyStages => (
            "LimitExceededException",
            "A version can have at most 20 staging labels.".to_owned(),
        ),
    };
    (StatusCode::BAD_REQUEST, code, code, text)
}

fn of_engine(error: &Error) -> (StatusCode, &'static str, &'static str, String) {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    let inside = || {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let text = INTERNAL.to_owned();
        (status, "InternalServiceError", "InternalFailure", text)
    };
    match error.kind() {
        ErrorKind::NotFound => (
            BAD,
            "ResourceNotFoundException",
            "ResourceNotFoundException",
            ABSENT.to_owned(),
        ),
        ErrorKind::Invalid | ErrorKind::VersionMismatch => (
            BAD,
            "InvalidParameterException",
            "ValidationError",
            error.to_string(),
        ),
        ErrorKind::CasRequired => (
            BAD,
            "InvalidRequestException",
            "ValidationError",
            "You can't perform this operation on the secret because a write to it has to name \
             its current version, which only Vault clients can do."
                .to_owned(),
        ),
        ErrorKind::Contended => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "ServiceUnavailable",
            "others keep changing the same records: try again".to_owned(),
        ),
        ErrorKind::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "ServiceUnavailable",
            "the server's database is out of reach, and nothing was changed: try again".to_owned(),
        ),
        ErrorKind::Full | ErrorKind::ReadOnly => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServiceError",
            "InternalFailure",
            "the store cannot be written".to_owned(),
        ),
        ErrorKind::Damaged | ErrorKind::Newer | ErrorKind::Io => inside(),
    }
}
