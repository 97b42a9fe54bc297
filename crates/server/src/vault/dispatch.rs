//! From a request to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full as FullBody;
use serde_json::Value;
use strongroom_core::policy::Access as Asked;
use strongroom_core::policy::Capability;
use strongroom_core::policy::ParamValue;
use strongroom_core::policy::RequestPath;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_engine::mounts::Engines;
use strongroom_engine::tokens::TOKEN_BYTES_MAX;
use strongroom_engine::tokens::TokenKind;
use zeroize::Zeroizing;

use super::body::Fields;
use super::call::Call;
use super::call::Verb;
use super::error::Fault;
use super::field;
use super::query::Query;
use super::reply::Answer;
use super::reply::Data;
use super::route;
use super::route::Access;
use super::route::Route;
use super::spelling;
use super::spelling::Spelling;
use crate::audit::line::Entry;
use crate::core::Core;
use crate::core::Known;
use crate::core::Live;
use crate::node::Node;

/// A request, with its body read.
pub(crate) struct Incoming {
    pub(crate) method: Method,
    /// Behind `/v1/`, as it came.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The body is larger than those without a token may send, and was not read.
    pub(crate) is_body_left: bool,
    pub(crate) remote: IpAddr,
}

/// Whether a living token was sent: who has none gets no room for a large body.
pub(crate) async fn has_token(node: &Node, headers: &HeaderMap, remote: IpAddr) -> bool {
    let Ok(Some(token)) = token_of(headers) else {
        return false;
    };
    let Ok(Some(core)) = node.fresh_core().await else {
        return false;
    };
    let now = node.now();
    let found = find_token(&core, &token, now).await;
    found.is_ok_and(|known| {
        known.is_some_and(|known| {
            known.is_alive(now) && crate::cidr::allows(&known.token.bound_cidrs, remote)
        })
    })
}

/// An answer for the wire.
pub(crate) type Outgoing = Response<FullBody<Bytes>>;

/// Answers a request; whatever goes wrong is an answer too.
pub(crate) async fn handle(node: &Arc<Node>, incoming: Incoming) -> Outgoing {
    let request_id = crate::node::new_nonce(&*node.rng);
    let is_head = incoming.method == Method::HEAD;
    let result = answer(node, incoming, &request_id).await;
    match result {
        Ok(answer) => render(answer, &request_id, is_head),
        Err(fault) => render_fault(node, &fault),
    }
}

pub(crate) async fn answer(
    node: &Arc<Node>,
    incoming: Incoming,
    request_id: &str,
) -> Result<Answer, Fault> {
    let path =
        RequestPath::decode(&incoming.path).map_err(|error| Fault::invalid(error.to_string()))?;
    let query = Query::parse(incoming.query.as_deref());
    let verb = verb_of(&incoming.method, &query)?;
    if incoming.is_body_left && (super::keys::is_early(&path) || node.core().is_none()) {
        return Err(Fault::TooLargeForAnybody);
    }
    if let Some(answer) = super::keys::early(node, &incoming, &path, verb, &query).await? {
        return Ok(answer);
    }
    let core = node.fresh_core().await?.ok_or(Fault::Sealed)?;
    check_patch(&incoming, verb)?;
    let is_listing = matches!(verb, Verb::List | Verb::Scan);
    let path = if is_listing { as_folder(path)? } else { path };
    let table = core.mounts();
    let live = table.find(path.as_str()).map(Arc::clone);
    let route = live.as_ref().and_then(|live| find_route(live, &path, verb));
    let access = route
        .as_ref()
        .map_or(Access::Policy, |(route, _)| route.access);
    let now = node.now();
    let wrap_ttl = wrap_ttl_of(&incoming.headers)?;
    let options = core.options.get();
    let headers = core
        .audit
        .headers(&options.audited_headers, &incoming.headers);
    let entry = Entry {
        at: node.wall(),
        request_id,
        operation: verb.word(),
        path: path.as_str(),
        mount: live.as_deref(),
        remote: incoming.remote,
        caller: None,
        wrap_ttl,
        headers: headers.as_deref(),
    };
    if let Err(fault) = check_anybody(&core, &options, &path, &incoming, now) {
        return Err(refuse(node, &core, &entry, fault).await);
    }
    let token = token_of(&incoming.headers)?;
    let fields = match verb.is_change() {
        true => Fields::parse(&incoming.body)?,
        false => query.to_fields(),
    };
    let is_body_left = incoming.is_body_left;
    drop(incoming.body);
    let caller = caller_of(&core, token.as_ref(), incoming.remote, now, access).await;
    let caller = match caller {
        Ok(caller) => caller,
        Err(fault) => return Err(refuse(node, &core, &entry, fault).await),
    };
    if is_body_left {
        return Err(refuse(node, &core, &entry, Fault::TooLargeForAnybody).await);
    }
    let Some(live) = live else {
        let is_root = caller.as_ref().is_some_and(|known| known.token.is_root());
        let fault = match is_root {
            true => Fault::NoRoute(path.to_string()),
            false => Fault::Denied,
        };
        let entry = Entry {
            caller: caller.as_deref(),
            mount: None,
            ..entry
        };
        return Err(refuse(node, &core, &entry, fault).await);
    };
    let spelling = route
        .as_ref()
        .and_then(|(route, _)| Spelling::of(live.mount.engine, route.pattern));
    let (captures, route) = route.map_or_else(
        || (Vec::new(), None),
        |(route, captures)| (captures, Some(route)),
    );
    let mut call = Call {
        node: Arc::clone(node),
        core,
        verb,
        path,
        live,
        captures,
        spelling,
        query,
        fields,
        caller,
        token,
        remote: incoming.remote,
        now,
        request_id: request_id.to_owned(),
        wrap_ttl,
        headers,
    };
    run(&mut call, route).await
}

