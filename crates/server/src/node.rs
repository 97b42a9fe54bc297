//! A server: uninitialised, sealed or unsealed.

mod ceremony;
mod setup;
mod shares;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use strongroom_core::port::Clock;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::UnsealError;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::password::LOGIN_COST;
use strongroom_crypto::password::PasswordHash;
use strongroom_engine::Error;
use strongroom_engine::duty::LEASE_SECONDS;
use strongroom_engine::duty::Moment;
use strongroom_engine::duty::Post;

use crate::audit::AuditLog;
use crate::audit::Device;
use crate::audit::file::FileDevice;
use crate::audit::sink::SinkDevice;
use crate::core::Core;
use crate::core::Freshness;
use crate::keeper::Keeper;
use crate::keeper::KeeperError;
use crate::metrics::Metrics;

pub(crate) use ceremony::Attempt;
pub(crate) use ceremony::Ceremonies;
pub(crate) use ceremony::Progress;
pub(crate) use ceremony::Rekey;
pub(crate) use ceremony::RootAttempt;
pub(crate) use ceremony::Waiting;
pub(crate) use ceremony::delay_after;
pub(crate) use ceremony::new_nonce;
pub use setup::CreateError;
pub use setup::DevKeys;
pub(crate) use setup::FIRST_DEVICE;
pub use setup::FirstMount;
pub(crate) use shares::LABEL;
pub(crate) use shares::ShareSlot;

/// What a server is told at its start and keeps for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where audit files lie; `None` keeps no audit log.
    pub audit_folder: Option<PathBuf>,
    /// Where the system's log listens, for audit devices that write there.
    pub syslog_socket: PathBuf,
    /// An audit file is kept from the first start on.
    pub audit_from_start: bool,
    /// What `secret/` is in a store that no server has used yet.
    pub first_mount: FirstMount,
    /// The store's own space may be unmounted: nobody else uses it.
    pub may_drop_own_space: bool,
    /// Shown to clients.
    pub version: String,
    /// What AWS's names say of it.
    pub aws: crate::aws::Names,
}

/// One server process.
pub struct Node {
    pub(crate) keeper: Box<dyn Keeper>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) log: crate::log::Log,
    pub(crate) moves: crate::moves::Moves,
    pub(crate) lockouts: crate::lockout::Lockouts,
    pub(crate) hashing: crate::hashing::Hashing,
    pub(crate) bodies: crate::bodies::Bodies,
    pub(crate) wake: tokio::sync::Notify,
    pub(crate) rotate: crate::rotate::Driver,
    pub(crate) leases: crate::leases::Driver,
    pub(crate) databases: crate::databases::Databases,
    /// Whether this server does the background work, of those on one store.
    pub(crate) upkeep: tokio::sync::Mutex<Post>,
    begun: Instant,
    pub(crate) users: crate::users::Users,
    nobody: tokio::sync::OnceCell<PasswordHash>,
    core: ArcSwapOption<Core>,
    /// The header's generation that the keys are of.
    generation: AtomicU64,
    /// Held by the request that brings the caches up to what is stored.
    refreshing: tokio::sync::Mutex<()>,
    pub(crate) ceremonies: tokio::sync::Mutex<Ceremonies>,
    /// Attempts to unseal in a row that opened nothing. Whoever gives a share holds it.
    pub(crate) unseal_failures: tokio::sync::Mutex<u32>,
    share_slots: std::sync::Mutex<shares::ShareSlots>,
}

