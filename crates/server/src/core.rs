//! Everything that an unsealed server holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use strongroom_core::path::SecretPath;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Unsealed;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::mounts::Mount;
use strongroom_engine::mounts::Mounts;
use strongroom_engine::secrets::Snapshot;
use strongroom_engine::secrets::Trail;
use strongroom_engine::state::State;
use strongroom_engine::tokens::Token;

use crate::access::Policies;
use crate::audit::AuditLog;
use crate::aws::keys::KnownKey;
use crate::cache::Cache;
use crate::kv_config::Kv2Config;
use crate::quota::Quotas;

/// Memory for secrets that were read, in bytes.
const SECRETS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Memory for the names in folders that were listed, in bytes.
const LISTINGS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a name is counted as beside its bytes: it is held as it is, as JSON and as a hash.
const NAME_BYTES: usize = 128;
/// Memory for tokens that were seen, in bytes.
const TOKENS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Memory for access keys that were seen, in bytes.
const KEYS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What one token is counted as.
const TOKEN_BYTES: usize = 768;
/// Changes looked at in one go; when there are more, everything is read anew.
const CHANGES_MAX: usize = 512;

/// An unsealed store with its state in memory.
pub(crate) struct Core {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) state: State,
    pub(crate) secrets: Engine,
    pub(crate) audit: AuditLog,
    pub(crate) quotas: Quotas,
    pub(crate) options: crate::options::Live,
    pub(crate) keys: Mutex<Unsealed>,
    /// Shown to clients.
    pub(crate) cluster_id: String,
    pub(crate) cluster_name: String,
    mounts: ArcSwap<Table>,
    policies: ArcSwap<Policies>,
    secrets_seen: Cache<Seen>,
    listings_seen: Cache<Listing>,
    tokens_seen: Cache<Known>,
    pub(crate) keys_seen: Cache<KnownKey>,
    /// When secrets were last read, for AWS clients.
    pub(crate) days: crate::aws::accessed::Days,
    /// Reads that the ledger is told of.
    pub(crate) reads: crate::ledger::Reads,
    /// What lists of AWS clients tell.
    pub(crate) catalogues: crate::aws::catalogue::Catalogues,
    era: Arc<AtomicU64>,
    /// The store's sign up to which the caches are known to be right.
    fresh_at: AtomicU64,
    refreshing: tokio::sync::Mutex<u64>,
}

/// How memory stands to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// Somebody has written meanwhile, perhaps another process.
    Outdated,
    /// The storage does not tell; no other process can write to it.
    Unknown,
}

/// A secret in memory, with its answers as they were given.
pub(crate) struct Seen {
    pub(crate) id: RecordId,
    pub(crate) snapshot: Snapshot,
    /// The day for which a reading of its current version was noted.
    pub(crate) read_on: crate::aws::accessed::Day,
    pub(crate) rendered: std::sync::OnceLock<Arc<crate::vault::reply::Rendered>>,
    /// The same for AWS clients.
    pub(crate) for_aws: std::sync::OnceLock<Arc<crate::aws::InRegion>>,
}

/// The names in a folder, with its listing as it was given.
pub(crate) struct Listing {
    pub(crate) names: Vec<String>,
    pub(crate) rendered: std::sync::OnceLock<Arc<crate::vault::reply::Rendered>>,
}

/// A token in memory.
pub(crate) struct Known {
    pub(crate) id: RecordId,
    pub(crate) token: Token,
    /// Keyed hashes for the audit log.
    pub(crate) token_hash: String,
    pub(crate) accessor_hash: String,
    /// The policies as text, for the audit log.
    pub(crate) policies_json: String,
    /// What it may do, and for which policies that holds.
    acl: ArcSwap<(u64, Option<Arc<crate::access::Acl>>)>,
}

/// A mount in use.
pub(crate) struct Live {
    pub(crate) path: String,
    pub(crate) mount: Mount,
    pub(crate) secrets: Engine,
    pub(crate) owner: String,
    pub(crate) config: ArcSwap<Option<Kv2Config>>,
}

/// The mounts in use.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) mounts: Mounts,
    live: BTreeMap<String, Arc<Live>>,
}

impl Table {
    /// The mount that a path lies below.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Live>> {
        let (at, _) = self.mounts.find(path)?;
        self.live.get(at)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Live>> {
        self.live.get(path)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.live.values()
    }

    /// The mount of an id.
    pub(crate) fn by_uuid(&self, uuid: [u8; 16]) -> Option<&Arc<Live>> {
        self.live.values().find(|live| live.mount.uuid == uuid)
    }
}

