//! The operations of the service, and what each of them needs: the same paths and capabilities
//! that Vault's door asks for when it does the same.

use crate::vault::call::Verb;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    AssociateCrossAccountReplica,
    BatchGetSecretValue,
    CancelRotateSecret,
    CreateSecret,
    DeleteResourcePolicy,
    DeleteSecret,
    DescribeSecret,
    DisassociateCrossAccountReplica,
    GetRandomPassword,
    GetResourcePolicy,
    GetSecretValue,
    ListResourcePolicies,
    ListSecretVersionIds,
    ListSecrets,
    PutResourcePolicy,
    PutSecretValue,
    RemoveRegionsFromReplication,
    ReplicateSecretToRegions,
    RestoreSecret,
    RotateSecret,
    StopReplicationToReplica,
    TagResource,
    UntagResource,
    UpdateSecret,
    UpdateSecretVersionStage,
    ValidateResourcePolicy,
}

/// All of them, in the model's order.
pub(crate) const ALL: [Op; 26] = [
    Op::AssociateCrossAccountReplica,
    Op::BatchGetSecretValue,
    Op::CancelRotateSecret,
    Op::CreateSecret,
    Op::DeleteResourcePolicy,
    Op::DeleteSecret,
    Op::DescribeSecret,
    Op::DisassociateCrossAccountReplica,
    Op::GetRandomPassword,
    Op::GetResourcePolicy,
    Op::GetSecretValue,
    Op::ListResourcePolicies,
    Op::ListSecretVersionIds,
    Op::ListSecrets,
    Op::PutResourcePolicy,
    Op::PutSecretValue,
    Op::RemoveRegionsFromReplication,
    Op::ReplicateSecretToRegions,
    Op::RestoreSecret,
    Op::RotateSecret,
    Op::StopReplicationToReplica,
    Op::TagResource,
    Op::UntagResource,
    Op::UpdateSecret,
    Op::UpdateSecretVersionStage,
    Op::ValidateResourcePolicy,
];

/// A part of what is kept about a secret: where Vault's door has it below the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// Its values.
    Data,
    /// What is known about it.
    Metadata,
    /// Taking a deletion back.
    Undelete,
}

impl Area {
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
            Self::Undelete => "undelete",
        }
    }
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// This of the secret that is named.
    Secret(Area, Verb),
    /// This of the secret that is named: the value where one comes along, and what is known about
    /// it where anything else does.
    Parts,
    /// Each secret by itself: what the caller may not see is left out, or told one by one.
    Each,
    /// A path that is no secret's.
    Path(&'static str, Verb),
    /// The secret that is named, where one is; else nothing but a key.
    PerhapsSecret(Area, Verb),
}

impl Op {
    pub(crate) fn of(name: &str) -> Option<Self> {
        ALL.into_iter().find(|op| op.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AssociateCrossAccountReplica => "AssociateCrossAccountReplica",
            Self::BatchGetSecretValue => "BatchGetSecretValue",
            Self::CancelRotateSecret => "CancelRotateSecret",
            Self::CreateSecret => "CreateSecret",
            Self::DeleteResourcePolicy => "DeleteResourcePolicy",
            Self::DeleteSecret => "DeleteSecret",
            Self::DescribeSecret => "DescribeSecret",
            Self::DisassociateCrossAccountReplica => "DisassociateCrossAccountReplica",
            Self::GetRandomPassword => "GetRandomPassword",
            Self::GetResourcePolicy => "GetResourcePolicy",
            Self::GetSecretValue => "GetSecretValue",
            Self::ListResourcePolicies => "ListResourcePolicies",
            Self::ListSecretVersionIds => "ListSecretVersionIds",
            Self::ListSecrets => "ListSecrets",
            Self::PutResourcePolicy => "PutResourcePolicy",
            Self::PutSecretValue => "PutSecretValue",
            Self::RemoveRegionsFromReplication => "RemoveRegionsFromReplication",
            Self::ReplicateSecretToRegions => "ReplicateSecretToRegions",
            Self::RestoreSecret => "RestoreSecret",
            Self::RotateSecret => "RotateSecret",
            Self::StopReplicationToReplica => "StopReplicationToReplica",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::UpdateSecret => "UpdateSecret",
            Self::UpdateSecretVersionStage => "UpdateSecretVersionStage",
            Self::ValidateResourcePolicy => "ValidateResourcePolicy",
        }
    }

