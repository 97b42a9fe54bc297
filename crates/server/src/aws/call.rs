//! One operation on its way: which secret is meant, whether the caller may, and the audit log.

use std::sync::Arc;

use serde_json::Number;
use serde_json::Value;
use strongroom_core::path::SecretPath;
use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::ParamValue;
use strongroom_core::policy::RequestPath;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_engine::context::OpContext;
use strongroom_engine::mounts::Engines;
use strongroom_engine::secrets::Limits;
use strongroom_engine::secrets::Snapshot;
use zeroize::Zeroizing;

use super::dispatch::Request;
use super::dispatch::refused;
use super::error::Denied;
use super::error::Fault;
use super::error::Protocol;
use super::input;
use super::name;
use super::name::SecretId;
use super::op::Area;
use super::op::Need;
use super::op::Op;
use super::secrets;
use super::secrets::Answer;
use crate::audit::line::Entry;
use crate::core::Live;
use crate::core::Seen;
use crate::vault::body::Fields;
use crate::vault::body::compact;
use crate::vault::call::Verb;

/// The mount whose secrets AWS clients see.
const MOUNT: &str = "secret/";
/// Longest id of a secret.
const SECRET_ID_CHARS_MAX: usize = 2048;

/// An operation whose caller is known.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) op: Op,
    pub(super) fields: Fields,
    pub(super) live: Arc<Live>,
    /// The secret that is named, where one is.
    pub(super) target: Option<Target>,
    /// Lines of the audit log about single secrets, for operations on many.
    pub(super) lines: Vec<String>,
}

/// A secret that is named.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) path: SecretPath,
    pub(super) name: String,
    pub(super) seen: Option<Arc<Seen>>,
}

/// One thing that has to be allowed.
struct Asked {
    path: String,
    verb: Verb,
}

/// Answers an operation; whatever happens is in the audit log.
pub(super) async fn answer(
    request: Request,
    op: Option<Op>,
    query: Option<&str>,
    body: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let Some(op) = op else {
        return Err(refuse(&request, None, "aws/unknown", Fault::UnknownOperation).await);
    };
    let path = format!("aws/{}", op.name());
    let fields = match body.is_empty() {
        // What would be in the body stands in an address that was signed in advance.
        true => Ok(crate::vault::query::Query::parse(query).to_fields()),
        false => input::parse(&body),
    };
    let fields = match fields {
        Ok(fields) => fields,
        Err(fault) => return Err(refuse(&request, Some(op), &path, fault).await),
    };
    drop(body);
    let mounts = request.core.mounts();
    let live = mounts
        .get(MOUNT)
        .filter(|live| live.mount.engine == Engines::Kv2);
    let Some(live) = live.map(Arc::clone) else {
        let text = "no versioned secrets are mounted at secret/".to_owned();
        let fault = Fault::Request(text);
        return Err(refuse(&request, Some(op), &path, fault).await);
    };
    let mut call = Call {
        request,
        op,
        fields,
        live,
        target: None,
        lines: Vec::new(),
    };
    match call.find_target().await {
        Ok(target) => call.target = target,
        Err(fault) => return Err(refuse(&call.request, Some(op), &path, fault).await),
    }
    call.run().await
}

/// Notes a refusal before anything was looked at.
async fn refuse(request: &Request, op: Option<Op>, path: &str, fault: Fault) -> Fault {
    let word = match op {
        Some(op) if op.is_change() => "update",
        Some(_) | None => "read",
    };
    let entry = request.entry(word, path);
    refused(&request.node, &request.core, &entry, fault, Protocol::Json).await
}

