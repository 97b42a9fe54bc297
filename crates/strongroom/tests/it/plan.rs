//! What happens to secrets when an application is shipped.

use serde_json::Value;

use crate::support::Case;

const SHOP: &str = r#"
[secrets.POSTGRES_PASSWORD]
class = "infrastructure"
[secrets.JWT_SECRET]
class = "per_install_generated"
format = "^[A-Za-z0-9]{32,}$"
[secrets.OPENAI_API_KEY]
class = "user_prompt"
format = "^sk-"
prompt = { label = "OpenAI API key", description = "Create one.", link = "https://openai.test" }
[secrets.STRIPE_KEY]
"#;

#[test]
fn a_plan_says_what_happens_and_what_is_in_the_way() {
    let case = Case::with_manifest(SHOP);
    let shown = [
        "plan --tier desktop",
        "plan --tier desktop --swap postgres=sqlite",
        "plan --tier 4",
        "plan --tier dektop",
        "plan --tier desktop --swap postgres=redis",
        "plan --registry nothing.yaml",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
}

/// Runs a plan that something is in the way of, or not, and reads it.
fn plan(case: &Case, line: &str, is_ok: bool) -> Value {
    let outcome = case.sr(&format!("plan {line} --json")).output();
    let code = if is_ok { 0 } else { 5 };
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.err());
    serde_json::from_str(&outcome.out()).unwrap()
}

#[test]
fn a_bundle_is_planned_with_its_own_swaps() {
    let case = Case::new();
    case.write(
        "bundle.json",
        r#"{"schema_version": "v0.1", "target": "desktop", "app": {"name": "wheel"},
        "swaps": [{"original": "postgres", "replacement": "sqlite"}],
        "secrets": [
          {"id": "pg", "class": "infrastructure", "target": {"type": "env", "name": "PGPASSWORD"}},
          {"id": "cache", "class": "infrastructure",
           "target": {"type": "env", "name": "REDIS_URL"}},
          {"id": "jwt", "class": "per_install_generated", "required": null,
           "generator": {"type": "random", "length": 48},
           "target": {"type": "env", "name": "JWT_SECRET"}}]}"#,
    );
    let blocked = plan(&case, "--tier desktop --bundle bundle.json", false);
    assert_eq!(blocked["scenario"], "wheel");
    assert_eq!(
        blocked["summary"]["blocking_secrets"],
        serde_json::json!(["redis:REDIS_URL"])
    );
    let details = &blocked["summary"]["blocking_secret_details"][0];
    assert_eq!(details["swap"]["to"], "in-process");
    let free = plan(
        &case,
        "--tier 2 --bundle bundle.json --swap redis=in-process",
        true,
    );
    assert_eq!(free["bundle_secrets"].as_array().unwrap().len(), 1);
    assert_eq!(free["bundle_secrets"][0]["id"], "jwt");
    assert_eq!(free["bundle_secrets"][0]["generator"]["length"], 48);
}

#[test]
fn registries_are_planned_in_both_forms() {
    let case = Case::new();
    case.write(
        "secrets.yaml",
        "version: '1.0'\nresource: phone\nsecrets:\n  api_keys:\n    - name: account\n      \
         path: secret/resources/phone/api/account\n      required: true\n      default_env: \
         PHONE_ACCOUNT\n  numbers:\n    - name: from\n      path: secret/resources/phone/from\n\
         \x20     required: false\n      default_env: PHONE_FROM\n",
    );
    let phone = plan(&case, "--tier desktop --registry secrets.yaml", true);
    assert_eq!(phone["scenario"], "phone");
    assert_eq!(phone["secrets"][0]["resource_name"], "phone");
    assert_eq!(phone["secrets"][0]["handling_strategy"], "prompt");
    assert_eq!(phone["secrets"][1]["required"], false);
    case.write(
        "rows.json",
        r#"[{"resource_name": "redis", "secret_key": "REDIS_PASSWORD", "required": true},
            {"resource_name": "redis", "secret_key": "REDIS_DB", "required": false}]"#,
    );
    let rows = plan(&case, "--tier desktop --registry rows.json", false);
    assert_eq!(rows["summary"]["total_secrets"], 1);
    let all = plan(&case, "--registry rows.json --include-optional", false);
    assert_eq!(all["summary"]["total_secrets"], 2);
    assert_eq!(all["secrets"][0]["handling_strategy"], "unspecified");
}

