//! The policies of a manifest, brought to a server.

use clap::Args;
use serde_json::Value;
use serde_json::json;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::OverlapWait;
use strongroom_core::manifest::Rotation;
use strongroom_core::registry::Class;
use strongroom_core::registry::Declaration;
use strongroom_core::rotator::RotatorSpec;

use super::policies::path_of;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::server;
use crate::server::Call;
use crate::server::Server;

/// Longest name of a policy and of a rotator on a server.
const NAME_CHARS_MAX: usize = 64;
/// What draws values on every server.
const GENERATE: &str = "strongroom-generate";

#[derive(Args)]
pub(super) struct PushArgs {
    /// Where the server keeps the secrets [default: PROJECT/PROFILE/]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
}

/// A policy as it is written: its name, what registers its rotator first, and its body.
struct Policy {
    name: String,
    rotator: Option<Value>,
    body: Value,
}

/// Brings every policy of the manifest: those by patterns, and one for each declared secret that
/// has a rotation of its own or is drawn.
pub(super) fn run(app: &App, server: &Server, args: &PushArgs) -> Result<(), CommandError> {
    let project = project::load(app)?;
    let manifest = &project.manifest;
    let profile = &project.profile.name;
    let prefix = match args.prefix.as_deref().map(|it| it.trim_matches('/')) {
        None => format!("{}/", manifest.folder(profile)),
        Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    };
    let of = format!("{}-{}-", plain(&manifest.project), plain(profile));
    let policies = policies(manifest, &of, &prefix)?;
    if policies.is_empty() {
        return Err(CommandError::new(
            Kind::Validation,
            "rotation.no_policies",
            "the manifest says nothing of rotations",
        )
        .hint("[rotation.jwt] with `pattern` and `every`, or a declaration's `rotation`"));
    }
    let mut rows = Vec::with_capacity(policies.len());
    for policy in &policies {
        let mut row = policy.body.clone();
        row["name"] = json!(policy.name);
        if !args.dry_run {
            if let Some(spec) = &policy.rotator {
                let path = format!("sys/aws/rotators/{}", policy.name);
                server.demand(Call::Tell, &path, Some(spec.clone()))?;
            }
            let path = path_of("policies", &policy.name)?;
            let answer = server.demand(Call::Tell, &path, Some(policy.body.clone()))?;
            row["secrets_set_up"] = answer.json()["data"]["secrets_set_up"].clone();
        }
        rows.push(row);
    }
    let answer = server.demand(Call::List, "sys/rotation/policies", None)?;
    let known = server::texts(&answer.json()["data"]["keys"]);
    let is_left = |name: &String| {
        let is_pushed = policies.iter().any(|policy| policy.name == *name);
        name.starts_with(&of) && !is_pushed
    };
    let left: Vec<String> = known.into_iter().filter(is_left).collect();
    show(app, args, &rows, &left)
}

fn show(app: &App, args: &PushArgs, rows: &[Value], left: &[String]) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "dry_run": args.dry_run,
            "policies": rows,
            "not_in_the_manifest": left,
        }));
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let shown = rows.iter().map(|row| {
        let when = match row["every"].as_str() {
            Some(every) => format!("every {every}"),
            None => text(&row["schedule"]),
        };
        let set_up = row["secrets_set_up"].as_u64();
        vec![
            text(&row["name"]),
            text(&row["pattern"]),
            when,
            text(&row["rotator"]),
            set_up.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        ]
    });
    let heads = ["policy", "pattern", "when", "rotator", "newly set up"];
    app.ui.print_table(&heads, shown.collect())?;
    if args.dry_run {
        app.ui.say("nothing was written");
    }
    for name in left {
        app.ui.say(&format!(
            "{name} is not in the manifest any more: strongroom rotate policies remove {name}"
        ));
    }
    Ok(())
}

