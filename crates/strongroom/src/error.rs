//! What a command's failure looks like, and which exit code it has.

use strongroom_chain::ChainError;
use strongroom_chain::ChainErrorKind;
use strongroom_chain::keyfile::KeyFileError;
use strongroom_chain::manifest::ReadManifestError;
use strongroom_chain::places::ConfigFileError;
use strongroom_chain::unlock::UnlockError;
use strongroom_core::path::ParsePathError;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::StorageError;
use strongroom_engine::Error as EngineError;
use strongroom_engine::migrate::MigrateError;
use strongroom_engine::transfer::backup::BackupError;
use strongroom_store::embedded::OpenStoreError;

/// Fixed exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Usage,
    NotFound,
    Denied,
    Validation,
    Conflict,
    Locked,
    Unreachable,
    Findings,
    Interrupted,
    /// The code that shells give for a command that cannot be started.
    Child(u8),
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Validation => 5,
            Self::Conflict => 6,
            Self::Locked => 7,
            Self::Unreachable => 8,
            Self::Findings => 10,
            Self::Interrupted => 130,
            Self::Child(code) => code,
        }
    }
}

/// A failed command: what went wrong, and what to do next.
#[derive(Clone, Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// The report was printed already: say nothing more.
    pub(crate) is_reported: bool,
}

impl CommandError {
    pub(crate) fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            code,
            message,
            hints: Vec::new(),
            is_reported: false,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, "usage", message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, "failed", message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted", "interrupted")
    }

    /// Everything there is to say is on the screen already.
    pub(crate) fn reported(kind: Kind, code: &'static str) -> Self {
        Self {
            is_reported: true,
            ..Self::new(kind, code, String::new())
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::NotFound { .. } | EngineError::Gone { .. } => Kind::NotFound,
            EngineError::AlreadyExists { .. }
            | EngineError::VersionMismatch { .. }
            | EngineError::Contended { .. }
            | EngineError::LaterKey { .. }
            | EngineError::Storage(StorageError::Conflict { .. }) => Kind::Conflict,
            EngineError::Invalid { .. } | EngineError::LimitExceeded { .. } => Kind::Usage,
            EngineError::Storage(StorageError::Unavailable { .. }) => Kind::Unreachable,
            _ => Kind::Failed,
        };
        let failed = Self::new(kind, error.code(), error.to_string());
        match &error {
            EngineError::Gone {
                path,
                state: "deleted",
                ..
            } => failed.hint(format!("strongroom undelete /{path}")),
            EngineError::Gone { path, .. } | EngineError::VersionMismatch { path, .. } => {
                failed.hint(format!("strongroom history /{path}"))
            }
            EngineError::AlreadyExists { .. } => failed.hint("choose another name, or rm it first"),
            EngineError::Damaged { .. } | EngineError::Storage(StorageError::Damaged { .. }) => {
                failed.hint("strongroom doctor says what is lost and names the daily backup")
            }
            EngineError::LaterKey { .. } => failed
                .hint("somebody has made a new data key meanwhile: run the command again")
                .hint("strongroom doctor, if that says the same"),
            EngineError::Newer { .. } => failed.hint("use the newer program; nothing was changed"),
            EngineError::Storage(StorageError::Full) => {
                failed.hint("nothing was changed; make room and run the command again")
            }
            EngineError::Storage(StorageError::Busy) => {
                failed.hint("nothing was changed; run the command again")
            }
            _ => failed,
        }
    }
}

impl From<StorageError> for CommandError {
    fn from(error: StorageError) -> Self {
        EngineError::Storage(error).into()
    }
}

impl From<OpenStoreError> for CommandError {
    fn from(error: OpenStoreError) -> Self {
        let message = error.to_string();
        let failed = |kind, code| Self::new(kind, code, message.clone());
        match &error {
            OpenStoreError::Missing { .. } => failed(Kind::NotFound, "store.missing")
                .hint("the first `strongroom set`, `import` or `run` makes it"),
            OpenStoreError::Exists { .. } => failed(Kind::Conflict, "store.exists"),
            OpenStoreError::Unsafe(_) => failed(Kind::Denied, "store.unsafe_place")
                .hint("move the store to a folder of your own, mode 0700, on a local disk"),
            OpenStoreError::Newer { .. } => failed(Kind::Failed, "store.newer")
                .hint("use the newer program; nothing was changed"),
            OpenStoreError::Damaged { path, .. } => {
                with_backup(failed(Kind::Failed, "store.damaged"), path)
            }
            OpenStoreError::RolledBack { path, .. } => {
                with_backup(failed(Kind::Failed, "store.rolled_back"), path).hint(
                    "if you have put an older copy there on purpose: \
                     strongroom doctor --accept-rollback",
                )
            }
            OpenStoreError::Head { .. } => failed(Kind::Failed, "store.head")
                .hint("if the store is the one you mean: strongroom doctor --accept-rollback"),
            _ => failed(Kind::Failed, "store.io"),
        }
    }
}

/// Damage that was found deep inside does not know the file: names it, and the daily copy.
pub(crate) fn name_the_store(error: CommandError, store: &std::path::Path) -> CommandError {
    let file = store.display().to_string();
    let names_backup = error.hints.iter().any(|hint| hint.contains("backup "));
    if !matches!(error.code, "store.damaged" | "store.keyring") || names_backup {
        return error;
    }
    let message = match error.message.contains(&file) {
        true => error.message.clone(),
        false => format!("{file}: {}", error.message),
    };
    with_backup(CommandError { message, ..error }, store)
}

