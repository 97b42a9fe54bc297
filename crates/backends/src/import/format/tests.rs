use super::*;

fn check(name: &str, text: &str, expected: Option<&str>) {
    let detected = detect(name, text.as_bytes());
    let word = detected.map(|detected| detected.format.word());
    assert_eq!(word, expected, "{name}: {text}");
    if let Some(detected) = detected {
        assert!(!detected.reason.is_empty());
    }
}

#[test]
fn content_tells_before_the_name_does() {
    check(".env", "A=1", Some("dotenv"));
    check(".env.production", "export A=1", Some("dotenv"));
    check("settings.txt", "A=1", Some("dotenv"));
    check("notes.txt", "no assignments here", None);
    check("image.png", "\u{0}\u{1}", None);
    check("secrets.sh", "export A=1", Some("shell"));
    check("dump", "declare -x A=\"1\"", Some("shell"));
    check(
        ".env",
        "#/--[DOTENV_PUBLIC_KEY]--/\nDOTENV_PUBLIC_KEY=\"03\"\nA=1",
        Some("dotenvx"),
    );
    check(".env", "A=\"encrypted:BDqD\"", Some("dotenvx"));
    check(".env.schema", "A=1", Some("varlock"));
    check(".env.example", "# @required @type=url\nA=", Some("varlock"));
    check("secretspec.toml", "", Some("secretspec"));
    check(
        "x.toml",
        "[project]\nname='a'\n[profiles.default]",
        Some("secretspec"),
    );
    check("fnox.production.toml", "", Some("fnox"));
    check("x.toml", "[secrets]\nA = { default = '1' }", Some("fnox"));
    check("x.toml", "a = 1", None);
    check("secrets.json", "{\"A\":\"1\"}", Some("json"));
    check("secrets.json", "not json", Some("json"));
    check("x", "{\"SecretValues\":[]}", Some("aws"));
    check(
        "x.json",
        "{\"Name\":\"a\",\"SecretString\":\"b\"}",
        Some("aws"),
    );
    check(
        "x.json",
        "{\"request_id\":\"a\",\"data\":{}}",
        Some("vault"),
    );
    check(
        "x.json",
        "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}",
        Some("kubernetes"),
    );
    check(
        "x.json",
        "{\"DOPPLER_PROJECT\":\"a\",\"DOPPLER_CONFIG\":\"b\"}",
        Some("doppler"),
    );
    check(
        "x.json",
        "{\"A\":{\"computed\":\"1\",\"raw\":\"1\"}}",
        Some("doppler"),
    );
    check(
        "x.json",
        "[{\"key\":\"A\",\"value\":\"1\"}]",
        Some("infisical"),
    );
    check("a.yaml", "kind: Secret\napiVersion: v1", Some("kubernetes"));
    check("a.yml", "services: {}", Some("compose"));
    check("docker-compose.yml", "a: [", Some("compose"));
    check(
        "a.yaml",
        "secrets: {api_keys: [{name: a}]}",
        Some("secrets-yaml"),
    );
    check(
        "broken.secrets.yaml",
        "a: b\nENDFILE < x",
        Some("secrets-yaml"),
    );
    check("a.yaml", "A: x\nB: y", Some("yaml"));
    check("a.yaml", "a: {{ .Values.x }}", Some("kubernetes"));
}

#[test]
fn every_format_has_a_word_that_reads_back() {
    for (format, word, _) in FORMATS {
        assert_eq!(word.parse::<Format>(), Ok(*format));
        assert_eq!(format.to_string(), *word);
        // Nothing is read from nothing, or nothing is in it: never a panic.
        if let Ok(import) = format.read(b"") {
            assert!(import.imported.is_empty() && import.declared.is_empty());
        }
    }
    assert_eq!("env".parse(), Ok(Format::Dotenv));
    assert!("toml".parse::<Format>().is_err());
}