fn find_route(
    live: &Live,
    path: &RequestPath,
    verb: Verb,
) -> Option<(&'static Route, Vec<String>)> {
    let below = &path.as_str()[live.path.len()..];
    let is_api = live.mount.engine == Engines::System && below.starts_with(crate::api::PREFIX);
    let table = match is_api {
        true => crate::api::ROUTES,
        false => route::table(live.mount.engine),
    };
    route::find(table, below, verb)
}

/// What holds for everybody, with and without a token.
fn check_anybody(
    core: &Core,
    options: &crate::options::Options,
    path: &RequestPath,
    incoming: &Incoming,
    now: strongroom_core::time::Timestamp,
) -> Result<(), Fault> {
    if !options.is_exempt(path.as_str()) {
        let taken = core.quotas.take(path.as_str(), incoming.remote, now);
        taken.map_err(Fault::TooMany)?;
    }
    check_namespace(&incoming.headers)
}

/// There is one namespace, the root: what is meant for another one is not done in it.
fn check_namespace(headers: &HeaderMap) -> Result<(), Fault> {
    let mut asked = headers.get_all("x-vault-namespace").iter();
    let is_root =
        |value: &http::HeaderValue| matches!(value.as_bytes(), b"" | b"/" | b"root" | b"root/");
    match asked.all(is_root) {
        true => Ok(()),
        false => Err(Fault::NotFoundWith(vec!["namespace not found".into()])),
    }
}

/// Who asks; nobody where nobody has to be known.
async fn caller_of(
    core: &Core,
    token: Option<&SecretValue>,
    remote: IpAddr,
    now: strongroom_core::time::Timestamp,
    access: Access,
) -> Result<Option<Arc<Known>>, Fault> {
    let caller = match (token, access) {
        // What needs no token uses none up.
        (Some(token), Access::Open) => living(core, token, remote, now).await,
        (Some(token), _) => authenticate(core, token, remote, now).await,
        (None, _) => Err(Fault::NoToken),
    };
    match (caller, access) {
        (Ok(caller), _) => Ok(Some(caller)),
        (Err(_), Access::Open) => Ok(None),
        (Err(fault), Access::AnyToken | Access::Policy | Access::Sudo) => Err(fault),
    }
}

/// Notes a refusal; what the client is told.
async fn refuse(node: &Node, core: &Core, entry: &Entry<'_>, fault: Fault) -> Fault {
    match note_refusal(node, core, entry, &fault).await {
        Ok(()) => fault,
        Err(failed) => failed,
    }
}

/// A path whose names are listed ends with `/`.
fn as_folder(path: RequestPath) -> Result<RequestPath, Fault> {
    if path.as_str().ends_with('/') {
        return Ok(path);
    }
    let folder = format!("{path}/").parse();
    folder.map_err(|_| Fault::invalid("the path is too long"))
}