impl Call {
    /// Checks, notes and does what is asked for.
    async fn run(&mut self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let asked = self.asked()?;
        let first = asked.first();
        let path = first.map_or_else(|| format!("aws/{}", self.op.name()), |one| one.path.clone());
        let word = first.map_or("read", |one| one.verb.word());
        let is_on = self.request.core.audit.is_on();
        let data = is_on.then(|| {
            let hashed = self.request.core.audit.hashed_fields(self.fields.map());
            format!("{{\"aws\":\"{}\",\"fields\":{hashed}}}", self.op.name())
        });
        let is_noted_first = self.op.is_change() && is_on;
        let mut was_noted = false;
        let result = match self.authorize(&path, &asked).await {
            Err(fault) => Err(fault),
            Ok(()) if is_noted_first => {
                // What cannot be noted must not happen. The disk gets the line while the work is
                // done, and has it before the answer goes out.
                let line = self.entry(word, &path).lines().request(data.as_deref());
                self.request.note(&[&line]).await?;
                was_noted = true;
                let core = Arc::clone(&self.request.core);
                let (handled, synced) = tokio::join!(secrets::run(self), core.audit.sync());
                synced.map_err(|_| Fault::AuditAfterwards)?;
                handled
            }
            Ok(()) => secrets::run(self).await,
        };
        if is_on {
            let lines = self.entry(word, &path).lines();
            let response = match &result {
                Ok(Answer::Built(value)) => {
                    let hashed = self.request.core.audit.hashed(&value.0);
                    lines.response(200, Some(&hashed), None)
                }
                Ok(Answer::Value(known)) => lines.response(200, Some(&known.rendered.audit), None),
                Ok(Answer::Values(values)) => lines.response(200, Some(&values.audit), None),
                Err(fault) => fault.logged(&lines, Protocol::Json),
            };
            let request = lines.request(data.as_deref());
            let mut all: Vec<&str> = Vec::with_capacity(self.lines.len() + 2);
            if !was_noted {
                all.push(&request);
            }
            all.extend(self.lines.iter().map(String::as_str));
            all.push(&response);
            let noted = self.request.note(&all).await;
            match was_noted {
                true => noted.map_err(|_| Fault::AuditAfterwards)?,
                false => noted?,
            }
        }
        Ok(match result? {
            Answer::Built(value) => compact(&value.0),
            Answer::Value(known) => known.rendered.json.clone(),
            Answer::Values(values) => values.json,
        })
    }

