//! One secret in another manager than the store: where a chain keeps it, and what can be done.
//!
//! Commands about one secret work where `set` writes it: in the first writable backend of the
//! chain, which is that of `STRONGROOM_CHAIN` where there is no manifest. Where that is the store
//! they go to the engine, which knows more; else they come here.

use serde_json::Value;
use strongroom_chain::detect::SERVER;
use strongroom_chain::detect::of_variable;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Lookup;
use strongroom_core::port::VersionDetails;
use strongroom_core::port::VersionRef;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionState;
use strongroom_engine::transfer::names::variable_of_path;

use crate::app::App;
use crate::chain;
use crate::chain::Entry;
use crate::chain::Opener;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project::Place;
use crate::project::Project;
use crate::runtime::wait;

/// A secret that is kept in another manager.
pub(crate) struct Elsewhere {
    pub(crate) backend: Box<dyn Backend>,
    /// The backend's own name for it.
    pub(crate) address: String,
    /// What the backend is asked for on its behalf.
    pub(crate) lookup: Lookup,
    /// What a person calls it.
    pub(crate) name: String,
    /// Its place, as if it were in the store.
    pub(crate) path: SecretPath,
    /// The chain has the store, too, behind this backend.
    is_before_the_store: bool,
    /// Without one the address says more than the lookup.
    pub(crate) has_project: bool,
}

/// What a backend knows of a secret that is there.
pub(crate) struct Known {
    pub(crate) details: Details,
}

impl Known {
    /// The version that is read by default.
    pub(crate) fn current(&self) -> Option<&VersionDetails> {
        let versions = &self.details.versions;
        let is_current = |version: &&VersionDetails| {
            let mut stages = version.stages.iter();
            stages.any(|stage| stage == STAGE_CURRENT)
        };
        versions.iter().find(is_current).or(versions.last())
    }

    /// The version that was current before the one that is, if it can be read.
    pub(crate) fn before_current(&self) -> Option<String> {
        let versions = &self.details.versions;
        let current = self.current()?;
        let is_previous = |version: &&VersionDetails| {
            let mut stages = version.stages.iter();
            stages.any(|stage| stage == STAGE_PREVIOUS)
        };
        let at = versions.iter().position(|version| version == current)?;
        let before = versions.iter().take(at).next_back();
        let found = versions.iter().find(is_previous).or(before)?;
        Some(found.id.clone())
    }

    /// Its state; a secret that was removed as a whole has no live version.
    pub(crate) fn state_of(&self, version: &VersionDetails) -> VersionState {
        let newest = self.details.versions.last();
        let is_removed_as_a_whole = newest.is_some_and(|newest| newest.state == VersionState::Live);
        match (self.details.removed, version.state) {
            (Some(at), VersionState::Live) if is_removed_as_a_whole => VersionState::Deleted { at },
            (_, state) => state,
        }
    }
}

/// The secret that a name means, where the chain keeps it in another manager than the store.
///
/// `is_wanted` says what the backend must be able to do to be the one; what a command then needs
/// beside that is asked with [`Elsewhere::require`].
pub(crate) fn find(
    app: &App,
    project: Option<&Project>,
    place: &Place<'_>,
    name: &str,
    is_wanted: impl Fn(Capabilities) -> bool,
) -> Result<Option<Elsewhere>, CommandError> {
    if name.starts_with('/') {
        return on_server(app, place, project.is_some());
    }
    let (found, lookup, is_before_the_store) = match project {
        Some(project) if place.declaration.is_none() && project.uses_store() => return Ok(None),
        Some(project) => (
            project.first_but_the_store(app, is_wanted)?,
            project.lookup_of(place),
            project.uses_store(),
        ),
        None => (first(app, is_wanted)?, bare_lookup(place)?, false),
    };
    let Some(backend) = found else {
        return Ok(None);
    };
    let address = backend.address(&lookup);
    let address = match (project, address.strip_prefix(NO_PROJECT)) {
        (None, Some(bare)) => bare.to_owned(),
        _ => address,
    };
    let name = match place.declaration {
        Some(declaration) => declaration.name.clone(),
        None => lookup.path.clone(),
    };
    Ok(Some(Elsewhere {
        backend,
        address,
        lookup,
        name,
        path: place.path.clone(),
        is_before_the_store,
        has_project: project.is_some(),
    }))
}

/// The secret of a path from the root, where a server stands in the store's place.
fn on_server(
    app: &App,
    place: &Place<'_>,
    has_project: bool,
) -> Result<Option<Elsewhere>, CommandError> {
    if app.global.server.is_none() {
        return Ok(None);
    }
    let opener = opener(app);
    Ok(Some(Elsewhere {
        backend: opener.open(&Entry::parse(SERVER)?)?,
        address: place.path.to_string(),
        lookup: bare_lookup(place)?,
        name: place.path.to_string(),
        path: place.path.clone(),
        is_before_the_store: false,
        has_project,
    }))
}

