//! What the steps of all rotators of passwords have in common.

use std::time::Duration;

use strongroom_core::generate::GeneratorSpec;
use strongroom_core::port::RotatorError;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

use crate::Needs;
use crate::credential;
use crate::credential::Urls;

/// Longest time of a step.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A step that ends in time.
pub(crate) async fn in_time(
    place: &str,
    work: impl Future<Output = Result<(), RotatorError>>,
) -> Result<(), RotatorError> {
    match tokio::time::timeout(STEP_MAX, work).await {
        Ok(done) => done,
        Err(_) => {
            let message = format!("{place} did not answer in {} s", STEP_MAX.as_secs());
            Err(RotatorError::new("rotator.unreachable", message))
        }
    }
}

/// A password that nobody knows yet.
pub(crate) fn new_password(needs: &Needs, now: Timestamp) -> Result<SecretValue, RotatorError> {
    let drawn = GeneratorSpec::default().generate_matching(None, None, &*needs.rng, now);
    drawn.map_err(|error| RotatorError::new("rotation.no_value", error.to_string()))
}

/// The password of the administrator, where one is declared.
pub(crate) fn admin_password(
    declared: Option<&str>,
    needs: &Needs,
    urls: Urls,
) -> Result<Option<SecretValue>, RotatorError> {
    match (declared, &needs.admin) {
        (None, _) => Ok(None),
        (Some(_), Some(admin)) => Ok(Some(credential::read(admin, urls)?.password)),
        (Some(name), None) => {
            let message = format!("the administrator's secret {name} has no value");
            Err(RotatorError::new("rotator.no_admin", message))
        }
    }
}

pub(crate) fn no_current() -> RotatorError {
    let message = "the secret has no current value, and a password is changed from one";
    RotatorError::new("rotation.no_current", message)
}

pub(crate) fn no_pending() -> RotatorError {
    RotatorError::new("rotation.no_value", "there is no new value")
}

pub(crate) fn of_user(error: UserError) -> RotatorError {
    match error {
        UserError::Refused { detail } => RotatorError::new("rotator.refused", detail),
        other => RotatorError::new("rotator.unreachable", other.to_string()),
    }
}
