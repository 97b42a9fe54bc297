//! What a rule can allow, and sets of it.

use std::fmt;

/// One verb of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Capability {
    /// Write where nothing is yet.
    Create = 1,
    /// Read.
    Read = 1 << 1,
    /// Write where something is; also every action that is no write of a value.
    Update = 1 << 2,
    /// Change a part of what is there.
    Patch = 1 << 3,
    /// Delete.
    Delete = 1 << 4,
    /// List names.
    List = 1 << 5,
    /// List names below, recursively.
    Scan = 1 << 6,
    /// Use paths that are kept for administrators, beside another capability.
    Sudo = 1 << 7,
    /// Nothing at all; beats every other capability.
    Deny = 1 << 8,
}

impl Capability {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Delete,
        Self::Deny,
        Self::List,
        Self::Patch,
        Self::Read,
        Self::Scan,
        Self::Sudo,
        Self::Update,
    ];

    /// Its word in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Deny => "deny",
        }
    }

    /// The capability of that word; words are lower case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// True for the two that ask for names below a path.
    pub(super) fn is_listing(self) -> bool {
        matches!(self, Self::List | Self::Scan)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What may be done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capabilities {
    /// Everything, by the root policy.
    Root,
    /// These; nothing at all when it is empty.
    Some(CapabilitySet),
}

impl Capabilities {
    /// The words that `sys/capabilities` answers: sorted, `deny` where nothing is allowed.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Root => vec!["root"],
            Self::Some(set) if set.is_nothing() => vec![Capability::Deny.as_str()],
            Self::Some(set) => set.iter().map(Capability::as_str).collect(),
        }
    }
}

/// A set of capabilities. With `deny` in it, nothing else is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u16);

impl CapabilitySet {
    /// Adds one; `deny` throws out and keeps out all others.
    pub(super) fn add(&mut self, capability: Capability) {
        self.0 |= capability as u16;
        if self.is_denied() {
            self.0 = Capability::Deny as u16;
        }
    }

    /// Adds all of `other`.
    pub(super) fn add_all(&mut self, other: Self) {
        for capability in other.iter() {
            self.add(capability);
        }
    }

    /// True if it holds the capability.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u16 != 0
    }

    /// True if it says `deny`.
    #[must_use]
    pub const fn is_denied(self) -> bool {
        self.has(Capability::Deny)
    }

    /// True if nothing is allowed, by `deny` or for want of a capability.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0 || self.is_denied()
    }

    /// Its members, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |&capability| self.has(capability))
    }
}
