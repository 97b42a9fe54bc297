//! From a request of an AWS client to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Body;
use strongroom_core::time::Timestamp;
use zeroize::Zeroizing;

use super::call;
use super::error::Fault;
use super::error::Protocol;
use super::keys;
use super::keys::KnownKey;
use super::op::Op;
use super::sigv4::Claim;
use super::sigv4::Signed;
use super::sts;
use super::wire;
use crate::audit::line::Entry;
use crate::bodies::SMALL_BYTES;
use crate::bodies::Share;
use crate::core::Core;
use crate::core::Known;
use crate::listen::ANYBODYS_BYTES_MAX;
use crate::listen::BODY_TIMEOUT;
use crate::node::Node;
use crate::vault::dispatch::Outgoing;

/// Longest body of somebody whose access key is known: room for the longest value, every letter
/// of it escaped, and the fields beside it.
pub(super) const BODY_BYTES_MAX: usize = 512 * 1024;
/// Beginning of the target of what is served in JSON.
const TARGET_PREFIX: &str = "secretsmanager.";

/// Whether a request is for this door.
pub(crate) fn is_for_aws(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    parts.uri.path() == "/"
        && (parts.method == Method::POST || query.contains("X-Amz-") || query.contains("Action="))
}

/// A request whose signature fits.
pub(super) struct Request {
    pub(super) node: Arc<Node>,
    pub(super) core: Arc<Core>,
    pub(super) key: Arc<KnownKey>,
    /// What it was signed for.
    pub(super) region: String,
    pub(super) remote: IpAddr,
    pub(super) now: Timestamp,
    pub(super) request_id: String,
    /// Headers that the audit log tells, as JSON.
    pub(super) headers: Option<String>,
}

impl Request {
    /// Who asks, as AWS names users.
    pub(super) fn user_arn(&self) -> String {
        let account = &self.node.settings.aws.account;
        match &self.key.key.session {
            Some(session) => format!(
                "arn:aws:sts::{account}:assumed-role/{}/{}",
                session.role, session.name
            ),
            None => format!("arn:aws:iam::{account}:user/{}", self.user_name()),
        }
    }

    pub(super) fn user_name(&self) -> &str {
        match self.key.key.name.as_str() {
            "" => &self.key.id,
            name => name,
        }
    }

    /// What the audit log says of it.
    pub(super) fn entry<'a>(&'a self, operation: &'a str, path: &'a str) -> Entry<'a> {
        Entry {
            at: self.node.wall(),
            request_id: &self.request_id,
            operation,
            path,
            mount: None,
            remote: self.remote,
            caller: Some(&self.key.known),
            wrap_ttl: None,
            headers: self.headers.as_deref(),
        }
    }

    /// Writes lines of the audit log.
    pub(super) async fn note(&self, lines: &[&str]) -> Result<(), Fault> {
        note(&self.node, &self.core, lines).await
    }

    /// Refuses what is over a rate.
    pub(super) fn check_rate(&self, path: &str) -> Result<(), Fault> {
        if self.core.options.get().is_exempt(path) {
            return Ok(());
        }
        let taken = self.core.quotas.take(path, self.remote, self.now);
        taken.map_err(Fault::TooMany)
    }
}

/// Answers a request; whatever goes wrong is an answer too.
pub(crate) async fn serve<B>(node: &Arc<Node>, parts: Parts, body: B, remote: IpAddr) -> Outgoing
where
    B: Body<Data = Bytes> + Send + Unpin,
{
    let request_id = crate::node::new_nonce(&*node.rng);
    let protocol = match parts.headers.contains_key("x-amz-target") || !is_form(&parts) {
        true => Protocol::Json,
        false => Protocol::Query,
    };
    match answer(node, &parts, body, remote, protocol, &request_id).await {
        Ok(body) => wire::good(protocol, body, &request_id),
        Err(fault) => {
            if let Some(detail) = fault.detail() {
                node.log.error(&detail);
            }
            let mut response = wire::bad(protocol, &fault.tell(protocol), &request_id);
            if let Fault::TooMany(seconds) = fault {
                let wait = http::HeaderValue::from(seconds);
                response.headers_mut().insert(header::RETRY_AFTER, wait);
            }
            response
        }
    }
}

fn is_form(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded") || query.contains("Action=")
}

