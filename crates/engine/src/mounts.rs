//! The table of mounts: what answers below which prefix.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_core::port::Rng;

use crate::error::Error;
use crate::secrets::Engine;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// Most mounts of one store.
pub const MOUNTS_MAX: usize = 10_000;
/// Longest mount path, in bytes.
pub const MOUNT_PATH_BYTES_MAX: usize = 256;
/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// What answers at a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engines {
    /// Values without versions.
    Kv1,
    /// Values with versions.
    Kv2,
    /// A private place of each token.
    Cubbyhole,
    /// The server itself.
    System,
    /// Tokens.
    Token,
    /// Names and passwords.
    Userpass,
    /// Roles of machines.
    AppRole,
    /// Users of databases.
    Database,
}

impl Engines {
    /// The type that clients name it by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kv1 | Self::Kv2 => "kv",
            Self::Cubbyhole => "cubbyhole",
            Self::System => "system",
            Self::Token => "token",
            Self::Userpass => "userpass",
            Self::AppRole => "approle",
            Self::Database => "database",
        }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What answers.
    pub engine: Engines,
    /// The operators' words for it.
    pub description: String,
    /// Its id: also the space its records lie in.
    pub uuid: [u8; 16],
    /// Its records lie in the store's own space, shared with the command line.
    pub is_default_space: bool,
    /// Harmless handle.
    pub accessor: String,
    /// Lifetime of what it gives, in seconds; 0 for the server's.
    pub default_lease_ttl: i64,
    /// Longest lifetime of what it gives, in seconds; 0 for the server's.
    pub max_lease_ttl: i64,
    /// Options as given at mounting.
    pub options: Option<BTreeMap<String, String>>,
    /// Kept for clients that set it; nothing is cached across requests that could be stale.
    pub force_no_cache: bool,
    /// Kept for clients that set it.
    pub is_local: bool,
    /// Kept for clients that set it.
    pub seal_wrap: bool,
    /// Kind of tokens an auth method gives.
    pub token_type: String,
    /// Visibility in lists of those who may not see mounts; empty for hidden.
    pub listing_visibility: String,
    /// Request keys whose values stand in clear in the audit log.
    pub audit_clear_request: Vec<String>,
    /// Response keys whose values stand in clear in the audit log.
    pub audit_clear_response: Vec<String>,
    /// Request headers an engine may see.
    pub passthrough_headers: Vec<String>,
    /// Response headers an engine may set.
    pub response_headers: Vec<String>,
}

