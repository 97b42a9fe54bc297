use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Source;

use super::*;
use crate::need;
use crate::strategy::Strategy;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn needs(text: &str) -> Vec<Need> {
    let text = format!("[project]\nname = \"shop\"\n{text}");
    let source = Source {
        name: "strongroom.toml",
        text: &text,
    };
    let (manifest, _) = Manifest::parse(&[source]).unwrap();
    need::of_manifest(&manifest, "production").unwrap()
}

fn plan_of(text: &str, tier: Tier, swaps: &[(&str, &str)], overrides: &[Override]) -> Plan {
    let swaps = swaps
        .iter()
        .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
        .collect();
    plan(&Request {
        scenario: "shop",
        tier,
        needs: &needs(text),
        swaps: &swaps,
        overrides,
        resources: &[],
        include_optional: false,
        now: NOW,
    })
}

/// One line for each secret: its name, what is done, who said so and what is in the way.
fn lines(plan: &Plan) -> Vec<String> {
    let items = plan.items.iter();
    items
        .map(|(need, decision)| {
            let strategy = decision.strategy.map_or("-", Strategy::word);
            let blocked = decision.blocked.as_ref().map_or("", |blocked| blocked.code);
            let origin = decision.origin.word();
            format!("{} {strategy} {origin} {blocked}", need.key)
                .trim_end()
                .to_owned()
        })
        .collect()
}

const SHOP: &str = r#"
[secrets.POSTGRES_PASSWORD]
class = "infrastructure"
[secrets.DATABASE_URL]
class = "infrastructure"
type = "postgres-url"
[secrets.DATABASE_URL.tiers]
desktop = { action = "generate_sqlite_path", template = "file://{{USER_DATA}}/app.db" }
cloud = { action = "environment_variable", template = "{{POSTGRES_URL}}" }
[secrets.JWT_SECRET]
class = "per_install_generated"
generator = { length = 64 }
[secrets.OPENAI_API_KEY]
class = "user_prompt"
[secrets.STRIPE_KEY]
[secrets.MAIL_KEY]
required = false
[secrets.LICENCE]
class = "remote_fetch"
[secrets.PORT]
sensitive = false
default = 3000
"#;

#[test]
fn what_is_written_decides_and_what_is_not_written_blocks() {
    assert_eq!(
        lines(&plan_of(SHOP, Tier::Desktop, &[], &[])),
        [
            "POSTGRES_PASSWORD strip class plan.infrastructure",
            "DATABASE_URL generate tier",
            "JWT_SECRET generate class",
            "OPENAI_API_KEY prompt class",
            "STRIPE_KEY - none plan.no_strategy",
            "LICENCE fetch class",
        ]
    );
    assert_eq!(
        lines(&plan_of(SHOP, Tier::Cloud, &[], &[]))[..2],
        [
            "POSTGRES_PASSWORD - none plan.no_strategy",
            "DATABASE_URL fetch tier",
        ]
    );
    assert_eq!(
        lines(&plan_of(SHOP, Tier::LocalDev, &[], &[]))[0],
        "POSTGRES_PASSWORD strip class"
    );
}

#[test]
fn what_is_blocked_names_the_swap_that_frees_it() {
    let plan = plan_of(SHOP, Tier::Mobile, &[], &[]);
    let (_, blocked) = plan.blocked().next().unwrap();
    assert_eq!(
        blocked.swap,
        Some(("postgres".to_owned(), "sqlite".to_owned()))
    );
    assert_eq!(blocked.fix, "apply the swap postgres -> sqlite");
    let undecided = plan_of("[secrets.POSTGRES_DB]\n", Tier::Desktop, &[], &[]);
    let (_, blocked) = undecided.blocked().next().unwrap();
    assert_eq!(blocked.code, "plan.no_strategy");
    let end = "or fetch; or apply the swap postgres -> sqlite";
    assert!(blocked.fix.ends_with(end), "{}", blocked.fix);
    let swapped = plan_of(SHOP, Tier::Mobile, &[("postgres", "sqlite")], &[]);
    assert_eq!(
        lines(&swapped)[..2],
        ["POSTGRES_PASSWORD strip swap", "DATABASE_URL strip swap",]
    );
}