impl Core {
    /// Reads what a server needs from an open store.
    pub(crate) async fn open(
        storage: Arc<dyn Storage>,
        barrier: Barrier,
        keys: Unsealed,
        audit: AuditLog,
    ) -> Result<Self, Error> {
        let state = State::new(Arc::clone(&storage), barrier.clone());
        let secrets = Engine::new(Arc::clone(&storage), barrier.clone()).with(None, Trail::Door);
        let era = Arc::new(AtomicU64::new(0));
        let cluster_id = uuid_text(&barrier.keyed_hash("cluster id", b""));
        let cluster_name = format!("strongroom-cluster-{}", &cluster_id[..8]);
        let revision = storage.revision().await?;
        let options = crate::options::Live::load(&state).await?;
        let core = Self {
            secrets_seen: Cache::new(SECRETS_BYTES_MAX, Arc::clone(&era)),
            listings_seen: Cache::new(LISTINGS_BYTES_MAX, Arc::clone(&era)),
            tokens_seen: Cache::new(TOKENS_BYTES_MAX, Arc::clone(&era)),
            keys_seen: Cache::new(KEYS_BYTES_MAX, Arc::clone(&era)),
            days: crate::aws::accessed::Days::default(),
            reads: crate::ledger::Reads::default(),
            catalogues: crate::aws::catalogue::Catalogues::default(),
            storage,
            state,
            secrets,
            audit,
            quotas: Quotas::default(),
            options,
            keys: Mutex::new(keys),
            cluster_id,
            cluster_name,
            mounts: ArcSwap::default(),
            policies: ArcSwap::default(),
            era,
            fresh_at: AtomicU64::new(u64::MAX),
            refreshing: tokio::sync::Mutex::new(revision),
        };
        core.load_mounts().await?;
        core.load_policies().await?;
        core.quotas.load(&core.state).await?;
        Ok(core)
    }