impl Mount {
    /// A mount with nothing set.
    #[must_use]
    pub fn new(engine: Engines, rng: &dyn Rng) -> Self {
        let mut uuid = [0; 16];
        rng.fill(&mut uuid);
        let mut tail = [0; 4];
        rng.fill(&mut tail);
        let prefix = match engine {
            Engines::Token | Engines::Userpass | Engines::AppRole => "auth_",
            _ => "",
        };
        let tail = u32::from_be_bytes(tail);
        Self {
            engine,
            description: String::new(),
            uuid,
            is_default_space: false,
            accessor: format!("{prefix}{}_{tail:08x}", engine.word()),
            default_lease_ttl: 0,
            max_lease_ttl: 0,
            options: None,
            force_no_cache: false,
            is_local: false,
            seal_wrap: false,
            token_type: "default-service".into(),
            listing_visibility: String::new(),
            audit_clear_request: Vec::new(),
            audit_clear_response: Vec::new(),
            passthrough_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }

    /// The space of its records: `None` for the store's own.
    #[must_use]
    pub fn space(&self) -> Option<[u8; 16]> {
        (!self.is_default_space).then_some(self.uuid)
    }

    /// The owner's name of its state records.
    #[must_use]
    pub fn owner(&self) -> String {
        use std::fmt::Write;
        self.uuid.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// All mounts by their path, which ends with `/`; auth methods begin with `auth/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// By path.
    pub by_path: BTreeMap<String, Mount>,
}

impl Stored for Mounts {
    const KIND: Kind = Kind::Mounts;
}

impl Mounts {
    /// What every server has.
    #[must_use]
    pub fn first(rng: &dyn Rng) -> Self {
        let mut by_path = BTreeMap::new();
        let mut add = |path: &str, engine, description: &str| {
            let mut mount = Mount::new(engine, rng);
            mount.description = description.into();
            mount.is_local = engine == Engines::Cubbyhole;
            if engine == Engines::System {
                mount.seal_wrap = true;
                mount.passthrough_headers = vec!["Accept".into()];
            }
            by_path.insert(path.to_owned(), mount);
        };
        let system = "system endpoints used for control, policy and debugging";
        add("sys/", Engines::System, system);
        let private = "per-token private secret storage";
        add("cubbyhole/", Engines::Cubbyhole, private);
        add("auth/token/", Engines::Token, "token based credentials");
        Self { by_path }
    }

    /// The mount that a path lies below, with the mount's path: the longest that fits.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(&str, &Mount)> {
        let mut end = path.len();
        loop {
            let prefix = path.get(..end)?;
            if let Some((at, mount)) = self.by_path.get_key_value(prefix) {
                return Some((at.as_str(), mount));
            }
            let before = prefix.strip_suffix('/').unwrap_or(prefix);
            end = before.rfind('/').map_or(0, |at| at + 1);
            if end == 0 {
                return None;
            }
        }
    }

    /// A mount that a new one at `path` would lie above or below of.
    #[must_use]
    pub fn conflict(&self, path: &str) -> Option<&str> {
        let paths = self.by_path.keys();
        let mut clashing = paths.filter(|at| at.starts_with(path) || path.starts_with(at.as_str()));
        clashing.next().map(String::as_str)
    }
}

/// A space whose records are removed in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The space.
    pub space: [u8; 16],
    /// The mount it was.
    pub path: String,
}

impl Stored for Doomed {
    const KIND: Kind = Kind::Doomed;
}

/// The table's name: there is one.
const TABLE: &str = "mounts";

impl State {
    /// The id of the table's record.
    #[must_use]
    pub fn mounts_id(&self) -> strongroom_core::port::RecordId {
        self.id_of::<Mounts>(TABLE)
    }

    /// The table of mounts; `None` in a store that no server has used yet.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn mounts(&self) -> Result<Option<Found<Mounts>>, Error> {
        self.load(TABLE).await
    }

    /// The change that writes the table.
    #[must_use]
    pub fn put_mounts(&self, mounts: &Mounts, precondition: Precondition) -> BatchItem {
        self.put(&Put::named(TABLE, Shelf::Kind).when(precondition), mounts)
    }

    /// Changes the table; `edit` may add further changes to the same commit.
    ///
    /// # Errors
    /// What `edit` answers, `Contended`, storage errors.
    pub async fn edit_mounts<T>(
        &self,
        mut edit: impl FnMut(&mut Mounts, &mut Vec<BatchItem>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut found) = self.mounts().await? else {
                return Err(Error::Damaged {
                    what: "the table of mounts".into(),
                    detail: "it is not there".into(),
                });
            };
            let mut batch = Vec::new();
            let result = edit(&mut found.value, &mut batch)?;
            batch.push(self.put_mounts(&found.value, found.unchanged()));
            if self.commit(batch).await? {
                return Ok(result);
            }
        }
        Err(state::contended())
    }

    /// The first records of a mount's space.
    #[must_use]
    pub fn first_of_space(&self, mount: &Mount) -> Vec<BatchItem> {
        match (mount.engine, mount.space()) {
            (Engines::Kv1 | Engines::Kv2, Some(space)) => {
                Engine::first_records(&self.barrier().within(space))
            }
            _ => Vec::new(),
        }
    }

    /// The change that has a mount's space removed.
    #[must_use]
    pub fn doom(&self, path: &str, mount: &Mount) -> BatchItem {
        let doomed = Doomed {
            space: mount.uuid,
            path: path.to_owned(),
        };
        let name = mount.owner();
        self.put(&Put::named(&name, Shelf::Kind), &doomed)
    }
}