async fn answer<B>(
    node: &Arc<Node>,
    parts: &Parts,
    body: B,
    remote: IpAddr,
    protocol: Protocol,
    request_id: &str,
) -> Result<Zeroizing<Vec<u8>>, Fault>
where
    B: Body<Data = Bytes> + Send + Unpin,
{
    let core = node.fresh_core().await?.ok_or(Fault::Sealed)?;
    // Held until there is an answer: the body is in memory in one form or another.
    let mut share = Share::default();
    let body = read_body(node, &core, &mut share, &parts.headers, body).await?;
    let signed = Signed {
        method: &parts.method,
        query: parts.uri.query(),
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        headers: &parts.headers,
        body: &body,
    };
    let now = node.now();
    let service = match protocol {
        Protocol::Json => "secretsmanager",
        Protocol::Query => "sts",
    };
    let options = core.options.get();
    let headers = core.audit.headers(&options.audited_headers, &parts.headers);
    let authenticated = async {
        let claim = Claim::read(&signed)?;
        claim.check(service, node.wall())?;
        let key = keys::authenticate(&core, &claim, &signed, now).await?;
        Ok((claim.region, key))
    };
    let (region, key) = match authenticated.await {
        Ok(found) => found,
        Err(fault) => {
            let entry = Entry {
                at: node.wall(),
                request_id,
                operation: "read",
                path: &format!("aws/{service}"),
                mount: None,
                remote,
                caller: None::<&Known>,
                wrap_ttl: None,
                headers: headers.as_deref(),
            };
            return Err(refused(node, &core, &entry, fault, protocol).await);
        }
    };
    let request = Request {
        node: Arc::clone(node),
        core,
        key,
        region,
        remote,
        now,
        request_id: request_id.to_owned(),
        headers,
    };
    match protocol {
        Protocol::Json => {
            let is_post = parts.method == Method::POST;
            let target = target(&parts.headers).filter(|_| is_post);
            let op = target.and_then(Op::of);
            // Its future is as large as that of all operations.
            Box::pin(call::answer(request, op, parts.uri.query(), body)).await
        }
        Protocol::Query => sts::answer(&request, parts.uri.query(), &body).await,
    }
}

/// The operation that is asked for.
fn target(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix(TARGET_PREFIX)
}

/// Notes a refusal; what the client is told.
pub(super) async fn refused(
    node: &Node,
    core: &Core,
    entry: &Entry<'_>,
    fault: Fault,
    protocol: Protocol,
) -> Fault {
    if !core.audit.is_on() {
        return fault;
    }
    let lines = entry.lines();
    let response = fault.logged(&lines, protocol);
    match note(node, core, &[&lines.request(None), &response]).await {
        Ok(()) => fault,
        Err(failed) => failed,
    }
}

async fn note(node: &Node, core: &Core, lines: &[&str]) -> Result<(), Fault> {
    if !core.audit.is_on() {
        return Ok(());
    }
    let written = core.audit.write(lines).await;
    written.map_err(|failed| {
        let failures = &node.metrics.audit_failures;
        failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        failed.into()
    })
}

/// Reads a body within its bounds, into memory that is wiped. A large one is read only when it
/// comes with a key that is known: whether it is signed can be told only with the whole of it.
async fn read_body<B>(
    node: &Node,
    core: &Core,
    share: &mut Share,
    headers: &HeaderMap,
    mut body: B,
) -> Result<Zeroizing<Vec<u8>>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut limit = ANYBODYS_BYTES_MAX;
    if length.is_none_or(|length| length > limit) && has_key(core, headers).await {
        limit = BODY_BYTES_MAX;
    }
    if length.is_some_and(|length| length > limit) {
        return Err(Fault::TooLarge);
    }
    let reading = async {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fault::Malformed("the body broke off".into()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let needed = bytes.len() + data.len();
            if needed > limit {
                return Err(Fault::TooLarge);
            }
            if needed > bytes.capacity() {
                let capacity = needed.max(bytes.capacity() * 2).max(SMALL_BYTES / 4);
                let capacity = capacity.min(length.unwrap_or(limit).max(needed));
                let grown = node.bodies.grow(share, capacity);
                grown.map_err(|_| Fault::Busy)?;
                // What is left behind when it grows is wiped as well.
                let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
                larger.extend_from_slice(&bytes);
                bytes = larger;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(read) => read,
        Err(_) => Err(Fault::TooSlow),
    }
}

/// Whether a request names an access key that is there.
async fn has_key(core: &Core, headers: &HeaderMap) -> bool {
    let id = || {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (_, credential) = text.split_once("Credential=")?;
        let (id, _) = credential.split_once('/')?;
        (id.len() <= 128).then_some(id)
    };
    match id() {
        Some(id) => core.access_key(id).await.is_ok_and(|key| key.is_some()),
        None => false,
    }
}
