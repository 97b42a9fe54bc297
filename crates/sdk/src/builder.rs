use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use strongroom_backends::env::EnvBackend;
use strongroom_backends::open::Surroundings;
use strongroom_chain::detect::Chain;
use strongroom_chain::entry;
use strongroom_chain::entry::Entry;
use strongroom_chain::fresh::Fresh;
use strongroom_chain::manifest;
use strongroom_chain::manifest::ReadManifestError;
use strongroom_chain::places;
use strongroom_chain::remote;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Profile;
use strongroom_core::port::Backend;
use strongroom_core::secret::SecretValue;
use strongroom_engine::resolve::Link;

use crate::environment::Environment;
use crate::error::LoadError;
use crate::notes::Notes;
use crate::secrets::Secrets;
use crate::store::Place;
use crate::store::StoreLink;

/// How long a value is used before it is fetched anew, unless [`Builder::ttl`] says otherwise.
const TTL_DEFAULT: Duration = Duration::from_secs(300);

/// What a failure of a backend does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is the answer: no later backend, and no variable, takes its place.
    #[default]
    Fail,
    /// The chain goes on, and [`Secrets::get_or_env`] to the environment. If nobody has the
    /// secret, the failure is the answer: it never becomes "not found".
    GoOn,
}

/// Says which secrets are loaded, and how. What is not said is as for the command line: the
/// `STRONGROOM_…` variables, the user's config file, the nearest manifest.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    manifest: Option<PathBuf>,
    profile: Option<String>,
    chain: Option<Vec<String>>,
    place: Place,
    ttl: Option<Duration>,
    environment: Option<Vec<(OsString, OsString)>>,
    user_keys: Option<SecretValue>,
    pub(crate) on_error: OnError,
}

impl Builder {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The manifest to read, instead of the nearest `strongroom.toml`.
    pub fn manifest(self, path: impl Into<PathBuf>) -> Self {
        Self {
            manifest: Some(path.into()),
            ..self
        }
    }

    /// The profile, e.g. `production`.
    pub fn profile(self, name: impl Into<String>) -> Self {
        Self {
            profile: Some(name.into()),
            ..self
        }
    }

    /// The chain, instead of the profile's: one URI for each backend.
    pub fn chain<S: Into<String>>(self, entries: impl IntoIterator<Item = S>) -> Self {
        Self {
            chain: Some(entries.into_iter().map(Into::into).collect()),
            ..self
        }
    }

