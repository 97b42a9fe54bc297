//! One application on one machine: from its manifest to its end.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::json;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::api;
use crate::api::setup::Setup;
use crate::board::Board;
use crate::error::SuperviseError;
use crate::folder::Folder;
use crate::folder::Lock;
use crate::folder::OwnFolder;
use crate::gpu::Gpu;
use crate::keep::Keep;
use crate::keep::Keys;
use crate::leftovers::Leftovers;
use crate::manifest::Manifest;
use crate::masks::Masks;
use crate::now;
use crate::ports;
use crate::ports::Ports;
use crate::restarts::Restarts;
use crate::secrets::Begun;
use crate::secrets::Fetched;
use crate::secrets::Secrets;
use crate::service;
use crate::service::History;
use crate::telemetry::Telemetry;
use crate::template::Template;

/// Where the port of the control API is written.
const PORT_FILE: &str = "runtime/ipc_port";
/// Where the store lies below the application's folder.
const STORE: &str = "store/secrets.db";
/// Where earlier installations kept secrets in clear.
const OLD_SECRETS: &str = "secrets.json";
/// Random bytes of the token.
const TOKEN_BYTES: usize = 24;
/// Services have so long to end together, beside the time that each has.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// An answer to `shutdown` leaves before the listener does.
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(100);

/// How an application is to be run.
#[derive(Debug)]
pub struct Options {
    /// The folder of its data.
    pub app_data: PathBuf,
    /// The folder of what was shipped.
    pub bundle_root: PathBuf,
    /// Start no service, and say that they are ready.
    pub is_dry_run: bool,
    /// The key file that opens the store, or will.
    pub key_file: PathBuf,
    /// A passphrase that opens the store, where no other key does.
    pub passphrase: Option<SecretValue>,
    /// Who does it, for the audit log.
    pub actor: String,
    /// What services may see of the environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Origins of web pages that may use the control API.
    pub origins: Vec<String>,
    /// Values of secrets that are kept elsewhere, or why there is none.
    pub fetched: std::collections::BTreeMap<String, Result<SecretValue, String>>,
    /// Who is told of services that end unasked.
    pub tell: Option<mpsc::UnboundedSender<Told>>,
}

/// A service ended, and nobody had asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its name in the manifest.
    pub service: String,
    /// How, and what comes next.
    pub how: String,
}

/// A running application.
pub struct Supervisor {
    pub(crate) state: Arc<State>,
    listener: TcpListener,
    lock: Lock,
    warnings: Vec<String>,
}

/// What the control API and the services share.
pub(crate) struct State {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) folder: Folder,
    pub(crate) bundle_root: PathBuf,
    pub(crate) is_dry_run: bool,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) origins: Vec<String>,
    pub(crate) secrets: tokio::sync::Mutex<Secrets>,
    pub(crate) board: Board,
    pub(crate) ports: Ports,
    pub(crate) telemetry: Telemetry,
    pub(crate) gpu: Gpu,
    pub(crate) token: SecretValue,
    pub(crate) instance: String,
    pub(crate) begun: Timestamp,
    pub(crate) address: SocketAddr,
    pub(crate) history: Mutex<History>,
    /// Processes and files that are gone in the end.
    pub(crate) leftovers: Leftovers,
    pub(crate) setup: Setup,
    pub(crate) restarts: Restarts,
    pub(crate) masks: Masks,
    pub(crate) stop: watch::Sender<bool>,
    tell: Option<mpsc::UnboundedSender<Told>>,
    is_started: AtomicBool,
    tasks: Mutex<JoinSet<()>>,
}

impl Supervisor {
    /// Prepares everything, and listens; nothing is answered and no service started before
    /// [`Supervisor::run`].
    ///
    /// # Errors
    /// When the application cannot be run, or runs already.
    pub async fn start(manifest: Manifest, mut options: Options) -> Result<Self, SuperviseError> {
        let manifest = Arc::new(manifest);
        let folder = Folder::make(&options.app_data)?;
        let mut lock = Lock::take(&folder)?;
        let fetched = std::mem::take(&mut options.fetched);
        let (telemetry, (secrets, warnings)) = open(&manifest, &folder, &options, fetched).await?;
        let (leftovers, processes, files) = Leftovers::clear(&folder).await?;
        if processes + files > 0 {
            let details = json!({ "processes": processes, "files": files });
            telemetry.note("leftovers_cleared", None, details);
        }
        let history = History::read(&folder)?;
        let ports = ports::allocate(&manifest)?;
        let gpu = Gpu::probe();
        telemetry.note("runtime_start", None, json!(null));
        telemetry.note("gpu_status", None, gpu.to_json());
        let listener = listen(&manifest).await?;
        let address = listener.local_addr();
        let address = address.map_err(|source| listen_error(&manifest, source))?;
        let mut instance = [0; 8];
        SystemRng.fill(&mut instance);
        let token = make_token();
        // EXPOSE: into a file that only its owner reads, where the application looks for it.
        let text = token.expose_secret();
        folder.write_private(&manifest.token_path, text, OwnFolder::Close)?;
        let port = address.port().to_string();
        folder.write_private(PORT_FILE, port.as_bytes(), OwnFolder::Leave)?;
        lock.note(Some(address.port()));
        let services = manifest.services.iter();
        let board = Board::new(services.map(|service| service.id.clone()));
        let masks = Masks::new(secrets.values());
        let state = Arc::new(State {
            board,
            bundle_root: std::path::absolute(&options.bundle_root)
                .unwrap_or_else(|_| options.bundle_root.clone()),
            is_dry_run: options.is_dry_run,
            environment: options.environment,
            origins: options.origins,
            secrets: tokio::sync::Mutex::new(secrets),
            instance: HEXLOWER.encode(&instance),
            begun: now(),
            history: Mutex::new(history),
            leftovers,
            setup: Setup::default(),
            restarts: Restarts::default(),
            masks,
            stop: watch::Sender::new(false),
            tell: options.tell,
            is_started: AtomicBool::new(false),
            tasks: Mutex::new(JoinSet::new()),
            manifest,
            folder,
            ports,
            telemetry,
            gpu,
            token,
            address,
        });
        Ok(Self {
            state,
            listener,
            lock,
            warnings,
        })
    }

