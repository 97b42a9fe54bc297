//! Which secrets engine answers for an address: asked of the server once, at the first request.

use std::sync::OnceLock;

use serde_json::Value;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::client::Reply;
use crate::client::Request;
use crate::explain;
use crate::session::Session;
use crate::settings::KvVersion;

/// Where secrets are kept unless the address says otherwise.
const DEFAULT_MOUNT: &str = "secret";
const MOUNTS: &str = "sys/internal/ui/mounts";

/// What answers at a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A KV engine.
    Kv(KvVersion),
    /// Another engine (database, aws…): its paths are read, and give leased credentials.
    Other(String),
}

/// A secrets engine and where it is mounted, without slashes at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: String,
    pub(crate) engine: Engine,
}

/// The mount and the prefix that addresses are below, or all mounts to find one by address.
#[derive(Debug)]
pub(crate) struct Layout {
    home: Mount,
    /// Stands before every address; empty, or with a `/` at the end.
    prefix: String,
    /// Other KV mounts that an address may begin with; only where the URI names no mount.
    others: Vec<Mount>,
}

/// An address taken apart.
pub(crate) struct Route<'l> {
    pub(crate) mount: &'l Mount,
    /// The path in the mount.
    pub(crate) path: String,
}

impl Layout {
    pub(crate) fn home(&self) -> &Mount {
        &self.home
    }

    /// The mount and path of an address, or of a folder (with `/` at its end, or empty).
    pub(crate) fn route(&self, address: &str) -> Route<'_> {
        let candidates = self.others.iter().filter_map(|mount| {
            let rest = address.strip_prefix(&*mount.path)?.strip_prefix('/')?;
            Some((mount, rest))
        });
        let longest = candidates.max_by_key(|(mount, _)| mount.path.len());
        match longest {
            Some((mount, rest)) => Route {
                mount,
                path: rest.to_owned(),
            },
            None => Route {
                mount: &self.home,
                path: format!("{}{address}", self.prefix),
            },
        }
    }

    /// Names in a folder that are there because another engine is mounted below it.
    pub(crate) fn mounts_in(&self, folder: &str) -> impl Iterator<Item = String> {
        let below = self.others.iter().filter(|mount| **mount != self.home);
        below.filter_map(move |mount| {
            let rest = mount.path.strip_prefix(folder)?;
            let first = rest.split('/').next().filter(|first| !first.is_empty())?;
            Some(format!("{first}/"))
        })
    }
}

impl Engine {
    pub(crate) fn capabilities(&self, has_field: bool) -> Capabilities {
        match self {
            Self::Kv(KvVersion::V2) => Capabilities {
                write: true,
                versions: true,
                list: true,
                delete: !has_field,
                restore: !has_field,
                single_versions: !has_field,
                cas: !has_field,
                description: !has_field,
                tags: !has_field,
                ..Capabilities::default()
            },
            Self::Kv(KvVersion::V1) => Capabilities {
                write: !has_field,
                list: true,
                delete: !has_field,
                ..Capabilities::default()
            },
            Self::Other(_) => Capabilities::default(),
        }
    }

    /// For people.
    pub(crate) fn phrase(&self) -> String {
        match self {
            Self::Kv(KvVersion::V1) => "KV version 1".into(),
            Self::Kv(KvVersion::V2) => "KV version 2".into(),
            Self::Other(kind) => format!("a {kind} secrets engine"),
        }
    }
}

/// The layout, once it is known.
#[derive(Default)]
pub(crate) struct Mounts {
    known: OnceLock<Layout>,
    asking: Mutex<()>,
}

impl Mounts {
    /// The layout, if it was asked for.
    pub(crate) fn known(&self) -> Option<&Layout> {
        self.known.get()
    }

    /// The layout; asks the server when nobody did. A failure is not kept.
    pub(crate) async fn layout(
        &self,
        session: &Session,
        deadline: Instant,
    ) -> Result<&Layout, BackendError> {
        if let Some(layout) = self.known.get() {
            return Ok(layout);
        }
        let Ok(_asking) = timeout_at(deadline, self.asking.lock()).await else {
            let server = &session.client.settings().server;
            let message = format!("{server} did not say in time what is mounted");
            return Err(session.client.error(BackendErrorKind::Unreachable, message));
        };
        if let Some(layout) = self.known.get() {
            return Ok(layout);
        }
        let found = match &session.client.settings().place {
            Some(place) => one(session, place, deadline).await?,
            None => all(session, deadline).await?,
        };
        Ok(self.known.get_or_init(|| found))
    }
}

/// The mount that the URI names, and what of its path is a prefix.
async fn one(session: &Session, place: &str, deadline: Instant) -> Result<Layout, BackendError> {
    let request = Request::get(format!("{MOUNTS}/{place}"));
    let reply = session.send(&request, deadline).await?;
    let (mount, rest) = if reply.is_success() {
        let answer = reply.json();
        let found = answer.as_ref().and_then(|answer| {
            let path = answer.text("/data/path")?.trim_end_matches('/');
            let rest = place.strip_prefix(path)?;
            let is_whole = rest.is_empty() || rest.starts_with('/');
            let engine = engine(answer.at("/data")?)?;
            is_whole.then(|| (path.to_owned(), engine, rest.trim_start_matches('/')))
        });
        let Some((path, engine, rest)) = found else {
            return Err(explain::malformed(&session.client, &request));
        };
        let engine = agreed(session, &path, engine)?;
        (Mount { path, engine }, rest)
    } else {
        let (path, rest) = place.split_once('/').unwrap_or((place, ""));
        let engine = unasked(session, path, &request, &reply)?;
        let path = path.to_owned();
        (Mount { path, engine }, rest)
    };
    let prefix = match rest {
        "" => String::new(),
        rest => format!("{rest}/"),
    };
    Ok(Layout {
        home: mount,
        prefix,
        others: Vec::new(),
    })
}

