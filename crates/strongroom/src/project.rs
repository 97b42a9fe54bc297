//! The project at hand: its manifest, the profile, and the chain of backends.

use std::cell::LazyCell;
use std::path::Path;
use std::path::PathBuf;

use strongroom_chain::detect::Chain;
pub(crate) use strongroom_chain::manifest::LOCAL_NAME;
pub(crate) use strongroom_chain::manifest::MANIFEST_NAME;
use strongroom_core::manifest;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Profile;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Lookup;
use strongroom_core::registry::Declaration;
use strongroom_engine::resolve::Link;
use strongroom_engine::transfer::names::variable_of_path;

use crate::app::App;
use crate::cache::KeptAnswers;
use crate::chain;
use crate::chain::Opener;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session::Session;

/// A manifest that was found, and the profile that is active.
pub(crate) struct Project {
    pub(crate) manifest: Manifest,
    pub(crate) profile: Profile,
    pub(crate) path: PathBuf,
    pub(crate) notices: Vec<manifest::Problem>,
    pub(crate) profile_from: &'static str,
    /// The active profile's chain, and why it is this.
    pub(crate) chain: LazyChain,
}

/// Found when it is asked for: looking for credentials may take a while.
type LazyChain = LazyCell<Chain, Box<dyn FnOnce() -> Chain>>;

