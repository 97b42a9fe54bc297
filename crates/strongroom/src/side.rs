//! One side of a transfer: a backend, and how secrets are named there.

use std::path::PathBuf;

use strongroom_backends::dotenv::DotenvBackend;
use strongroom_chain::detect::SERVER;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_core::port::Lookup;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::transfer::names::path_of_variable;
use strongroom_engine::transfer::names::variable_of_path;

use crate::absent_store::AbsentStore;
use crate::app::App;
use crate::chain;
use crate::chain::Entry;
use crate::chain::Opener;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project::Project;
use crate::runtime::wait;
use crate::session::Session;

/// What is put into a template to see how a backend names secrets.
const PROBE_NAME: &str = "NAMEPROBE";
// With a folder: some backends fold the slash.
const PROBE_PATH: &str = "path/probe";
/// The folder of a store where there is no project: the root.
const NO_FOLDER: &str = "";
/// What a server's URI begins with in a journal: its URL and the folder stand behind.
const ON_SERVER: &str = "store@";

/// How addresses are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Variables: `JWT_SECRET_KEY`.
    Variables,
    /// Paths behind a prefix.
    Paths,
    /// Whatever the backend makes of name and path.
    Own,
}

/// A secret's names, apart from where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// As a variable.
    pub(crate) name: String,
    /// As a path.
    pub(crate) path: String,
}

/// A backend of a transfer.
pub(crate) struct Side {
    pub(crate) backend: Box<dyn Backend>,
    /// What addresses of this side begin with.
    pub(crate) prefix: String,
    pub(crate) naming: Naming,
    /// Where it is, in absolute terms: opens the same backend from anywhere.
    pub(crate) uri: String,
    /// The file of a `dotenv:` side.
    pub(crate) file: Option<PathBuf>,
    /// Neither a prefix nor a template was given: names of a map are the backend's own.
    takes_names_as_they_are: bool,
    /// The URI names a part of what the backend holds, not all of it.
    pub(crate) is_bounded: bool,
    folder: String,
}

impl Side {
    /// Opens a side from its URI.
    pub(crate) fn open(
        app: &App,
        project: Option<&Project>,
        session: Option<&Session>,
        text: &str,
        importing_from: Option<&str>,
    ) -> Result<Self, CommandError> {
        if let Some(folder) = of_journal(app, text)? {
            return Self::on_server(opener(app, project, session), folder);
        }
        let entry = Entry::parse(text)?;
        if entry.migrates || entry.is_optional {
            let message = "optional and migrate are options of a chain, not of a migration's side";
            return Err(CommandError::usage(message));
        }
        let opener = opener(app, project, session);
        match entry.scheme() {
            "store" if app.global.server.is_some() => {
                let folder = folder_of(&opener, &entry);
                Self::on_server(opener, folder)
            }
            "store" => Ok(Self::store(&opener, session, &entry, importing_from)),
            "dotenv" => Self::dotenv(&opener, &entry),
            "env" => Ok(Self {
                backend: opener.open(&entry)?,
                prefix: String::new(),
                naming: Naming::Variables,
                uri: "env".into(),
                file: None,
                takes_names_as_they_are: true,
                is_bounded: true,
                folder: opener.folder,
            }),
            _ => Self::other(&opener, &entry),
        }
    }

    /// Opens the side that secrets come from. In a chain, a file that is not there is one without
    /// secrets; a source has to be there, or a slip of the pen would look like an empty one.
    pub(crate) fn open_source(
        app: &App,
        project: Option<&Project>,
        session: Option<&Session>,
        text: &str,
    ) -> Result<Self, CommandError> {
        let side = Self::open(app, project, session, text, None)?;
        let folder = match Entry::parse(text)? {
            entry if entry.scheme() == "files" => {
                let path = entry.uri.path().unwrap_or("/run/secrets");
                Some(opener(app, project, session).base.join(path))
            }
            _ => None,
        };
        let place = side.file.as_ref().or(folder.as_ref());
        if let Some(place) = place.filter(|place| !place.exists()) {
            let message = format!("{} cannot be read: there is no such file", place.display());
            return Err(CommandError::new(Kind::NotFound, "source.missing", message)
                .hint("--from names where the secrets are, e.g. dotenv:.env"));
        }
        Ok(side)
    }

    /// A backend that is open already and names secrets by paths.
    pub(crate) fn of_paths(backend: Box<dyn Backend>, uri: String) -> Self {
        Self {
            backend,
            prefix: String::new(),
            naming: Naming::Paths,
            uri,
            file: None,
            takes_names_as_they_are: true,
            is_bounded: false,
            folder: NO_FOLDER.into(),
        }
    }