fn policies(manifest: &Manifest, of: &str, prefix: &str) -> Result<Vec<Policy>, CommandError> {
    let mut all: Vec<Policy> = Vec::new();
    // Those of one secret first: what a pattern would set up otherwise is not taken from it.
    for declaration in manifest.declarations() {
        let Some(rotation) = &declaration.rotation else {
            continue;
        };
        let drawn = drawn(declaration, rotation);
        let follows = manifest.rotations().values().any(|policy| {
            (&policy.every, &policy.schedule, &policy.rotator)
                == (&rotation.every, &rotation.schedule, &rotation.rotator)
                && strongroom_core::glob::matches(
                    policy.pattern.as_deref().unwrap_or_default(),
                    declaration.path.as_str(),
                )
        });
        if follows && drawn.is_none() {
            continue;
        }
        let name = name_of(of, &plain(&declaration.name))?;
        let (rotator, by) = match (&rotation.rotator, drawn) {
            (Some(spec), _) => {
                let spec = declared(manifest, spec, prefix)?;
                (Some(json!({ "rotator": spec })), Some(name.clone()))
            }
            (None, Some(Value::Null)) => (None, Some(GENERATE.to_owned())),
            (None, Some(spec)) => (Some(json!({ "generator": spec })), Some(name.clone())),
            (None, None) => (None, None),
        };
        let pattern = format!("{prefix}{}", declaration.path);
        let owner = declaration.owner.as_deref();
        let body = body(&pattern, rotation, owner, by.as_deref());
        all.push(Policy {
            name,
            rotator,
            body,
        });
    }
    for (name, policy) in manifest.rotations() {
        let pattern = policy.pattern.as_deref().unwrap_or_default();
        let owner = policy.owner.as_deref();
        let rotator = match &policy.rotator {
            Some(spec) => Some(json!({ "rotator": declared(manifest, spec, prefix)? })),
            None => None,
        };
        let name = name_of(of, name)?;
        let by = rotator.as_ref().map(|_| name.clone());
        let body = body(&format!("{prefix}{pattern}"), policy, owner, by.as_deref());
        all.push(Policy {
            name,
            rotator,
            body,
        });
    }
    let mut names: Vec<&str> = all.iter().map(|policy| policy.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("two policies would have the name {}", twice[0]);
        return Err(
            CommandError::new(Kind::Validation, "rotation.name", message)
                .hint("a policy in [rotation] and a secret of one name: rename the policy"),
        );
    }
    Ok(all)
}

/// How a declared secret is drawn: `null` by the generator that is always there; `None` when it is
/// not drawn.
fn drawn(declaration: &Declaration, rotation: &Rotation) -> Option<Value> {
    if rotation.rotator.is_some() {
        return None;
    }
    match (&declaration.generator, declaration.class) {
        (Some(spec), _) => serde_json::to_value(spec).ok(),
        (None, Class::PerInstallGenerated) => Some(Value::Null),
        (None, _) => None,
    }
}

/// A rotator as the server knows it: the secret that it needs by its place there.
fn declared(manifest: &Manifest, spec: &RotatorSpec, prefix: &str) -> Result<Value, CommandError> {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(admin) = spec.admin() {
        let mut all = manifest.declarations().iter();
        let known = all.find(|one| one.name == admin || one.path.as_str() == admin);
        let place = match (known, admin.strip_prefix('/')) {
            (Some(known), _) => format!("{prefix}{}", known.path),
            (None, Some(whole)) => whole.to_owned(),
            (None, None) => format!("{prefix}{admin}"),
        };
        value[spec.admin_field()] = json!(place);
    }
    strongroom_rotators::check(spec).map_err(|detail| {
        let message = format!("a rotator of the manifest cannot be used: {detail}");
        CommandError::new(Kind::Validation, "rotator.unusable", message)
    })?;
    Ok(value)
}

fn body(pattern: &str, rotation: &Rotation, owner: Option<&str>, rotator: Option<&str>) -> Value {
    let mut body = json!({
        "pattern": pattern,
        "rotator": rotator,
        "every": rotation.every,
        "schedule": rotation.schedule,
        "duration": rotation.window,
        "jitter": rotation.jitter,
        "notify_before": rotation.notify_before,
        "owner": owner,
        "overlap": rotation.overlap,
        "wait": rotation.wait.map(OverlapWait::word),
        "consumers_within": rotation.consumers_within,
    });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

/// A text with the letters that names on a server have.
fn plain(text: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphanumeric() || c == '_' {
        true => c,
        false => '-',
    };
    text.chars().map(letter).collect()
}

fn name_of(of: &str, name: &str) -> Result<String, CommandError> {
    let whole = format!("{of}{name}");
    match whole.len() <= NAME_CHARS_MAX {
        true => Ok(whole),
        false => Err(CommandError::new(
            Kind::Validation,
            "rotation.name",
            format!("{whole} is too long for the name of a policy: it has at most 64 letters"),
        )
        .hint("a shorter name of the project or of the secret makes it shorter")),
    }
}