/// Checks, notes and does what a call asks for.
async fn run(call: &mut Call, route: Option<&'static Route>) -> Result<Answer, Fault> {
    let data = match (call.core.audit.is_on(), call.fields.is_empty()) {
        (true, false) => Some(call.core.audit.hashed_fields(call.fields.map())),
        _ => None,
    };
    let is_change = call.verb.is_change() || super::database::makes_something(call);
    let is_noted_first = is_change && call.core.audit.is_on();
    let mut was_noted = false;
    let result = match authorize(call, route).await {
        Err(fault) => Err(fault),
        Ok(handler) => {
            if is_noted_first {
                // What cannot be noted must not happen. The disk gets the line while the work
                // is done, and has it before the answer goes out.
                let line = entry_of(call).lines().request(data.as_deref());
                note(call, &[&line]).await?;
                was_noted = true;
                let core = Arc::clone(&call.core);
                let (handled, synced) = tokio::join!(handler(call), core.audit.sync());
                synced.map_err(|_| Fault::AuditAfterwards)?;
                finish(call, handled).await
            } else {
                let handled = handler(call).await;
                finish(call, handled).await
            }
        }
    };
    if call.core.audit.is_on() {
        let (status, response, error) = outcome(call, &result);
        let lines = entry_of(call).lines();
        let response = lines.response(status, response.as_deref(), error.as_deref());
        if was_noted {
            let noted = note(call, &[&response]).await;
            noted.map_err(|_| Fault::AuditAfterwards)?;
        } else {
            let request = lines.request(data.as_deref());
            note(call, &[&request, &response]).await?;
        }
    }
    clear_spent(call).await;
    result
}

fn entry_of(call: &Call) -> Entry<'_> {
    Entry {
        at: call.node.wall(),
        request_id: &call.request_id,
        operation: call.verb.word(),
        path: call.path.as_str(),
        mount: Some(&call.live),
        remote: call.remote,
        caller: call.caller.as_deref(),
        wrap_ttl: call.wrap_ttl,
        headers: call.headers.as_deref(),
    }
}

async fn note(call: &Call, lines: &[&str]) -> Result<(), Fault> {
    let written = call.core.audit.write(lines).await;
    written.map_err(|failed| {
        let failures = &call.node.metrics.audit_failures;
        failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        failed.into()
    })
}

async fn note_refusal(
    node: &Node,
    core: &Core,
    entry: &Entry<'_>,
    fault: &Fault,
) -> Result<(), Fault> {
    if !core.audit.is_on() {
        return Ok(());
    }
    let (status, texts) = fault.answer();
    let lines = entry.lines();
    let response = lines.response(status.as_u16(), None, Some(&texts.join("; ")));
    let request = lines.request(None);
    let written = core.audit.write(&[&request, &response]).await;
    written.map_err(|failed| {
        let failures = &node.metrics.audit_failures;
        failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        failed.into()
    })
}

/// Status, hashed data and error of a result, for the log.
fn outcome(call: &Call, result: &Result<Answer, Fault>) -> (u16, Option<String>, Option<String>) {
    let audit = &call.core.audit;
    match result {
        Err(fault) => {
            let (status, texts) = fault.answer();
            (status.as_u16(), None, Some(texts.join("; ")))
        }
        Ok(answer) => {
            let data = match answer {
                Answer::Full(full) => match (&full.data, &full.auth) {
                    (Data::Rendered(rendered), _) => Some(rendered.audit.clone()),
                    (Data::Value(value), _) => Some(audit.hashed(value)),
                    (Data::None, Some(auth)) => Some(format!(
                        "{{\"accessor\":\"{}\"}}",
                        audit.hash(auth.accessor.as_bytes())
                    )),
                    (Data::None, None) => None,
                },
                Answer::Bare(_, value) => Some(audit.hashed(value)),
                Answer::Empty | Answer::Text(..) | Answer::Stored(_) => None,
            };
            (answer.status().as_u16(), data, None)
        }
    }
}

/// The handler, if the caller may have it.
async fn authorize(call: &Call, route: Option<&'static Route>) -> Result<route::Handler, Fault> {
    let access = route.map_or(Access::Policy, |route| route.access);
    match access {
        Access::Open | Access::AnyToken => {}
        Access::Policy | Access::Sudo => {
            let exists = route.and_then(|route| route.exists);
            check_policy(call, access == Access::Sudo, exists).await?;
        }
    }
    let is_write = matches!(call.verb, Verb::Write | Verb::Patch);
    let route = match route {
        Some(route) => route,
        None if is_write && call.path.as_str().ends_with('/') => {
            return Err(Fault::invalid("cannot write to a path ending in '/'"));
        }
        None => return Err(Fault::UnsupportedPath),
    };
    let mut verbs = route.verbs.iter();
    let found = verbs.find(|(verb, _)| *verb == call.verb);
    found
        .map(|(_, handler)| *handler)
        .ok_or(Fault::UnsupportedOperation)
}