#[test]
fn overrides_of_the_deployment_file_count_and_end() {
    let case = Case::with_manifest("[secrets.STRIPE_KEY]\n");
    let file = |expires: &str| {
        case.write(
            "strongroom.deploy.toml",
            format!(
                "[profiles.shop-desktop]\ntiers = [2]\n[[overrides]]\nscenario = \"shop\"\ntier = \
                 2\nsecret = \"STRIPE_KEY\"\nstrategy = \"prompt\"\nreason = \"their own \
                 account\"\nexpires = \"{expires}\"\n"
            ),
        );
    };
    file("2100-01-01");
    let planned = plan(&case, "shop-desktop", true);
    assert_eq!(planned["secrets"][0]["strategy_from"], "override");
    assert_eq!(
        planned["secrets"][0]["override_reason"],
        "their own account"
    );
    file("2020-01-01");
    let planned = plan(&case, "shop-desktop", false);
    assert_eq!(planned["warnings"].as_array().unwrap().len(), 1);
    case.sr("plan shop-mobil")
        .code(3)
        .says("there are: shop-desktop");
}

/// The documented application.
pub(crate) const WHEEL: &str = r#"{
  "schema_version": "v0.1", "target": "desktop",
  "app": {"name": "picker-wheel", "version": "1.2.3"},
  "ipc": {"mode": "loopback-http", "host": "127.0.0.1", "port": 47710,
          "auth_token_path": "runtime/auth-token"},
  "telemetry": {"file": "telemetry/events.jsonl"},
  "swaps": [{"original": "postgres", "replacement": "sqlite"}],
  "secrets": [
    {"id": "jwt_secret", "class": "per_install_generated", "description": "Signs tokens",
     "format": "^[A-Za-z0-9]{32,}$",
     "generator": {"type": "random", "length": 32, "charset": "alnum"},
     "target": {"type": "env", "name": "JWT_SECRET"}},
    {"id": "session_secret", "class": "user_prompt", "description": "Signs cookies",
     "prompt": {"label": "Session secret", "description": "Type 32 characters."},
     "target": {"type": "env", "name": "SESSION_SECRET"}}],
  "services": [{"id": "api", "type": "api-binary",
    "binaries": {"linux-x64": {"path": "services/api/linux-x64/api"}},
    "env": {"DATABASE_URL": "file:${data}/wheel.db"},
    "secrets": ["jwt_secret", "session_secret"],
    "ports": {"requested": [{"name": "http", "range": {"min": 47010, "max": 47030}}]},
    "health": {"type": "http", "path": "/healthz", "port_name": "http"},
    "readiness": {"type": "health_success"}}]
}"#;

