use super::*;

fn pod(folder: &Path) -> Variables {
    std::fs::write(folder.join("namespace"), "shop\n").unwrap();
    std::fs::write(folder.join("token"), "canary-token").unwrap();
    std::fs::write(folder.join("ca.crt"), "").unwrap();
    Variables::new([
        ("KUBERNETES_SERVICE_HOST", "fd00::1"),
        ("KUBERNETES_SERVICE_PORT", "6443"),
    ])
}

#[test]
fn a_pod_uses_its_service_account() {
    let folder = tempfile::tempdir().unwrap();
    let config = in_cluster(&pod(folder.path()), folder.path(), None).unwrap();
    assert_eq!(config.cluster_url, "https://[fd00::1]:6443");
    assert_eq!(config.default_namespace, "shop");
    let token = folder.path().join("token").display().to_string();
    assert_eq!(config.auth_info.token_file, Some(token));
}

#[test]
fn a_pod_without_its_token_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let variables = pod(folder.path());
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let error = in_cluster(&variables, folder.path(), None).unwrap_err();
    assert!(
        error.message.ends_with("token: entity not found"),
        "{error}"
    );
}

#[test]
fn a_line_is_taken_apart() {
    assert_eq!(split(""), (None, None));
    assert_eq!(split("shop"), (Some("shop"), None));
    assert_eq!(split("shop/app"), (Some("shop"), Some("app")));
    assert_eq!(split("/app"), (None, Some("app")));
}

#[test]
fn namespaces_are_labels() {
    for name in ["a", "shop-1", "0"] {
        assert!(is_label(name), "{name}");
    }
    for name in ["", "-a", "a-", "A", "a.b", "a_b", "../x", &"a".repeat(64)] {
        assert!(!is_label(name), "{name}");
    }
}
