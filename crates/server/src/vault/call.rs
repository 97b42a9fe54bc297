//! One request on its way through the door.

use std::net::IpAddr;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::policy::Capability;
use strongroom_core::policy::RequestPath;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_engine::context::OpContext;

use super::body::Fields;
use super::error::Fault;
use super::query::Query;
use super::spelling::Spelling;
use crate::core::Core;
use crate::core::Known;
use crate::core::Live;
use crate::ledger::Door;
use crate::node::Node;

/// What is wanted of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Read,
    List,
    Scan,
    Write,
    Patch,
    Delete,
}

impl Verb {
    /// The word in the audit log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Write => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether it may change something.
    pub(crate) fn is_change(self) -> bool {
        match self {
            Self::Read | Self::List | Self::Scan => false,
            Self::Write | Self::Patch | Self::Delete => true,
        }
    }

    /// What a policy has to allow; a write may also be the making of something.
    pub(crate) fn capability(self) -> Capability {
        match self {
            Self::Read => Capability::Read,
            Self::List => Capability::List,
            Self::Scan => Capability::Scan,
            Self::Write => Capability::Update,
            Self::Patch => Capability::Patch,
            Self::Delete => Capability::Delete,
        }
    }
}

/// A request to an unsealed server.
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    pub(crate) core: Arc<Core>,
    pub(crate) verb: Verb,
    pub(crate) path: RequestPath,
    /// The mount that answers.
    pub(crate) live: Arc<Live>,
    /// What the route's `+` and `*` stand for.
    pub(crate) captures: Vec<String>,
    /// How else the path may be written.
    pub(crate) spelling: Option<Spelling>,
    pub(crate) query: Query,
    pub(crate) fields: Fields,
    pub(crate) caller: Option<Arc<Known>>,
    /// The token as it was sent.
    pub(crate) token: Option<SecretValue>,
    pub(crate) remote: IpAddr,
    pub(crate) now: Timestamp,
    pub(crate) request_id: String,
    pub(crate) wrap_ttl: Option<i64>,
    /// Headers that the audit log tells, as JSON.
    pub(crate) headers: Option<String>,
}

impl Call {
    /// What the route's nth `+` or `*` stands for.
    pub(crate) fn capture(&self, at: usize) -> &str {
        self.captures.get(at).map_or("", String::as_str)
    }

    /// The caller; routes that need one have checked that it is there.
    pub(crate) fn caller(&self) -> Result<&Arc<Known>, Fault> {
        self.caller.as_ref().ok_or(Fault::NoToken)
    }

    /// Who does this, for the engine.
    pub(crate) fn context(&self) -> OpContext {
        let caller = self.caller.as_ref();
        OpContext {
            actor: caller.map_or_else(String::new, |known| known.token.accessor.clone()),
            door: "vault".into(),
            request_id: self.request_id.clone(),
            now: self.now,
        }
    }

    /// Tells the ledger that a version is in the answer.
    pub(crate) fn note_read(&self, path: &SecretPath, info: &VersionInfo) {
        if let Some(caller) = &self.caller {
            let reads = &self.core.reads;
            reads.note(Door::Vault, caller, &self.live, (path, info), self.now);
        }
    }

    /// The path of a secret in the route's last capture.
    pub(crate) fn secret_path(&self) -> Result<SecretPath, Fault> {
        let text = self.captures.last().map_or("", String::as_str);
        text.parse()
            .map_err(|error: strongroom_core::path::ParsePathError| {
                Fault::invalid(error.to_string())
            })
    }

    /// Whether the caller may do everything, or this with `sudo`.
    pub(crate) fn has_sudo(&self) -> bool {
        self.caller.as_ref().is_some_and(|known| {
            let acl = self.core.acl_of(known);
            let access = strongroom_core::policy::Access {
                path: &self.path,
                capability: self.verb.capability(),
                params: &[],
                wrap_ttl: None,
            };
            acl.decide(&access).has_sudo
        })
    }
}
