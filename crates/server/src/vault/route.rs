//! The routes: which paths there are, what may be asked of them, and who may.

use std::pin::Pin;

use strongroom_engine::mounts::Engines;

use super::call::Call;
use super::call::Verb;
use super::error::Fault;
use super::reply::Answer;

/// What a handler returns.
pub(crate) type Handled<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send + 'a>>;
/// Answers a call.
pub(crate) type Handler = for<'a> fn(&'a mut Call) -> Handled<'a>;
/// Whether what a write goes to is there already.
pub(crate) type Exists =
    for<'a> fn(&'a Call) -> Pin<Box<dyn Future<Output = Result<bool, Fault>> + Send + 'a>>;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody: it is how one gets a token, or says nothing that is a secret.
    Open,
    /// Whoever has a living token; the handler shows only what that token may see.
    AnyToken,
    /// Whose policies allow it.
    Policy,
    /// Whose policies allow it, with `sudo`.
    Sudo,
}

/// One route below a mount.
pub(crate) struct Route {
    /// Segments; `+` stands for one, a last `*` for the rest, which may be nothing.
    pub(crate) pattern: &'static str,
    pub(crate) access: Access,
    pub(crate) verbs: &'static [(Verb, Handler)],
    pub(crate) exists: Option<Exists>,
}

/// A handler as the table wants it.
macro_rules! to {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}
pub(crate) use to;

/// A row of a table of routes.
macro_rules! route {
    (
        $access:ident $pattern:literal $([$exists:path])?
        { $($verb:ident => $handler:path),+ $(,)? }
    ) => {
        $crate::vault::route::Route {
            pattern: $pattern,
            access: $crate::vault::route::Access::$access,
            verbs: &[$((
                $crate::vault::call::Verb::$verb,
                $crate::vault::route::to!($handler),
            )),+],
            exists: $crate::vault::route::exists!($($exists)?),
        }
    };
}
pub(crate) use route;

/// The optional check of a row.
macro_rules! exists {
    () => {
        None
    };
    ($exists:path) => {
        Some(|call| Box::pin($exists(call)))
    };
}
pub(crate) use exists;

/// The routes of what is mounted.
pub(crate) fn table(engine: Engines) -> &'static [Route] {
    match engine {
        Engines::Kv1 => super::kv1::ROUTES,
        Engines::Kv2 => super::kv2::ROUTES,
        Engines::Cubbyhole => super::cubbyhole::ROUTES,
        Engines::System => super::sys::ROUTES,
        Engines::Token => super::token::ROUTES,
        Engines::Userpass => super::userpass::ROUTES,
        Engines::AppRole => super::approle::ROUTES,
        Engines::Database => super::database::ROUTES,
    }
}

/// The first route that fits a path below its mount, with what its wildcards stand for.
pub(crate) fn find<'a>(
    routes: &'a [Route],
    path: &str,
    verb: Verb,
) -> Option<(&'a Route, Vec<String>)> {
    // To a list `roles/` is `roles`. To all others it is another path, as it is to policies.
    let folder = match verb {
        Verb::List | Verb::Scan => path.strip_suffix('/'),
        Verb::Read | Verb::Write | Verb::Patch | Verb::Delete => None,
    };
    let first = routes.iter().find_map(|route| {
        let captures = fit(route.pattern, path);
        let captures = captures.or_else(|| fit(route.pattern, folder?))?;
        Some((route, captures))
    })?;
    let lists = |route: &Route| route.verbs.iter().any(|(known, _)| *known == verb);
    if folder.is_none() || lists(first.0) || fit(first.0.pattern, path).is_some() {
        return Some(first);
    }
    // `leases/lookup` cannot be listed, and `leases/lookup/` is what lies below it.
    let mut others = routes.iter().filter(|route| lists(route));
    let below = others.find_map(|route| Some((route, fit(route.pattern, path)?)));
    below.or(Some(first))
}

fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut captures = Vec::new();
    let mut rest = Some(path);
    for segment in pattern.split('/') {
        if segment == "*" {
            captures.push(rest.unwrap_or_default().to_owned());
            return Some(captures);
        }
        let here = rest?;
        let (head, tail) = match here.split_once('/') {
            Some((head, tail)) => (head, Some(tail)),
            None => (here, None),
        };
        match segment {
            "+" if !head.is_empty() => captures.push(head.to_owned()),
            _ if segment == head => {}
            _ => return None,
        }
        rest = tail;
    }
    rest.is_none().then_some(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        for (pattern, path, captures) in [
            ("config", "config", Some(vec![])),
            ("config", "config/", None),
            ("config", "config/x", None),
            ("data/*", "data/a/b", Some(vec!["a/b"])),
            ("data/*", "data/", Some(vec![""])),
            ("data/*", "data", Some(vec![""])),
            ("data/*", "database", None),
            ("users/+", "users/bob", Some(vec!["bob"])),
            ("users/+", "users/", None),
            ("users/+", "users/bob/", None),
            ("users/+", "users/a/b", None),
            ("users/+/password", "users/a/password", Some(vec!["a"])),
            ("*", "a/b", Some(vec!["a/b"])),
            ("*", "", Some(vec![""])),
        ] {
            let expected: Option<Vec<String>> =
                captures.map(|list: Vec<&str>| list.into_iter().map(str::to_owned).collect());
            assert_eq!(fit(pattern, path), expected, "{pattern} {path}");
        }
    }
    #[test]
    fn only_lists_take_a_slash_at_the_end() {
        let routes = &[route!(Policy "roles" { List => nothing, Read => nothing })];
        for (verb, is_found) in [
            (Verb::List, true),
            (Verb::Scan, true),
            (Verb::Read, false),
            (Verb::Write, false),
            (Verb::Patch, false),
            (Verb::Delete, false),
        ] {
            assert!(find(routes, "roles", verb).is_some(), "{verb:?}");
            assert_eq!(find(routes, "roles/", verb).is_some(), is_found, "{verb:?}");
            assert!(find(routes, "roles//", verb).is_none(), "{verb:?}");
        }
    }

    async fn nothing(_: &mut Call) -> Result<Answer, Fault> {
        Ok(Answer::Empty)
    }
}