    /// Where the control API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// A link to the first run's page, which works once and for a quarter of an hour.
    #[must_use]
    pub fn setup_link(&self) -> SecretValue {
        let code = self.state.setup.make_link();
        // EXPOSE: into the link, which is a secret itself.
        let code = code.expose_secret_text().unwrap_or_default();
        let address = self.state.address;
        SecretValue::from_text(format!("http://{address}/setup/#{code}"))
    }

    /// What its user should look at.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Required secrets that have no value, each with the reason if there is one.
    pub async fn missing(&self) -> Vec<(String, Option<String>)> {
        let secrets = self.state.secrets.lock().await;
        let missing = secrets.missing().into_iter();
        let with_reason = |id: String| {
            let why = secrets.unfetched().get(&id).cloned();
            (id, why)
        };
        missing.map(with_reason).collect()
    }

    /// Serves the control API and runs the services until `ended` is, or somebody asks for the
    /// end. Then services are stopped, and what holds secrets or tokens is removed.
    pub async fn run(self, ended: impl Future<Output = ()>) -> Vec<String> {
        let Self {
            state,
            listener,
            lock,
            ..
        } = self;
        state.start_if_complete().await;
        let served = tokio::spawn(api::serve(Arc::clone(&state), listener));
        let mut stop = state.stop.subscribe();
        let is_asked = tokio::select! {
            () = ended => false,
            asked = stop.wait_for(|stop| *stop) => asked.is_ok(),
        };
        if is_asked {
            tokio::time::sleep(SHUTDOWN_PAUSE).await;
        }
        let _ = state.stop.send(true);
        let problems = state.end().await;
        let _ = served.await;
        drop(lock);
        problems
    }
}

/// Opens the installation's store and its file of events.
pub(crate) async fn open(
    manifest: &Arc<Manifest>,
    folder: &Folder,
    options: &Options,
    fetched: Fetched,
) -> Result<(Telemetry, (Secrets, Vec<String>)), SuperviseError> {
    let telemetry = Telemetry::new(folder, &manifest.telemetry_file);
    let keys = Keys {
        key_file: &options.key_file,
        passphrase: options.passphrase.as_ref(),
    };
    let keep = Keep::open(&folder.below(STORE), &keys, &options.actor)?;
    let old = folder.below(OLD_SECRETS);
    let opened = begin(manifest, keep, &old, fetched, &telemetry).await?;
    Ok((telemetry, opened))
}

async fn begin(
    manifest: &Arc<Manifest>,
    keep: Keep,
    old: &std::path::Path,
    fetched: Fetched,
    telemetry: &Telemetry,
) -> Result<(Secrets, Vec<String>), SuperviseError> {
    let begun = Secrets::begin(Arc::clone(manifest), keep, old, fetched).await;
    let (secrets, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let details = json!({ "error": error.to_string() });
            let event = match error {
                SuperviseError::Generate { .. } => "secrets_generation_failed",
                _ => "runtime_error",
            };
            telemetry.note(event, None, details);
            return Err(error);
        }
    };
    let Begun {
        imported,
        mut warnings,
        fetched,
        generated,
    } = begun;
    if let Some((count, form)) = imported {
        telemetry.note(
            "secrets_imported",
            None,
            json!({ "count": count, "form": form }),
        );
    }
    if !fetched.is_empty() {
        telemetry.note("secrets_fetched", None, json!({ "ids": fetched }));
    }
    for (id, why) in secrets.unfetched() {
        telemetry.note(
            "secret_fetch_failed",
            None,
            json!({ "id": id, "reason": why }),
        );
        if secrets.value_of(id).is_some() {
            let kept = "the value of the last fetch is used";
            warnings.push(format!("{id} could not be fetched, {kept}: {why}"));
        }
    }
    if !generated.is_empty() {
        let details = json!({ "count": generated.len(), "ids": generated });
        telemetry.note("secrets_generated", None, details);
    }
    Ok((secrets, warnings))
}

