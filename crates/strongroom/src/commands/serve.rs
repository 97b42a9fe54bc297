use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use serde_json::json;
use strongroom_core::port::Clock;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::SlotKind;
use strongroom_engine::Engine;
use strongroom_server::FirstMount;
use strongroom_server::Node;
use strongroom_server::Tls;
use strongroom_server::TlsFiles;
use strongroom_server::clock::SteadyClock;
use strongroom_server::config::Config;
use strongroom_server::config::ConfigError;
use strongroom_server::keeper::DatabaseKeeper;
use strongroom_server::keeper::FileKeeper;
use strongroom_server::keeper::MemoryKeeper;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::StoreFile;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::DatabaseUrl;
use strongroom_store_postgres::OpenDatabaseError;

use crate::app::App;
use crate::database;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session;

/// Serve the store to Vault and AWS clients over HTTP
///
/// Without flags your own store is served, which the command line may use at the same time; its
/// key file or keyring entry unseals it at start. `strongroom operator root-token` makes the first
/// token, `strongroom auth aws-key create` an access key. `serve --dev` starts a server in memory
/// to try things out.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Start in memory, unsealed, with a root token and secrets at secret/; for trying out only
    #[arg(long)]
    dev: bool,
    /// The root token of --dev instead of a random one
    #[arg(
        long,
        value_name = "TOKEN",
        requires = "dev",
        env = "STRONGROOM_DEV_ROOT_TOKEN"
    )]
    #[arg(hide_env_values = true)]
    dev_root_token_id: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", env = "STRONGROOM_LISTEN")]
    listen: Option<SocketAddr>,
    /// Certificate chain in PEM; it is read anew when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Allow plain HTTP on other addresses than the loopback ones
    #[arg(long)]
    allow_plain_http: bool,
    /// Folder of the audit files
    #[arg(long, value_name = "FOLDER")]
    audit_folder: Option<PathBuf>,
    /// The region in AWS's names [default: the one that a client signs for]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The account in AWS's names [default: 000000000000]
    #[arg(long, value_name = "DIGITS")]
    account: Option<String>,
    /// What to serve: store (yours, or the one that --store names), memory (empty and not
    /// initialised at start, gone at the end), or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "WHAT", default_value = "store")]
    #[arg(value_parser = storage_kind)]
    storage: StorageKind,
    /// The application's database with users' keys, served at /api/users/ID/secrets:
    /// postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "STRONGROOM_USERKEYS_DATABASE")]
    #[arg(hide_env_values = true, value_parser = super::userkeys::url)]
    userkeys_database: Option<SecretValue>,
    /// Do not make a store that is not there: `operator init` of a client makes it, with shares
    #[arg(long)]
    await_init: bool,
    /// Settings of the server [default: server.toml beside config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings with where they come from, and end
    #[arg(long)]
    print_config: bool,
}

#[derive(Clone)]
enum StorageKind {
    Store,
    Memory,
    /// An address, which may hold a password.
    Database(SecretValue),
}

fn storage_kind(text: &str) -> Result<StorageKind, &'static str> {
    match text {
        "store" => Ok(StorageKind::Store),
        "memory" => Ok(StorageKind::Memory),
        _ if DatabaseUrl::is_meant_by(text) => Ok(StorageKind::Database(SecretValue::from_text(
            text.to_owned(),
        ))),
        _ => Err("it is one of store, memory and postgres://USER@HOST/DATABASE"),
    }
}

impl ServeArgs {
    fn is_in_memory(&self) -> bool {
        self.dev || matches!(self.storage, StorageKind::Memory)
    }
}

/// The machine's clock, beside one that is never set and that goes on while the machine sleeps.
fn clock() -> impl Clock {
    let steady = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    };
    let wall = || Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
    SteadyClock::new(wall, steady)
}

pub(crate) fn run(app: &App, args: &ServeArgs) -> Result<(), CommandError> {
    let config = configure(app, args)?;
    if args.print_config {
        return app.ui.print(&config.to_string());
    }
    config.check().map_err(|error| refused(&error))?;
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("the server cannot start: {error}")))?;
    runtime.block_on(serve(app, args, &config))
}

/// Lets this process have as many files open as it may: a server has one for each connection.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it fails there are fewer connections.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn refused(error: &ConfigError) -> CommandError {
    let failed = CommandError::usage(error.to_string());
    match error {
        ConfigError::PlainHttp { .. } => failed
            .hint("give --tls-cert and --tls-key")
            .hint("--allow-plain-http if something else in front of it does TLS"),
        ConfigError::HalfTls => failed.hint("give --tls-cert and --tls-key"),
        _ => failed,
    }
}

