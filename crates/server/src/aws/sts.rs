//! The part of STS that tools ask before they ask for secrets: who am I, and sessions.
//!
//! A role is named after a policy: whoever has the policy may take on the role, and then has this
//! policy alone, for a while.

use strongroom_core::time::Span;
use strongroom_engine::access_keys::IssuedKey;
use strongroom_engine::access_keys::NewKey;
use strongroom_engine::tokens::ROOT;
use zeroize::Zeroizing;

use super::dispatch::Request;
use super::dispatch::refused;
use super::error::Denied;
use super::error::Fault;
use super::error::Protocol;
use super::wire::escaped;
use crate::vault::query::Query;

/// How long a session lives, in seconds: at least, unless it says, and at most.
const SESSION_SECONDS_MIN: i64 = 900;
const SESSION_SECONDS_DEFAULT: i64 = 3600;
const SESSION_SECONDS_MAX: i64 = 12 * 3600;
/// Letters of a session's name.
const NAME_CHARS_MAX: usize = 64;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    GetCallerIdentity,
    AssumeRole,
    GetSessionToken,
}

impl Action {
    fn of(name: &str) -> Option<Self> {
        match name {
            "GetCallerIdentity" => Some(Self::GetCallerIdentity),
            "AssumeRole" => Some(Self::AssumeRole),
            "GetSessionToken" => Some(Self::GetSessionToken),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::AssumeRole => "AssumeRole",
            Self::GetSessionToken => "GetSessionToken",
        }
    }

    /// The word in the audit log.
    fn word(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "read",
            Self::AssumeRole | Self::GetSessionToken => "update",
        }
    }
}

/// Answers a request to STS.
pub(super) async fn answer(
    request: &Request,
    query: Option<&str>,
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let body = std::str::from_utf8(body);
    let body = body.map_err(|_| Fault::Malformed("the body is no text".into()))?;
    // An address that was signed in advance has everything in its query.
    let form = match body {
        "" => Query::parse(query),
        body => Query::parse(Some(body)),
    };
    let action = form.get("Action").and_then(Action::of);
    let path = format!("aws/sts/{}", action.map_or("unknown", Action::name));
    let entry = request.entry(action.map_or("read", Action::word), &path);
    let result = match action {
        None => Err(Fault::UnknownOperation),
        Some(action) => match request.check_rate(&path) {
            Ok(()) => act(request, action, &form).await,
            Err(fault) => Err(fault),
        },
    };
    match result {
        Err(fault) => {
            let (node, core) = (&request.node, &request.core);
            Err(refused(node, core, &entry, fault, Protocol::Query).await)
        }
        Ok(answer) => {
            let lines = entry.lines();
            let response = lines.response(200, None, None);
            request.note(&[&lines.request(None), &response]).await?;
            if entry.operation == "update" {
                let synced = request.core.audit.sync().await;
                synced.map_err(|_| Fault::AuditAfterwards)?;
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            Ok(framed(name, &answer, &request.request_id))
        }
    }
}

async fn act(request: &Request, action: Action, form: &Query) -> Result<Zeroizing<String>, Fault> {
    match action {
        Action::GetCallerIdentity => Ok(Zeroizing::new(format!(
            "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
            escaped(&request.user_arn()),
            escaped(&user_id(request)),
            escaped(&request.node.settings.aws.account),
        ))),
        Action::AssumeRole => assume_role(request, form).await,
        Action::GetSessionToken => {
            let seconds = seconds_of(form)?;
            let name = request.user_name().to_owned();
            let policies = request.key.key.policies.clone();
            let issued = issue(request, policies, "session", name, seconds).await?;
            Ok(credentials(&issued))
        }
    }
}

fn user_id(request: &Request) -> String {
    let tail = request.key.id.get(4..).unwrap_or_default();
    match &request.key.key.session {
        Some(session) => format!("AROA{tail}:{}", session.name),
        None => format!("AIDA{tail}"),
    }
}

async fn assume_role(request: &Request, form: &Query) -> Result<Zeroizing<String>, Fault> {
    let missing = |name: &str| {
        Fault::Constraint(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
             Member must not be null"
        ))
    };
    let arn = form.get("RoleArn").ok_or_else(|| missing("roleArn"))?;
    let name = form.get("RoleSessionName");
    let name = name.ok_or_else(|| missing("roleSessionName"))?;
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(is_letter) {
        return Err(Fault::Constraint(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]{2,64}"
                .into(),
        ));
    }
    if form.get("Policy").is_some() || form.get("PolicyArns.member.1.arn").is_some() {
        return Err(Fault::Constraint(
            "policies of a session are not served: take on a role whose policy allows less".into(),
        ));
    }
    let seconds = seconds_of(form)?;
    let account = &request.node.settings.aws.account;
    let role = arn.strip_prefix(&format!("arn:aws:iam::{account}:role/"));
    let policy = role
        .and_then(|role| role.rsplit('/').next())
        .unwrap_or_default();
    let own = &request.key.key.policies;
    let may = own.iter().any(|name| name == policy || name == ROOT);
    // Whether there is such a policy is nobody's business who does not have it.
    if !may || !request.core.policies().has(policy) {
        return Err(Fault::Denied(Denied {
            user: request.user_arn(),
            action: "sts:AssumeRole".into(),
            resource: arn.to_owned(),
            why: "",
        }));
    }
    let policies = vec![policy.to_owned()];
    let issued = issue(request, policies, policy, name.to_owned(), seconds).await?;
    let tail = issued.id.get(4..).unwrap_or_default();
    let mut answer = credentials(&issued);
    answer.push_str(&format!(
        "<AssumedRoleUser><AssumedRoleId>AROA{tail}:{name}</AssumedRoleId>\
         <Arn>arn:aws:sts::{}:assumed-role/{}/{name}</Arn></AssumedRoleUser>",
        escaped(account),
        escaped(policy),
    ));
    Ok(answer)
}

