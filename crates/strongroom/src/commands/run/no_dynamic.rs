//! Credentials that a server makes for a run, in a build that knows no server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_engine::resolve::Link;

use crate::app::App;
use crate::error::CommandError;
use crate::project::Project;

/// There are none.
pub(super) enum Leases {}

impl Leases {
    pub(super) fn of(
        _app: &App,
        project: &Project,
        _only: Option<&BTreeSet<String>>,
    ) -> Result<Option<Arc<Self>>, CommandError> {
        let mut declarations = project.manifest.declarations().iter();
        match declarations.find(|declaration| declaration.dynamic.is_some()) {
            None => Ok(None),
            Some(dynamic) => Err(CommandError::failed(format!(
                "{} is made by a server, and this program was built without `vault`",
                dynamic.name
            ))),
        }
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        match *self {}
    }

    pub(super) fn link(leases: &Arc<Self>) -> Link {
        match **leases {}
    }

    pub(super) fn interval(&self) -> Duration {
        match *self {}
    }

    pub(super) fn revoke(&self) -> Vec<String> {
        match *self {}
    }
}