#[test]
fn the_servers_own_never_leaves_it() {
    for action in ["generate", "prompt", "fetch"] {
        let text = format!(
            "[secrets.VAULT_TOKEN]\nclass = \"infrastructure\"\n[secrets.VAULT_TOKEN.tiers]\n\
             desktop = {{ action = \"{action}\" }}\ncloud = {{ action = \"{action}\" }}\n\
             mobile = {{ action = \"strip\" }}\n"
        );
        let desktop = plan_of(&text, Tier::Desktop, &[], &[]);
        assert_eq!(
            lines(&desktop),
            ["VAULT_TOKEN strip tier plan.infrastructure"],
            "{action}"
        );
        assert!(desktop.bundle_secrets().is_empty());
        assert_eq!(
            lines(&plan_of(&text, Tier::Cloud, &[], &[])),
            [format!("VAULT_TOKEN {action} tier")]
        );
        assert!(plan_of(&text, Tier::Mobile, &[], &[]).is_ok());
    }
}

#[test]
fn a_swap_brings_the_secrets_of_the_new_service() {
    let text = "[secrets.OLLAMA_URL]\nclass = \"infrastructure\"\n";
    let plan = plan_of(text, Tier::Mobile, &[("ollama", "openrouter")], &[]);
    assert_eq!(
        lines(&plan),
        ["OLLAMA_URL strip swap", "OPENROUTER_API_KEY prompt tier"]
    );
}

fn override_of(secret: &str, strategy: Strategy, scenario: Option<&str>) -> Override {
    Override {
        scenario: scenario.map(str::to_owned),
        tier: Tier::Desktop,
        resource: None,
        secret: secret.to_owned(),
        rule: Rule {
            strategy: Some(strategy),
            ..Rule::default()
        },
        expires: None,
    }
}

#[test]
fn an_override_counts_before_the_declaration_until_it_ends() {
    let text = "[secrets.STRIPE_KEY]\nclass = \"per_install_generated\"\n";
    let mut own = override_of("STRIPE_KEY", Strategy::Prompt, Some("shop"));
    let general = override_of("STRIPE_KEY", Strategy::Strip, None);
    let both = [own.clone(), general];
    let plan = plan_of(text, Tier::Desktop, &[], &both);
    assert_eq!(lines(&plan), ["STRIPE_KEY prompt override"]);
    own.expires = Some(NOW);
    let plan = plan_of(text, Tier::Desktop, &[], &[own]);
    assert_eq!(lines(&plan), ["STRIPE_KEY generate class"]);
    assert!(
        plan.warnings[0].contains("does not count"),
        "{:?}",
        plan.warnings
    );
    let orphan = override_of("STRIPE_KYE", Strategy::Strip, None);
    let plan = plan_of(text, Tier::Desktop, &[], &[orphan]);
    assert!(
        plan.warnings[0].contains("no secret"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn a_generator_that_cannot_be_used_blocks() {
    let mut needs = needs("[secrets.A]\nclass = \"per_install_generated\"\n");
    needs[0].generator = Some(serde_json::json!({ "type": "file", "path": "x" }));
    let plan = plan(&Request {
        scenario: "shop",
        tier: Tier::Desktop,
        needs: &needs,
        swaps: &BTreeMap::new(),
        overrides: &[],
        resources: &[],
        include_optional: false,
        now: NOW,
    });
    assert_eq!(lines(&plan), ["A generate class plan.generator"]);
}

#[test]
fn numbers_are_of_all_secrets() {
    // More than ten are in the way: none is cut off.
    let text: String = (0..14).map(|at| format!("[secrets.KEY_{at}]\n")).collect();
    let plan = plan_of(&text, Tier::Desktop, &[], &[]);
    let summary = plan.summary();
    assert_eq!(summary["requires_action"], 14);
    assert_eq!(summary["strategized_secrets"], 0);
    assert_eq!(summary["blocking_secrets"].as_array().unwrap().len(), 14);
    assert_eq!(summary["scope_readiness"]["unclassified"], "0/14");
}

#[test]
fn unknown_tiers_and_strategies_are_told() {
    let text = "[project]\nname = \"shop\"\n[secrets.A]\n[secrets.A.tiers]\n\
                dektop = { action = \"strip\" }\nmobile = { action = \"hide\" }\n";
    let source = Source {
        name: "strongroom.toml",
        text,
    };
    let (manifest, _) = Manifest::parse(&[source]).unwrap();
    let problems = need::of_manifest(&manifest, "production").unwrap_err();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].starts_with("secrets.A.tiers.dektop: there is no tier"));
}
