use super::*;

type Reader = fn(&[u8]) -> Result<Import, ImportError>;

fn check(read: Reader, text: &str, expected: &[(&str, &[u8], Shape)]) -> Import {
    let import = read(text.as_bytes()).unwrap();
    let found: Vec<(&str, &[u8], Shape)> = import
        .imported
        .iter()
        .map(|one| (one.name.as_str(), one.value.expose_secret(), one.shape))
        .collect();
    assert_eq!(found, expected);
    import
}

#[test]
fn dopplers_exports() {
    let text = r#"{"API_KEY":"k\n","DOPPLER_CONFIG":"prd","DOPPLER_PROJECT":"shop"}"#;
    let import = check(from_doppler, text, &[("API_KEY", b"k\n", Shape::Text)]);
    assert_eq!(import.imported[0].tags["doppler_project"], "shop");
    let text = r#"{"A":{"computed":"c","raw":"${B}","note":""},"B":{"computed":null}}"#;
    let import = check(from_doppler, text, &[("A", b"c", Shape::Text)]);
    assert_eq!(import.skipped[0].name, "B");
}

#[test]
fn infisicals_exports() {
    let text = r#"[{"key":"A","workspace":"w","value":"v",
        "type":"shared","secretPath":"/web","tags":null},
        {"key":"B","value":"{\"x\":1}","secretPath":"/"},{"key":"C"}]"#;
    let expected: &[(&str, &[u8], Shape)] =
        &[("A", b"v", Shape::Text), ("B", b"{\"x\":1}", Shape::Fields)];
    let import = check(from_infisical_json, text, expected);
    assert_eq!(import.imported[0].tags["infisical_path"], "/web");
    assert!(import.imported[1].tags.is_empty());
    assert_eq!(import.skipped[0].name, "C");
    let yaml = "A: v\nB: \"123\"\nC: 123\nD: 1.50\nE: |\n  a\n  b\nF: [1]\n";
    let expected: &[(&str, &[u8], Shape)] = &[
        ("A", b"v", Shape::Text),
        ("B", b"123", Shape::Text),
        ("C", b"123", Shape::Text),
        ("E", b"a\nb\n", Shape::Text),
    ];
    let import = check(from_yaml_map, yaml, expected);
    let reasons: Vec<SkipReason> = import.skipped.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [SkipReason::UnquotedNumber, SkipReason::NotText]);
}

#[test]
fn vaults_answers() {
    let version_2 = r#"{"request_id":"r","lease_id":"","data":{"data":{"password":"p","port":5432},
        "metadata":{"created_time":"2024-05-01T10:00:00.5Z","custom_metadata":{"team":"pay"},
        "deletion_time":"","destroyed":false,"version":3}}}"#;
    let expected: &[(&str, &[u8], Shape)] = &[
        ("password", b"p", Shape::Text),
        ("port", b"5432", Shape::Text),
    ];
    let import = check(from_vault_json, version_2, expected);
    assert_eq!(import.imported[0].tags["team"], "pay");
    assert!(import.imported[0].created_at.is_some());
    let version_1 = r#"{"request_id":"r","data":{"data":"d","metadata":"m"}}"#;
    let expected: &[(&str, &[u8], Shape)] =
        &[("data", b"d", Shape::Text), ("metadata", b"m", Shape::Text)];
    check(from_vault_json, version_1, expected);
    let deleted = r#"{"request_id":"r","data":{"data":null,"metadata":{"version":3}}}"#;
    let error = from_vault_json(deleted.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("not deleted"));
}

#[test]
fn awss_answers() {
    let text = r#"{"SecretValues":[
        {"ARN":"arn:x","Name":"prod/db","VersionId":"v","SecretString":"{\"u\":1.10}",
         "VersionStages":["AWSCURRENT"],"CreatedDate":"2024-05-01T12:00:00+02:00"},
        {"Name":"prod/bin","SecretBinary":"/wA=","VersionStages":["AWSPREVIOUS"]},
        {"Name":"prod/none"}],
        "Errors":[{"SecretId":"prod/denied","ErrorCode":"AccessDeniedException","Message":"no"}]}"#;
    let expected: &[(&str, &[u8], Shape)] = &[
        ("prod/db", b"{\"u\":1.10}", Shape::Fields),
        ("prod/bin", b"\xff\0", Shape::Binary),
    ];
    let import = check(from_aws_json, text, expected);
    assert!(import.imported[0].created_at.is_some());
    assert!(
        import.imported[1]
            .note
            .as_ref()
            .unwrap()
            .contains("AWSPREVIOUS")
    );
    let skipped: Vec<_> = import
        .skipped
        .iter()
        .map(|one| (one.name.as_str(), one.reason))
        .collect();
    let expected = [
        ("prod/none", SkipReason::Null),
        ("prod/denied", SkipReason::Refused),
    ];
    assert_eq!(skipped, expected);
    let one = r#"{"Name":"a","SecretString":"s"}"#;
    check(from_aws_json, one, &[("a", b"s", Shape::Text)]);
}

#[test]
fn bombs_and_other_forms_are_refused_without_their_content() {
    let deep = format!("{}\"canary\"{}", "[".repeat(100_000), "]".repeat(100_000));
    let readers: [Reader; 4] = [
        from_doppler,
        from_infisical_json,
        from_vault_json,
        from_aws_json,
    ];
    for read in readers {
        for text in [deep.as_str(), "\"canary\"", "{\"canary\":", "[1]", "canary"] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let huge = vec![b' '; IMPORT_BYTES_MAX + 1];
        assert_eq!(read(&huge).unwrap_err(), ImportError::TooLarge);
    }
    let mut aliases = "a0: &a0 [canary]\n".to_owned();
    for level in 1..40 {
        let last = level - 1;
        aliases.push_str(&format!(
            "a{level}: &a{level} [*a{last}, *a{last}, *a{last}]\n"
        ));
    }
    let deep_yaml = format!("a: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    for text in [aliases.as_str(), deep_yaml.as_str()] {
        let error = from_yaml_map(text.as_bytes()).unwrap_err();
        assert_eq!(error, ImportError::TooComplex);
        let error = crate::import::from_secrets_yaml(text.as_bytes()).unwrap_err();
        assert_eq!(error, ImportError::TooComplex);
        assert_eq!(
            super::super::detect("x.yaml", text.as_bytes())
                .unwrap()
                .format
                .word(),
            "kubernetes"
        );
    }
    let deep_toml = format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    let error = crate::import::from_fnox(deep_toml.as_bytes()).unwrap_err();
    assert!(matches!(error, ImportError::Toml { .. }));
}