fn configure(app: &App, args: &ServeArgs) -> Result<Config, CommandError> {
    let in_memory = args.is_in_memory();
    // The key of what is in memory is gone with it: nobody could check its log.
    let folder = match in_memory {
        true => None,
        false => app
            .environment
            .state_folder()
            .map(|folder| folder.join("audit")),
    };
    let mut config = Config::new(folder);
    let usual = app
        .environment
        .config_folder()
        .map(|folder| folder.join("server.toml"));
    match (&args.config, usual) {
        (Some(path), _) => config.read_file(path).map_err(|error| refused(&error))?,
        (None, Some(path)) if path.exists() && !in_memory => {
            config.read_file(&path).map_err(|error| refused(&error))?;
        }
        (None, _) => {}
    }
    config.listen.override_with(args.listen, "--listen");
    config
        .tls_cert
        .override_with(args.tls_cert.clone().map(Some), "--tls-cert");
    config
        .tls_key
        .override_with(args.tls_key.clone().map(Some), "--tls-key");
    let plain = args.allow_plain_http.then_some(true);
    config
        .allow_plain_http
        .override_with(plain, "--allow-plain-http");
    config
        .audit_folder
        .override_with(args.audit_folder.clone().map(Some), "--audit-folder");
    config
        .aws_region
        .override_with(args.region.clone().map(Some), "--region");
    config
        .aws_account
        .override_with(args.account.clone(), "--account");
    Ok(config)
}

async fn serve(app: &App, args: &ServeArgs, config: &Config) -> Result<(), CommandError> {
    let audit = AuditFolder::make(app, config)?;
    let tls = certificates(config)?;
    let address = config.listen.value;
    let listener = listen(address).map_err(|error| {
        CommandError::new(
            Kind::Unreachable,
            "serve.listen",
            format!("{address} cannot be listened on: {error}"),
        )
        .hint("another server may be running there: choose another address with --listen")
    })?;
    let address = listener.local_addr().unwrap_or(address);
    let scheme = if config.tls_cert.value.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{address}");
    let hang_ups = strongroom_server::HangUps::begin();
    let user_keys = user_keys(app, args)?;
    let node = start(app, args, config, &audit, &url).await?;
    node.allow_rotation_backends(app.environment.for_backends());
    if let Some(folder) = &config.rotation_commands.value {
        node.allow_rotation_commands(folder.clone());
    }
    if let Some(file) = &config.rotation_notices.value {
        node.write_rotation_notices(file.clone());
    }
    if config.rotation_log.value {
        node.log_rotation_notices();
    }
    if let Some(place) = user_keys {
        node.serve_user_keys(&place, None)?;
    }
    let stop = signals()?;
    strongroom_server::run(node, listener, tls, hang_ups, Box::pin(stop)).await;
    Ok(())
}

/// What is wrong with certificates is told before anything is served.
fn certificates(config: &Config) -> Result<Option<Tls>, CommandError> {
    let (Some(certificate), Some(key)) = (&config.tls_cert.value, &config.tls_key.value) else {
        return Ok(None);
    };
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    Tls::load(files).map(Some).map_err(|error| {
        CommandError::new(Kind::Usage, "serve.tls", error.to_string())
            .hint("--tls-cert and --tls-key name files in PEM, the chain and its key")
    })
}

/// Where users' keys are, if they are served.
fn user_keys(app: &App, args: &ServeArgs) -> Result<Option<DatabaseUrl>, CommandError> {
    let named = args.userkeys_database.as_ref();
    let Some(value) = named.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    // EXPOSE: an address with a password, for the one that reads it.
    let text = value.expose_secret_text().unwrap_or_default();
    let is_typed = app.environment.text("STRONGROOM_USERKEYS_DATABASE") != Some(text);
    database::parse(app, text, is_typed).map(Some)
}