pub(crate) async fn check_policy(
    call: &Call,
    needs_sudo: bool,
    exists: Option<route::Exists>,
) -> Result<(), Fault> {
    let acl = call.core.acl_of(call.caller()?);
    if acl.is_root() {
        return Ok(());
    }
    let params = params_of(&call.fields);
    let own = super::sys::users::as_self(call);
    let path = own.as_ref().unwrap_or(&call.path);
    let asked = |capability| Asked {
        path,
        capability,
        params: &params,
        wrap_ttl: call.wrap_ttl.map(Span::from_seconds),
    };
    let update = acl.decide(&asked(call.verb.capability()));
    let is_allowed = match (call.verb, exists) {
        (Verb::Write, Some(exists)) => {
            let create = acl.decide(&asked(Capability::Create));
            match (create.is_allowed, update.is_allowed) {
                (true, true) => true,
                (false, false) => false,
                (create, update) => {
                    if exists(call).await? {
                        update
                    } else {
                        create
                    }
                }
            }
        }
        _ => update.is_allowed,
    };
    if is_allowed
        && (!needs_sudo || update.has_sudo)
        && !spelling::is_refused(call, &acl, needs_sudo)
    {
        Ok(())
    } else {
        Err(Fault::Denied)
    }
}

/// The fields of a body as policies look at them.
pub(crate) fn params_of(fields: &Fields) -> Vec<(&str, ParamValue<'_>)> {
    let param = |value| match value {
        &Value::Null => ParamValue::Null,
        Value::Bool(value) => ParamValue::Bool(*value),
        Value::Number(number) => ParamValue::Number(number.as_str()),
        Value::String(text) => ParamValue::Text(text),
        Value::Array(_) | Value::Object(_) => ParamValue::Other,
    };
    let fields = fields.map().iter();
    fields
        .map(|(name, value)| (name.as_str(), param(value)))
        .collect()
}

/// Wraps an answer where that was asked for.
async fn finish(call: &mut Call, handled: Result<Answer, Fault>) -> Result<Answer, Fault> {
    match (handled, call.wrap_ttl) {
        (Ok(Answer::Full(full)), Some(ttl)) if full.wrap.is_none() && full.status.is_success() => {
            super::wrap::wrap(call, &full, ttl).await
        }
        (handled, _) => handled,
    }
}

/// A token whose last use this was is revoked.
async fn clear_spent(call: &Call) {
    if let Some(caller) = call
        .caller
        .as_ref()
        .filter(|caller| caller.token.num_uses < 0)
    {
        // It is dead already; what is left of it is cleared by background work otherwise.
        let _ = call.core.state.revoke(caller.id).await;
    }
}

fn verb_of(method: &Method, query: &Query) -> Result<Verb, Fault> {
    match method.as_str() {
        "GET" | "HEAD" if query.is_set("list") => Ok(Verb::List),
        "GET" | "HEAD" if query.is_set("scan") => Ok(Verb::Scan),
        "GET" | "HEAD" => Ok(Verb::Read),
        "LIST" => Ok(Verb::List),
        "SCAN" => Ok(Verb::Scan),
        "POST" | "PUT" => Ok(Verb::Write),
        "PATCH" => Ok(Verb::Patch),
        "DELETE" => Ok(Verb::Delete),
        _ => Err(Fault::UnsupportedOperation),
    }
}

fn check_patch(incoming: &Incoming, verb: Verb) -> Result<(), Fault> {
    if verb != Verb::Patch {
        return Ok(());
    }
    let kind = incoming.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let name = kind.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/merge-patch+json") {
        return Ok(());
    }
    let shown: String = kind.chars().take(64).collect();
    Err(Fault::UnsupportedPatch(shown))
}

/// The token that was sent, if any.
fn token_of(headers: &HeaderMap) -> Result<Option<SecretValue>, Fault> {
    let bytes = match headers.get("x-vault-token") {
        Some(value) => value.as_bytes(),
        None => match headers
            .get(header::AUTHORIZATION)
            .map(http::HeaderValue::as_bytes)
        {
            Some(value) => match value.get(..7) {
                Some(kind) if kind.eq_ignore_ascii_case(b"bearer ") => &value[7..],
                _ => return Ok(None),
            },
            None => return Ok(None),
        },
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(Fault::NoToken);
    }
    Ok(Some(SecretValue::copy_from(bytes)))
}

fn wrap_ttl_of(headers: &HeaderMap) -> Result<Option<i64>, Fault> {
    let Some(value) = headers.get("x-vault-wrap-ttl") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    field::seconds_of(&Value::from(text))
        .filter(|seconds| *seconds > 0)
        .map(Some)
        .ok_or_else(|| Fault::invalid("the wrapping TTL is no time such as 60s or 1h"))
}

