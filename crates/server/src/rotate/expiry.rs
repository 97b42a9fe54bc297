//! Certificates that end: who is to know is told in time, also where nothing rotates them any more.

use std::collections::HashMap;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::time::Span;
use strongroom_engine::Error;
use strongroom_engine::rotation::Policy;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::policy_of;
use strongroom_engine::state::Found;

use super::notices;
use super::notices::Event;
use super::notices::day_of;
use super::policies::MOUNT;
use super::rotators;
use crate::core::Core;
use crate::node::Node;

/// So long before its end a certificate is told of, where no policy says when.
const BEFORE: Span = Span::from_seconds(7 * 86_400);

/// Has people told of certificates that end soon or have ended, once a day.
pub(super) async fn look(
    node: &Node,
    core: &Core,
    all: &[Rotation],
    policies: &[(String, Found<Policy>)],
) -> Result<(), Error> {
    let Some(live) = core.mounts().get(MOUNT).map(Arc::clone) else {
        return Ok(());
    };
    let mut known: HashMap<&str, bool> = HashMap::new();
    let now = node.now();
    for rotation in all {
        let arn = rotation.setup.rotator.as_str();
        let is_certificate = match known.get(arn) {
            Some(is_certificate) => *is_certificate,
            None => {
                let declared = rotators::declared(node, core, arn).await?;
                let is_certificate = matches!(declared, Some(RotatorSpec::Certificate(_)));
                known.insert(arn, is_certificate);
                is_certificate
            }
        };
        let Ok(path) = rotation.path.parse::<SecretPath>() else {
            continue;
        };
        if !is_certificate {
            continue;
        }
        let value = rotators::value_at(node, &live, &path).await?;
        let Some(ends) = value.as_ref().and_then(strongroom_rotators::expires) else {
            continue;
        };
        let policy = policy_of(policies, &rotation.path).map(|(_, policy)| policy);
        let before = policy.and_then(|policy| policy.notify_before);
        if now.plus(before.unwrap_or(BEFORE)) < ends {
            continue;
        }
        let (what, verb) = match now < ends {
            true => ("certificate.expires", "expires"),
            false => ("certificate.expired", "has expired"),
        };
        let event = Event {
            what,
            path: &rotation.path,
            message: &format!("the certificate in {} {verb} at {ends}", rotation.path),
            key: &format!("{}\u{0}{ends}", day_of(now)),
        };
        notices::tell(node, core, &event).await?;
    }
    Ok(())
}
