use strongroom_core::port::Rng;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;

use super::Subject;
use super::Template;

/// 2026-11-29 14:05:09.123456 UTC.
const NOW: Timestamp = Timestamp::from_micros(1_795_961_109_123_456);

fn render(text: &str) -> Result<String, String> {
    let rng: &dyn Rng = &SystemRng;
    let subject = Subject {
        display_name: "userpass-Ann",
        role: "read-only_role",
        rng,
        now: NOW,
    };
    Template::parse(text)?.render(&subject)
}

#[test]
fn templates_make_what_their_documents_say() {
    for (text, expected) in [
        ("plain", "plain"),
        (
            "{{.DisplayName}}_{{.RoleName}}",
            "userpass-Ann_read-only_role",
        ),
        ("a  {{- /* who */ -}} b", "ab"),
        ("a  {{- .RoleName | uppercase -}}  b", "aREAD-ONLY_ROLEb"),
        ("{{ .RoleName | truncate 4 }}", "read"),
        ("{{ truncate 4 .RoleName }}", "read"),
        ("{{ .RoleName | truncate 400 }}", "read-only_role"),
        ("{{ \"aäb\" | truncate 2 }}", "a"),
        ("{{ \"äbc\" | truncate 3 }}", "äb"),
        (
            "{{ .DisplayName | lowercase | replace \"-\" \"_\" }}",
            "userpass_ann",
        ),
        ("{{ \"a\\\"b\" | replace `\"` \"}}\" }}", "a}}b"),
        ("{{ \"abc\" | sha256 | truncate 8 }}", "ba7816bf"),
        ("{{ \"abc\" | base64 }}", "YWJj"),
        ("{{ .RoleName | truncate_sha256 12 }}", "read10f23f91"),
        ("{{ unix_time }}", "1795961109"),
        ("{{ unix_time_millis }}", "1795961109123"),
        (
            "{{ timestamp \"2006-01-02T15:04:05Z\" }}",
            "2026-11-29T14:05:09Z",
        ),
        (
            "{{ timestamp \"Mon, 2 Jan 06 03:04PM\" }}",
            "Sun, 29 Nov 26 02:05PM",
        ),
        (
            "{{ timestamp \"20060102_150405.000\" }}",
            "20261129_140509.123",
        ),
        (
            "{{ timestamp \"Monday 2 January 002 _2 1 .000000 MST Z07:00 -07:00 -0700 100%\" }}",
            "Sunday 29 November 333 29 11 .123456 UTC Z +00:00 +0000 1100%",
        ),
        (
            "{{ printf \"v-%s-%d-%%-%v\" (.DisplayName | truncate 8) 7 unix_time }}",
            "v-userpass-7-%-1795961109",
        ),
        (
            "{{ (printf \"%s\" (.RoleName | truncate 4)) | uppercase }}",
            "READ",
        ),
    ] {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_day_of_one_digit_is_padded_as_its_layout_says() {
    // 2026-12-05.
    let day = Timestamp::from_micros(1_796_472_000_000_000);
    let written = super::read::timestamp("2|_2|02", day);
    assert_eq!(written.as_deref(), Ok("5| 5|05"));
}

#[test]
fn what_is_drawn_is_another_each_time() {
    let usual = "{{ printf \"v-%s-%s-%s-%s\" (.DisplayName | truncate 8) (.RoleName | truncate 8) \
                 (random 20) (unix_time) | truncate 63 }}";
    let name = render(usual).unwrap();
    assert!(name.starts_with("v-userpass-read-onl-"), "{name}");
    assert!(name.ends_with("-1795961109"), "{name}");
    assert_eq!(
        name.len(),
        "v-userpass-read-onl-".len() + 20 + "-1795961109".len()
    );
    for text in [
        "{{ random 8 }}",
        "{{ uuid }}",
        "{{ printf \"%s\" uuid }}",
        "x{{ printf \"%s\" (random 4 | lowercase) }}",
        usual,
    ] {
        assert!(Template::parse(text).unwrap().draws(), "{text}");
        assert_ne!(render(text), render(text), "{text}");
    }
    for text in [
        "app",
        "{{ .RoleName }}",
        "{{ unix_time }}",
        "{{ \"random\" | uppercase }}",
    ] {
        assert!(!Template::parse(text).unwrap().draws(), "{text}");
    }
    let uuid = render("{{ uuid }}").unwrap();
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
    assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    assert_eq!(render("{{ random 256 }}").unwrap().len(), 256);
}

#[test]
fn what_is_something_else_is_refused_in_words() {
    for (text, says) in [
        ("{{ if .RoleName }}a{{ end }}", "`if` is no function"),
        ("{{ range .RoleName }}{{ end }}", "`range` is no function"),
        ("{{ $x := 1 }}", "`$` has no meaning"),
        ("{{ len .RoleName }}", "`len` is no function"),
        ("{{ .Token }}", ".DisplayName and .RoleName"),
        ("{{ . }}", ".DisplayName and .RoleName"),
        ("{{ }}", "empty"),
        ("{{ .RoleName | }}", "empty"),
        ("{{ .RoleName | .DisplayName }}", "behind `|`"),
        ("{{ .RoleName .DisplayName }}", "no function"),
        ("{{ random 20", "`}}` is missing"),
        ("{{ \"a }}", "missing"),
        ("{{ (random 20 }}", "not closed"),
        ("{{ random 20) }}", "closes nothing"),
        ("{{ random }}", "`random` is called"),
        ("{{ random 0 }}", "`random` is called"),
        ("{{ random 1000 }}", "`random` is called"),
        ("{{ random \"20\" }}", "`random` is called"),
        ("{{ truncate 0 .RoleName }}", "`truncate` is called"),
        (
            "{{ truncate_sha256 8 .RoleName }}",
            "`truncate_sha256` is called",
        ),
        ("{{ printf \"%s\" }}", "printf"),
        ("{{ printf \"%s\" 1 }}", "printf"),
        ("{{ printf \"a\" 1 }}", "printf"),
        ("{{ printf \"%x\" 1 }}", "printf"),
        ("{{ printf \"%s\" random 4 }}", "brackets"),
        ("{{ 99999999999999999999 }}", "number"),
    ] {
        let said = render(text).unwrap_err();
        assert!(said.contains(says), "{text}: {said}");
    }
    let long = format!("{{{{ random 256 {}}}}}", "| base64 ".repeat(10));
    assert!(render(&long).unwrap_err().contains("too long a text"));
    assert!(Template::parse(&"x".repeat(5000)).is_err());
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(40), ")".repeat(40));
    assert!(Template::parse(&deep).is_err());
}