/// Why a server cannot be unsealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The key does not open the store.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// The store.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// What is in it.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The audit log.
    #[error("the audit log {} cannot be opened: {detail}", .path.display())]
    Audit {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// An audit device that is no file.
    #[error("the audit device {name} cannot be opened: {detail}")]
    Sink {
        /// Which device.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// There is no store yet.
    #[error("there is no store yet")]
    Uninitialised,
}

impl Node {
    /// A sealed server over a keeper.
    #[must_use]
    pub fn new(
        keeper: Box<dyn Keeper>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        settings: Settings,
    ) -> Self {
        let rotate = crate::rotate::Driver::new(&*rng);
        let upkeep = Post::new("upkeep", rotate.holder(), LEASE_SECONDS);
        let leases = crate::leases::Driver::new(rotate.holder());
        Self {
            keeper,
            clock,
            rng,
            settings,
            metrics: Metrics::default(),
            log: crate::log::Log,
            moves: crate::moves::Moves::default(),
            lockouts: crate::lockout::Lockouts::default(),
            hashing: crate::hashing::Hashing::default(),
            bodies: crate::bodies::Bodies::default(),
            wake: tokio::sync::Notify::new(),
            rotate,
            leases,
            databases: crate::databases::Databases::default(),
            upkeep: tokio::sync::Mutex::new(upkeep),
            begun: Instant::now(),
            users: crate::users::Users::default(),
            nobody: tokio::sync::OnceCell::new(),
            core: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
            ceremonies: tokio::sync::Mutex::default(),
            unseal_failures: tokio::sync::Mutex::default(),
            share_slots: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the machine's clock shows: for what others compare with theirs.
    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// A point in time as others may see it by their clocks.
    pub(crate) fn for_others(&self, at: Timestamp) -> Timestamp {
        crate::clock::for_others(&*self.clock, at)
    }

    /// Now, also by the clock that is never set.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            steady: self.begun.elapsed(),
        }
    }

    /// A hash that no password fits, for names that are not there: checking takes as long.
    pub(crate) async fn nobody(&self) -> Result<PasswordHash, crate::vault::error::Fault> {
        let hash = self
            .nobody
            .get_or_try_init(|| async {
                let mut password = [0; 32];
                self.rng.fill(&mut password);
                let password = SecretValue::copy_from(&password);
                let rng = Arc::clone(&self.rng);
                let hashing = move || PasswordHash::new(&password, LOGIN_COST, &*rng);
                self.hashing.run(hashing).await?.map_err(|_| {
                    crate::vault::error::Fault::Internal("a password could not be hashed".into())
                })
            })
            .await?;
        Ok(hash.clone())
    }

    /// Has background work look at once.
    pub(crate) fn wake_tasks(&self) {
        self.wake.notify_one();
    }

    /// What an unsealed server holds.
    pub(crate) fn core(&self) -> Option<Arc<Core>> {
        self.core.load_full()
    }

    /// Whether nobody has unsealed it.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.core.load().is_none()
    }

    /// The header; `None` before the first start.
    pub(crate) fn header(&self) -> Result<Option<Header>, KeeperError> {
        self.keeper.header()
    }

    /// Unseals with what opens one key slot.
    ///
    /// # Errors
    /// When it does not fit, or the store or audit log cannot be opened.
    pub async fn unseal_with(&self, slot: u32, secret: &SecretValue) -> Result<(), StartError> {
        let header = self.header()?.ok_or(StartError::Uninitialised)?;
        let keys = header.unseal(slot, secret)?;
        self.open(&header, keys).await
    }

    /// Unseals with keys that are open already.
    ///
    /// # Errors
    /// When the store or audit log cannot be opened.
    pub async fn open(&self, header: &Header, keys: Unsealed) -> Result<(), StartError> {
        let barrier = Barrier::new(header.store_id(), &keys.keyring);
        let storage = self.keeper.open(&barrier)?;
        setup::first_start(self, &storage, &barrier).await?;
        let devices = self.audit_devices(&barrier, &storage).await?;
        let audit = AuditLog::new(barrier.clone(), devices);
        let core = Core::open(storage, barrier, keys, audit).await?;
        let version = &self.settings.version;
        core.options
            .note_version(&core.state, version, self.now())
            .await?;
        self.generation.store(header.generation(), Ordering::SeqCst);
        self.core.store(Some(Arc::new(core)));
        Ok(())
    }

    /// After a change of the keyring: the same store under the new keys.
    pub(crate) async fn reopen(&self, header: &Header, keys: Unsealed) -> Result<(), StartError> {
        let Some(core) = self.core() else {
            return Err(StartError::Keeper(KeeperError::Closed));
        };
        let barrier = Barrier::new(header.store_id(), &keys.keyring);
        let audit = AuditLog::new(barrier.clone(), core.audit.devices().to_vec());
        let new = Core::open(Arc::clone(&core.storage), barrier, keys, audit).await?;
        self.generation.store(header.generation(), Ordering::SeqCst);
        self.core.store(Some(Arc::new(new)));
        Ok(())
    }

    /// The unsealed store with caches that are right, under the keys that it has now: the command
    /// line may have made a new data key a moment ago, and written with it.
    pub(crate) async fn fresh_core(&self) -> Result<Option<Arc<Core>>, StartError> {
        let Some(core) = self.core() else {
            return Ok(None);
        };
        match core.freshness() {
            Freshness::Fresh => return Ok(Some(core)),
            Freshness::Unknown => {
                core.refresh().await?;
                return Ok(Some(core));
            }
            Freshness::Outdated => {}
        }
        // One looks, the others find what it found.
        let _turn = self.refreshing.lock().await;
        if core.freshness() != Freshness::Fresh {
            self.follow_header().await?;
        }
        let Some(core) = self.core() else {
            return Ok(None);
        };
        core.refresh().await?;
        Ok(Some(core))
    }

    /// Takes the keys as they are now, if somebody else has changed the header: the command line
    /// may have made a new data key.
    pub(crate) async fn follow_header(&self) -> Result<(), StartError> {
        let (Some(core), Some(header)) = (self.core(), self.header()?) else {
            return Ok(());
        };
        if header.generation() == self.generation.load(Ordering::SeqCst) {
            return Ok(());
        }
        let keys = core.with_keys(|keys| header.unseal_with_root(&keys.root))?;
        self.reopen(&header, keys).await
    }

    /// Forgets all keys. Requests that have begun run to their end.
    pub fn seal(&self) {
        self.core.store(None);
    }

    async fn audit_devices(
        &self,
        barrier: &Barrier,
        storage: &Arc<dyn strongroom_core::port::Storage>,
    ) -> Result<Vec<Device>, StartError> {
        let state = strongroom_engine::state::State::new(Arc::clone(storage), barrier.clone());
        let mut devices = Vec::new();
        for (name, sink) in crate::devices::stored_sinks(&state).await? {
            let failed = |detail: String| StartError::Sink {
                name: name.clone(),
                detail,
            };
            // It connects when there is something to write: a server opens without its peers.
            let shape = sink.shape(&self.settings.syslog_socket).map_err(failed)?;
            let opened = SinkDevice::start(&name, shape);
            let opened = opened.map_err(|error| failed(error.to_string()))?;
            devices.push(Device::Sink(Arc::new(opened)));
        }
        let Some(folder) = &self.settings.audit_folder else {
            return Ok(devices);
        };
        for (name, device) in crate::devices::stored(&state).await? {
            let file = device.file_name();
            let opened = FileDevice::open(&name, folder, file);
            let opened = opened.map_err(|error| StartError::Audit {
                path: folder.join(file),
                detail: error.to_string(),
            })?;
            devices.push(Device::File(Arc::new(opened)));
        }
        Ok(devices)
    }
}
