//! Who reads a secret, and which version each of them has read last: what a rotation waits for.

use std::collections::BTreeMap;

use strongroom_core::time::Timestamp;

use super::Channel;
use super::Exposure;
use super::Ledger;
use crate::error::Error;

/// Consumers that are named in a text; of more, their number is told.
const NAMED_MAX: usize = 5;

/// A place that a secret was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// How.
    pub channel: Channel,
    /// Who: a user, or who a token is for.
    pub who: String,
    /// Where: a program, a token, another manager.
    pub to: String,
    /// The newest version that it has read.
    pub version: u64,
    /// When it has read last.
    pub last: Timestamp,
}

/// Somebody who reads a secret, from one place or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// What people call it.
    pub name: String,
    /// The version that all of its places have read, or a newer one.
    pub version: u64,
    /// When it has read last.
    pub last: Timestamp,
}

/// How it stands with a version that consumers are to come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The version.
    pub version: u64,
    /// Everybody who reads the secret, by name.
    pub consumers: Vec<Consumer>,
    /// How often an older version was read since it became the current one.
    pub old_reads: u64,
}

impl Progress {
    /// Those who have not read the version yet.
    pub fn behind(&self) -> impl Iterator<Item = &Consumer> {
        let version = self.version;
        self.consumers
            .iter()
            .filter(move |one| one.version < version)
    }

    /// Whether somebody is known, and all who are have read the version.
    #[must_use]
    pub fn has_all(&self) -> bool {
        !self.consumers.is_empty() && self.behind().next().is_none()
    }
}

/// `4 of 5 consumers on v8, billing-api still on v7`.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (all, behind) = (self.consumers.len(), self.behind().count());
        let version = self.version;
        match all {
            0 => return write!(f, "no consumer of v{version} is known"),
            1 => write!(f, "{} of 1 consumer on v{version}", 1 - behind)?,
            _ => write!(f, "{} of {all} consumers on v{version}", all - behind)?,
        }
        let mut named: Vec<&Consumer> = self.behind().take(NAMED_MAX).collect();
        named.sort_by_key(|one| one.version);
        for of_version in named.chunk_by(|a, b| a.version == b.version) {
            let names: Vec<&str> = of_version.iter().map(|one| one.name.as_str()).collect();
            let version = of_version.first().map_or(0, |one| one.version);
            write!(f, ", {} still on v{version}", names.join(", "))?;
        }
        match behind.saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Whether what leaves by a channel is used by somebody who comes again for it: a person who has
/// looked at a value and a backup do not.
fn has_consumers(channel: Channel) -> bool {
    matches!(
        channel,
        Channel::Run
            | Channel::Export
            | Channel::Sync
            | Channel::Supervise
            | Channel::Server
            | Channel::Sdk
    )
}

/// Readers as people know them. Of one who reads from several places the one counts that is
/// furthest behind.
#[must_use]
pub fn consumers_of(readers: &[Reader]) -> Vec<Consumer> {
    let mut by_name: BTreeMap<String, Consumer> = BTreeMap::new();
    for reader in readers {
        let who = super::person(&reader.who);
        let name = match reader.channel {
            Channel::Server => who.to_owned(),
            _ => format!("{} ({who})", reader.to),
        };
        let known = by_name.entry(name).or_insert_with_key(|name| Consumer {
            name: name.clone(),
            version: reader.version,
            last: reader.last,
        });
        known.version = known.version.min(reader.version);
        known.last = known.last.max(reader.last);
    }
    by_name.into_values().collect()
}

impl Ledger {
    /// Who has read a secret of this store since a time, for themselves or a program.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn readers(
        &self,
        secret: &str,
        source: &str,
        since: Timestamp,
    ) -> Result<Vec<Reader>, Error> {
        let mut readers: BTreeMap<(&'static str, String, String), Reader> = BTreeMap::new();
        for found in self.of_secret(secret).await? {
            let Some(version) = version_of(&found.value, source) else {
                continue;
            };
            let Exposure {
                channel,
                who,
                to,
                last,
                ..
            } = found.value;
            if last < since || !has_consumers(channel) {
                continue;
            }
            let place = (channel.word(), who.clone(), to.clone());
            let known = readers.entry(place).or_insert(Reader {
                channel,
                who,
                to,
                version,
                last,
            });
            known.version = known.version.max(version);
            known.last = known.last.max(last);
        }
        Ok(readers.into_values().collect())
    }

    /// How often versions of a secret of this store were read, and whether that was after a time.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn reads_of(
        &self,
        secret: &str,
        source: &str,
        versions: &[u64],
        after: Timestamp,
    ) -> Result<Option<u64>, Error> {
        let mut reads = 0_u64;
        let mut is_after = false;
        for found in self.of_secret(secret).await? {
            if version_of(&found.value, source).is_some_and(|one| versions.contains(&one)) {
                reads = reads.saturating_add(found.value.count);
                is_after |= found.value.last > after;
            }
        }
        Ok(is_after.then_some(reads))
    }
}

fn version_of(exposure: &Exposure, source: &str) -> Option<u64> {
    let given = &exposure.given;
    let version = given.version.as_ref().filter(|_| given.source == source);
    version?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(channel: Channel, who: &str, to: &str, version: u64) -> Reader {
        Reader {
            channel,
            who: who.into(),
            to: to.into(),
            version,
            last: Timestamp::from_micros(0),
        }
    }

    fn told(version: u64, readers: &[Reader]) -> (bool, String) {
        let progress = Progress {
            version,
            consumers: consumers_of(readers),
            old_reads: 0,
        };
        (progress.has_all(), progress.to_string())
    }

    #[test]
    fn those_who_are_behind_are_named() {
        let server = |who: &str, version| reader(Channel::Server, who, "vault api x", version);
        let mut readers = vec![
            server("a", 8),
            server("b", 8),
            server("c", 9),
            reader(Channel::Run, "ann (uid 1000)", "node", 8),
            server("billing-api", 7),
        ];
        let text = "4 of 5 consumers on v8, billing-api still on v7".to_owned();
        assert_eq!(told(8, &readers), (false, text));
        // Of two places of one consumer the one that is behind counts.
        readers[4] = server("billing-api", 8);
        readers.push(reader(Channel::Server, "billing-api", "vault api y", 6));
        readers.push(reader(Channel::Run, "bob", "cron", 7));
        let text = "4 of 6 consumers on v8, billing-api still on v6, cron (bob) still on v7";
        assert_eq!(told(8, &readers), (false, text.to_owned()));
        assert!(told(6, &readers).0);
        let text = "0 of 1 consumer on v2, a still on v1".to_owned();
        assert_eq!(told(2, &[server("a", 1)]), (false, text));
        let text = "no consumer of v2 is known".to_owned();
        assert_eq!(told(2, &[]), (false, text), "nobody known is not everybody");
        let many: Vec<Reader> = (1..=7).map(|n| server(&format!("s{n}"), 1)).collect();
        let text = "0 of 7 consumers on v2, s1, s2, s3, s4, s5 still on v1, and 2 more".to_owned();
        assert_eq!(told(2, &many), (false, text));
    }
}
