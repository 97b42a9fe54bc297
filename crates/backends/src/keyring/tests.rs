//! Real keyrings.

#[cfg(feature = "secret-service")]
mod desktop;

use pollster::block_on;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

use super::*;

/// The kernel's keyring is one for all runs of these tests, so each has a service of its own. In
/// many containers it lets nobody near, and the error says so.
#[test]
fn the_kernels_keyring_keeps_values() {
    let service = format!("strongroom-test-{}", std::process::id());
    let backend = keyring(Keyring::Kernel, &service);
    if let Err(error) = block_on(backend.health()) {
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(error.message.contains("may not be used here"), "{error}");
        return;
    }
    let bytes: Vec<u8> = (0..=255).collect();
    let value = NewValue {
        expected: Expected::Absent,
        ..NewValue::new(Payload::detect(SecretValue::new(bytes.clone())))
    };
    assert!(block_on(backend.write("a/b", &value)).unwrap().is_new);
    let error = block_on(backend.write("a/b", &value)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Conflict);
    let found = block_on(backend.read("a/b", &VersionRef::Current)).unwrap();
    assert_eq!(found.unwrap().payload.value.expose_secret(), bytes);
    assert!(block_on(backend.remove("a/b", Removal::Final)).unwrap());
    assert!(!block_on(backend.remove("a/b", Removal::Final)).unwrap());
    let error = block_on(backend.page("", None, 9)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
}

#[cfg(not(feature = "secret-service"))]
#[test]
fn a_keyring_that_is_not_built_in_says_so() {
    let error = block_on(keyring(Keyring::Desktop, "x").health()).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Misconfigured);
    assert!(error.message.contains("built without"));
}