    /// The one table of who may do what.
    pub(crate) fn need(self) -> Need {
        match self {
            Self::GetSecretValue => Need::Secret(Area::Data, Verb::Read),
            Self::BatchGetSecretValue | Self::ListSecrets => Need::Each,
            Self::CreateSecret | Self::UpdateSecret => Need::Parts,
            Self::PutSecretValue
            | Self::UpdateSecretVersionStage
            | Self::RotateSecret
            | Self::CancelRotateSecret => Need::Secret(Area::Data, Verb::Write),
            Self::DescribeSecret
            | Self::ListSecretVersionIds
            | Self::GetResourcePolicy
            | Self::ListResourcePolicies => Need::Secret(Area::Metadata, Verb::Read),
            Self::DeleteSecret => Need::Secret(Area::Metadata, Verb::Delete),
            Self::RestoreSecret => Need::Secret(Area::Undelete, Verb::Write),
            Self::TagResource
            | Self::UntagResource
            | Self::PutResourcePolicy
            | Self::DeleteResourcePolicy
            | Self::ReplicateSecretToRegions
            | Self::RemoveRegionsFromReplication
            | Self::StopReplicationToReplica
            | Self::AssociateCrossAccountReplica
            | Self::DisassociateCrossAccountReplica => Need::Secret(Area::Metadata, Verb::Write),
            Self::ValidateResourcePolicy => Need::PerhapsSecret(Area::Metadata, Verb::Read),
            Self::GetRandomPassword => Need::Path("sys/tools/random", Verb::Write),
        }
    }

    /// Whether it may change something: then it is noted before it is done.
    pub(crate) fn is_change(self) -> bool {
        match self {
            Self::BatchGetSecretValue
            | Self::DescribeSecret
            | Self::GetRandomPassword
            | Self::GetResourcePolicy
            | Self::GetSecretValue
            | Self::ListResourcePolicies
            | Self::ListSecretVersionIds
            | Self::ListSecrets
            | Self::ValidateResourcePolicy => false,
            Self::AssociateCrossAccountReplica
            | Self::CancelRotateSecret
            | Self::CreateSecret
            | Self::DeleteResourcePolicy
            | Self::DeleteSecret
            | Self::DisassociateCrossAccountReplica
            | Self::PutResourcePolicy
            | Self::PutSecretValue
            | Self::RemoveRegionsFromReplication
            | Self::ReplicateSecretToRegions
            | Self::RestoreSecret
            | Self::RotateSecret
            | Self::StopReplicationToReplica
            | Self::TagResource
            | Self::UntagResource
            | Self::UpdateSecret
            | Self::UpdateSecretVersionStage => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        for op in ALL {
            assert_eq!(Op::of(op.name()), Some(op));
        }
        for name in ["", "getsecretvalue", "GetSecretValue ", "DeleteAccount"] {
            assert_eq!(Op::of(name), None, "{name}");
        }
    }

    /// Written a second time on purpose: who loosens a row of the table has to do it here, too.
    #[test]
    fn the_table_is_that_of_the_other_door() {
        for op in ALL {
            let expected = match op {
                Op::GetSecretValue => "data Read",
                Op::PutSecretValue
                | Op::UpdateSecretVersionStage
                | Op::RotateSecret
                | Op::CancelRotateSecret => "data Write",
                Op::DescribeSecret
                | Op::ListSecretVersionIds
                | Op::GetResourcePolicy
                | Op::ListResourcePolicies
                | Op::ValidateResourcePolicy => "metadata Read",
                Op::DeleteSecret => "metadata Delete",
                Op::RestoreSecret => "undelete Write",
                Op::TagResource
                | Op::UntagResource
                | Op::PutResourcePolicy
                | Op::DeleteResourcePolicy
                | Op::ReplicateSecretToRegions
                | Op::RemoveRegionsFromReplication
                | Op::StopReplicationToReplica
                | Op::AssociateCrossAccountReplica
                | Op::DisassociateCrossAccountReplica => "metadata Write",
                Op::CreateSecret | Op::UpdateSecret => "parts",
                Op::BatchGetSecretValue | Op::ListSecrets => "each",
                Op::GetRandomPassword => "sys/tools/random Write",
            };
            let found = match op.need() {
                Need::Secret(area, verb) | Need::PerhapsSecret(area, verb) => {
                    format!("{} {verb:?}", area.folder())
                }
                Need::Path(path, verb) => format!("{path} {verb:?}"),
                Need::Parts => "parts".to_owned(),
                Need::Each => "each".to_owned(),
            };
            assert_eq!(found, expected, "{op:?}");
            // What may write is noted before it is done.
            let writes = found.contains("Write") || found.contains("Delete") || found == "parts";
            assert_eq!(
                op.is_change(),
                writes && op != Op::GetRandomPassword,
                "{op:?}"
            );
        }
    }
}
