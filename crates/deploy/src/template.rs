//! A list to fill in before shipping: which secrets there are, in the form that another program
//! takes. It holds no value.

use serde_json::Value;
use serde_json::json;

use crate::identify::note_of;
use crate::identify::source_of;
use crate::need::Need;
use crate::plan::Decision;
use crate::plan::Plan;
use crate::plan::object;
use crate::strategy::Strategy;

/// The form of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A file of variables with everything that is known in comments.
    Env,
    /// The documented JSON.
    Json,
    /// Commands for Vault and OpenBao.
    Vault,
    /// Commands for AWS Secrets Manager.
    Aws,
    /// A Secret of Kubernetes.
    K8s,
    /// A `.env` file, as short as it can be.
    Dotenv,
}

/// The template in the documented JSON.
#[must_use]
pub fn json(plan: &Plan, profile: &str) -> Value {
    let (mut generated, mut asked, mut fetched, mut excluded) = (vec![], vec![], vec![], vec![]);
    for (need, decision) in &plan.items {
        let mut pairs = vec![
            ("id", json!(need.id)),
            (
                "description",
                json!(need.description.clone().unwrap_or_default()),
            ),
        ];
        match decision.strategy {
            Some(Strategy::Generate) => {
                pairs.push(("generator", json!(decision.generator)));
                pairs.push(("template", json!(decision.template)));
                generated.push(object(pairs));
            }
            Some(Strategy::Prompt) => {
                pairs.push(("required", json!(need.is_required)));
                pairs.push(("format", json!(need.format)));
                asked.push(object(pairs));
            }
            Some(Strategy::Fetch) => {
                pairs.push(("required", json!(need.is_required)));
                pairs.push(("vault", json!(need.source)));
                pairs.push(("template", json!(decision.template)));
                fetched.push(object(pairs));
            }
            Some(Strategy::Strip) | None => excluded.push(object(vec![
                ("id", json!(need.id)),
                ("reason", json!(source_of(need, decision))),
                ("note", json!(note_of(decision, plan, need))),
            ])),
        }
    }
    json!({
        "version": 1,
        "profile_id": profile,
        "generated_at": plan.made_at.to_string(),
        "secrets": {
            "per_install_generated": generated,
            "user_prompt": asked,
            "remote_fetch": fetched,
            "excluded": excluded,
        },
    })
}

/// The template as text; that of [`Format::Json`] is [`json()`]'s.
#[must_use]
pub fn text(plan: &Plan, profile: &str, format: Format) -> String {
    match format {
        Format::Env => env(plan, profile),
        Format::Json => format!("{:#}\n", json(plan, profile)),
        Format::Vault => vault(plan),
        Format::Aws => aws(plan),
        Format::K8s => k8s(plan),
        Format::Dotenv => dotenv(plan),
    }
}

const RULE: &str = "# ============================================================";

fn env(plan: &Plan, profile: &str) -> String {
    let mut page = Page::default();
    page.comment(&format!("{} - Secrets Template", plan.scenario));
    page.comment(&format!("Generated: {}", plan.made_at));
    page.comment(&format!("Profile: {profile}"));
    page.comment(&format!(
        "Tier: {} ({})",
        plan.tier.number(),
        plan.tier.title()
    ));
    for (strategy, title, explained) in [
        (
            Some(Strategy::Generate),
            "PER-INSTALL GENERATED",
            "These secrets are auto-created on first run",
        ),
        (Some(Strategy::Prompt), "USER PROVIDED", "Fill these in"),
        (
            Some(Strategy::Fetch),
            "REMOTE FETCH",
            "These secrets are fetched when the application starts",
        ),
        (
            Some(Strategy::Strip),
            "INFRASTRUCTURE (excluded from bundle)",
            "These secrets are not shipped",
        ),
        (None, "UNDECIDED", "Nobody said what becomes of these"),
    ] {
        let items: Vec<&(Need, Decision)> = plan
            .items
            .iter()
            .filter(|(_, decision)| decision.strategy == strategy)
            .collect();
        if items.is_empty() {
            continue;
        }
        page.line("");
        page.line(RULE);
        page.comment(title);
        page.comment(explained);
        page.line(RULE);
        for (need, decision) in items {
            env_secret(&mut page, plan, need, decision);
        }
    }
    page.text
}

