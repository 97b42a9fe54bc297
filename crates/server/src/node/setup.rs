//! The first start on a store.

use std::sync::Arc;

use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::SlotError;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::access_keys::IssuedKey;
use strongroom_engine::access_keys::NewKey;
use strongroom_engine::mounts::Engines;
use strongroom_engine::mounts::Mount;
use strongroom_engine::mounts::Mounts;
use strongroom_engine::state::State;
use strongroom_engine::tokens::Issued;
use strongroom_engine::tokens::NewToken;
use strongroom_engine::tokens::ROOT;
use zeroize::Zeroizing;

use super::Node;
use super::StartError;

/// What `secret/` is in a store that no server has used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMount {
    /// Nothing is mounted.
    None,
    /// Versioned secrets in a space of their own.
    OwnSpace,
    /// The store's own space: what the command line sees.
    StoreSpace,
}

/// The name of the device that every server has at first.
pub(crate) const FIRST_DEVICE: &str = "file/";

/// Writes the mounts, where there are none yet.
pub(super) async fn first_start(
    node: &Node,
    storage: &Arc<dyn Storage>,
    barrier: &Barrier,
) -> Result<(), StartError> {
    let state = State::new(Arc::clone(storage), barrier.clone());
    if state.mounts().await?.is_some() {
        return Ok(());
    }
    let mut mounts = Mounts::first(&*node.rng);
    let mut batch = Vec::new();
    if node.settings.first_mount != FirstMount::None {
        let mut mount = Mount::new(Engines::Kv2, &*node.rng);
        mount.description = "key/value secret storage".into();
        mount.options = Some([("version".to_owned(), "2".to_owned())].into());
        mount.is_default_space = node.settings.first_mount == FirstMount::StoreSpace;
        batch.extend(state.first_of_space(&mount));
        mounts.by_path.insert("secret/".into(), mount);
    }
    batch.push(state.put_mounts(&mounts, Precondition::Absent));
    if node.settings.audit_from_start && node.settings.audit_folder.is_some() {
        batch.push(crate::devices::first(&state));
    }
    match storage.commit(batch, Durability::Durable).await {
        // Another server may have been faster.
        Ok(_) | Err(StorageError::Conflict { .. }) => Ok(()),
        Err(error) => Err(Error::from(error).into()),
    }
}

impl Node {
    /// Makes the store, with one key slot. The keys, for whoever unseals at once.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    pub fn create(
        &self,
        kind: SlotKind,
        label: &str,
        secret: &SecretValue,
    ) -> Result<(Header, Unsealed), CreateError> {
        let now = self.now();
        let (mut header, keys) = Header::create(&*self.rng, now);
        let context = WrapContext {
            rng: &*self.rng,
            now,
        };
        header.add_slot(&keys, kind, label, secret, &context)?;
        let barrier = Barrier::new(header.store_id(), &keys.keyring);
        let first = Engine::first_records(&barrier);
        self.keeper.create(&header, &barrier, first)?;
        Ok((header, keys))
    }

    /// Makes a token that may do everything.
    ///
    /// # Errors
    /// When the server is sealed or the store cannot be written.
    pub async fn issue_root(&self, plain: Option<SecretValue>) -> Result<Issued, StartError> {
        let core = self.core().ok_or(StartError::Uninitialised)?;
        let table = core.mounts();
        let mount = table
            .get("auth/token/")
            .map_or([0; 16], |live| live.mount.uuid);
        let mut new = NewToken::orphan(vec![ROOT.into()], "auth/token/root", mount);
        new.plain = plain;
        new.display_name = "root".into();
        Ok(core.state.issue(new, self.now(), Vec::new()).await?)
    }

    /// Makes an access key that may do everything.
    async fn issue_dev_key(&self) -> Result<IssuedKey, StartError> {
        let core = self.core().ok_or(StartError::Uninitialised)?;
        let new = NewKey {
            policies: vec![ROOT.into()],
            name: "dev".into(),
            maker: "root".into(),
            ttl: None,
        };
        Ok(core.state.issue_key(new, self.now()).await?)
    }

    /// Starts a server that forgets everything: made, unsealed, with a root token.
    ///
    /// # Errors
    /// When the audit log cannot be opened.
    pub async fn start_dev(&self, token: Option<SecretValue>) -> Result<DevKeys, StartError> {
        let mut key = Zeroizing::new([0; 32]);
        self.rng.fill(&mut *key);
        let key = SecretValue::copy_from(&*key);
        let kind = SlotKind::Shamir {
            shares: 1,
            threshold: 1,
        };
        let created = self.create(kind, "unseal share", &key);
        let (header, keys) = created.map_err(|error| match error {
            CreateError::Keeper(error) => StartError::Keeper(error),
            CreateError::Slot(_) => StartError::Uninitialised,
        })?;
        self.open(&header, keys).await?;
        let root = self.issue_root(token).await?;
        let access_key = self.issue_dev_key().await?;
        // EXPOSE: the one share of a server in memory, for whoever seals and unseals it.
        let unseal_key = data_encoding::BASE64.encode(key.expose_secret());
        Ok(DevKeys {
            root: root.plain,
            access_key_id: access_key.id,
            secret_access_key: access_key.key.secret,
            unseal_key: SecretValue::from_text(unseal_key),
        })
    }
}

/// What a person needs for a server that forgets everything.
pub struct DevKeys {
    /// The root token.
    pub root: SecretValue,
    /// The only unseal share.
    pub unseal_key: SecretValue,
    /// An access key that may do everything, for AWS clients.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: SecretValue,
}

/// Why a store cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The store.
    #[error(transparent)]
    Keeper(#[from] crate::keeper::KeeperError),
    /// The key slot.
    #[error(transparent)]
    Slot(#[from] SlotError),
}
