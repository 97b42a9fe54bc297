//! Setting secrets up as policies say: those that come, and those that nobody has set up.

use std::collections::HashMap;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_engine::Error;
use strongroom_engine::rotation::Rotation;
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

/// How closely it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At what nobody has set up, and what follows a policy that was changed. Secrets are listed,
    /// none is read.
    Listed,
    /// At every secret that a policy is for: what was made anew under an old name is found, too.
    Each,
}

/// Goes through all secrets once; how many were set up.
pub(crate) async fn apply(node: &Node, core: &Core, live: &Live, look: Look) -> Result<u64, Error> {
    let policies = core.state.rotation_policies().await?;
    if policies.is_empty() {
        return Ok(0);
    }
    let aws = &node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let rotations = rotations(node, core, live);
    let known = core.state.rotations().await?.into_iter();
    let known: HashMap<String, Rotation> = known.map(|one| (one.path.clone(), one)).collect();
    let mut changed = 0;
    for path in live.secrets.paths_below("").await? {
        let Some((_, policy)) = policy_of(&policies, &path) else {
            continue;
        };
        if look == Look::Listed && !policy.concerns(known.get(&path)) {
            continue;
        }
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

/// What a server remembers between two looks.
#[derive(Default)]
pub(crate) struct Scan {
    /// The store as it was when nothing was left to do.
    seen: Option<u64>,
    looks: u64,
}

/// So many looks are at lists before one is at each secret again: a day.
const LOOKS_PER_DAY: u64 = 144;

impl Scan {
    /// Looks for what is to be set up, where this server does that and the store has changed.
    pub(crate) async fn round(&mut self, node: &Node, core: &Core) -> Result<(), Error> {
        let mut post = node.rotate.duty.lock().await;
        if !post.take(&core.state, node.moment()).await? {
            // Another server does; what it sees is not known here.
            self.seen = None;
            return Ok(());
        }
        drop(post);
        let revision = core.state.storage().revision().await?;
        if self.seen == Some(revision) {
            return Ok(());
        }
        let Some(live) = core.mounts().get(MOUNT).map(Arc::clone) else {
            return Ok(());
        };
        self.looks += 1;
        let look = match self.seen {
            Some(_) if !self.looks.is_multiple_of(LOOKS_PER_DAY) => Look::Listed,
            _ => Look::Each,
        };
        self.seen = None;
        apply(node, core, &live, look).await?;
        self.seen = Some(revision);
        Ok(())
    }
}
