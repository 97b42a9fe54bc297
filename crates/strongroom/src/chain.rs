//! Opening the backends of a chain with what the command line has.

use std::path::PathBuf;

use strongroom_backends::env::EnvBackend;
use strongroom_backends::open::Surroundings;
pub(crate) use strongroom_chain::entry::Entry;
pub(crate) use strongroom_chain::entry::base_of;
pub(crate) use strongroom_chain::entry::parse_age;
use strongroom_chain::places::PLUGIN_FOLDERS;
use strongroom_chain::remote;
pub(crate) use strongroom_chain::remote::has_written;
pub(crate) use strongroom_chain::remote::never_opened;
pub(crate) use strongroom_chain::remote::scheme_of;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::cache::Open;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;

use crate::absent_store::AbsentStore;
use crate::app::App;
use crate::error;
use crate::error::CommandError;
use crate::session::Session;

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
                None => Ok(crate::runtime::wait(opener_of(self.app, entry)?())?),
            },
        }
    }

    /// The file of a `dotenv:` entry, and what reports call it.
    pub(crate) fn dotenv_path(&self, entry: &Entry) -> (PathBuf, String) {
        let file = entry.uri.path().filter(|path| !path.is_empty());
        let file = file.unwrap_or(".env");
        (self.base.join(file), file.to_owned())
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
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

/// Asks a chain. Where our own store is damaged, its failure names the file and the daily backup.
pub(crate) fn resolve<'a>(app: &App, request: &Request<'a>, links: &[Link]) -> Resolution<'a> {
    let mut resolution = crate::runtime::wait(strongroom_engine::resolve::resolve(request, links));
    let failures = resolution.failures.iter_mut();
    for failure in failures.chain(&mut resolution.tolerated) {
        if let (BackendErrorKind::Damaged, "store") = (failure.kind, failure.backend.as_str())
            && let Ok(store) = app.settings.store()
        {
            *failure = error::locate(failure, &store.value);
        }
    }
    resolution
}

/// Opens a remote backend later, if at all; starts the runtime.
pub(crate) fn opener_of(app: &App, entry: &Entry) -> Result<Open, CommandError> {
    let open = remote::opener_of(&app.environment.for_backends(), entry)?;
    #[cfg(feature = "remote")]
    crate::runtime::start()?;
    Ok(open)
}