pub(crate) fn opener(app: &App) -> Opener<'_> {
    Opener {
        app,
        session: None,
        folder: String::new(),
        base: chain::base_of(None),
    }
}

/// The first backend that can do something of the chain that holds without a manifest: the one
/// in `STRONGROOM_CHAIN`, or the server. `None` where there is none, or the store comes before it.
pub(crate) fn first(
    app: &App,
    is_wanted: impl Fn(Capabilities) -> bool,
) -> Result<Option<Box<dyn Backend>>, CommandError> {
    let opener = opener(app);
    for entry in entries(app)? {
        if entry.scheme() == "store" || entry.migrates {
            return Ok(None);
        }
        let backend = opener.open(&entry)?;
        if is_wanted(backend.capabilities()) {
            return Ok(Some(backend));
        }
    }
    Ok(None)
}

/// The chain that holds without a manifest.
pub(crate) fn entries(app: &App) -> Result<Vec<Entry>, CommandError> {
    let written = of_variable(&app.environment.for_backends());
    let is_on_server = app.global.server.is_some();
    let entries = written.or(is_on_server.then(|| vec![SERVER.to_owned()]));
    let mut all = Vec::new();
    for text in entries.unwrap_or_default() {
        all.push(match is_on_server && text == "store" {
            true => Entry::parse(SERVER)?,
            false => Entry::parse(&text)?,
        });
    }
    Ok(all)
}

/// Without a project a path is all that is known of a secret.
fn bare_lookup(place: &Place<'_>) -> Result<Lookup, CommandError> {
    Ok(Lookup {
        name: variable_of_path(place.path.as_str()),
        path: place.path.to_string(),
        place: format!("{NO_PROJECT}{}", place.path).parse()?,
    })
}

/// What stands before a path in a place where there is no project; in no address of a manager.
const NO_PROJECT: &str = "project/profile/";

impl Elsewhere {
    /// `API_KEY in vault:secret/shop`.
    pub(crate) fn describe(&self) -> String {
        format!("{} in {}", self.name, self.backend.describe())
    }

    /// What the backend knows of it; `None` when it has none. A removed one that can be brought
    /// back is known still.
    pub(crate) fn known(&self) -> Result<Option<Known>, CommandError> {
        let can = self.backend.capabilities();
        if can.versions || can.description || can.tags {
            let details = wait(self.backend.details(&self.address))?;
            return Ok(details.map(|details| Known { details }));
        }
        let item = wait(self.backend.read(&self.address, &VersionRef::Current))?;
        let details = Details::default();
        Ok(item.map(|_| Known { details }))
    }

    /// As `known`; there must be one.
    pub(crate) fn require(&self) -> Result<Known, CommandError> {
        self.known()?.ok_or_else(|| self.not_found())
    }

    pub(crate) fn no_version(&self, version: &str) -> CommandError {
        let backend = self.backend.describe();
        let message = format!("{} has no version {version} in {backend}", self.address);
        CommandError::new(Kind::NotFound, "secret.not_found", message)
            .hint(format!("strongroom history {}", self.name))
    }

    pub(crate) fn not_found(&self) -> CommandError {
        let message = format!("{} is not in {}", self.address, self.backend.describe());
        CommandError::new(Kind::NotFound, "secret.not_found", message).hint(format!(
            "strongroom set {} writes it; strongroom list shows what is there",
            self.name
        ))
    }

    /// The error for what the backend cannot do, with what to do instead.
    pub(crate) fn unsupported(&self, what: &str, instead: impl Into<String>) -> CommandError {
        let error = CommandError::from(self.backend.unsupported(what)).hint(instead);
        match self.is_before_the_store {
            true => error.hint(format!("the store's own is named /{}", self.path)),
            false => error,
        }
    }

    /// Refuses a command about versions where the backend keeps none.
    pub(crate) fn require_versions(&self) -> Result<(), CommandError> {
        if self.backend.capabilities().versions {
            return Ok(());
        }
        let instead = format!(
            "it keeps the current value only: strongroom get {}",
            self.name
        );
        Err(self.unsupported("keep earlier versions", instead))
    }
}

/// A version's name in JSON: numbers as numbers, as they are in the store.
pub(crate) fn version_json(version: Option<&str>) -> Value {
    match version.map(str::parse::<u64>) {
        Some(Ok(number)) => number.into(),
        _ => version.into(),
    }
}

/// A version's name for people: `v3`, or the backend's own.
pub(crate) fn version_text(version: &str) -> String {
    match version.parse::<u64>() {
        Ok(number) => format!("v{number}"),
        Err(_) => version.to_owned(),
    }
}
