//! What every call of a backend has to do when its server is broken.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking, as tests do")]

use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

/// What errors are searched for: part of it is in what a broken server answers, all of it in what
/// is written.
pub const CANARY: &str = "canary-11";
/// Secrets that are read at once.
const MANY: usize = 20;

/// Calls everything, each time of a backend that has met no failure before. Each call has to fail
/// with this kind, say what to do, and quote neither what was sent nor what was answered.
pub async fn every_call_fails<B: Backend>(open: impl AsyncFn() -> B, kind: BackendErrorKind) {
    let value = SecretValue::copy_from(CANARY.as_bytes());
    let value = NewValue::new(Payload::detect(value));
    let many: Vec<String> = (0..MANY).map(|number| format!("s{number}/a")).collect();
    let mut read = open().await.read_many(&many).await;
    assert_eq!(read.len(), MANY);
    read.push(open().await.read("a/b", &VersionRef::Current).await);
    let mut errors: Vec<_> = read.into_iter().map(Result::unwrap_err).collect();
    errors.push(open().await.write("a/b", &value).await.unwrap_err());
    errors.push(open().await.page("", None, 5).await.unwrap_err());
    errors.push(open().await.details("a/b").await.unwrap_err());
    errors.push(open().await.health().await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.hint.is_some(), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