    pub(super) fn entry<'a>(&'a self, word: &'a str, path: &'a str) -> Entry<'a> {
        Entry {
            mount: path.starts_with(MOUNT).then_some(&*self.live),
            ..self.request.entry(word, path)
        }
    }

    /// The secret that is named.
    async fn find_target(&self) -> Result<Option<Target>, Fault> {
        match (self.op, self.op.need()) {
            (Op::CreateSecret, _) => {
                let name = input::required(&self.fields, "Name", 1, name::NAME_CHARS_MAX)?;
                if !name::is_name(name) {
                    return Err(Fault::Constraint(
                        "Invalid name. Must be a valid name containing alphanumeric characters, \
                         or any of the following: -/_+=.@!"
                            .into(),
                    ));
                }
                let path = name::path_of(name);
                let path = path
                    .ok_or_else(|| Fault::Parameter("the name is too long to be stored".into()))?;
                let seen = self.request.core.secret(&self.live, &path).await?;
                let name = name.to_owned();
                Ok(Some(Target { path, name, seen }))
            }
            (_, Need::Each | Need::Path(..)) => Ok(None),
            (_, Need::PerhapsSecret(..)) if self.fields.get("SecretId").is_none() => Ok(None),
            (_, Need::Secret(..) | Need::Parts | Need::PerhapsSecret(..)) => {
                let id = input::required(&self.fields, "SecretId", 1, SECRET_ID_CHARS_MAX)?;
                Ok(Some(self.find(id).await?))
            }
        }
    }

    /// Finds a secret by its name or ARN.
    pub(super) async fn find(&self, text: &str) -> Result<Target, Fault> {
        let id = SecretId::parse(text);
        if let SecretId::Arn {
            region, account, ..
        } = &id
            && (*region != self.request.region
                || *account != self.request.node.settings.aws.account)
        {
            return Err(Fault::NotFound);
        }
        let mut first = None;
        for (name, suffix) in id.candidates() {
            let Some(path) = name::path_of(name) else {
                continue;
            };
            let seen = self.request.core.secret(&self.live, &path).await?;
            let seen = seen.filter(|seen| {
                let snapshot = &seen.snapshot;
                let own = || self.live.secrets.name_suffix(snapshot);
                suffix.is_none_or(|suffix| own() == suffix) && self.is_visible(snapshot)
            });
            let is_there = seen.is_some();
            let target = Target {
                name: name::name_of(&path),
                path,
                seen,
            };
            if is_there {
                return Ok(target);
            }
            first = first.or(Some(target));
        }
        first.ok_or(Fault::NotFound)
    }

    /// Whether a secret is in the region that is asked.
    pub(super) fn is_visible(&self, snapshot: &Snapshot) -> bool {
        let region = &self.request.region;
        let facts = snapshot.aws();
        let home = facts.and_then(|facts| facts.primary_region.as_ref());
        let home = home.or(self.request.node.settings.aws.region.as_ref());
        home.is_none_or(|home| home == region) || self.is_replica(snapshot)
    }

    /// Whether what is seen in this region is a replica, which can only be read.
    pub(super) fn is_replica(&self, snapshot: &Snapshot) -> bool {
        let region = &self.request.region;
        let replicas = snapshot.aws().map(|facts| facts.replicas.iter());
        replicas
            .into_iter()
            .flatten()
            .any(|replica| replica.region == *region)
    }

    /// What has to be allowed.
    fn asked(&self) -> Result<Vec<Asked>, Fault> {
        let of_target = |area: Area, verb| match &self.target {
            Some(target) => vec![Asked {
                path: format!("{MOUNT}{}/{}", area.folder(), target.path),
                verb,
            }],
            None => Vec::new(),
        };
        Ok(match self.op.need() {
            Need::Secret(area, verb) | Need::PerhapsSecret(area, verb) => of_target(area, verb),
            Need::Path(path, verb) => vec![Asked {
                path: path.to_owned(),
                verb,
            }],
            Need::Each => Vec::new(),
            Need::Parts => {
                let has_value = self.fields.get("SecretString").is_some()
                    || self.fields.get("SecretBinary").is_some();
                let beside = [
                    "Description",
                    "KmsKeyId",
                    "Tags",
                    "Type",
                    "AddReplicaRegions",
                ];
                let has_more = beside.iter().any(|name| self.fields.get(name).is_some());
                let mut asked = Vec::new();
                if has_value {
                    asked.extend(of_target(Area::Data, Verb::Write));
                }
                if has_more || !has_value {
                    asked.extend(of_target(Area::Metadata, Verb::Write));
                }
                asked
            }
        })
    }

    async fn authorize(&self, path: &str, asked: &[Asked]) -> Result<(), Fault> {
        self.request.check_rate(path)?;
        // What is no secret is always there.
        let exists = self
            .target
            .as_ref()
            .is_none_or(|target| target.seen.is_some());
        for one in asked {
            if !self.may(&one.path, one.verb, exists) {
                return Err(self.denied(self.target.as_ref()));
            }
        }
        self.check_resource_policy()
    }

    /// What the policy of the secret itself says.
    fn check_resource_policy(&self) -> Result<(), Fault> {
        let Some(seen) = self.target.as_ref().and_then(|target| target.seen.as_ref()) else {
            return Ok(());
        };
        let is_about_policies = matches!(
            self.op,
            Op::PutResourcePolicy | Op::DeleteResourcePolicy | Op::GetResourcePolicy
        );
        // Whoever may do everything gets out of what locks everybody out.
        if is_about_policies && self.request.key.known.token.is_root() {
            return Ok(());
        }
        let stage = self.fields.get("VersionStage").and_then(Value::as_str);
        let stage = match (self.op, stage) {
            (Op::GetSecretValue, None) if self.fields.get("VersionId").is_none() => {
                Some(STAGE_CURRENT)
            }
            (_, stage) => stage,
        };
        secrets::check_policy(self, self.op.name(), &seen.snapshot, stage)
    }

    /// What policies say, exactly as at Vault's door.
    pub(super) fn may(&self, path: &str, verb: Verb, exists: bool) -> bool {
        let acl = self.request.core.acl_of(&self.request.key.known);
        if acl.is_root() {
            return true;
        }
        let Ok(path) = path.parse::<RequestPath>() else {
            return false;
        };
        let params: &[(&str, ParamValue<'_>)] = match verb {
            Verb::Write => &[("data", ParamValue::Other)],
            Verb::Read | Verb::List | Verb::Scan | Verb::Patch | Verb::Delete => &[],
        };
        let is_allowed = |capability| {
            let access = Access {
                path: &path,
                capability,
                params,
                wrap_ttl: None,
            };
            acl.decide(&access).is_allowed
        };
        match verb {
            Verb::Write => match (
                is_allowed(Capability::Create),
                is_allowed(Capability::Update),
            ) {
                (create, update) if create == update => create,
                (create, update) => match exists {
                    true => update,
                    false => create,
                },
            },
            _ => is_allowed(verb.capability()),
        }
    }

    /// The refusal of a secret; it says the same whether or not there is one.
    pub(super) fn denied(&self, target: Option<&Target>) -> Fault {
        let resource = match target {
            // As it was named: whether there is one, and which suffix it has, is not told.
            Some(target) => match self.fields.get("SecretId").and_then(Value::as_str) {
                Some(id) if id.starts_with("arn:") => id.to_owned(),
                _ => target.name.clone(),
            },
            None => "*".to_owned(),
        };
        Fault::Denied(Denied {
            user: self.request.user_arn(),
            action: format!("secretsmanager:{}", self.op.name()),
            resource,
            why: "because no policy of its access key allows it",
        })
    }

    /// The secret that is named, which has to be there.
    pub(super) fn target(&self) -> Result<&Target, Fault> {
        self.target.as_ref().ok_or(Fault::NotFound)
    }

    /// The secret as it was found.
    pub(super) fn snapshot(&self) -> Result<&Snapshot, Fault> {
        Ok(&self.seen()?.snapshot)
    }

    /// The same, with the answers that were given of it.
    pub(super) fn seen(&self) -> Result<&Seen, Fault> {
        let seen = self.target()?.seen.as_deref();
        seen.ok_or(Fault::NotFound)
    }

    /// The secret as it was found, for a change of it.
    pub(super) fn primary(&self) -> Result<&Snapshot, Fault> {
        let snapshot = self.snapshot()?;
        match self.is_replica(snapshot) {
            true => Err(Fault::Parameter(
                "Operation not permitted on a replica secret. Call must be made in primary \
                 secret's region."
                    .into(),
            )),
            false => Ok(snapshot),
        }
    }

    /// The ARN of a secret.
    pub(super) fn arn(&self, snapshot: &Snapshot) -> String {
        let path = snapshot.path();
        format!(
            "{}{}-{}",
            self.arn_prefix(),
            name::name_of(path),
            self.live.secrets.name_suffix(snapshot)
        )
    }

    pub(super) fn arn_prefix(&self) -> String {
        let account = &self.request.node.settings.aws.account;
        let region = &self.request.region;
        format!("arn:aws:secretsmanager:{region}:{account}:secret:")
    }

    /// Who does this, for the engine.
    pub(super) fn context(&self) -> OpContext {
        OpContext {
            actor: self.request.key.id.clone(),
            door: "aws".into(),
            request_id: self.request.request_id.clone(),
            now: self.request.now,
        }
    }

    /// What the mount wants of every write.
    pub(super) async fn limits(&self) -> Result<Limits, Fault> {
        let config = self.live.kv2(&self.request.core).await?;
        Ok(Limits {
            cas_required: config.cas_required,
            delete_after: config.delete_after(),
        })
    }
}

/// A time as this protocol writes it: seconds, to the millisecond.
pub(super) fn time(at: Timestamp) -> Value {
    let millis = at.as_micros().div_euclid(1000);
    let text = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    let number = text.parse::<Number>();
    number.map_or(Value::Null, Value::Number)
}
