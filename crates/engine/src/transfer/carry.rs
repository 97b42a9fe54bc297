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
    /// Something is at the target; nothing was written.
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
    if is_taken(backend, to, keeps_facts).await? {
        return Ok(Carried::AlreadyExists);
    }
    let losses = super::losses(&item, Some(&details), can, can.versions);
    let mut copy = Copy {
        backend,
        can,
        from,
        to,
        details,
        last: None,
    };
    match copy.write_all(&item).await {
        Ok(()) => Ok(Carried::Copied { losses }),
        Err(error) if copy.last.is_none() => Err(error),
        Err(mut error) => {
            error.message = format!("`{to}` was not written to the end: {}", error.message);
            Err(error)
        }
    }
}

/// A removed secret that can be brought back is in the way, too.
async fn is_taken(
    backend: &dyn Backend,
    to: &str,
    keeps_facts: bool,
) -> Result<bool, BackendError> {
    if keeps_facts && backend.details(to).await?.is_some() {
        return Ok(true);
    }
    let found = backend.read(to, &VersionRef::Current).await?;
    Ok(found.is_some())
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
        let mut earlier = match self.can.versions {
            true => super::history(&self.details, item.version.as_deref()),
            false => Vec::new(),
        };
        earlier.pop();
        for id in earlier {
            let reference = VersionRef::Id(id.clone());
            let found = self.backend.read(self.from, &reference).await?;
            // Destroyed meanwhile, or nothing that can be written: there is nothing to copy.
            if let Some(found) = found.filter(|found| !found.payload.value.is_empty()) {
                self.write(&found, Some(&id), Annotation::default()).await?;
            }
        }
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
        self.write(item, None, annotation).await?;
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
