//! One secret to another address of the same backend, its versions and metadata too.

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Expected;
use strongroom_core::port::Item;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;

use super::Loss;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is there, and was read back and compared.
    Copied {
        /// What the backend did not keep of it.
        losses: Vec<Loss>,
    },
    /// There is nothing to copy.
    NotFound,
    /// The target holds the same, as an interrupted copying leaves it; nothing was written but
    /// what is known of it, where that was missing.
    WasThere,
    /// The target holds the first of the versions, as an interrupted copying leaves it; nothing
    /// was written.
    Begun {
        /// So many it holds.
        versions: usize,
        /// Of so many.
        of: usize,
    },
    /// Something else is at the target; nothing was written.
    AlreadyExists,
}

/// Copies a secret within a backend: every version that can be read, oldest first.
///
/// # Errors
/// As the backend; what was written before stays, and the error says so.
pub async fn copy(backend: &dyn Backend, from: &str, to: &str) -> Result<Carried, BackendError> {
    if from == to {
        let message = format!("`{from}` is source and target at once");
        let kind = BackendErrorKind::Invalid;
        return Err(BackendError::new(kind, backend.describe(), message));
    }
    let Some(item) = backend.read(from, &VersionRef::Current).await? else {
        return Ok(Carried::NotFound);
    };
    let can = backend.capabilities();
    let keeps_facts = can.versions || can.description || can.tags;
    let details = match keeps_facts {
        true => backend.details(from).await?.unwrap_or_default(),
        false => Details::default(),
    };
    let there = match keeps_facts {
        true => backend.details(to).await?,
        false => None,
    };
    let found = backend.read(to, &VersionRef::Current).await?;
    let losses = super::losses(&item, Some(&details), can, can.versions);
    let mut copy = Copy {
        backend,
        can,
        from,
        to,
        details,
        last: None,
    };
    match (there, found) {
        (None, None) => {}
        // A removed secret that can be brought back is in the way, too.
        (_, None) => return Ok(Carried::AlreadyExists),
        (there, Some(found)) => {
            let there = there.unwrap_or_default();
            return copy.compared(&item, &found, &there).await;
        }
    }
    match copy.write_all(&item).await {
        Ok(()) => Ok(Carried::Copied { losses }),
        Err(error) if copy.last.is_none() => Err(error),
        Err(mut error) => {
            error.message = format!("`{to}` was not written to the end: {}", error.message);
            Err(error)
        }
    }
}

struct Copy<'c> {
    backend: &'c dyn Backend,
    can: Capabilities,
    from: &'c str,
    to: &'c str,
    details: Details,
    /// The version that was written last; the outer says whether there was one.
    last: Option<Option<String>>,
}

impl Copy<'_> {
    async fn write_all(&mut self, item: &Item) -> Result<(), BackendError> {
        for id in self.earlier(item) {
            // Destroyed meanwhile, or nothing that can be written: there is nothing to copy.
            if let Some(found) = self.version(self.from, &id).await? {
                self.write(&found, Some(&id), Annotation::default()).await?;
            }
        }
        self.write(item, None, self.annotation(item)).await?;
        let found = self.backend.read(self.to, &VersionRef::Current).await?;
        match found {
            Some(found) if found.payload.value.ct_eq(&item.payload.value) => Ok(()),
            _ => {
                let message = "what was read back is not what was written";
                let kind = BackendErrorKind::Malformed;
                Err(BackendError::new(kind, self.backend.describe(), message))
            }
        }
    }

    /// What is at the target beside what would be written there.
    async fn compared(
        &self,
        item: &Item,
        found: &Item,
        there: &Details,
    ) -> Result<Carried, BackendError> {
        let mut of_target = match self.can.versions {
            true => super::history(there, found.version.as_deref()),
            false => Vec::new(),
        };
        of_target.pop();
        let ours = self.values(self.from, self.earlier(item), item).await?;
        let theirs = self.values(self.to, of_target, found).await?;
        let mut pairs = ours.iter().zip(&theirs);
        if theirs.len() > ours.len() || !pairs.all(|(ours, theirs)| ours.ct_eq(theirs)) {
            return Ok(Carried::AlreadyExists);
        }
        if theirs.len() < ours.len() {
            return Ok(Carried::Begun {
                versions: theirs.len(),
                of: ours.len(),
            });
        }
        let wanted = self.annotation(item);
        let is_bare = there.description.is_none() && there.tags.is_empty();
        if is_bare && !wanted.is_empty() {
            self.backend.annotate(self.to, &wanted).await?;
        } else if there.description != self.details.description || there.tags != self.details.tags {
            return Ok(Carried::AlreadyExists);
        }
        Ok(Carried::WasThere)
    }

    /// The values of versions that can be read, and of the current one.
    async fn values(
        &self,
        address: &str,
        earlier: Vec<String>,
        current: &Item,
    ) -> Result<Vec<SecretValue>, BackendError> {
        let mut values = Vec::with_capacity(earlier.len() + 1);
        for id in earlier {
            let found = self.version(address, &id).await?;
            values.extend(found.map(|found| found.payload.value));
        }
        values.push(current.payload.value.clone());
        Ok(values)
    }

    async fn version(&self, address: &str, id: &str) -> Result<Option<Item>, BackendError> {
        let reference = VersionRef::Id(id.to_owned());
        let found = self.backend.read(address, &reference).await?;
        Ok(found.filter(|found| !found.payload.value.is_empty()))
    }

    /// The source's versions before the current one, oldest first.
    fn earlier(&self, item: &Item) -> Vec<String> {
        let mut earlier = match self.can.versions {
            true => super::history(&self.details, item.version.as_deref()),
            false => Vec::new(),
        };
        earlier.pop();
        earlier
    }

    fn annotation(&self, item: &Item) -> Annotation {
        let mut annotation = Annotation::default();
        if self.can.description {
            annotation.description.clone_from(&self.details.description);
        }
        if self.can.tags {
            let tags = self.details.tags.clone().into_iter();
            annotation.tags = tags.map(|(key, value)| (key, Some(value))).collect();
        }
        if self.can.expiry {
            annotation.expires_at = item.expires_at.map(Some);
        }
        annotation
    }

    /// Writes one version; `id` is its name in the source, `None` for the current one.
    async fn write(
        &mut self,
        item: &Item,
        id: Option<&str>,
        annotation: Annotation,
    ) -> Result<(), BackendError> {
        let mut value = NewValue::new(item.payload.clone());
        if self.can.cas {
            value.expected = match &self.last {
                None => Expected::Absent,
                Some(None) => Expected::Any,
                Some(Some(version)) => Expected::Version(version.clone()),
            };
        }
        if self.can.stages {
            value.stages = super::special_stages(Some(&self.details), id);
        }
        value.annotation = annotation;
        let stored = self.backend.write(self.to, &value).await?;
        self.last = Some(stored.version);
        Ok(())
    }
}