/// Connections that wait until they are accepted: what comes at once is not turned away.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A server that was killed is started again at the same address at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn start(
    app: &App,
    args: &ServeArgs,
    config: &Config,
    audit: &AuditFolder,
    url: &str,
) -> Result<Arc<Node>, CommandError> {
    let in_memory = args.is_in_memory();
    let first_mount = match (args.dev, in_memory) {
        (true, _) => FirstMount::OwnSpace,
        (false, true) => FirstMount::None,
        (false, false) => FirstMount::StoreSpace,
    };
    let settings = strongroom_server::Settings {
        audit_folder: audit.path.clone(),
        syslog_socket: config.syslog_socket.value.clone(),
        audit_from_start: !audit.is_of_this_run,
        first_mount,
        may_drop_own_space: in_memory,
        version: env!("CARGO_PKG_VERSION").into(),
        aws: strongroom_server::AwsNames {
            region: config.aws_region.value.clone(),
            account: config.aws_account.value.clone(),
        },
    };
    let failed = |error: strongroom_server::StartError| {
        let failed = CommandError::failed(format!("the server cannot start: {error}"));
        match error {
            strongroom_server::StartError::Audit { .. } => {
                failed.hint("each server has audit files of its own: --audit-folder FOLDER")
            }
            _ => failed,
        }
    };
    let (clock, rng) = (Arc::new(clock()), Arc::new(SystemRng));
    if in_memory {
        let node = Node::new(Box::<MemoryKeeper>::default(), clock, rng, settings);
        if args.dev {
            let token = args.dev_root_token_id.clone().map(SecretValue::from_text);
            let keys = node.start_dev(token).await.map_err(failed)?;
            let region = config.aws_region.value.as_deref();
            announce_dev(app, url, &keys, region.unwrap_or("us-east-1"))?;
        } else {
            announce(app, url, "in memory, not initialised")?;
        }
        return Ok(Arc::new(node));
    }
    if let Some(place) = named_database(app, args)? {
        let database = database::connect(&place)?;
        let keeper = Box::new(DatabaseKeeper::new(Arc::clone(&database)));
        let node = Node::new(keeper, clock, rng, settings);
        let state = match keys_in_database(app, args, &database)? {
            Keys::Open(header, keys) => {
                node.open(&header, *keys).await.map_err(failed)?;
                "unsealed"
            }
            Keys::Awaited(state) => state,
        };
        announce(app, url, state)?;
        return Ok(Arc::new(node));
    }
    let path = app.settings.store()?.value;
    let is_there = !matches!(StoreFile::open(&path), Err(OpenStoreError::Missing { .. }));
    if !is_there && args.await_init {
        let node = Node::new(Box::new(FileKeeper::new(path)), clock, rng, settings);
        announce(
            app,
            url,
            "not initialised: bao operator init (or vault) makes it",
        )?;
        return Ok(Arc::new(node));
    }
    let is_shared = is_there && opens_by_shares_only(&path)?;
    let node = Node::new(Box::new(FileKeeper::new(path)), clock, rng, settings);
    if is_shared {
        announce(
            app,
            url,
            "sealed: bao operator unseal (or vault) takes the shares",
        )?;
        return Ok(Arc::new(node));
    }
    let session = session::open_or_create(app)?;
    let header = session
        .storage
        .read_header()
        .map_err(|error| CommandError::failed(format!("the store cannot be read: {error}")))?;
    let keys = session.unsealed.copy();
    drop(session);
    node.open(&header, keys).await.map_err(failed)?;
    announce(app, url, "unsealed")?;
    Ok(Arc::new(node))
}

fn opens_by_shares_only(path: &std::path::Path) -> Result<bool, CommandError> {
    let file = StoreFile::open(path)?;
    Ok(has_shares_only(file.header()))
}

fn has_shares_only(header: &Header) -> bool {
    let mut slots = header.slots().iter();
    slots.all(|slot| matches!(slot.kind, SlotKind::Shamir { .. }))
}

/// The database that is to be served, if one is.
fn named_database(app: &App, args: &ServeArgs) -> Result<Option<DatabaseUrl>, CommandError> {
    match &args.storage {
        StorageKind::Database(address) => {
            // EXPOSE: an address with a password, for the one that reads it.
            let text = address.expose_secret_text().unwrap_or_default();
            database::parse(app, text, true).map(Some)
        }
        _ => database::of_settings(app),
    }
}

