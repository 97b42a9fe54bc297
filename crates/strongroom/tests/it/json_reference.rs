//! docs/reference/json.md shows what every command prints with `--json`: the document is the
//! golden file. `STRONGROOM_BLESS=1 cargo test` writes it anew; read the difference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;

use crate::support::Case;

const DOCUMENT: &str = "../../docs/reference/json.md";
/// Which commands the document shows, in this order, with what they read.
const STEPS: [(&str, &str); 38] = [
    ("init --yes --name shop --json", ""),
    ("import more.env --yes --json", ""),
    ("set JWT_SECRET --json", "Zt5nVb8qLw2xRk7mHs4dGc9f"),
    (
        "set JWT_SECRET --profile staging --json",
        "Qy3jTg6wNe1zUb8rXv5kMh2p",
    ),
    ("get JWT_SECRET --json", ""),
    ("list --json", ""),
    ("history JWT_SECRET --json", ""),
    ("rollback JWT_SECRET --json", ""),
    ("tag JWT_SECRET team=payments --owner ops --json", ""),
    ("rm JWT_SECRET --json", ""),
    ("undelete JWT_SECRET --json", ""),
    ("destroy JWT_SECRET --versions 1 --yes --json", ""),
    ("cp JWT_SECRET old/jwt --json", ""),
    ("mv old/jwt older/jwt --json", ""),
    ("diff staging --json", ""),
    ("check --json", ""),
    ("cache status --json", ""),
    ("cache clear --json", ""),
    ("run --json -- ./server", ""),
    ("export --json", ""),
    ("status --json", ""),
    ("doctor --json", ""),
    ("audit --limit 2 --json", ""),
    ("key add key-file ../home/spare.key --json", ""),
    ("key add recovery --json", ""),
    ("key list --json", ""),
    ("key remove 2 --yes --json", ""),
    ("key rotate --json", ""),
    (
        "migrate --from dotenv:more.env --to store:/moved --dry-run --json",
        "",
    ),
    (
        "migrate --from dotenv:more.env --to store:/moved --yes --json",
        "",
    ),
    ("migrate status --json", ""),
    ("migrate verify --json", ""),
    ("migrate rollback --yes --json", ""),
    (
        "sync --from store:/shop --to store:/copy --dry-run --json",
        "",
    ),
    ("backup ../home/all.backup --from store:/shop --json", ""),
    ("restore ../home/all.backup --verify --json", ""),
    ("get NOTHING --json", ""),
    ("chekc --json", ""),
];

#[test]
fn the_reference_shows_what_every_command_prints() {
    let shown = run_all();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = std::fs::read_to_string(&path).unwrap();
    let expected = with_blocks(&document, &shown);
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    for (line, expected) in document.lines().zip(expected.lines()) {
        assert_eq!(
            line, expected,
            "docs/reference/json.md is not what is printed"
        );
    }
    assert_eq!(document.lines().count(), expected.lines().count());
}

/// What each command prints, by its line.
fn run_all() -> BTreeMap<String, String> {
    let case = Case::new();
    case.write(
        ".env",
        "DATABASE_URL=postgres://app:Vx7kPq2mWz9rTn4b@db.internal/shop\n\
         JWT_SECRET=Hd8sKf3jLp6wQz1xCv5bNm9a\n\
         STRIPE_KEY=changeme\nPORT=3000\n",
    );
    case.write(
        "more.env",
        "MAIL_PASSWORD=Rb4tYh7uJm2kLo9p\nMAIL_HOST=mail.internal\n",
    );
    let kit = Regex::new("SRK1-[A-Z0-9-]+").unwrap();
    let seals = Regex::new("\"seals\": \\d+").unwrap();
    let mut shown = BTreeMap::new();
    for (line, stdin) in STEPS {
        if line.starts_with("export") {
            case.set("STRIPE_KEY", "Mx2vBn7cLk4jHg9f");
        }
        let outcome = case.sr(line).stdin(stdin).reveals().output();
        let printed = match outcome.stdout.as_slice() {
            [] => outcome.err(),
            _ => outcome.out(),
        };
        let value: serde_json::Value = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{line}: {error}: {printed}"));
        let is_versioned = value["version"] == 1 || line.starts_with("export");
        assert!(is_versioned, "{line} has no version: {printed}");
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let text = case.normal(&pretty);
        let text = kit.replace_all(&text, "[KIT]");
        let text = seals.replace_all(&text, "\"seals\": 60");
        shown.insert(line.to_owned(), text.into_owned());
    }
    shown
}

/// The document with the block behind each `strongroom …` line replaced.
fn with_blocks(document: &str, shown: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let command = line
            .strip_prefix("`strongroom ")
            .and_then(|rest| rest.strip_suffix('`'));
        let Some(command) = command else { continue };
        let block = shown
            .get(command)
            .unwrap_or_else(|| panic!("{command} is not run"));
        seen.push(command);
        text.push_str("\n```json\n");
        text.push_str(block);
        text.push_str("\n```\n");
        let mut rest = lines.by_ref().skip_while(|line| line.is_empty());
        assert_eq!(rest.next(), Some("```json"), "{command} has no block");
        let _ = rest.find(|line| *line == "```");
    }
    for (command, _) in STEPS {
        assert!(seen.contains(&command), "{command} is not in the document");
    }
    text
}