    /// The store to open: a file, or `postgres://USER@HOST/DATABASE` for one in a database.
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.place.store = Some(path.into());
        self
    }

    /// The key file that opens the store.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.place.key_file = Some(path.into());
        self
    }

    /// The passphrase that opens the store where its key file and the user's keyring do not,
    /// instead of that in the file which `STRONGROOM_PASSPHRASE_FILE` names. Also a recovery key.
    /// Deriving a key from it takes about a second.
    pub fn passphrase(mut self, passphrase: SecretValue) -> Self {
        self.place.passphrase = Some(passphrase);
        self
    }

    /// How long a value is used before it is fetched anew (default: five minutes). Zero fetches
    /// each time.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..self
        }
    }

    /// The database with users' keys, `postgres://USER@HOST/DATABASE`, instead of what
    /// `STRONGROOM_USERKEYS_DATABASE` holds. A password may stand in it, or in `PGPASSWORD`. With
    /// `server:`, or where no database is named, the server that `STRONGROOM_ADDR` names is asked.
    pub fn user_keys(self, url: SecretValue) -> Self {
        Self {
            user_keys: Some(url),
            ..self
        }
    }

    /// What a failure of a backend does.
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// The environment, instead of this process's. Backends take their addresses and credentials
    /// from it, and [`Secrets::get_or_env`] its values.
    pub fn environment<N, V>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter();
        let owned = variables.map(|(name, value)| (name.into(), value.into()));
        Self {
            environment: Some(owned.collect()),
            ..self
        }
    }

    /// Reads the manifest and opens the backends of the chain. No secret is fetched yet.
    ///
    /// # Errors
    /// When something that was found makes no sense, or a backend cannot be opened.
    pub async fn load(self) -> Result<Secrets, LoadError> {
        let environment = match self.environment.clone() {
            Some(variables) => Environment::of(variables),
            None => Environment::of_process(),
        };
        let path = self.manifest_path(&environment)?;
        let text = manifest::read(&path).map_err(unreadable)?;
        let (declared, _) = manifest::parse(&path, &text).map_err(unreadable)?;
        let profile = self.profile_of(&declared, &environment)?;
        let folder = declared.folder(&profile.name);
        let chain = match self.chain.clone() {
            Some(chain) => chain,
            None => {
                let written = profile.chain.clone();
                let chain = Chain::of(&environment.variables, written, profile.is_strict);
                chain.await.entries
            }
        };
        let opener = Opener {
            environment: &environment,
            place: &self.place,
            folder,
            base: entry::base_of(Some(&path)),
            notes: OnceLock::new(),
        };
        let mut links = Vec::with_capacity(chain.len());
        for text in &chain {
            let entry = Entry::parse(text)?;
            links.push(Link {
                backend: opener.open(&entry).await?,
                is_optional: entry.is_optional,
                is_remote: !entry.is_local(),
            });
        }
        let notes = opener.notes();
        let ttl = self.ttl.unwrap_or(TTL_DEFAULT);
        #[cfg(feature = "userkeys")]
        let users = crate::users::Users::new(&environment, self.user_keys, self.place, ttl);
        Ok(Secrets::new(
            (declared, profile),
            links,
            environment,
            ttl,
            self.on_error,
            notes,
            #[cfg(feature = "userkeys")]
            users,
        ))
    }

    fn manifest_path(&self, environment: &Environment) -> Result<PathBuf, LoadError> {
        let named = || environment.text("STRONGROOM_MANIFEST").map(PathBuf::from);
        if let Some(path) = self.manifest.clone().or_else(named) {
            return Ok(path);
        }
        let here = std::env::current_dir().map_err(LoadError::WorkingFolder)?;
        manifest::find(&here).ok_or(LoadError::NoManifest)
    }

    fn profile_of(
        &self,
        declared: &Manifest,
        environment: &Environment,
    ) -> Result<Profile, LoadError> {
        let named = ["STRONGROOM_PROFILE", "APP_PROFILE"];
        let mut named = named.iter().filter_map(|name| environment.text(name));
        let name = self.profile.as_deref().or_else(|| named.next());
        let name = name.unwrap_or(&declared.default_profile);
        let profile = declared.profile(name).cloned();
        profile.ok_or_else(|| LoadError::NoProfile {
            name: name.to_owned(),
            known: declared.profiles().map(|it| it.name.clone()).collect(),
        })
    }
}

fn unreadable(error: ReadManifestError) -> LoadError {
    LoadError::Manifest { error }
}

struct Opener<'o> {
    environment: &'o Environment,
    place: &'o Place,
    folder: String,
    base: PathBuf,
    /// Of the store, when it is in the chain.
    notes: OnceLock<Notes>,
}

impl Opener<'_> {
    async fn open(&self, entry: &Entry) -> Result<Box<dyn Backend>, LoadError> {
        match entry.scheme() {
            "store" => {
                let folder = self.folder.clone();
                let store = StoreLink::open(self.environment, self.place, folder)?;
                if let Some(notes) = store.notes() {
                    let _ = self.notes.set(notes);
                }
                Ok(Box::new(store))
            }
            "env" => Ok(Box::new(EnvBackend::new(self.environment.all.clone()))),
            _ => match Fresh::open(&entry.uri, self.surroundings()) {
                Some(opened) => Ok(Box::new(opened?)),
                None => {
                    let open = remote::opener_of(&self.environment.variables, entry)?;
                    Ok(open().await?)
                }
            },
        }
    }

    /// The ledger of the chain's store, else of the one that lies beside what the chain has: it
    /// is not needed, and one that does not open is none.
    fn notes(mut self) -> Option<Notes> {
        let folder = std::mem::take(&mut self.folder);
        let of_chain = self.notes.take();
        of_chain.or_else(|| {
            let beside = StoreLink::open(self.environment, self.place, folder);
            beside.ok()?.notes()
        })
    }

    fn surroundings(&self) -> Surroundings {
        let named = |name: &str| self.environment.text(name).map(PathBuf::from);
        let own = places::xdg(named, "XDG_DATA_HOME", ".local/share");
        let own = own.map(|folder| folder.join("plugins"));
        let shared = places::PLUGIN_FOLDERS.map(PathBuf::from);
        Surroundings {
            variables: self.environment.variables.clone(),
            folder: self.base.clone(),
            plugin_folders: own.into_iter().chain(shared).collect(),
        }
    }
}
