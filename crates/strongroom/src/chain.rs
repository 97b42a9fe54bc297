//! From a line of a chain, or a URI on the command line, to an open backend.

#[cfg(feature = "remote")]
mod deadline;
mod remote;

use std::path::Path;
use std::path::PathBuf;

use strongroom_backends::env::EnvBackend;
use strongroom_backends::open::Surroundings;
use strongroom_core::manifest;
use strongroom_core::port::Backend;
use strongroom_core::time::Span;
use strongroom_core::uri::BackendUri;
use strongroom_engine::backend::StoreBackend;

use crate::absent_store::AbsentStore;
use crate::app::App;
use crate::error::CommandError;
use crate::session::Session;

pub(crate) use remote::aws_credentials;
pub(crate) use remote::has_written;
pub(crate) use remote::never_opened;
pub(crate) use remote::opener_of;
pub(crate) use remote::scheme_of;

/// Where plugins lie beside the user's own.
const PLUGIN_FOLDERS: [&str; 2] = [
    "/usr/local/lib/strongroom/plugins",
    "/usr/lib/strongroom/plugins",
];
/// Options of a chain entry that are the chain's, not the backend's.
const OF_THE_CHAIN: [&str; 3] = ["optional", "migrate", "max-age"];
/// Programs of others that may use the network on their own.
const PERHAPS_REMOTE: [&str; 3] = ["op", "bw", "exec"];

/// A parsed entry of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As it was written.
    pub(crate) text: String,
    /// Without the chain's own options.
    pub(crate) uri: BackendUri,
    /// Its failures count as "not found".
    pub(crate) is_optional: bool,
    /// What is read from it moves to the store.
    pub(crate) migrates: bool,
    /// Its answers are kept, and used up to this age.
    pub(crate) max_age: Option<Span>,
}

impl Entry {
    /// Parses an entry of a chain.
    pub(crate) fn parse(text: &str) -> Result<Self, CommandError> {
        let uri = parse_uri(text)?;
        let address = text.split('?').next().unwrap_or(text);
        let is_optional = match uri.option("optional") {
            None => false,
            Some(value) => strongroom_core::format::parse_bool(value).ok_or_else(|| {
                CommandError::usage(format!("chain entry {address}: optional is a boolean"))
            })?,
        };
        let migrates = match uri.option("migrate") {
            None => false,
            Some("store") if uri.scheme() == "dotenv" => true,
            Some("store") => {
                let message =
                    format!("chain entry {address}: only dotenv files migrate on reading");
                return Err(CommandError::usage(message)
                    .hint("strongroom migrate --from URI --to URI moves the others"));
            }
            Some(_) => {
                let message = format!("chain entry {address}: migrate knows the target store only");
                return Err(CommandError::usage(message).hint("write ?migrate=store"));
            }
        };
        let max_age = match uri.option("max-age") {
            None => None,
            Some(_) if !remote::PLANNED.contains(&uri.scheme()) => {
                return Err(CommandError::usage(format!(
                    "chain entry {address}: max-age is for backends over a network"
                )));
            }
            Some(text) => Some(parse_age(text).map_err(|why| {
                CommandError::usage(format!("chain entry {address}: max-age {why}"))
                    .hint("for example max-age=10m")
            })?),
        };
        let entry = Self {
            text: text.to_owned(),
            uri: uri.without(&OF_THE_CHAIN),
            is_optional,
            migrates,
            max_age,
        };
        entry.check_local_options(address)?;
        Ok(entry)
    }

    /// Those have no options of their own; the others look at theirs when they are opened.
    fn check_local_options(&self, address: &str) -> Result<(), CommandError> {
        if !matches!(self.scheme(), "store" | "env") {
            return Ok(());
        }
        let Some(option) = self.uri.unknown_option(&[]) else {
            return Ok(());
        };
        let message = format!("chain entry {address}: the option {option} is not known");
        Err(CommandError::usage(message).hint("known: optional=true"))
    }

    pub(crate) fn scheme(&self) -> &str {
        self.uri.scheme()
    }

    /// On this machine: opened without a runtime, asked before those over a network.
    pub(crate) fn is_local(&self) -> bool {
        !remote::SCHEMES.contains(&self.scheme())
    }

