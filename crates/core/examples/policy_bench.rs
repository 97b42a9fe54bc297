//! Measures decisions: 1,000 policies of 50 rules each in one set, and the usual three.

use std::hint::black_box;
use std::io;
use std::io::Write;
use std::time::Instant;

use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::DEFAULT_POLICY;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicySet;
use strongroom_core::policy::RequestPath;

const RULES: usize = 50;
const BATCHES: usize = 1_001;
const DECISIONS: u32 = 1_000;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| policies | rules | compile | path | ns a decision |")?;
    writeln!(out, "| ---: | ---: | ---: | --- | ---: |")?;
    for policies in [3, 1_000] {
        let policies = (0..policies).map(policy).collect::<io::Result<Vec<_>>>()?;
        let start = Instant::now();
        let set = PolicySet::compile(&policies);
        let compile = start.elapsed().as_micros();
        for (what, path, capability) in [
            ("exact", "secret/data/team2/app7/key7", Capability::Read),
            ("prefix", "secret/data/team2/app9/any/key", Capability::Read),
            (
                "segments",
                "secret/data/x/shared/team2-8/key",
                Capability::Update,
            ),
            ("list", "secret/metadata/team2/app6/x/", Capability::List),
            ("default policy", "auth/token/lookup-self", Capability::Read),
            (
                "nothing",
                "database/creds/reporting/read-only",
                Capability::Read,
            ),
        ] {
            let nanos = measure(&set, path, capability)?;
            let (count, rules) = (policies.len(), policies.len() * RULES);
            let line = format!("| {count} | {rules} | {compile} µs | {what} | {nanos} |");
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// The median of batches that are shorter than a time slice. All but `nothing` have to be allowed.
fn measure(set: &PolicySet, path: &str, capability: Capability) -> io::Result<u128> {
    let path: RequestPath = path.parse().map_err(io::Error::other)?;
    let access = Access {
        path: &path,
        capability,
        params: &[],
        wrap_ttl: None,
    };
    let expected = !path.as_str().starts_with("database/");
    assert_eq!(set.decide(&access).is_allowed, expected, "{path}");
    let mut batches: Vec<u128> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..DECISIONS {
                black_box(set.decide(black_box(&access)));
            }
            start.elapsed().as_nanos() / u128::from(DECISIONS)
        })
        .collect();
    batches.sort_unstable();
    Ok(batches[BATCHES / 2])
}

/// A team's policy: exact paths, prefixes, segments; the first has the default rules beside.
fn policy(team: usize) -> io::Result<Policy> {
    let mut text = if team == 0 {
        DEFAULT_POLICY.to_owned()
    } else {
        String::new()
    };
    for rule in 0..RULES {
        let path = match rule % 5 {
            0 => format!("secret/data/team{team}/+/team{rule}/*"),
            1 => format!("secret/metadata/team{team}/app{rule}*"),
            2 => format!("secret/data/team{team}/app{rule}/key{rule}"),
            3 => format!("secret/data/+/shared/team{team}-{rule}/+"),
            _ => format!("secret/data/team{team}/app{rule}/*"),
        };
        let words = r#""read", "update", "list""#;
        text.push_str(&format!("path \"{path}\" {{ capabilities = [{words}] }}\n"));
    }
    let name = format!("team{team}").parse().map_err(io::Error::other)?;
    Policy::parse(&name, &text).map_err(io::Error::other)
}
