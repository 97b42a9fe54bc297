//! Cubbyholes: a private place of each token, gone with it. Wrapped answers lie there too.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::tokens::Issued;
use crate::tokens::Kept;
use crate::tokens::NewToken;
use crate::tokens::owner_of;

/// Where a wrapped answer lies in its token's cubbyhole.
const RESPONSE: &str = "\0response";
/// The policy of tokens that only unwrap.
pub const WRAPPING: &str = "response-wrapping";

/// An answer that waits for one reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// The whole answer: JSON.
    pub body: Vec<u8>,
    /// The path that gave it.
    pub path: String,
    /// When it was wrapped.
    pub created: Timestamp,
    /// For how long, in seconds.
    pub ttl: i64,
}

fn name_of(token: RecordId, path: &str) -> String {
    format!("{}\0{path}", owner_of(token))
}

impl State {
    /// What lies at a path of a token's cubbyhole.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn kept(&self, token: RecordId, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = self.load::<Kept>(&name_of(token, path)).await?;
        Ok(found.map(|found| found.value.body))
    }

    /// Puts JSON at a path of a token's cubbyhole.
    ///
    /// # Errors
    /// `NotFound` when the token is gone, storage errors.
    pub async fn keep(&self, token: RecordId, path: &str, body: Vec<u8>) -> Result<(), Error> {
        let put = self.put_kept(token, path, body);
        let alive = state::check(token, Precondition::Exists);
        if self.commit(vec![put, alive]).await? {
            return Ok(());
        }
        Err(Error::NotFound {
            what: "the token".into(),
        })
    }

    fn put_kept(
        &self,
        token: RecordId,
        path: &str,
        body: Vec<u8>,
    ) -> strongroom_core::port::BatchItem {
        let owner = owner_of(token);
        let name = name_of(token, path);
        let put = Put {
            shown: path,
            ..Put::named(&name, Shelf::Of(&owner))
        };
        self.put(&put, &Kept { body })
    }

    /// Removes what lies at a path of a token's cubbyhole.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn forget(&self, token: RecordId, path: &str) -> Result<(), Error> {
        let id = self.id_of::<Kept>(&name_of(token, path));
        self.write(vec![state::delete(id, Precondition::Any)]).await
    }

    /// All paths of a token's cubbyhole, sorted.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn kept_paths(&self, token: RecordId) -> Result<Vec<String>, Error> {
        let mut paths = self.names::<Kept>(Shelf::Of(&owner_of(token))).await?;
        paths.retain(|path| path != RESPONSE);
        Ok(paths)
    }

    /// Wraps an answer: a token that can be used once, in one commit with what it opens.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn wrap(
        &self,
        new: NewToken,
        now: Timestamp,
        wrapped: &Wrapped,
    ) -> Result<Issued, Error> {
        let body = crate::record::encode(wrapped, None);
        // The token is drawn first, so that its cubbyhole's place is known.
        let issued = self.issue(NewToken { num_uses: 1, ..new }, now, Vec::new());
        let issued = issued.await?;
        self.keep(issued.id, RESPONSE, body.to_vec()).await?;
        Ok(issued)
    }

    /// The answer that a wrapping token opens, without using it up.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn wrapped(&self, token: RecordId) -> Result<Option<Wrapped>, Error> {
        let Some(body) = self.kept(token, RESPONSE).await? else {
            return Ok(None);
        };
        let (wrapped, _) =
            crate::record::decode::<Wrapped>(&body).ok_or_else(|| Error::Damaged {
                what: "a wrapped answer".into(),
                detail: "it does not open".into(),
            })?;
        Ok(Some(wrapped))
    }
}
