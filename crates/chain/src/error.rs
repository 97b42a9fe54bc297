/// What a person has to do about a [`ChainError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainErrorKind {
    /// Write it in another way.
    Usage,
    /// Use a program that has this backend built in.
    NotBuilt,
}

/// A chain, or an entry of it, makes no sense. Never quotes what could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ChainError {
    /// What to do about it.
    pub kind: ChainErrorKind,
    /// What is wrong.
    pub message: String,
    /// The one thing to do, if it is known.
    pub hint: Option<String>,
}

impl ChainError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ChainErrorKind::Usage, message)
    }

    pub(crate) fn new(kind: ChainErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}
