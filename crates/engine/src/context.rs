//! Who does something, when, and on whose behalf.

use strongroom_core::audit::Action;
use strongroom_core::audit::AuditEvent;
use strongroom_core::audit::Outcome;
use strongroom_core::time::Timestamp;

/// Goes with every operation.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Who: a user of the operating system, or a token's accessor.
    pub actor: String,
    /// The door and command, e.g. `cli run`.
    pub door: String,
    /// Joins the audit records of one request.
    pub request_id: String,
    /// The time of the operation.
    pub now: Timestamp,
}

impl OpContext {
    /// The audit event of something done to some paths.
    #[must_use]
    pub fn event(&self, action: Action, paths: Vec<String>, outcome: Outcome) -> AuditEvent {
        AuditEvent {
            at: self.now,
            actor: self.actor.clone(),
            door: self.door.clone(),
            action,
            paths,
            version: None,
            outcome,
            request_id: self.request_id.clone(),
        }
    }
}
