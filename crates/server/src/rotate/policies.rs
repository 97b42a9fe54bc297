//! Setting secrets up as policies say: those that come, and those that nobody has set up.

use strongroom_core::path::SecretPath;
use strongroom_engine::Error;
use strongroom_engine::rotation::policy_of;
use strongroom_engine::secrets::GraphError;

use super::context;
use super::rotations;
use crate::aws::name;
use crate::core::Core;
use crate::core::Live;
use crate::node::Node;

/// The mount whose secrets AWS clients see, and policies are for.
pub(super) const MOUNT: &str = "secret/";

/// Goes through all secrets once; how many were set up.
pub(crate) async fn apply(node: &Node, core: &Core, live: &Live) -> Result<u64, Error> {
    let policies = core.state.rotation_policies().await?;
    if policies.is_empty() {
        return Ok(0);
    }
    let aws = &node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let rotations = rotations(node, core, live);
    let mut changed = 0;
    for path in live.secrets.paths_below("").await? {
        let Some((_, policy)) = policy_of(&policies, &path) else {
            continue;
        };
        let Ok(path) = path.parse::<SecretPath>() else {
            continue;
        };
        let Some(snapshot) = live.secrets.snapshot(&path).await? else {
            continue;
        };
        let secret = format!(
            "arn:aws:secretsmanager:{region}:{}:secret:{}-{}",
            aws.account,
            name::name_of(&path),
            live.secrets.name_suffix(&snapshot)
        );
        let context = context(node);
        let followed = rotations.follow_policy(&context, &path, &secret, policy);
        match followed.await {
            Ok(is_changed) => changed += u64::from(is_changed),
            // Gone, or about to be: nothing is rotated.
            Err(GraphError::MarkedForDeletion | GraphError::Engine(Error::NotFound { .. })) => {}
            Err(GraphError::Engine(error)) => return Err(error),
            Err(other) => node.log.error(&format!(
                "a policy of rotation cannot be applied to {path}: {other}"
            )),
        }
    }
    Ok(changed)
}