/// What a server on a database starts with.
enum Keys {
    Open(Header, Box<Unsealed>),
    /// Somebody has to give them; the words for that.
    Awaited(&'static str),
}

/// The keys of the store in a database. The first of its servers makes it, with a key file; the
/// others have to have the same one.
fn keys_in_database(
    app: &App,
    args: &ServeArgs,
    database: &Database,
) -> Result<Keys, CommandError> {
    let header = match database.header()? {
        Some(header) => header,
        None if args.await_init => {
            return Ok(Keys::Awaited(
                "not initialised: bao operator init (or vault) makes it",
            ));
        }
        None => {
            database.refuse_unfinished()?;
            let (header, keys, key_path) = session::draft(app)?;
            let barrier = Barrier::new(header.store_id(), &keys.keyring);
            match database.create(&header, &Engine::first_records(&barrier)) {
                Ok(()) => {
                    app.ui.say(&format!(
                        "made a store in {} (opened by the key file {}, which every server needs)",
                        database.place(),
                        key_path.display()
                    ));
                    return Ok(Keys::Open(header, Box::new(keys)));
                }
                // Another server was faster.
                Err(OpenDatabaseError::Exists { .. }) => database::header(database)?,
                Err(error) => return Err(error.into()),
            }
        }
    };
    if has_shares_only(&header) {
        return Ok(Keys::Awaited(
            "sealed: bao operator unseal (or vault) takes the shares",
        ));
    }
    let (keys, _) = session::unseal(app, &header)?;
    Ok(Keys::Open(header, Box::new(keys)))
}

fn announce(app: &App, url: &str, state: &str) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({"version": 1, "address": url, "state": state}));
    }
    app.ui
        .say(&format!("serving {url} ({state}); Ctrl-C ends it"));
    Ok(())
}

fn announce_dev(
    app: &App,
    url: &str,
    keys: &strongroom_server::DevKeys,
    region: &str,
) -> Result<(), CommandError> {
    // EXPOSE: a server for trying out shows its root token to the one who started it.
    let root = keys.root.expose_secret_text().unwrap_or_default();
    // EXPOSE: the same for its unseal share.
    let share = keys.unseal_key.expose_secret_text().unwrap_or_default();
    let secret = &keys.secret_access_key;
    // EXPOSE: the same for its access key.
    let secret = secret.expose_secret_text().unwrap_or_default();
    let id = &keys.access_key_id;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "address": url,
            "state": "dev",
            "root_token": root,
            "unseal_key": share,
            "access_key_id": id,
            "secret_access_key": secret,
        }));
    }
    app.ui.warn(
        "WARNING: this server is for trying out: everything is in memory, in plain reach of \
         whoever has the token or the access key, and gone when it ends",
    );
    app.ui.say(&format!(
        "serving {url}\n  export VAULT_ADDR={url}\n  export VAULT_TOKEN={root}\n\
         unseal key: {share}\nroot token: {root}\nfor AWS clients (boto3, aws), which may do \
         everything, too:\n  export AWS_ENDPOINT_URL_SECRETS_MANAGER={url}\n  \
         export AWS_ENDPOINT_URL_STS={url}\n  export AWS_REGION={region}\n  \
         export AWS_DEFAULT_REGION={region}\n  export AWS_ACCESS_KEY_ID={id}\n  \
         export AWS_SECRET_ACCESS_KEY={secret}"
    ));
    Ok(())
}

/// Where audit files lie.
struct AuditFolder {
    path: Option<PathBuf>,
    /// Nobody named one: it is for devices that clients enable, and gone at the end.
    is_of_this_run: bool,
}

impl AuditFolder {
    fn make(app: &App, config: &Config) -> Result<Self, CommandError> {
        if let Some(folder) = &config.audit_folder.value {
            make_folder(folder)?;
            return Ok(Self {
                path: Some(folder.clone()),
                is_of_this_run: false,
            });
        }
        let name = format!("strongroom-audit-{}", std::process::id());
        let mut places = app.environment.private_folders().into_iter();
        let folder = places
            .find(|place| place.is_dir())
            .map(|place| place.join(name));
        if let Some(folder) = &folder {
            make_folder(folder)?;
        }
        Ok(Self {
            path: folder,
            is_of_this_run: true,
        })
    }
}

impl Drop for AuditFolder {
    fn drop(&mut self) {
        if let (true, Some(folder)) = (self.is_of_this_run, &self.path) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The folder of the audit files: 0700, made if it is not there.
fn make_folder(folder: &std::path::Path) -> Result<(), CommandError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| {
            CommandError::failed(format!(
                "the audit folder {} cannot be made: {error}",
                folder.display()
            ))
            .hint("choose another one with --audit-folder")
        })
}

/// Ends when somebody wants the server to end.
fn signals() -> Result<impl Future<Output = ()>, CommandError> {
    use tokio::signal::unix::SignalKind;
    use tokio::signal::unix::signal;
    let failed =
        |error: std::io::Error| CommandError::failed(format!("signals cannot be caught: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
