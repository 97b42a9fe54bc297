//! Secrets in files are found, told without their values, and kept by a server.

use serde_json::Value;

use crate::served::Served;
use crate::support::Case;

const MANIFEST: &str = "[secrets.API_KEY]\n";

/// What looks like a GitHub token; its beginning is watched for.
fn token(case: &Case) -> String {
    format!("{}Zk3Vq8Lm", case.canary("ghp_"))
}

fn findings(report: &Value) -> Vec<String> {
    let rows = report["findings"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let place = format!("{}:{}:{}", text("path"), row["line"], row["column"]);
        format!(
            "{} {place} {} {}",
            text("severity"),
            text("rule"),
            text("secret")
        )
    })
    .collect()
}

#[test]
fn tokens_and_values_of_the_store_are_found_and_not_shown() {
    let case = Case::with_manifest(MANIFEST);
    let (token, stored) = (token(&case), case.canary("stored "));
    case.set("API_KEY", &stored);
    case.write_open("src/app.py", format!("import os\nTOKEN = '{token}'\n"));
    case.write_open("docs/notes.txt", format!("try this one: {stored}!\n"));
    case.write("README.md", "password = \"changeme\"\n");
    let found = case.sr("scan").code(10);
    let found = found
        .prints("src/app.py:2:10")
        .prints("TOKEN = 'ghp_[redacted]");
    let found = found.prints("stored-secret: /shop/development/API_KEY");
    found.says("2 findings (2 critical)");
    let report = case.sr("scan --json").code(10).json();
    assert_eq!(
        findings(&report),
        [
            "critical docs/notes.txt:1:15 stored-secret shop/development/API_KEY",
            "critical src/app.py:2:10 github-token -",
        ]
    );
    assert_eq!(report["store"], true);
    assert_eq!(report["summary"]["critical"], 2);
    // The same value has the same fingerprint, another one another.
    let print = |report: &Value, at: usize| report["findings"][at]["fingerprint"].clone();
    let again = case.sr("scan src/app.py --json").code(10).json();
    assert_eq!(print(&again, 0), print(&report, 1));
    assert_ne!(print(&report, 0), print(&report, 1));
    // From another folder the places are the same.
    let below = case
        .sr("scan --json")
        .dir(&case.in_project("src"))
        .code(10)
        .json();
    assert_eq!(
        findings(&below),
        ["critical src/app.py:2:10 github-token -"]
    );
    let without = case.sr("scan --no-store --json").code(10).json();
    assert_eq!(findings(&without).len(), 1);
    assert_eq!(print(&without, 0), Value::Null);
    // Looking for values is noted: they were read.
    case.sr("audit").ok().prints("scan");
}

#[test]
fn a_scan_makes_no_store_and_goes_on_without_one() {
    let case = Case::new();
    case.write("a.txt", "nothing\n");
    let report = case.sr("scan --json").ok().json();
    assert_eq!(
        (&report["ok"], &report["store"]),
        (&true.into(), &false.into())
    );
    assert!(!case.store("store.db").exists());
}

#[test]
fn what_is_ignored_binary_or_allowed_is_left_out() {
    let case = Case::new();
    let token = token(&case);
    case.write(".gitignore", "build/\n");
    case.write(".strongroomignore", "fixtures\n");
    for path in ["build/a.js", "fixtures/b.env", ".git/config", "c.env"] {
        case.write_open(path, format!("GITHUB_TOKEN={token}\n"));
    }
    case.write_open("d.bin", format!("\0\0{token}"));
    case.write_open("e.py", format!("T = '{token}'  # strongroom:allow\n"));
    std::os::unix::fs::symlink(case.in_project("c.env"), case.in_project("link.env")).unwrap();
    let told = |line: &str| findings(&case.sr(line).code(10).json());
    let c = "critical c.env:1:14 github-token -";
    assert_eq!(told("scan --json"), [c]);
    let all = told("scan --no-ignore --json");
    assert_eq!(all.len(), 3, "{all:?}");
    // What is named is looked at.
    assert_eq!(told("scan build/a.js --json").len(), 1);
    assert_eq!(
        told("scan . c.env --json"),
        [c],
        "once, though it is named twice"
    );
    case.sr("scan d.bin").ok().says("1 binary left out");
}