    fn store(
        opener: &Opener<'_>,
        session: Option<&Session>,
        entry: &Entry,
        importing_from: Option<&str>,
    ) -> Self {
        let folder = folder_of(opener, entry);
        let backend: Box<dyn Backend> = match session {
            None => Box::new(AbsentStore),
            Some(session) => {
                let engine = session.engine.clone();
                let context = session.context.clone();
                let backend = StoreBackend::new(engine, context, folder.clone());
                match importing_from {
                    Some(from) => Box::new(backend.importing_from(from)),
                    None => Box::new(backend),
                }
            }
        };
        let prefix = match folder.as_str() {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        Self {
            backend,
            uri: format!("store:/{}", escaped(&folder)),
            prefix,
            naming: Naming::Paths,
            file: None,
            takes_names_as_they_are: false,
            is_bounded: !folder.is_empty(),
            folder,
        }
    }

    /// A folder on the server that stands in the store's place.
    fn on_server(mut opener: Opener<'_>, folder: String) -> Result<Self, CommandError> {
        let server = opener.app.global.server.as_deref().unwrap_or_default();
        let uri = format!("{ON_SERVER}{server}#/{folder}");
        opener.folder.clone_from(&folder);
        let side = Self::other(&opener, &Entry::parse(SERVER)?)?;
        Ok(Self {
            uri,
            folder,
            takes_names_as_they_are: false,
            ..side
        })
    }

    fn dotenv(opener: &Opener<'_>, entry: &Entry) -> Result<Self, CommandError> {
        let (path, label) = opener.dotenv_path(entry);
        let absolute = std::path::absolute(&path).map_err(|error| {
            CommandError::failed(format!("{} cannot be found: {error}", path.display()))
        })?;
        let shown = absolute
            .to_str()
            .ok_or_else(|| CommandError::usage(format!("{} is not UTF-8", absolute.display())))?;
        let uri = format!("dotenv:{}", escaped(shown));
        Ok(Self {
            backend: Box::new(DotenvBackend::new(absolute.clone(), label)),
            prefix: String::new(),
            naming: Naming::Variables,
            uri,
            file: Some(absolute),
            takes_names_as_they_are: true,
            is_bounded: true,
            folder: opener.folder.clone(),
        })
    }

    fn other(opener: &Opener<'_>, entry: &Entry) -> Result<Self, CommandError> {
        let backend = opener.open(entry)?;
        // What a server can do may depend on what is mounted there: it is asked first.
        wait(backend.health())?;
        let folder = match opener.folder.as_str() {
            "" => "project/profile",
            folder => folder,
        };
        let probed = backend.address(&lookup(folder, PROBE_NAME, PROBE_PATH)?);
        let by_default = format!("{folder}/{PROBE_PATH}");
        let has_template = entry.uri.option("name").is_some();
        let is_default = probed == by_default && !has_template;
        let (prefix, naming) = match probed.strip_suffix(PROBE_PATH) {
            Some(_) if is_default && opener.folder.is_empty() => (String::new(), Naming::Paths),
            Some(prefix) if !prefix.contains(PROBE_NAME) => (prefix.to_owned(), Naming::Paths),
            _ => {
                let before = probed.find(PROBE_NAME).or(probed.find(PROBE_PATH));
                let before = before.and_then(|at| probed.get(..at)).unwrap_or_default();
                (before.to_owned(), Naming::Own)
            }
        };
        let uri = match (entry.scheme(), entry.uri.path()) {
            ("files", path) => {
                let folder = opener.base.join(path.unwrap_or("/run/secrets"));
                let folder = std::path::absolute(&folder).unwrap_or(folder);
                format!("files:{}", escaped(&folder.display().to_string()))
            }
            _ => entry.text.clone(),
        };
        let path = entry.uri.path().unwrap_or_default().trim_end_matches('/');
        let is_bounded = !prefix.is_empty() || path.contains('/');
        Ok(Self {
            backend,
            prefix,
            naming,
            is_bounded,
            uri,
            file: None,
            takes_names_as_they_are: is_default,
            folder: folder.to_owned(),
        })
    }

    /// The names of the secret at an address of this side.
    pub(crate) fn names_of(&self, project: Option<&Project>, address: &str) -> Names {
        let rest = address.strip_prefix(&self.prefix).unwrap_or(address);
        let declared = project.and_then(|project| {
            let declarations = project.manifest.declarations();
            let is_it = |name: &str, path: &str| rest == name || rest == path;
            declarations
                .iter()
                .find(|declared| is_it(&declared.name, declared.path.as_str()))
        });
        if let Some(declared) = declared {
            // A declaration without a path of its own has its name for one.
            let has_path = declared.path.as_str() != declared.name;
            let path = match has_path || self.naming != Naming::Variables {
                true => declared.path.to_string(),
                false => declared.name.clone(),
            };
            return Names {
                name: declared.name.clone(),
                path,
            };
        }
        match self.naming {
            Naming::Variables => Names {
                name: rest.to_owned(),
                path: path_of_variable(rest),
            },
            Naming::Paths | Naming::Own => Names {
                name: variable_of_path(rest),
                path: rest.to_owned(),
            },
        }
    }

    /// The address of a secret on this side.
    pub(crate) fn address_of(&self, names: &Names) -> Result<String, CommandError> {
        match self.naming {
            Naming::Variables => Ok(names.name.clone()),
            Naming::Paths => Ok(format!("{}{}", self.prefix, names.path)),
            Naming::Own => {
                let lookup = lookup(&self.folder, &names.name, &names.path)?;
                Ok(self.backend.address(&lookup))
            }
        }
    }

    /// The address that a map's text means: a path below the prefix, or, with a leading `/` or
    /// where there is no prefix, the backend's own name.
    pub(crate) fn mapped(&self, text: &str) -> Result<String, CommandError> {
        if self.naming == Naming::Variables || self.takes_names_as_they_are {
            return Ok(text.to_owned());
        }
        if let Some(absolute) = text
            .strip_prefix('/')
            .filter(|_| self.uri.starts_with("store:") || self.uri.starts_with(ON_SERVER))
        {
            return Ok(absolute.to_owned());
        }
        if !self.prefix.is_empty() && text.starts_with(&self.prefix) {
            return Ok(text.to_owned());
        }
        self.address_of(&Names {
            name: variable_of_path(text),
            path: text.to_owned(),
        })
    }

    /// A short name for reports: `dotenv`, `aws`.
    pub(crate) fn scheme(&self) -> &'static str {
        self.backend.scheme()
    }
}