    /// True when it may ask something over a network.
    pub(crate) fn may_use_network(&self) -> bool {
        !self.is_local() || PERHAPS_REMOTE.contains(&self.scheme())
    }

    /// The entry as reports name it: its address without options.
    pub(crate) fn label(&self) -> String {
        let address = self.text.split('?').next().unwrap_or(&self.text);
        address.to_owned()
    }
}

/// An age: a time as in `10m` or `1h30m`; bare numbers are seconds.
pub(crate) fn parse_age(text: &str) -> Result<Span, String> {
    match strongroom_core::lease::parse_duration(text) {
        Ok(_) if text.is_empty() => Err("is empty".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("is no time: {error}")),
    }
}

fn parse_uri(text: &str) -> Result<BackendUri, CommandError> {
    BackendUri::parse(text).map_err(|error| {
        let scheme = text.split([':', '?']).next().unwrap_or_default();
        // What stands before the colon is no secret unless there is no colon at all.
        let shown = match text.contains(':') && scheme.len() <= 24 {
            true => format!("chain entry {scheme}:…: {error}"),
            false => format!("a chain entry is not understood: {error}"),
        };
        CommandError::usage(shown)
    })
}

/// What an entry is opened with.
pub(crate) struct Opener<'o> {
    pub(crate) app: &'o App,
    /// The open store; without one, `store` is a place without secrets.
    pub(crate) session: Option<&'o Session>,
    /// The project's and profile's folder in a store; empty without a project.
    pub(crate) folder: String,
    /// What relative paths are relative to.
    pub(crate) base: PathBuf,
}

impl Opener<'_> {
    /// Opens the backend of an entry.
    pub(crate) fn open(&self, entry: &Entry) -> Result<Box<dyn Backend>, CommandError> {
        match entry.scheme() {
            "store" => Ok(self.store()),
            "env" => {
                let variables = self.app.environment.variables().to_vec();
                Ok(Box::new(EnvBackend::new(variables)))
            }
            _ => match strongroom_backends::open::open(&entry.uri, &self.surroundings()) {
                Some(opened) => Ok(opened?),
                None => remote::open(self.app, entry),
            },
        }
    }

    /// The file of a `dotenv:` entry, and what reports call it.
    pub(crate) fn dotenv_path(&self, entry: &Entry) -> (PathBuf, String) {
        let file = entry.uri.path().filter(|path| !path.is_empty());
        let file = file.unwrap_or(".env");
        (self.base.join(file), file.to_owned())
    }

    fn surroundings(&self) -> Surroundings {
        let environment = &self.app.environment;
        let own = environment.data_folder().map(|it| it.join("plugins"));
        let shared = PLUGIN_FOLDERS.map(PathBuf::from);
        Surroundings {
            variables: environment.for_backends(),
            folder: self.base.clone(),
            plugin_folders: own.into_iter().chain(shared).collect(),
        }
    }

    fn store(&self) -> Box<dyn Backend> {
        match self.session {
            Some(session) => Box::new(StoreBackend::new(
                session.engine.clone(),
                session.context.clone(),
                self.folder.clone(),
            )),
            None => Box::new(AbsentStore),
        }
    }
}

/// The folder that paths are relative to: the manifest's, or the working one.
pub(crate) fn base_of(manifest: Option<&Path>) -> PathBuf {
    let folder = manifest.and_then(Path::parent);
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// All schemes that this build knows.
pub(crate) fn known_schemes() -> Vec<&'static str> {
    let local = strongroom_backends::open::SCHEMES.iter();
    let mut known = vec!["store", "env"];
    known.extend(local.map(|(scheme, _)| *scheme));
    known.extend(remote::SCHEMES);
    known
}

/// A scheme that is not known, or not built in.
pub(crate) fn unknown_scheme(entry: &str, scheme: &str) -> CommandError {
    let known = known_schemes();
    let shown = entry.split('?').next().unwrap_or(entry);
    if remote::PLANNED.contains(&scheme) {
        let message = format!("chain entry {shown}: this program was built without {scheme}");
        let kind = crate::error::Kind::Unreachable;
        return CommandError::new(kind, "backend.not_built", message)
            .hint(format!("it knows {}", known.join(", ")));
    }
    let error = CommandError::usage(format!("chain entry {shown}: {scheme} is no backend"));
    match manifest::did_you_mean(scheme, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("known: {}", known.join(", "))),
    }
}
