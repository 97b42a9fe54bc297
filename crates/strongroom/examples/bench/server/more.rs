//! Log-ins, a long listing, TLS, and what a decision costs.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicySet;
use strongroom_core::policy::RequestPath;

use super::CONNECTIONS;
use super::Server;
use super::compare;
use super::free_port;
use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Names in the folder that is listed.
pub(crate) const NAMES: usize = 10_000;
/// Threads that make them.
const WRITERS: usize = 8;
const POLICIES: usize = 1_000;
const RULES: usize = 50;

/// Log-ins by AppRole: each makes a token.
pub(super) fn logins(rig: &Rig, ours: &Server, theirs: &Server) -> AnyResult<()> {
    let mut rates = Vec::new();
    for (name, server) in [("ours", ours), ("theirs", theirs)] {
        server.ask("POST", "sys/auth/approle", &json!({"type": "approle"}))?;
        let role = json!({"token_ttl": "1h", "token_policies": ["default"]});
        server.ask("POST", "auth/approle/role/bench", &role)?;
        let role = server.ask("GET", "auth/approle/role/bench/role-id", &Value::Null)?;
        let path = "auth/approle/role/bench/secret-id";
        let secret = server.ask("POST", path, &json!({}))?;
        let body = json!({
            "role_id": role["data"]["role_id"],
            "secret_id": secret["data"]["secret_id"],
        });
        let script = rig.file(&format!("login-{name}.lua"));
        let text = format!(
            "wrk.method = 'POST'\nwrk.body = '{body}'\n\
             function request() return wrk.format('POST', '/v1/auth/approle/login') end\n"
        );
        fs::write(&script, text)?;
        rates.push(server.load(CONNECTIONS, Some(&script))?);
    }
    compare("log-ins by AppRole", &rates[0], &rates[1], 10.0);
    Ok(())
}

/// A folder with many names, listed whole.
pub(super) fn listings(rig: &Rig, ours: &Server, theirs: &Server) -> AnyResult<()> {
    let script = rig.file("list.lua");
    let text =
        "function request() return wrk.format('GET', '/v1/secret/metadata/many?list=true') end\n";
    fs::write(&script, text)?;
    let mut rates = Vec::new();
    for server in [ours, theirs] {
        fill(server)?;
        rates.push(server.load(CONNECTIONS, Some(&script))?);
    }
    let what = format!("listings of {NAMES} names");
    compare(&what, &rates[0], &rates[1], 5.0);
    Ok(())
}

pub(crate) fn fill(server: &Server) -> AnyResult<()> {
    let write = |writer: usize| -> Result<(), String> {
        for number in (writer..NAMES).step_by(WRITERS) {
            let path = format!("secret/data/many/name-{number:05}");
            let written = server.ask("POST", &path, &json!({"data": {"a": "b"}}));
            let written = written.map_err(|error| error.to_string())?;
            if written["data"]["version"].is_null() {
                return Err(format!("cannot write: {written}"));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })
}

/// The same reads over TLS: ours by a second process on the same store.
pub(super) fn reads_over_tls(rig: &Rig, ours: &Server, theirs: &Server) -> AnyResult<()> {
    let port = free_port()?;
    let (certificate, key) = certificate(rig)?;
    let listen = format!("127.0.0.1:{port}");
    let mut command = rig.strongroom(&["serve", "--listen", &listen]);
    command
        .arg("--audit-folder")
        .arg(rig.file("audit-tls"))
        .arg("--tls-cert")
        .arg(certificate)
        .arg("--tls-key")
        .arg(key);
    let mut second = Server::start(&mut command, port)?;
    second.token.clone_from(&ours.token);
    let read = second.load_at(&format!("https://127.0.0.1:{port}"), CONNECTIONS, None)?;
    let at = format!("https://127.0.0.1:{}", theirs.tls_port);
    let their_read = theirs.load_at(&at, CONNECTIONS, None)?;
    compare("reads over TLS", &read, &their_read, 8.0);
    Ok(())
}

/// A certificate for this machine, and its key.
pub(super) fn certificate(rig: &Rig) -> AnyResult<(PathBuf, PathBuf)> {
    let (certificate, key) = (rig.file("tls.crt"), rig.file("tls.key"));
    if !Path::exists(&key) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
    }
    Ok((certificate, key))
}

/// One decision among the rules of many policies.
pub(super) fn decisions() -> AnyResult<()> {
    let policies: Vec<Policy> = (0..POLICIES).map(policy).collect::<AnyResult<_>>()?;
    let set = PolicySet::compile(&policies);
    let paths: Vec<RequestPath> = (0..POLICIES)
        .flat_map(|policy| (0..RULES).step_by(7).map(move |rule| (policy, rule)))
        .map(|(policy, rule)| Ok(path(policy, rule).parse()?))
        .collect::<AnyResult<_>>()?;
    let begun = Instant::now();
    let mut allowed = 0;
    for path in &paths {
        let access = Access {
            path,
            capability: Capability::Read,
            params: &[],
            wrap_ttl: None,
        };
        allowed += usize::from(set.decide(&access).is_allowed);
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(paths.len())?);
    if allowed != paths.len() {
        return Err("a policy does not allow what it says".into());
    }
    report::row(&[
        &format!("a decision among {POLICIES} policies of {RULES} rules"),
        &format!("{each:.2} µs"),
        "",
        "",
        "at most 2 µs",
        verdict(each <= 2.0),
    ]);
    Ok(())
}

/// Rules of all kinds: plain paths, `*` at the end, `+` within.
fn policy(number: usize) -> AnyResult<Policy> {
    let rule = |rule: usize| {
        let path = match rule % 3 {
            0 => format!("secret/data/team-{number}/app-{rule}/db"),
            1 => format!("secret/data/team-{number}/app-{rule}/*"),
            _ => format!("secret/data/+/team-{number}-{rule}/db*"),
        };
        format!("path \"{path}\" {{ capabilities = [\"read\"] }}\n")
    };
    let text: String = (0..RULES).map(rule).collect();
    Ok(Policy::parse(&format!("policy-{number}").parse()?, &text)?)
}

/// A path that the rule allows.
fn path(policy: usize, rule: usize) -> String {
    match rule % 3 {
        0 | 1 => format!("secret/data/team-{policy}/app-{rule}/db"),
        _ => format!("secret/data/eu/team-{policy}-{rule}/db-1"),
    }
}
