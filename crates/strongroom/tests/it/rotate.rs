//! `rotate` of generated secrets in the user's own store, and what it says of all others.

use serde_json::Value;

use crate::support::Case;

const MANIFEST: &str = r#"
[secrets.TOKEN]
class = "per_install_generated"
format = "[0-9a-f]{40}"
generator = { type = "hex", length = 40 }
[secrets.TYPED]
class = "user_prompt"
"#;

fn report(case: &Case, line: &str) -> Value {
    serde_json::from_str(&case.sr(line).ok().out()).unwrap()
}

#[test]
fn a_generated_secret_gets_a_new_value() {
    let case = Case::with_manifest(MANIFEST);
    let old = "00aa".repeat(10);
    case.watch(old.as_bytes());
    case.set("TOKEN", &old);
    let done = report(&case, "rotate TOKEN --json");
    assert_eq!(done["secret_version"], 2, "{done}");
    let new = case.get("TOKEN");
    assert_ne!(new, old.as_bytes());
    assert_eq!(new.len(), 40);
    assert!(new.iter().all(u8::is_ascii_hexdigit));
    let history = report(&case, "history TOKEN --json");
    assert_eq!(
        history["versions"][0]["stages"][0], "AWSPREVIOUS",
        "{history}"
    );
    let status = report(&case, "rotate status TOKEN --json");
    let row = &status["rotations"][0];
    assert_eq!(
        (&row["finished"], &row["step"]),
        (&1.into(), &Value::Null),
        "{status}"
    );
    case.sr("rotate TOKEN").ok();
    assert_ne!(case.get("TOKEN"), new);
    case.sr("rotate status").ok().prints("TOKEN");
    case.sr("doctor").ok();
}

#[test]
fn what_only_a_person_knows_is_not_rotated() {
    let case = Case::with_manifest(MANIFEST);
    let value = case.canary("typed");
    case.set("TYPED", &value);
    case.sr("rotate TYPED").code(5).says("strongroom set TYPED");
    assert_eq!(case.get("TYPED"), value.as_bytes());
    case.sr("rotate TOKEN").code(3);
    case.sr("rotate status TYPED")
        .code(3)
        .says("was never rotated");
    case.sr("rotate abort TYPED").code(3);
    case.sr("rotate").code(2);
    case.sr("rotate rotators list").code(2).says("--server");
}