fn env_secret(page: &mut Page, plan: &Plan, need: &Need, decision: &Decision) {
    page.line("");
    match &need.description {
        Some(description) => page.comment(&format!("{} - {description}", need.key)),
        None => page.comment(&need.key),
    }
    let source = source_of(need, decision);
    let optional = if need.is_required { "" } else { " (optional)" };
    match decision.strategy {
        Some(Strategy::Generate) => {
            page.comment(&format!("Type: {source}{optional}"));
            page.format(need);
            match &decision.template {
                Some(template) => page.comment(&format!("Status: Filled in: {template}")),
                None => page.comment("Status: Auto-generated (no action required)"),
            }
        }
        Some(Strategy::Prompt) => {
            page.comment(&format!("Type: {source}{optional}"));
            page.format(need);
            if let Some(link) = &decision.prompt.link {
                page.comment(&format!("See: {link}"));
            }
            page.assignment(need);
        }
        Some(Strategy::Fetch) => {
            page.comment(&format!("Type: {source}{optional}"));
            page.comment("Status: Fetched (no action required)");
        }
        Some(Strategy::Strip) => {
            let note = note_of(decision, plan, need).unwrap_or_default();
            page.comment(&format!("Status: NOT INCLUDED - {note}"));
        }
        None => page.comment("Status: UNDECIDED"),
    }
}

/// What a person is asked for.
fn asked(plan: &Plan) -> impl Iterator<Item = &(Need, Decision)> {
    let items = plan.items.iter();
    items.filter(|(_, decision)| decision.strategy == Some(Strategy::Prompt))
}

fn dotenv(plan: &Plan) -> String {
    let mut page = Page::default();
    for (need, _) in asked(plan) {
        let optional = if need.is_required { "" } else { " (optional)" };
        let about = need.description.as_ref().unwrap_or(&need.key);
        page.comment(&format!("{about}{optional}"));
        page.assignment(need);
    }
    page.text
}

fn vault(plan: &Plan) -> String {
    let mut page = Page::default();
    page.comment("Each command reads its value from standard input.");
    for (need, _) in asked(plan) {
        page.line("");
        page.comment(need.description.as_ref().unwrap_or(&need.key));
        let place = quoted(&format!("{}/{}", plan.scenario, need.id));
        page.line(&format!("vault kv put -mount=secret {place} value=-"));
    }
    page.text
}

fn aws(plan: &Plan) -> String {
    let mut page = Page::default();
    page.comment("Each command reads its value from standard input.");
    for (need, decision) in asked(plan) {
        page.line("");
        let about = need
            .description
            .as_ref()
            .or(decision.prompt.description.as_ref());
        let about = quoted(about.unwrap_or(&need.key));
        let name = quoted(&format!("{}/{}", plan.scenario, need.id));
        page.line(&format!(
            "aws secretsmanager create-secret --name {name} --description {about} \
             --secret-string file:///dev/stdin"
        ));
    }
    page.text
}

fn k8s(plan: &Plan) -> String {
    let mut page = Page::default();
    page.comment("Fill in, apply, and do not keep this file.");
    for line in ["apiVersion: v1", "kind: Secret", "metadata:"] {
        page.line(line);
    }
    page.line(&format!("  name: {}-secrets", dns_name(&plan.scenario)));
    page.line("type: Opaque");
    page.line("stringData:");
    for (need, _) in asked(plan) {
        if let Some(description) = &need.description {
            page.text.push_str("  ");
            page.comment(description);
        }
        // A key of a Secret has letters, digits, '-', '_' and '.'.
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let key = need.key.replace(|c: char| !is_key(c), "_");
        page.line(&format!("  {key}: \"\""));
    }
    page.text
}

fn dns_name(name: &str) -> String {
    let lower = name.to_lowercase();
    let plain = lower.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let plain = plain.trim_matches('-');
    match plain.is_empty() {
        true => "application".to_owned(),
        false => plain.chars().take(50).collect(),
    }
}

/// One word of a shell, on one line.
pub(crate) fn quoted(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A comment of one line, whatever stands in it.
    fn comment(&mut self, text: &str) {
        let text = text.replace(char::is_control, " ");
        self.line(&format!("# {text}"));
    }

    fn format(&mut self, need: &Need) {
        if let Some(format) = &need.format {
            self.comment(&format!("Format: {format}"));
        }
    }

    fn assignment(&mut self, need: &Need) {
        let key = need.key.replace(char::is_control, " ");
        match need.is_required {
            true => self.line(&format!("{key}=")),
            false => self.line(&format!("# {key}=")),
        }
    }
}