fn seconds_of(form: &Query) -> Result<i64, Fault> {
    let Some(text) = form.get("DurationSeconds") else {
        return Ok(SESSION_SECONDS_DEFAULT);
    };
    let seconds = text.parse::<i64>().ok();
    let range = SESSION_SECONDS_MIN..=SESSION_SECONDS_MAX;
    seconds
        .filter(|seconds| range.contains(seconds))
        .ok_or_else(|| {
            Fault::Constraint(format!(
                "1 validation error detected: Value at 'durationSeconds' failed to satisfy \
             constraint: Member must have value between {SESSION_SECONDS_MIN} and \
             {SESSION_SECONDS_MAX}"
            ))
        })
}

/// Makes a session. One that is made with a session ends with it at the latest.
async fn issue(
    request: &Request,
    policies: Vec<String>,
    role: &str,
    name: String,
    seconds: i64,
) -> Result<IssuedKey, Fault> {
    let own = &request.key.key;
    let left = own.expires.map(|end| end.seconds_since(request.now));
    let seconds = left.map_or(seconds, |left| left.min(seconds)).max(1);
    let parent = match &own.session {
        Some(session) => &session.parent,
        None => &request.key.id,
    };
    let new = NewKey {
        policies,
        name,
        maker: request.key.id.clone(),
        ttl: Some(Span::from_seconds(seconds)),
    };
    let state = &request.core.state;
    Ok(state.issue_session(new, parent, role, request.now).await?)
}

fn credentials(issued: &IssuedKey) -> Zeroizing<String> {
    // EXPOSE: a new key goes into the answer to the one who asked for it.
    let secret = issued.key.secret.expose_secret_text().unwrap_or_default();
    let token = issued.session_token.as_ref();
    // EXPOSE: the same for the token that goes with it.
    let token = token.and_then(|token| token.expose_secret_text());
    let expires = issued.key.expires.unwrap_or(issued.key.created);
    let seconds = expires.as_micros().div_euclid(1_000_000);
    let expires = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    Zeroizing::new(format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{expires}</Expiration></Credentials>",
        issued.id,
        token.unwrap_or_default(),
    ))
}

fn framed(name: &str, answer: &str, request_id: &str) -> Zeroizing<Vec<u8>> {
    let text = format!(
        "<{name}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{name}Result>\
         {answer}</{name}Result><ResponseMetadata><RequestId>{request_id}</RequestId>\
         </ResponseMetadata></{name}Response>"
    );
    Zeroizing::new(text.into_bytes())
}