/// Every KV mount that the token may see, with `secret` as the one to take without a better.
async fn all(session: &Session, deadline: Instant) -> Result<Layout, BackendError> {
    let request = Request::get(MOUNTS);
    let reply = session.send(&request, deadline).await?;
    let path = DEFAULT_MOUNT.to_owned();
    if !reply.is_success() {
        let engine = unasked(session, &path, &request, &reply)?;
        return Ok(Layout {
            home: Mount { path, engine },
            prefix: String::new(),
            others: Vec::new(),
        });
    }
    let answer = reply.json();
    let secret = answer.as_ref().and_then(|answer| answer.at("/data/secret"));
    let Some(mounts) = secret.and_then(Value::as_object) else {
        return Err(explain::malformed(&session.client, &request));
    };
    let others: Vec<Mount> = mounts
        .iter()
        .filter_map(|(path, facts)| {
            let engine = engine(facts)?;
            let is_kv = matches!(&engine, Engine::Kv(_)) && kind(facts) != Some("cubbyhole");
            let path = path.trim_end_matches('/').to_owned();
            is_kv.then_some(Mount { path, engine })
        })
        .collect();
    let home = others.iter().find(|mount| mount.path == path).cloned();
    let home = match home {
        Some(mount) => Mount {
            engine: agreed(session, &path, mount.engine)?,
            path,
        },
        None => {
            let version = session.client.settings().kv.unwrap_or(KvVersion::V2);
            let engine = Engine::Kv(version);
            Mount { path, engine }
        }
    };
    Ok(Layout {
        home,
        prefix: String::new(),
        others,
    })
}

fn kind(facts: &Value) -> Option<&str> {
    facts.get("type")?.as_str()
}

fn engine(facts: &Value) -> Option<Engine> {
    let version = facts.pointer("/options/version").and_then(Value::as_str);
    Some(match (kind(facts)?, version) {
        ("kv", Some("2")) => Engine::Kv(KvVersion::V2),
        ("kv" | "generic" | "cubbyhole", _) => Engine::Kv(KvVersion::V1),
        (other, _) => Engine::Other(other.to_owned()),
    })
}

/// The engine as the server says, unless the URI says otherwise: that would make every secret
/// "not found".
fn agreed(session: &Session, path: &str, engine: Engine) -> Result<Engine, BackendError> {
    let client = &session.client;
    match client.settings().kv {
        Some(version) if engine != Engine::Kv(version) => {
            let message = format!("`{path}/` is {}, not what kv= says", engine.phrase());
            Err(client
                .error(BackendErrorKind::Misconfigured, message)
                .with_hint("take kv= out of the address"))
        }
        _ => Ok(engine),
    }
}

/// The engine where the server does not say: `kv=`, else version 1 as the servers have that know
/// no such question.
fn unasked(
    session: &Session,
    path: &str,
    request: &Request,
    reply: &Reply,
) -> Result<Engine, BackendError> {
    let client = &session.client;
    if reply.is(404) {
        explain::absent(client, request, reply)?;
        let version = client.settings().kv.unwrap_or(KvVersion::V1);
        return Ok(Engine::Kv(version));
    }
    if !reply.is(403) {
        return Err(explain::unexpected(client, request, reply));
    }
    if let Some(version) = client.settings().kv {
        return Ok(Engine::Kv(version));
    }
    let message = format!(
        "the token may not see what is mounted at `{path}/`: nothing is mounted there, or its \
         policies give nothing below it"
    );
    Err(client
        .error(BackendErrorKind::Denied, message)
        .with_hint(format!(
            "check the name of the mount (`bao secrets list`); a policy for `{path}/data/*` (KV \
             version 2) or `{path}/*` (version 1) lets the token see it; kv=1 or kv=2 in the \
             address does without"
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str) -> Mount {
        Mount {
            path: path.into(),
            engine: Engine::Kv(KvVersion::V2),
        }
    }

    fn check(layout: &Layout, address: &str, expected: (&str, &str)) {
        let route = layout.route(address);
        assert_eq!((&*route.mount.path, &*route.path), expected, "{address}");
    }

    #[test]
    fn an_address_is_below_the_mount_and_prefix_of_the_uri() {
        let layout = Layout {
            home: mount("team/kv"),
            prefix: "apps/".into(),
            others: Vec::new(),
        };
        check(
            &layout,
            "jwt/secret_key",
            ("team/kv", "apps/jwt/secret_key"),
        );
        check(&layout, "", ("team/kv", "apps/"));
    }

    #[test]
    fn without_a_mount_the_first_segment_may_be_one() {
        let others = ["secret", "apps", "apps/deep"].map(mount);
        let layout = Layout {
            home: mount("secret"),
            prefix: String::new(),
            others: others.into(),
        };
        check(&layout, "jwt/secret_key", ("secret", "jwt/secret_key"));
        check(&layout, "secret/jwt", ("secret", "jwt"));
        check(&layout, "apps/jwt", ("apps", "jwt"));
        check(&layout, "apps", ("secret", "apps"));
        check(&layout, "apps/deep/jwt", ("apps/deep", "jwt"));
        check(&layout, "appsother/jwt", ("secret", "appsother/jwt"));
        let names: Vec<String> = layout.mounts_in("").collect();
        assert_eq!(names, ["apps/", "apps/"]);
        let names: Vec<String> = layout.mounts_in("apps/").collect();
        assert_eq!(names, ["deep/"]);
    }
}
