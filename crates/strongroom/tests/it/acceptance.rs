//! docs/compat/acceptance.md names tests: each of them is there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::files_below;

#[test]
fn every_test_that_the_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("docs/compat/acceptance.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| A"));
    let mut named = BTreeSet::new();
    let mut numbers = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, _, shown] = cells.as_slice() else {
            panic!("{row}")
        };
        numbers.push((*number).to_owned());
        let quoted = shown.split('`').skip(1).step_by(2);
        let tests: Vec<&str> = quoted.filter(|word| word.contains('_')).collect();
        let is_excused = shown.contains("not there") || shown.contains("run ");
        assert!(!tests.is_empty() || is_excused, "{row}");
        named.extend(tests.into_iter().map(str::to_owned));
    }
    let expected = (1..=34).chain([51, 54, 55, 56]);
    assert_eq!(
        numbers,
        expected
            .map(|number| format!("A{number}"))
            .collect::<Vec<_>>()
    );
    for file in files_below(&root.join("crates")) {
        if file.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&file).unwrap();
            named.retain(|name| !text.contains(&format!("fn {name}(")));
        }
    }
    assert_eq!(named, BTreeSet::new(), "there are no such tests");
}