/// The living token that was sent.
async fn living(
    core: &Core,
    plain: &SecretValue,
    remote: IpAddr,
    now: strongroom_core::time::Timestamp,
) -> Result<Arc<Known>, Fault> {
    let known = find_token(core, plain, now).await?.ok_or(Fault::NoToken)?;
    match known.is_alive(now) && crate::cidr::allows(&known.token.bound_cidrs, remote) {
        true => Ok(known),
        false => Err(Fault::NoToken),
    }
}

/// The living token that was sent, with one of its uses taken.
pub(crate) async fn authenticate(
    core: &Core,
    plain: &SecretValue,
    remote: IpAddr,
    now: strongroom_core::time::Timestamp,
) -> Result<Arc<Known>, Fault> {
    let known = living(core, plain, remote, now).await?;
    spend(core, known, now).await
}

/// Takes one of a token's uses, where they are counted.
pub(crate) async fn spend(
    core: &Core,
    known: Arc<Known>,
    now: strongroom_core::time::Timestamp,
) -> Result<Arc<Known>, Fault> {
    if known.token.num_uses == 0 {
        return Ok(known);
    }
    match core.state.take_use(known.id, now).await {
        Ok(token) => Ok(Arc::new(core.known_as(known.id, token))),
        Err(strongroom_engine::Error::NotFound { .. }) => Err(Fault::NoToken),
        Err(error) => Err(error.into()),
    }
}

/// A token by itself, dead or alive.
pub(crate) async fn find_token(
    core: &Core,
    plain: &SecretValue,
    now: strongroom_core::time::Timestamp,
) -> Result<Option<Arc<Known>>, Fault> {
    if let Some(token) = core.state.open_batch_token(plain) {
        let id = core.state.token_id(plain);
        // It has no record of its own: it lives no longer than what gave it, and than its parent.
        let table = core.mounts();
        let mut mounts = table.mounts.by_path.values();
        if !mounts.any(|mount| mount.uuid == token.mount) {
            return Ok(None);
        }
        if let Some(parent) = token.parent {
            let parent = core.known(strongroom_core::port::RecordId(parent)).await?;
            if !parent.is_some_and(|parent| parent.is_alive(now)) {
                return Ok(None);
            }
        }
        return Ok(Some(Arc::new(core.known_as(id, token))));
    }
    let known = core.known(core.state.token_id(plain)).await?;
    Ok(known.filter(|known| known.token.kind == TokenKind::Service))
}

/// A mount by the path in a request, with or without its last `/`.
pub(crate) fn mount_at<'a>(table: &'a crate::core::Table, path: &str) -> Option<&'a Arc<Live>> {
    match path.ends_with('/') {
        true => table.find(path),
        false => table.find(path).or_else(|| table.get(&format!("{path}/"))),
    }
}

pub(crate) fn render(answer: Answer, request_id: &str, is_head: bool) -> Outgoing {
    let status = answer.status();
    let mut content_type = "application/json";
    let body = match answer {
        Answer::Empty => Bytes::new(),
        Answer::Bare(_, value) => to_bytes(super::body::compact(&value)),
        Answer::Text(kind, text) => {
            content_type = kind;
            Bytes::from(text)
        }
        Answer::Stored(json) => to_bytes(json),
        // What is wrapped tells nothing of the request that was wrapped.
        Answer::Full(full) if full.wrap.is_some() => to_bytes(full.render("")),
        Answer::Full(full) => to_bytes(full.render(request_id)),
    };
    let body = if is_head { Bytes::new() } else { body };
    respond(status, content_type, body)
}

/// Bytes that are wiped after they were sent.
pub(crate) fn to_bytes(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    struct Owner(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Owner(bytes))
}

pub(crate) fn render_fault(node: &Node, fault: &Fault) -> Outgoing {
    let (status, texts) = fault.answer();
    if let Some(detail) = fault.detail() {
        node.log.error(&detail);
    }
    let body = serde_json::json!({ "errors": texts }).to_string();
    let mut response = respond(status, "application/json", Bytes::from(body));
    let wait = match fault {
        Fault::TooMany(seconds) => Some(*seconds),
        Fault::Busy => Some(1),
        _ => None,
    };
    if let Some(seconds) = wait {
        let wait = http::HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Outgoing {
    let mut response = Response::new(FullBody::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        http::HeaderValue::from_static("nosniff"),
    );
    let kind = http::HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, kind);
    response
}