    /// Drops from memory what has changed in the store, by whomever. Called before every request.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        if self.freshness() == Freshness::Fresh {
            return Ok(());
        }
        let mut seen = self.refreshing.lock().await;
        let sign = self.storage.sign();
        if let Some(sign) = sign
            && sign == self.fresh_at.load(Ordering::Acquire)
        {
            return Ok(());
        }
        let changes = self.storage.watch(*seen, CHANGES_MAX).await?;
        if let Some(last) = changes.last() {
            let now = last.revision;
            self.era.fetch_add(1, Ordering::SeqCst);
            if changes.len() < CHANGES_MAX {
                let ids: Vec<RecordId> = changes.iter().map(|change| change.id).collect();
                self.drop_changed(&ids).await?;
                *seen = now;
            } else {
                *seen = self.storage.revision().await?;
                self.secrets_seen.clear();
                self.listings_seen.clear();
                self.tokens_seen.clear();
                self.keys_seen.clear();
                self.catalogues.clear();
                self.load_mounts().await?;
                self.load_policies().await?;
                self.quotas.load(&self.state).await?;
                self.options.reload(&self.state).await?;
            }
        }
        if let Some(sign) = sign {
            self.fresh_at.store(sign, Ordering::Release);
        }
        Ok(())
    }

    /// Whether what is in memory is what is stored, as far as the storage tells.
    pub(crate) fn freshness(&self) -> Freshness {
        match self.storage.sign() {
            None => Freshness::Unknown,
            Some(sign) if sign == self.fresh_at.load(Ordering::Acquire) => Freshness::Fresh,
            Some(_) => Freshness::Outdated,
        }
    }

    async fn drop_changed(&self, ids: &[RecordId]) -> Result<(), Error> {
        for id in ids {
            self.secrets_seen.remove(*id);
            self.listings_seen.remove(*id);
            self.tokens_seen.remove(*id);
            self.keys_seen.remove(*id);
        }
        self.catalogues.note_changed(ids);
        if ids.contains(&self.state.mounts_id()) {
            self.load_mounts().await?;
        }
        if ids.contains(&self.state.policy_epoch_id()) {
            self.load_policies().await?;
        }
        for live in self.mounts.load().live.values() {
            let id = self.state.id_of::<Kv2Config>(&live.owner);
            if live.config.load().is_some() && ids.contains(&id) {
                live.config.store(Arc::new(None));
            }
        }
        if self.quotas.has_changed(ids) {
            self.quotas.load(&self.state).await?;
        }
        self.options.follow(&self.state, ids).await?;
        Ok(())
    }

    async fn load_mounts(&self) -> Result<(), Error> {
        let mounts = self.state.mounts().await?.map(|found| found.value);
        let mounts = mounts.unwrap_or_default();
        let before = self.mounts.load();
        let mut live = BTreeMap::new();
        for (path, mount) in &mounts.by_path {
            let kept = before.live.get(path).filter(|live| live.mount == *mount);
            let entry = match kept {
                Some(kept) => Arc::clone(kept),
                None => Arc::new(Live {
                    path: path.clone(),
                    secrets: self.secrets.with(mount.space(), Trail::Door),
                    owner: mount.owner(),
                    mount: mount.clone(),
                    config: ArcSwap::from_pointee(None),
                }),
            };
            live.insert(path.clone(), entry);
        }
        self.mounts.store(Arc::new(Table { mounts, live }));
        Ok(())
    }

    async fn load_policies(&self) -> Result<(), Error> {
        let epoch = self.policies.load().epoch + 1;
        let policies = Policies::load(&self.state, epoch).await?;
        self.policies.store(Arc::new(policies));
        Ok(())
    }

    /// The mounts as they are now.
    pub(crate) fn mounts(&self) -> Arc<Table> {
        self.mounts.load_full()
    }

    /// The policies as they are now.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// A secret, from memory where nothing has changed since it was read.
    pub(crate) async fn secret(
        &self,
        live: &Live,
        path: &SecretPath,
    ) -> Result<Option<Arc<Seen>>, Error> {
        let id = live.secrets.secret_id(path);
        if let Some(seen) = self.secrets_seen.get(id) {
            return Ok(Some(seen));
        }
        let era = self.secrets_seen.era();
        let Some(snapshot) = live.secrets.snapshot(path).await? else {
            return Ok(None);
        };
        // The value is held three times: in the snapshot and in its rendered answers.
        let weight = 2048 + snapshot.bytes() * 4;
        let seen = Arc::new(Seen {
            id,
            snapshot,
            read_on: crate::aws::accessed::Day::default(),
            rendered: std::sync::OnceLock::new(),
            for_aws: std::sync::OnceLock::new(),
        });
        self.secrets_seen.put(id, &seen, weight, era);
        Ok(Some(seen))
    }

    /// The names in a folder, from memory where nothing in it has changed since they were read.
    pub(crate) async fn listing(&self, live: &Live, folder: &str) -> Result<Arc<Listing>, Error> {
        let id = live.secrets.folder_id(folder);
        if let Some(listing) = self.listings_seen.get(id) {
            return Ok(listing);
        }
        let era = self.listings_seen.era();
        let names = live.secrets.names(folder).await?;
        let weight = names.iter().map(|name| 2 * name.len() + NAME_BYTES).sum();
        let listing = Arc::new(Listing {
            names,
            rendered: std::sync::OnceLock::new(),
        });
        self.listings_seen.put(id, &listing, weight, era);
        Ok(listing)
    }

    /// A stored token by its id, from memory where nothing has changed since it was read.
    pub(crate) async fn known(&self, id: RecordId) -> Result<Option<Arc<Known>>, Error> {
        if let Some(known) = self.tokens_seen.get(id) {
            return Ok(Some(known));
        }
        let era = self.tokens_seen.era();
        let Some(found) = self.state.token(id).await? else {
            return Ok(None);
        };
        let known = Arc::new(self.known_as(id, found.value));
        self.tokens_seen.put(id, &known, TOKEN_BYTES, era);
        Ok(Some(known))
    }

    /// A token that is not in the cache, ready for use.
    pub(crate) fn known_as(&self, id: RecordId, token: Token) -> Known {
        Known {
            id,
            token_hash: self.audit.hash(format!("{id:?}").as_bytes()),
            accessor_hash: self.audit.hash(token.accessor.as_bytes()),
            policies_json: serde_json::to_string(&token.policies).unwrap_or_default(),
            token,
            acl: ArcSwap::from_pointee((0, None)),
        }
    }

    /// What a token may do, by the policies of this moment.
    pub(crate) fn acl_of(&self, known: &Known) -> Arc<crate::access::Acl> {
        let policies = self.policies.load();
        let cached = known.acl.load();
        if let (epoch, Some(acl)) = &**cached
            && *epoch == policies.epoch
        {
            return Arc::clone(acl);
        }
        let acl = policies.acl(&known.token);
        known
            .acl
            .store(Arc::new((policies.epoch, Some(Arc::clone(&acl)))));
        acl
    }

    /// The keys, for as long as nothing is awaited.
    pub(crate) fn with_keys<T>(&self, work: impl FnOnce(&mut Unsealed) -> T) -> T {
        work(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Longest lifetime of what a mount gives, in seconds.
    pub(crate) fn max_ttl_of(&self, mount: [u8; 16]) -> i64 {
        let table = self.mounts.load();
        let mut mounts = table.mounts.by_path.values();
        let own = mounts.find(|other| other.uuid == mount);
        own.map(|mount| mount.max_lease_ttl)
            .filter(|ttl| *ttl > 0)
            .unwrap_or(strongroom_engine::tokens::TTL_SECONDS_MAX_DEFAULT)
    }
}

impl Known {
    /// Whether it opens anything now.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        self.token.is_alive(now)
    }
}

/// Sixteen bytes as a UUID's text.
pub(crate) fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(&mut text, *byte);
    }
    text
}

/// A byte as two digits. By hand: it is done for every request.
pub(crate) fn push_hex(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        let letter = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
        text.push(char::from(letter));
    }
}

/// The storage's failure as the engine's.
pub(crate) fn storage(error: StorageError) -> Error {
    error.into()
}
