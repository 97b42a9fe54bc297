//! Access keys in memory, and who a request is from.

use std::sync::Arc;

use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::access_keys::AccessKey;
use strongroom_engine::access_keys::Session;
use strongroom_engine::tokens::Token;
use strongroom_engine::tokens::TokenKind;

use super::error::Fault;
use super::sigv4::Claim;
use super::sigv4::Signed;
use super::sigv4::SigningKeys;
use crate::core::Core;
use crate::core::Known;

/// What one key is counted as in memory.
pub(crate) const KEY_BYTES: usize = 1024;

/// An access key in memory.
pub(crate) struct KnownKey {
    pub(crate) id: String,
    pub(crate) key: AccessKey,
    /// The key as the token it stands for: what policies and the audit log look at.
    pub(crate) known: Arc<Known>,
    signing: SigningKeys,
}

impl KnownKey {
    pub(crate) fn of(core: &Core, id: &str, key: AccessKey) -> Self {
        let token = Token {
            kind: TokenKind::Service,
            accessor: id.to_owned(),
            parent: None,
            policies: key.policies.clone(),
            path: "sys/aws/keys".into(),
            mount: [0; 16],
            meta: None,
            display_name: match key.name.as_str() {
                "" => format!("aws-{id}"),
                name => format!("aws-{name}"),
            },
            num_uses: 0,
            role: String::new(),
            bound_cidrs: Vec::new(),
            entity_id: String::new(),
            is_renewable: false,
            created: key.created,
            creation_ttl: 0,
            explicit_max_ttl: 0,
            period: 0,
            last_renewal: None,
            expires: key.expires,
            is_doomed: false,
        };
        let record = core.state.access_key_id(id);
        Self {
            id: id.to_owned(),
            key,
            known: Arc::new(core.known_as(record, token)),
            signing: SigningKeys::default(),
        }
    }
}

/// Who a request is from, after its signature was verified; its time was looked at before.
pub(super) async fn authenticate(
    core: &Core,
    claim: &Claim,
    request: &Signed<'_>,
    now: Timestamp,
) -> Result<Arc<KnownKey>, Fault> {
    let found = core.access_key(&claim.key_id).await?;
    let key = found.filter(|key| key.key.is_alive(now));
    let key = key.ok_or(Fault::UnknownKey)?;
    check_session(core, key.key.session.as_ref(), claim, now).await?;
    claim.verify(request, &key.key.secret, &key.signing)?;
    Ok(key)
}

async fn check_session(
    core: &Core,
    session: Option<&Session>,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), Fault> {
    match (session, &claim.session_token) {
        (None, None) => Ok(()),
        (Some(session), Some(token)) => {
            let hash = |bytes: &[u8]| SecretValue::copy_from(bytes);
            let sent = hash(&core.state.session_hash(token));
            let parent = core.access_key(&session.parent).await?;
            let is_open = parent.is_some_and(|parent| parent.key.is_alive(now));
            match sent.ct_eq(&hash(&session.token_hash)) && is_open {
                true => Ok(()),
                false => Err(Fault::UnknownKey),
            }
        }
        (Some(_), None) | (None, Some(_)) => Err(Fault::UnknownKey),
    }
}

impl Core {
    /// An access key, from memory where nothing has changed since it was read.
    pub(crate) async fn access_key(&self, id: &str) -> Result<Option<Arc<KnownKey>>, Error> {
        let record = self.state.access_key_id(id);
        if let Some(key) = self.keys_seen.get(record) {
            return Ok(Some(key));
        }
        let era = self.keys_seen.era();
        let Some(found) = self.state.access_key(id).await? else {
            return Ok(None);
        };
        let key = Arc::new(KnownKey::of(self, id, found.value));
        self.keys_seen.put(record, &key, KEY_BYTES, era);
        Ok(Some(key))
    }
}