async fn listen(manifest: &Manifest) -> Result<TcpListener, SuperviseError> {
    let host = manifest.ipc_host.as_str();
    match TcpListener::bind((host, manifest.ipc_port)).await {
        Ok(listener) => Ok(listener),
        // Somebody else's: whoever looks for us reads which port it is.
        Err(_) => {
            (TcpListener::bind((host, 0)).await).map_err(|source| listen_error(manifest, source))
        }
    }
}

fn listen_error(manifest: &Manifest, source: std::io::Error) -> SuperviseError {
    SuperviseError::Listen {
        host: manifest.ipc_host.clone(),
        source,
    }
}

fn make_token() -> SecretValue {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    SystemRng.fill(&mut *bytes);
    SecretValue::from_text(HEXLOWER.encode(&*bytes))
}

impl State {
    pub(crate) fn template(&self) -> Template<'_> {
        Template {
            data: self.folder.path(),
            bundle: &self.bundle_root,
            ports: &self.ports,
        }
    }

    /// Starts the services when no required secret is missing, once.
    pub(crate) async fn start_if_complete(self: &Arc<Self>) {
        if self.is_started.load(Ordering::Acquire) || *self.stop.borrow() {
            return;
        }
        let missing = self.secrets.lock().await.missing();
        if !missing.is_empty() {
            let list = missing.join(", ");
            (self.board).say_of_all(&format!("waiting for secrets: {list}"));
            let details = json!({ "missing": missing });
            self.telemetry.note("secrets_missing", None, details);
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // With the lock: what is begun now is waited for at the end.
        if *self.stop.borrow() || self.is_started.swap(true, Ordering::AcqRel) {
            return;
        }
        for (at, service) in self.manifest.services.iter().enumerate() {
            if service::settle(self, service) {
                continue;
            }
            let state = Arc::clone(self);
            tasks.spawn(async move { service::run(&state, at).await });
        }
    }

    /// Starts services again: those that run, those that failed, and those that failed for want
    /// of one of them. Which these are.
    pub(crate) fn restart(self: &Arc<Self>, services: &[String]) -> Vec<String> {
        let chosen = self.with_dependents(services);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // With the lock: what is begun now is waited for at the end.
        if !self.is_started() || self.is_dry_run || *self.stop.borrow() {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for (at, service) in self.manifest.services.iter().enumerate() {
            if !chosen.contains(&service.id) {
                continue;
            }
            let was_over = self.board.change(&service.id, |status| {
                if status.is_skipped || status.has_done_its_work() {
                    return None;
                }
                let was_over = status.has_ended;
                status.is_ready = false;
                status.has_failed = false;
                status.has_ended = false;
                "starting again".clone_into(&mut status.message);
                if !was_over {
                    self.restarts.ask(&service.id);
                }
                Some(was_over)
            });
            let Some(was_over) = was_over else { continue };
            (self.telemetry).note("service_restart", Some(&service.id), json!(null));
            if was_over {
                let state = Arc::clone(self);
                tasks.spawn(async move { service::run(&state, at).await });
            }
            begun.push(service.id.clone());
        }
        begun
    }

    /// These, and those that failed because one of these did.
    fn with_dependents(&self, services: &[String]) -> Vec<String> {
        let mut chosen = services.to_vec();
        loop {
            let mut more = self.manifest.services.iter().filter(|service| {
                let has_failed = self.board.of(&service.id).is_some_and(|one| one.has_failed);
                let mut needs = service.dependencies.iter();
                has_failed && !chosen.contains(&service.id) && needs.any(|id| chosen.contains(id))
            });
            match more.next() {
                Some(service) => chosen.push(service.id.clone()),
                None => return chosen,
            }
        }
    }

    /// Tells of a service that ended unasked, if somebody listens.
    pub(crate) fn tell(&self, service: &str, how: &str) {
        if let Some(tell) = &self.tell {
            let (service, how) = (service.to_owned(), how.to_owned());
            let _ = tell.send(Told { service, how });
        }
    }

    /// Whether services were started.
    pub(crate) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// Waits for the services' ends, and removes what must not stay.
    async fn end(&self) -> Vec<String> {
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        let mut problems = Vec::new();
        let joined = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, joined).await.is_err() {
            problems.push("a service did not end".to_owned());
        }
        let files = self.leftovers.finish();
        let own = [
            self.manifest.token_path.as_str(),
            PORT_FILE,
            Leftovers::place(),
        ];
        let own = own.map(str::to_owned);
        for file in files.into_iter().chain(own) {
            if let Err(error) = self.folder.remove(&file) {
                problems.push(error.to_string());
            }
        }
        if let Some(problem) = self.secrets.lock().await.finish() {
            problems.push(format!("the daily backup could not be made: {problem}"));
        }
        self.telemetry.note("runtime_shutdown", None, json!(null));
        problems
    }
}