#[test]
fn a_bundle_manifest_is_linted_strictly_or_by_its_schema() {
    let case = Case::new();
    case.write("bundle.json", WHEEL);
    case.write(
        "wrong.json",
        WHEEL
            .replace("127.0.0.1", "0.0.0.0")
            .replace(
                "\"jwt_secret\", \"session_secret\"",
                "\"jwt_secret\", \"sesion_secret\"",
            )
            .replace("${data}", "${dat}")
            .replace(
                "\"target\": \"desktop\",",
                "\"target\": \"desktop\", \"sekrets\": [],",
            ),
    );
    case.write("cut.json", &WHEEL[..100]);
    let shown = [
        "bundle lint bundle.json",
        "bundle lint wrong.json",
        "bundle lint wrong.json --compat",
        "bundle lint cut.json",
        "bundle lint none.json",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_documented_command_lines_work() {
    let case = Case::new();
    case.write("bundle.json", WHEEL);
    case.write(
        "strongroom.deploy.toml",
        "[profiles.profile-123]\nscenario = \"picker-wheel\"\ntiers = [2]\n\
         bundle = \"bundle.json\"\n",
    );
    let shown = [
        "secrets identify profile-123",
        "secrets template profile-123 --format env",
        "secrets validate profile-123",
        "secrets plan profile-123",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
    let identified = case.sr("secrets identify profile-123 --json").ok().json();
    assert_eq!(identified["profile_id"], "profile-123");
    assert_eq!(identified["summary"]["bundleable"], 2);
    let template = case
        .sr("secrets template profile-123 --format json")
        .ok()
        .json();
    assert_eq!(
        template["secrets"]["user_prompt"][0]["id"],
        "session_secret"
    );
    let broken = WHEEL.replace("\"label\": \"Session secret\",", "");
    case.write("bundle.json", broken);
    let validated = case
        .sr("secrets validate profile-123 --json")
        .code(5)
        .json();
    let blockers = &validated["blockers"];
    assert_eq!(blockers[0], "Fix session_secret: Add prompt label");
}

#[test]
fn an_application_is_planned_by_its_name() {
    let case = Case::new();
    case.write("bundle.json", WHEEL);
    let profile = |name: &str| {
        format!("[profiles.{name}]\nscenario = \"picker-wheel\"\nbundle = \"bundle.json\"\n")
    };
    case.write("strongroom.deploy.toml", profile("one"));
    let line = "secrets plan --scenario picker-wheel --tier desktop --json";
    let planned = case.sr(line).ok().json();
    assert_eq!(planned["summary"]["total_secrets"], 2);
    case.sr("plan --scenario other --tier desktop").code(3);
    // Which of two is meant nobody said.
    case.write("strongroom.deploy.toml", profile("one") + &profile("two"));
    case.sr(line).code(3);
}

#[test]
fn overrides_are_listed_with_their_ends_and_empty_lists_say_so() {
    let case = Case::with_manifest("[secrets.STRIPE_KEY]\n");
    case.write(
        "strongroom.deploy.toml",
        "[profiles.shop]\ntiers = [2]\n[[overrides]]\ntier = 2\nsecret = \"STRIPE_KEY\"\n\
         strategy = \"prompt\"\nexpires = \"2020-01-31\"\n[[overrides]]\ntier = 3\n\
         secret = \"STRIPE_KEY\"\nstrategy = \"strip\"\nreason = \"no shop there\"\n",
    );
    let shown = [
        "overrides list",
        "overrides list --tier cloud",
        "overrides effective shop",
        "overrides effective shop --tier mobile",
        "swaps list shop",
        "swaps cascade postgres sqlite",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_resource_that_is_typed_wrong_is_no_good_plan() {
    let case = Case::with_manifest("[secrets.POSTGRES_DB]\n[secrets.REDIS_PASSWORD]\n");
    let planned = plan(&case, "--tier desktop --resource redis", false);
    assert_eq!(planned["summary"]["total_secrets"], 1);
    case.sr("plan --tier desktop --resource redsi")
        .code(3)
        .says("no declared secret belongs to resource redsi")
        .says("there are: postgres, redis");
}

#[test]
fn a_question_of_many_lines_stays_in_its_place() {
    let case = Case::new();
    case.write(
        "secrets.yaml",
        "version: \"1.0\"\nresource: hub\nsecrets:\n  tokens:\n    - name: token\n      \
         required: true\n      default_env: HUB_TOKEN\ninitialization:\n  prompt_user:\n    \
         - name: token\n      prompt: |\n        To make one:\n        1. Open the hub\n",
    );
    case.sr("plan --tier desktop --registry secrets.yaml")
        .ok()
        .prints("asks for HUB_TOKEN: To make one:\n      1. Open the hub\n");
}

#[test]
fn a_dotenv_template_is_filled_in_and_imported() {
    let case = Case::with_manifest("[secrets.API_KEY]\nclass = \"user_prompt\"\n");
    let key = case.canary("");
    let template = case.sr("template desktop --format dotenv").ok().out();
    let filled = template.replace("API_KEY=", &format!("API_KEY={key}"));
    case.write_open("filled.env", filled);
    case.sr("import filled.env --yes").ok();
    assert_eq!(case.get("API_KEY"), key.as_bytes());
}

const SWAPPABLE: &str = r#"# what we ship
[profiles.wheel]
scenario = "picker-wheel"
tiers = [2]
services = ["ollama"]

[profiles.charts]
scenario = "charts"
scenarios = ["picker-wheel"]
manifest = "charts.toml"
"#;

#[test]
fn a_swap_changes_secrets_and_score_or_is_refused() {
    let case = Case::with_manifest(
        "[secrets.POSTGRES_PASSWORD]\nclass = \"infrastructure\"\n[secrets.JWT_SECRET]\nclass = \
         \"per_install_generated\"\n",
    );
    case.write("charts.toml", "[project]\nname = \"charts\"\n");
    case.write("strongroom.deploy.toml", SWAPPABLE);
    assert_eq!(plan(&case, "wheel", false)["ok"], false);
    let applied = case
        .sr("swaps apply wheel postgres sqlite --json")
        .ok()
        .json();
    assert_eq!(applied["new_version"], 2);
    assert_eq!(
        applied["secrets_removed"],
        serde_json::json!(["POSTGRES_PASSWORD"])
    );
    assert_eq!(applied["fitness_after"]["tier_2"]["previous"], 0.0);
    assert!(
        applied["fitness_after"]["tier_2"]["overall"]
            .as_f64()
            .unwrap()
            > 20.0
    );
    let file = String::from_utf8(case.read("strongroom.deploy.toml")).unwrap();
    assert!(file.starts_with("# what we ship\n"), "{file}");
    let planned = plan(&case, "wheel", true);
    assert_eq!(planned["swaps_applied"]["postgres"], "sqlite");
    case.sr("swaps apply wheel postgres sqlite")
        .code(6)
        .says("takes its place already");
    case.sr("swaps apply wheel redis in-process")
        .code(6)
        .says("does not lean on redis");
    case.sr("swaps apply wheel postgres redis")
        .code(3)
        .says("different resource types");
    case.sr("swaps apply shop ollama openrouter").code(3);
    let applied = case
        .sr("swaps apply wheel ollama openrouter --json")
        .ok()
        .json();
    assert_eq!(
        applied["secrets_added"],
        serde_json::json!(["OPENROUTER_API_KEY"])
    );
    let file = String::from_utf8(case.read("strongroom.deploy.toml")).unwrap();
    let swaps = "swaps = { postgres = \"sqlite\", ollama = \"openrouter\" }";
    assert!(file.contains(swaps), "{file}");
    let reached = case.sr("swaps cascade postgres sqlite --json").ok().json();
    assert_eq!(reached["total_affected"], 2);
    assert_eq!(reached["affected_scenarios"][1]["impact"], "indirect");
}

#[test]
fn scores_are_explained() {
    let case = Case::with_manifest("[secrets.REDIS_URL]\nclass = \"user_prompt\"\n");
    let shown = [
        "fitness --tier desktop --tier mobile --explain --swap redis=in-process",
        "fitness",
        "swaps list --tier mobile",
        "swaps info swap-postgres-sqlite",
        "swaps analyze ollama openrouter",
        "swaps info nothing",
    ]
    .map(|line| case.sr(line).transcript());
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn an_assembled_bundle_keeps_references_and_holds_nothing_of_the_server() {
    let case = Case::with_manifest("[secrets.API_TOKEN]\n");
    let base = WHEEL
        .replace(
            "\"secrets\": [\n",
            "\"secrets\": [{\"id\": \"pg\", \"class\": \
            \"infrastructure\", \"target\": {\"type\": \"env\", \"name\": \
            \"POSTGRES_PASSWORD\"}},\n",
        )
        .replace(
            "[\"jwt_secret\", \"session_secret\"]",
            "[\"pg\", \"jwt_secret\", \
            \"session_secret\"], \"assets\": [{\"path\": \"ui/app.js\"}]",
        );
    case.write("base.json", &base);
    // Whoever gives this command is not told to give it.
    for sum in ["", ", \"sha256\": \"to be filled in\""] {
        let named = "{\"path\": \"ui/app.js\"";
        case.write("base.json", base.replace(named, &format!("{named}{sum}")));
        let refused = case.sr("bundle assemble --bundle base.json").code(5);
        let refused = refused.says("the asset ui/app.js is not below .");
        assert!(!refused.err().contains("fills it in"), "{}", refused.err());
    }
    case.write("base.json", &base);
    case.write("ui/app.js", "abc");
    case.sr("bundle assemble --bundle base.json -o out.json")
        .ok()
        .says("left out: pg");
    let made: Value = serde_json::from_slice(&case.read("out.json")).unwrap();
    let service = &made["services"][0];
    assert_eq!(
        service["secrets"],
        serde_json::json!(["jwt_secret", "session_secret"])
    );
    let asset = &service["assets"][0];
    assert_eq!(asset["size_bytes"], 3);
    assert!(
        asset["sha256"]
            .as_str()
            .unwrap()
            .starts_with("ba7816bf8f01cfea")
    );
    assert_eq!(made["secrets"].as_array().unwrap().len(), 2);
    case.sr("bundle lint out.json").ok();
    let unswapped = base.replace("\"original\": \"postgres\"", "\"original\": \"redis\"");
    case.write("unswapped.json", unswapped);
    case.sr("bundle assemble --bundle unswapped.json -o never.json")
        .code(5)
        .says("apply the swap postgres -> sqlite");
    assert!(!case.in_project("never.json").exists());
    let token = case.canary("");
    case.set("API_TOKEN", &token);
    let leaky = base.replace(
        "file:${data}/wheel.db",
        &format!("https://app:{token}@db/x"),
    );
    case.write_open("leaky.json", leaky);
    case.sr("bundle assemble --bundle leaky.json -o never.json")
        .code(5)
        .says("the value of /shop/development/API_TOKEN stands in the manifest");
    // In the middle of a file, with white space in it, and encoded.
    let phrase = format!("{} {}", case.canary("correct horse "), "battery");
    case.sr("set API_TOKEN --exact").stdin(&phrase).ok();
    let encoded = data_encoding::BASE64.encode(format!("x{phrase}y").as_bytes());
    for text in [format!("// {phrase}!"), format!("key: {encoded}")] {
        case.write_open("ui/app.js", text);
        case.sr("bundle assemble --bundle base.json -o never.json")
            .code(5)
            .says("the value of /shop/development/API_TOKEN stands in ui/app.js");
    }
    assert!(!case.in_project("never.json").exists());
}

/// A22: resources are read where service.json has them, and who names one is told.
#[test]
fn what_an_application_leans_on_is_read_from_its_own_files() {
    let case = Case::new();
    case.write(
        "registry.json",
        r#"{"rows": [
          {"resource_name": "postgres", "secret_key": "POSTGRES_PASSWORD",
           "classification": "infrastructure"},
          {"resource_name": "minio", "secret_key": "MINIO_ACCESS_KEY", "classification": "service"},
          {"resource_name": "redis", "secret_key": "REDIS_PASSWORD"}]}"#,
    );
    case.write(
        "service.json",
        r#"{"service": {"name": "shop"}, "dependencies": {"resources": {
          "postgres": {"required": true}, "minio": {"enabled": true},
          "redis": {"enabled": false}}}}"#,
    );
    case.write(
        "report.json",
        r#"{"generated_at": "2026-01-01T00:00:00Z", "dependencies": [
          {"name": "redis", "type": "resource"}, {"name": "postgres", "type": "resource"}]}"#,
    );
    let sources = |line: &str| -> Vec<String> {
        let line = format!("--tier desktop --registry registry.json {line}");
        let found = plan(&case, &line, false);
        let details = found["summary"]["blocking_secret_details"]
            .as_array()
            .unwrap();
        let row = |one: &Value| format!("{} {}", one["resource"], one["source"]).replace('"', "");
        details.iter().map(row).collect()
    };
    let declared = ["postgres service.json", "minio service.json"];
    assert_eq!(sources("--service service.json"), declared);
    let both = ["postgres service.json+analyzer", "minio service.json"];
    assert_eq!(sources("--service service.json --report report.json"), both);
    let found = ["postgres analyzer", "redis analyzer"];
    assert_eq!(sources("--report report.json"), found);
    case.write(
        "service.json",
        r#"{"dependencies": {"resources": "postgres"}}"#,
    );
    case.sr("plan --tier desktop --registry registry.json --service service.json")
        .code(5)
        .says("$.dependencies.resources: expected an object or a list");
}

