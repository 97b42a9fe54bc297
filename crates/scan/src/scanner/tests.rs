use strongroom_core::redact::RedactorBuilder;
use strongroom_core::secret::SecretValue;

use super::*;
use crate::example;
use crate::rule::EXAMPLES;

/// A name that every rule looks at.
const SETTINGS: &str = "app.env";

fn scan(text: &str) -> Vec<Finding> {
    Scanner::default().scan(text.as_bytes(), SETTINGS, Lookout::default())
}

fn expand(text: &str) -> String {
    example::expand(text).expect("the build has seen that it can be drawn")
}

#[test]
fn every_rule_compiles_and_finds_its_own_examples() {
    assert!(rule::all().len() >= 50, "{} rules", rule::all().len());
    for rule in rule::all() {
        assert!(rule.compiled().is_some(), "{} compiles", rule.id);
        let (_, positive, negative) = EXAMPLES
            .iter()
            .find(|(id, _, _)| *id == rule.id)
            .expect("it has examples");
        assert!(!positive.is_empty() && !negative.is_empty(), "{}", rule.id);
        for text in *positive {
            let text = expand(text);
            let found = scan(&text);
            let is_found = found.iter().any(|finding| finding.rule == rule.id);
            // Where two rules look at settings, the one for programs may be the first.
            assert!(is_found, "{} does not find {text:?}: {found:?}", rule.id);
        }
        for text in *negative {
            let text = expand(text);
            let found = scan(&text);
            let is_found = found.iter().any(|finding| finding.rule == rule.id);
            assert!(!is_found, "{} finds {text:?}", rule.id);
        }
    }
}

#[test]
fn no_finding_has_a_value() {
    for (_, positive, _) in EXAMPLES {
        for text in *positive {
            let text = expand(text);
            for finding in scan(&text) {
                let told = format!("{finding:?}");
                let secret = text
                    .split(|c: char| !c.is_ascii_alphanumeric())
                    .filter(|run| run.len() >= 12 && run.bytes().any(|b| b.is_ascii_digit()));
                for run in secret {
                    assert!(!told.contains(run), "{told}");
                }
            }
        }
    }
}

#[test]
fn a_finding_has_its_place() {
    let text = expand("# ü\nname: x\n  GITHUB_TOKEN: ghp_%alnum36%\n");
    let found = scan(&text);
    let [finding] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(finding.rule, "github-token");
    assert_eq!((finding.line, finding.column), (3, 17));
    assert_eq!((finding.end_line, finding.end_column), (3, 57));
    assert_eq!(finding.preview, "GITHUB_TOKEN: ghp_[redacted]");
    assert_eq!(finding.fingerprint, None);
}

#[test]
fn no_preview_has_a_part_of_another_secret() {
    let token = expand("ghp_%alnum36%");
    let text = format!("clone https://{token}:{}@host/a\n", expand("%alnum16%"));
    let previews = |text: &str| {
        let found = scan(text).into_iter();
        found.map(|finding| finding.preview).collect::<Vec<_>>()
    };
    assert_eq!(previews(&text), ["ghp_[redacted]", "[redacted]"]);
    // What the store has is a secret, too, where it is called like one.
    let mut builder = RedactorBuilder::new();
    builder.add(
        "app/first",
        &SecretValue::copy_from(b"token-of-the-first-half"),
    );
    let known = builder.build();
    let lookout = Lookout {
        known: Some(&known),
        fingerprint: None,
    };
    let text = format!("token-of-the-first-half:{token}");
    let found = Scanner::default().scan(text.as_bytes(), "notes.txt", lookout);
    let told: Vec<&str> = found.iter().map(|one| one.preview.as_str()).collect();
    assert_eq!(told, ["[redacted]", "ghp_[redacted]"]);
}

#[test]
fn of_rules_that_find_the_same_one_is_told() {
    let found = scan(&expand("STRIPE_SECRET_KEY=\"sk_live_%alnum40%\""));
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["stripe-live-key"]);
}

#[test]
fn several_in_a_line_and_at_every_place_are_found() {
    let one = expand("ghp_%alnum36%");
    let other = expand("glpat-%alnum20%");
    let line = format!("a {one} b {other} c {one}\n");
    assert_eq!(scan(&line).len(), 3);
    assert_eq!(scan(&line.repeat(200)).len(), 600);
    for padding in 0..70 {
        let text = format!("{}{one}", " ".repeat(padding));
        assert_eq!(scan(&text).len(), 1, "behind {padding} spaces");
    }
}

#[test]
fn a_comment_lets_a_line_be() {
    let text = expand("KEY=ghp_%alnum36%  # strongroom:allow\nKEY=ghp_%alnum36%\n");
    let lines: Vec<usize> = scan(&text).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [2]);
}

#[test]
fn quotes_are_asked_for_outside_of_settings() {
    let text = expand("db_password: %alnum20%\n");
    let scanner = Scanner::default();
    let in_file = |path: &str| {
        scanner
            .scan(text.as_bytes(), path, Lookout::default())
            .len()
    };
    assert_eq!(in_file("config/app.yml"), 1);
    assert_eq!(in_file("src/main.rs"), 0);
}

#[test]
fn values_of_the_store_are_found_without_a_rule_raw_and_encoded() {
    let mut builder = RedactorBuilder::new();
    let value = SecretValue::copy_from(b"correct horse battery");
    builder.add("app/passphrase", &value);
    let known = builder.build();
    let fingerprint = |value: &[u8]| [u8::try_from(value.len()).unwrap_or(0); 16];
    let lookout = Lookout {
        known: Some(&known),
        fingerprint: Some(&fingerprint),
    };
    let text = b"say correct horse battery\nand Y29ycmVjdCBob3JzZSBiYXR0ZXJ5 too\n";
    let found = Scanner::default().scan(text, "notes.txt", lookout);
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.rule, one.line, one.column, one.secret.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (STORED, 1, 5, Some("app/passphrase")),
            (STORED, 2, 5, Some("app/passphrase")),
        ]
    );
    assert_eq!(found[0].fingerprint, Some([21; 16]));
    assert_eq!(found[0].preview, "[redacted]");
}

#[test]
fn a_file_of_one_long_line_takes_no_longer_than_one_of_many() {
    let piece = expand("\"token\":\"%alnum24%\",\"x\":1,");
    let timed = |text: &str| {
        let begun = std::time::Instant::now();
        assert_eq!(scan(text).len(), FINDINGS_PER_TEXT_MAX);
        begun.elapsed()
    };
    let many = timed(&format!("{piece}\n").repeat(4_000));
    let one = timed(&piece.repeat(4_000));
    // Without bounds it is some hundred times as long.
    let limit = many * 10 + std::time::Duration::from_secs(2);
    assert!(one < limit, "{one:?}, and in lines {many:?}");
}