/// The folder that a `store` entry means.
fn folder_of(opener: &Opener<'_>, entry: &Entry) -> String {
    match entry.uri.path() {
        None | Some("") => opener.folder.clone(),
        Some(path) => match path.strip_prefix('/') {
            Some(absolute) => absolute.trim_end_matches('/').to_owned(),
            None if opener.folder.is_empty() => path.trim_end_matches('/').to_owned(),
            None => format!("{}/{}", opener.folder, path.trim_end_matches('/')),
        },
    }
}

/// The folder of a side that a journal keeps as one on a server; only that server will do.
fn of_journal(app: &App, text: &str) -> Result<Option<String>, CommandError> {
    let Some(rest) = text.strip_prefix(ON_SERVER) else {
        return Ok(None);
    };
    let (server, folder) = rest.rsplit_once("#/").unwrap_or((rest, NO_FOLDER));
    if app.global.server.as_deref() == Some(server) {
        return Ok(Some(folder.to_owned()));
    }
    let message = format!("that is about the server {server}, and another place was named");
    Err(CommandError::usage(message).hint(format!("name it with --server {server}")))
}

/// Refuses a journal about a store file where a server stands in the store's place.
pub(crate) fn refuse_other_place(app: &App, uri: &str) -> Result<(), CommandError> {
    if app.global.server.is_none() || !uri.starts_with("store:") {
        return Ok(());
    }
    let message = "that is about the store file, and a server stands in its place";
    Err(CommandError::usage(message).hint("leave --server away and unset STRONGROOM_ADDR"))
}

fn opener<'o>(app: &'o App, project: Option<&Project>, session: Option<&'o Session>) -> Opener<'o> {
    match project {
        Some(project) => project.opener(app, session),
        None => Opener {
            app,
            session,
            folder: NO_FOLDER.into(),
            base: chain::base_of(None),
        },
    }
}

fn lookup(folder: &str, name: &str, path: &str) -> Result<Lookup, CommandError> {
    let place: SecretPath = match folder {
        "" => path.parse()?,
        folder => format!("{folder}/{path}").parse()?,
    };
    Ok(Lookup {
        name: name.to_owned(),
        path: path.to_owned(),
        place,
    })
}

/// A path as it can stand in a URI.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F")
}
