//! Addresses in order: folders are listed one after the other, as far as a page needs.

use std::vec;

use futures_util::StreamExt;
use futures_util::stream;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Page;
use tokio::time::Instant;

use super::VaultBackend;
use super::metadata::is_live;
use crate::client::IN_FLIGHT_MAX;
use crate::mounts::Engine;
use crate::mounts::Layout;

/// Addresses on a page of a listing of everything.
const PAGE: usize = 1000;
/// Addresses that are listed at the most.
const ADDRESSES_MAX: usize = 1_000_000;
/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 256;

impl VaultBackend {
    /// Every address, sorted.
    pub(super) async fn every_address(&self) -> Result<Vec<String>, BackendError> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.one_page("", after.as_deref(), PAGE).await?;
            found.extend(page.addresses);
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
            if found.len() > ADDRESSES_MAX {
                let message = format!("there are over {ADDRESSES_MAX} addresses");
                let error = self
                    .session
                    .client
                    .error(BackendErrorKind::Invalid, message);
                return Err(error.with_hint("name a prefix in the address"));
            }
        }
    }

    pub(super) async fn one_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let limit = limit.max(1);
        let end = self.bulk_deadline(limit);
        let first = self.session.client.deadline().min(end);
        let layout = self.mounts.layout(&self.session, first).await?;
        if matches!(layout.home().engine, Engine::Other(_)) {
            return Err(self.unsupported("list"));
        }
        let mut walk = Walk {
            backend: self,
            layout,
            prefix,
            after,
            end,
            folders: Vec::new(),
        };
        let folder = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        walk.enter(folder).await?;
        let mut addresses = Vec::new();
        let mut last = None;
        while addresses.len() < limit {
            let candidates = walk.next_some(limit - addresses.len()).await?;
            let Some(end) = candidates.last() else {
                break;
            };
            last = Some(end.clone());
            addresses.extend(walk.live(candidates).await?);
        }
        let is_more = walk.folders.iter().any(|names| names.len() > 0);
        Ok(Page {
            addresses,
            next: last.filter(|_| is_more),
        })
    }
}

/// A walk through the tree, in the order of whole addresses.
struct Walk<'a> {
    backend: &'a VaultBackend,
    layout: &'a Layout,
    prefix: &'a str,
    after: Option<&'a str>,
    end: Instant,
    /// What is left of each open folder, as whole addresses; folders have a `/` at their end.
    folders: Vec<vec::IntoIter<String>>,
}

impl Walk<'_> {
    fn deadline(&self) -> Instant {
        self.backend.session.client.deadline().min(self.end)
    }

    async fn enter(&mut self, folder: &str) -> Result<(), BackendError> {
        if self.folders.len() >= DEPTH_MAX {
            let message = format!("there are over {DEPTH_MAX} folders in each other");
            let client = &self.backend.session.client;
            return Err(client.error(BackendErrorKind::Malformed, message));
        }
        let route = self.layout.route(folder);
        let names = self.backend.session.names(&route, self.deadline()).await?;
        let mounts: Vec<String> = self.layout.mounts_in(folder).collect();
        // A folder with the name of a mount cannot be reached by address.
        let mut whole: Vec<String> = names
            .into_iter()
            .chain(mounts)
            .map(|name| format!("{folder}{name}"))
            .filter(|name| self.is_wanted(name))
            .collect();
        // With the `/` of folders in place this is the order of the addresses below them, too.
        whole.sort_unstable();
        whole.dedup();
        self.folders.push(whole.into_iter());
        Ok(())
    }

    fn is_wanted(&self, name: &str) -> bool {
        if !name.starts_with(self.prefix) {
            return false;
        }
        let is_folder = name.ends_with('/');
        self.after
            .is_none_or(|after| name > after || (is_folder && after.starts_with(name)))
    }

    /// The next addresses, `count` at the most.
    async fn next_some(&mut self, count: usize) -> Result<Vec<String>, BackendError> {
        let mut found = Vec::new();
        while found.len() < count {
            let Some(names) = self.folders.last_mut() else {
                break;
            };
            match names.next() {
                None => _ = self.folders.pop(),
                Some(name) if name.ends_with('/') => Box::pin(self.enter(&name)).await?,
                Some(name) => found.push(name),
            }
        }
        Ok(found)
    }

    /// Those that can be read: KV v2 lists deleted secrets as well. Where the token may not look
    /// at metadata, all are taken.
    async fn live(&self, candidates: Vec<String>) -> Result<Vec<String>, BackendError> {
        let checks = candidates.into_iter().map(|address| async move {
            let route = self.layout.route(&address);
            if !route.is_v2() {
                return Ok(Some(address));
            }
            let session = &self.backend.session;
            match session.metadata(&route, self.deadline()).await {
                Ok(Some((answer, now))) => Ok(is_live(&answer, now).then_some(address)),
                Ok(None) => Ok(None),
                Err(error) if error.kind == BackendErrorKind::Denied => Ok(Some(address)),
                Err(error) => Err(error),
            }
        });
        let checked: Vec<Result<Option<String>, BackendError>> =
            stream::iter(checks).buffered(IN_FLIGHT_MAX).collect().await;
        let found: Result<Vec<Option<String>>, BackendError> = checked.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }
}