#[test]
fn what_is_piped_in_is_scanned() {
    let case = Case::new();
    let text = format!("+KEY = '{}'\n", token(&case));
    let report = case.sr("scan - --json").stdin(&text).code(10).json();
    assert_eq!(
        findings(&report),
        ["critical (standard input):1:9 github-token -"]
    );
    case.sr("scan -")
        .stdin("nothing\n")
        .ok()
        .says("nothing found in 1 file");
}

#[test]
fn only_what_is_bad_enough_counts() {
    let case = Case::new();
    let text = format!("KEY={}\n", case.canary("sk_test_"));
    case.write_open("a.env", text);
    case.sr("scan").code(10).prints("stripe-test-key");
    case.sr("scan --severity high").ok().says("nothing found");
}

#[test]
fn sarif_has_places_and_no_values() {
    let case = Case::new();
    case.write_open("a b/c.env", format!("X={}\n", token(&case)));
    let log = case.sr("scan --sarif").code(10).json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rule = &run["tool"]["driver"]["rules"][0];
    assert_eq!(rule["id"], "github-token");
    assert!(
        rule["helpUri"]
            .as_str()
            .unwrap()
            .starts_with("https://docs.github.com/")
    );
    let result = &run["results"][0];
    assert_eq!(
        (&result["ruleIndex"], &result["level"]),
        (&0.into(), &"error".into())
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/c.env");
    assert_eq!(place["region"]["startColumn"], 3);
    assert!(place["region"]["snippet"].is_null());
}

#[test]
fn wrong_input_is_told() {
    let case = Case::new();
    case.sr("scan nothing-here")
        .code(3)
        .says("nothing-here cannot be scanned");
    case.sr("scan - other").code(2).says("stands alone");
    case.sr("scan --severity terrible").code(2);
    case.sr("scan --component x").code(2).says("--server");
    case.sr("scan --json --sarif").code(2);
    case.sr("scan /dev/null")
        .code(2)
        .says("neither a file nor a folder");
    case.sr("scan --rules")
        .ok()
        .prints("github-token")
        .prints("https://docs.github.com");
    case.sr("scan --rules .").code(2);
}

#[test]
fn a_server_keeps_what_is_found() {
    let (case, served) = (Case::with_manifest(MANIFEST), Served::dev());
    case.env("STRONGROOM_TOKEN", "root");
    let token = token(&case);
    let file = case.write_open("src/app.py", format!("TOKEN = '{token}'\n"));
    let line = format!("scan --server http://{}", served.address);
    case.sr(&line)
        .code(10)
        .says("keeps shop: 1 open, 1 new, 0 resolved");
    let (status, body) = served.ask("GET", "sys/api/v1/security/vulnerabilities", "root", "");
    assert_eq!(status, 200, "{body}");
    let rows: Value = serde_json::from_str(&body).unwrap();
    let row = &rows["vulnerabilities"][0];
    assert_eq!(
        (&row["component"], &row["file"]),
        (&"shop".into(), &"src/app.py".into())
    );
    assert!(
        !body.contains(&token) && !body.contains("redacted"),
        "{body}"
    );
    // Mended, it is resolved by the next scan.
    std::fs::write(file, "TOKEN = os.environ['TOKEN']\n").unwrap();
    case.sr(&line).ok().says("0 open, 0 new, 1 resolved");
    let named = case.sr(&format!("{line} --component a/b"));
    named.code(5).says("a name has letters");
    let piped = case.sr(&format!("scan - --server http://{}", served.address));
    piped.stdin("x\n").code(2).says("no place");
}