#[test]
fn a_swap_is_analysed_for_one_application() {
    let case = Case::with_manifest(SHOP);
    case.write(
        "strongroom.deploy.toml",
        "[profiles.shop-desktop]\ntiers = [2]\n",
    );
    let found = case.sr("swaps analyze postgres sqlite --for shop-desktop --json");
    let found = found.ok().json();
    let project = &found["project"];
    assert_eq!(
        (&project["scenario"], &project["leans_on_it"]),
        (&"shop".into(), &true.into())
    );
    assert_eq!(
        project["secrets_removed"],
        serde_json::json!(["POSTGRES_PASSWORD"])
    );
    let desktop = &project["fitness"]["tier_2"];
    assert_eq!(
        desktop["previous"], 0.0,
        "an unswapped infrastructure secret"
    );
    assert!(desktop["delta"].as_f64().unwrap() > 0.0, "{desktop}");
    // In general it says nothing of an application, of another one that nothing would change.
    let general = case.sr("swaps analyze postgres sqlite --json").ok().json();
    assert_eq!(general["project"], Value::Null);
    case.sr("swaps analyze ollama openrouter --for shop-desktop")
        .ok()
        .prints("does not lean on it");
}

#[test]
fn what_is_something_else_is_not_ready_to_be_shipped() {
    let case = Case::new();
    case.write(
        "answer.json",
        r#"{"error": "bundle not found", "details": []}"#,
    );
    case.sr("plan --tier desktop --bundle answer.json")
        .code(5)
        .says("answer.json: no bundle manifest");
}
