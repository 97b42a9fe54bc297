//! Whether a token may be renewed: what it was given for is still there.

use strongroom_engine::mounts::Engines;
use strongroom_engine::tokens::Token;
use strongroom_engine::tokens::TokenRole;

use super::approle;
use super::error::Fault;
use super::userpass;
use crate::core::Core;

/// Refuses when the user or role that a token came from is gone, or a user has other policies.
///
/// # Errors
/// The refusal, or what the storage says.
pub(crate) async fn check(core: &Core, token: &Token) -> Result<(), Fault> {
    let is_there = core.state.load::<TokenRole>(&token.role);
    if !token.role.is_empty() && is_there.await?.is_none() {
        let why = format!("original token role \"{}\" could not be found", token.role);
        return Err(refused(&why));
    }
    let table = core.mounts();
    let mut mounts = table.mounts.by_path.values();
    let Some(mount) = mounts.find(|mount| mount.uuid == token.mount) else {
        return Ok(());
    };
    let meta = |name: &str| token.meta.as_ref().and_then(|meta| meta.get(name));
    match mount.engine {
        Engines::Userpass => {
            let name = meta("username").map_or("", String::as_str);
            let policies = userpass::policies_of(&core.state, &mount.owner(), name).await?;
            match policies {
                None => Err(refused(&format!("user \"{name}\" does not exist"))),
                Some(policies) if policies != token.policies => {
                    Err(refused("policies have changed"))
                }
                Some(_) => Ok(()),
            }
        }
        Engines::AppRole => {
            let name = meta("role_name").map_or("", String::as_str);
            match approle::has_role(&core.state, &mount.owner(), name).await? {
                true => Ok(()),
                false => Err(refused(&format!("role \"{name}\" does not exist"))),
            }
        }
        Engines::Kv1
        | Engines::Kv2
        | Engines::Cubbyhole
        | Engines::System
        | Engines::Token
        | Engines::Database => Ok(()),
    }
}

fn refused(why: &str) -> Fault {
    Fault::Invalid(format!(
        "1 error occurred:\n\t* failed to renew entry: {why}, not renewing\n\n"
    ))
}