/// The same for a chain that came upon it.
pub(crate) fn locate(error: &BackendError, store: &std::path::Path) -> BackendError {
    let message = format!("{}: {}", store.display(), error.message);
    BackendError::new(error.kind, error.backend.clone(), message).with_hint(backup_hint(store))
}

fn with_backup(error: CommandError, store: &std::path::Path) -> CommandError {
    error.hint(backup_hint(store))
}

/// Names the daily copy, if there is one.
fn backup_hint(store: &std::path::Path) -> String {
    match strongroom_store::embedded::find_backup(store) {
        Some(backup) => {
            let made = strongroom_core::time::Timestamp::from_micros(backup.made);
            format!(
                "the daily backup {} is of {made}; `strongroom doctor --restore-backup` puts it in \
                 place and keeps the damaged file",
                backup.path.display()
            )
        }
        None => "there is no daily backup beside it; nothing was changed".into(),
    }
}

impl From<ParsePathError> for CommandError {
    fn from(error: ParsePathError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<BackendError> for CommandError {
    fn from(error: BackendError) -> Self {
        let code = match error.kind {
            // Damage of our own store is told as such, however it was come upon.
            BackendErrorKind::Damaged if error.backend == "store" => "store.damaged",
            kind => backend_code(kind),
        };
        let failed = Self::new(backend_kind(error.kind), code, error.to_string());
        match error.hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

impl From<ChainError> for CommandError {
    fn from(error: ChainError) -> Self {
        let failed = match error.kind {
            ChainErrorKind::NotBuilt => {
                Self::new(Kind::Unreachable, "backend.not_built", error.message)
            }
            _ => Self::usage(error.message),
        };
        match error.hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

impl From<KeyFileError> for CommandError {
    fn from(error: KeyFileError) -> Self {
        let failed = Self::new(Kind::Locked, "key.file", error.to_string());
        match error.hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

impl From<UnlockError> for CommandError {
    fn from(error: UnlockError) -> Self {
        match error {
            UnlockError::KeyFile(error) => error.into(),
            error => Self::new(Kind::Failed, "store.keyring", error.to_string()),
        }
    }
}

impl From<ReadManifestError> for CommandError {
    fn from(error: ReadManifestError) -> Self {
        let message = error.to_string();
        match error {
            ReadManifestError::Unreadable { is_missing, .. } => {
                let kind = if is_missing {
                    Kind::NotFound
                } else {
                    Kind::Failed
                };
                Self::new(kind, "manifest.unreadable", message)
            }
            ReadManifestError::Invalid(problems) => crate::project::manifest_error(&problems),
            _ => Self::new(Kind::Validation, "manifest.not_utf8", message),
        }
    }
}

impl From<ConfigFileError> for CommandError {
    fn from(error: ConfigFileError) -> Self {
        let message = error.to_string();
        match error {
            ConfigFileError::Malformed { .. } => Self::usage(message)
                .hint("it knows the keys store, key_file and ask_before_showing"),
            _ => Self::failed(message),
        }
    }
}

impl From<MigrateError> for CommandError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Store(error) => error.into(),
            MigrateError::Backend(error) => error.into(),
            MigrateError::NotFound { .. } => {
                Self::new(Kind::NotFound, "migrate.not_found", error.to_string())
                    .hint("strongroom migrate status lists them")
            }
            MigrateError::Ambiguous { .. } => {
                Self::usage(error.to_string()).hint("strongroom migrate status shows the whole ids")
            }
            error => Self::new(Kind::Conflict, "migrate.taken_over", error.to_string()),
        }
    }
}

impl From<BackupError> for CommandError {
    fn from(error: BackupError) -> Self {
        let message = format!("the backup cannot be used: {error}");
        match error {
            BackupError::Locked(_) => Self::new(Kind::Locked, "backup.locked", message),
            BackupError::TooLarge => Self::usage(message),
            _ => Self::new(Kind::Validation, "backup.damaged", message)
                .hint("nothing was written; use another copy of it"),
        }
    }
}

pub(crate) fn backend_kind(kind: BackendErrorKind) -> Kind {
    match kind {
        BackendErrorKind::Denied => Kind::Denied,
        BackendErrorKind::Unreachable | BackendErrorKind::Throttled => Kind::Unreachable,
        BackendErrorKind::Sealed => Kind::Locked,
        BackendErrorKind::Malformed | BackendErrorKind::Invalid => Kind::Validation,
        BackendErrorKind::Conflict => Kind::Conflict,
        BackendErrorKind::Misconfigured => Kind::Usage,
        _ => Kind::Failed,
    }
}

pub(crate) fn backend_code(kind: BackendErrorKind) -> &'static str {
    match kind {
        BackendErrorKind::Denied => "backend.denied",
        BackendErrorKind::Unreachable => "backend.unreachable",
        BackendErrorKind::Sealed => "backend.sealed",
        BackendErrorKind::Malformed => "backend.malformed",
        BackendErrorKind::Unsupported => "backend.unsupported",
        BackendErrorKind::Throttled => "backend.throttled",
        BackendErrorKind::Invalid => "backend.invalid",
        BackendErrorKind::Conflict => "backend.conflict",
        BackendErrorKind::Damaged => "backend.damaged",
        BackendErrorKind::Newer => "store.newer",
        BackendErrorKind::Misconfigured => "backend.misconfigured",
        _ => "backend.failed",
    }
}