/// The manifest's problems.
pub(crate) fn manifest_error(problems: &[manifest::Problem]) -> CommandError {
    let mut lines = Vec::new();
    for problem in problems {
        lines.push(match &problem.hint {
            Some(hint) => format!("{problem} ({hint})"),
            None => problem.to_string(),
        });
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    let message = format!("the manifest has {count} {noun}\n  {}", lines.join("\n  "));
    CommandError::new(Kind::Validation, "manifest.invalid", message)
}

/// Where the manifest is: as told, or found by walking up.
pub(crate) fn find(app: &App) -> Result<Option<PathBuf>, CommandError> {
    if let Some(path) = &app.global.manifest {
        return Ok(Some(path.clone()));
    }
    let folder = std::env::current_dir()
        .map_err(|error| CommandError::failed(format!("the working folder is gone: {error}")))?;
    Ok(strongroom_chain::manifest::find(&folder))
}

/// Loads the project; there must be one.
pub(crate) fn load(app: &App) -> Result<Project, CommandError> {
    load_if_there(app)?.ok_or_else(|| {
        CommandError::new(
            Kind::NotFound,
            "manifest.missing",
            format!("there is no {MANIFEST_NAME} here or in any folder above"),
        )
        .hint("strongroom init writes one; --manifest names one elsewhere")
    })
}

/// Loads the project, if there is one.
pub(crate) fn load_if_there(app: &App) -> Result<Option<Project>, CommandError> {
    match find(app)? {
        Some(path) => load_at(app, &path).map(Some),
        None => Ok(None),
    }
}

/// Loads the project of a manifest.
pub(crate) fn load_at(app: &App, path: &Path) -> Result<Project, CommandError> {
    let text = strongroom_chain::manifest::read(path)?;
    from_text(app, path, &text)
}

/// The project of a manifest's text; the local file beside it overrides it.
pub(crate) fn from_text(app: &App, path: &Path, text: &str) -> Result<Project, CommandError> {
    let (manifest, notices) = strongroom_chain::manifest::parse(path, text)?;
    let (wanted, profile_from) = wanted_profile(app, &manifest);
    let profile = profile(&manifest, &wanted)?.clone();
    let (written, is_strict) = (profile.chain.clone(), profile.is_strict);
    let variables = app.environment.for_backends();
    let is_on_server = app.global.server.is_some();
    let chain = LazyCell::new(Box::new(move || {
        #[cfg(feature = "remote")]
        if Chain::asks_network(&variables, written.is_some()) {
            // Without one, no credentials are looked for, and that is told.
            let _ = crate::runtime::start();
        }
        let chain = crate::runtime::wait(Chain::of(&variables, written, is_strict));
        match is_on_server {
            true => chain.on_server(),
            false => chain,
        }
    }) as Box<dyn FnOnce() -> Chain>);
    Ok(Project {
        manifest,
        chain,
        profile,
        path: path.to_owned(),
        notices,
        profile_from,
    })
}

pub(crate) fn profile<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m Profile, CommandError> {
    manifest.profile(name).ok_or_else(|| {
        let known: Vec<&str> = manifest
            .profiles()
            .map(|profile| profile.name.as_str())
            .collect();
        let error = CommandError::usage(format!("there is no profile {name}"));
        match manifest::did_you_mean(name, known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint(format!("known here: {}", known.join(", "))),
        }
    })
}

fn wanted_profile(app: &App, manifest: &Manifest) -> (String, &'static str) {
    if let Some(name) = &app.global.profile {
        return (name.clone(), "--profile or STRONGROOM_PROFILE");
    }
    match app.environment.text("APP_PROFILE") {
        Some(name) => (name.to_owned(), "APP_PROFILE"),
        None => (manifest.default_profile.clone(), "the manifest's default"),
    }
}

impl Project {
    pub(crate) fn uses_store(&self) -> bool {
        let entries = self.chain.entries.iter();
        // An entry that migrates writes to the store.
        let mut entries = entries.map(|entry| (scheme_of(entry), entry.contains("migrate=")));
        entries.any(|(scheme, migrates)| scheme == "store" || migrates)
    }

    /// True when an entry of the chain moves what is read from it.
    pub(crate) fn migrates(&self) -> bool {
        let entries = self.chain.parsed().unwrap_or_default();
        entries.iter().any(|entry| entry.migrates)
    }

    /// What backends of this project are opened with.
    pub(crate) fn opener<'o>(&self, app: &'o App, session: Option<&'o Session>) -> Opener<'o> {
        Opener {
            app,
            session,
            folder: self.manifest.folder(&self.profile.name),
            base: chain::base_of(Some(&self.path)),
        }
    }

    /// The backends of the chain. Without a session, `store` is a place without secrets.
    pub(crate) fn links(
        &self,
        app: &App,
        session: Option<&Session>,
        kept: Option<&KeptAnswers>,
    ) -> Result<Vec<Link>, CommandError> {
        let opener = self.opener(app, session);
        let entries = self.chain.parsed()?;
        let links = entries.iter().map(|entry| {
            let cached = match kept {
                Some(kept) => kept.backend(app, &opener.folder, entry)?,
                None => None,
            };
            Ok(Link {
                backend: match cached {
                    Some(cached) => cached,
                    None => opener.open(entry)?,
                },
                is_optional: entry.is_optional,
                is_remote: !entry.is_local(),
            })
        });
        links.collect()
    }

    /// The first backend of the chain, from the front, that can do something.
    pub(crate) fn first_with(
        &self,
        app: &App,
        is_wanted: impl Fn(Capabilities) -> bool,
    ) -> Result<Box<dyn Backend>, CommandError> {
        let opener = self.opener(app, None);
        for entry in self.chain.parsed()? {
            let backend = opener.open(&entry)?;
            if is_wanted(backend.capabilities()) {
                return Ok(backend);
            }
        }
        let chain = self.chain.entries.join(" → ");
        let message = format!("no backend of the chain can do that: {chain}");
        Err(CommandError::new(
            Kind::Failed,
            "backend.unsupported",
            message,
        ))
    }

    /// The first backend of the chain, from the front, that can do something; `None` where the
    /// store comes before it, or none can.
    pub(crate) fn first_but_the_store(
        &self,
        app: &App,
        is_wanted: impl Fn(Capabilities) -> bool,
    ) -> Result<Option<Box<dyn Backend>>, CommandError> {
        let opener = self.opener(app, None);
        for entry in self.chain.parsed()? {
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

    /// What a backend is asked for on behalf of a place, declared or not.
    pub(crate) fn lookup_of(&self, place: &Place<'_>) -> Lookup {
        if let Some(declaration) = place.declaration {
            return strongroom_engine::resolve::lookup(
                &self.manifest,
                &self.profile.name,
                declaration,
            );
        }
        let folder = format!("{}/", self.manifest.folder(&self.profile.name));
        let path = place.path.as_str();
        let path = path.strip_prefix(&folder).unwrap_or(path).to_owned();
        Lookup {
            name: variable_of_path(&path),
            path,
            place: place.path.clone(),
        }
    }

    /// What a person means who writes a name or path.
    pub(crate) fn place(&self, text: &str) -> Result<Place<'_>, CommandError> {
        if let Some(declaration) = self.manifest.declaration(text) {
            let lookup =
                strongroom_engine::resolve::lookup(&self.manifest, &self.profile.name, declaration);
            return Ok(Place {
                path: lookup.place,
                declaration: Some(declaration),
            });
        }
        if let Some(absolute) = text.strip_prefix('/') {
            return Ok(Place {
                path: parse_path(absolute)?,
                declaration: None,
            });
        }
        let relative = parse_path(text)?;
        let by_path = self
            .manifest
            .declarations()
            .iter()
            .find(|declaration| declaration.path == relative);
        let path = relative.below(&self.manifest.folder(&self.profile.name))?;
        Ok(Place {
            path,
            declaration: by_path,
        })
    }
}

/// A secret that the command line names.
#[derive(Clone, Debug)]
pub(crate) struct Place<'p> {
    pub(crate) path: SecretPath,
    pub(crate) declaration: Option<&'p Declaration>,
}

/// As `Project::place`, where there may be no project: then paths begin at the root.
pub(crate) fn place<'p>(
    project: Option<&'p Project>,
    text: &str,
) -> Result<Place<'p>, CommandError> {
    match project {
        Some(project) => project.place(text),
        None => {
            let path = parse_path(text.strip_prefix('/').unwrap_or(text))?;
            Ok(Place {
                path,
                declaration: None,
            })
        }
    }
}

fn parse_path(text: &str) -> Result<SecretPath, CommandError> {
    text.parse()
        .map_err(|error: strongroom_core::path::ParsePathError| {
            CommandError::usage(error.to_string())
        })
}

fn scheme_of(entry: &str) -> &str {
    entry.split([':', '?']).next().unwrap_or(entry)
}
