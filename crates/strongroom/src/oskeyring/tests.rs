use super::*;

#[test]
fn entries_are_named_by_store_and_slot() {
    let entry = Entry::new(&[0xab; 16], 7);
    let store = "ab".repeat(16);
    assert_eq!(entry.account, format!("{store}/slot-7"));
    assert!(entry.label.contains(&store));
}

#[test]
fn a_keyring_of_a_later_version_is_named() {
    let error = get("enclave", &[0; 16], 1).unwrap_err();
    assert!(error.to_string().contains("enclave"));
}
