//! Tests of the splitting of Rust source.

use super::Source;
use super::find_words;

fn code(text: &str) -> String {
    Source::parse(text).code.iter().collect()
}

fn test_lines(text: &str) -> Vec<usize> {
    let source = Source::parse(text);
    (0..source.is_test.len())
        .filter(|line| source.is_test[*line])
        .map(|line| line + 1)
        .collect()
}

#[test]
fn comments_are_blanked_and_kept_by_line() {
    let source = Source::parse("let a = 1; // one\n/* two\n/* deep */ three */ let b;\n");
    let code: String = source.code.iter().collect();
    assert_eq!(code.split('\n').next(), Some("let a = 1;       "));
    assert!(code.contains("let b;"));
    assert!(!code.contains("deep") && !code.contains("three"));
    assert_eq!(source.comments[0], "// one");
    assert_eq!(source.comments[1], "/* two");
    assert_eq!(source.comments[2], "/* deep */ three */");
}

#[test]
fn contents_of_literals_are_blanked() {
    for literal in [
        r#""secret""#,
        r#""se\"cret""#,
        r###"r"secret""###,
        r###"r#"se"cret"#"###,
        r###"br##"se"#cret"##"###,
        r#"b"secret""#,
        "\"// secret\"",
        "\"line\nsecret\"",
    ] {
        let masked = code(&format!("f({literal}); after()"));
        assert!(!masked.contains("cret"), "{literal}: {masked}");
        assert!(masked.contains("; after()"), "{literal}: {masked}");
        assert_eq!(masked.matches('\n').count(), literal.matches('\n').count());
    }
}

#[test]
fn characters_and_lifetimes_are_told_apart() {
    assert_eq!(code("f('x'); g('\\''); h('\"')"), "f(' '); g('  '); h(' ')");
    assert_eq!(code("'\\u{1F600}' done"), "'         ' done");
    assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert_eq!(code("b'{' x"), "b' ' x");
}

#[test]
fn raw_identifiers_are_code() {
    assert_eq!(code("let r#type = var\"\";"), "let r#type = var\"\";");
}

#[test]
fn text_that_ends_too_early_is_split_as_well_as_it_goes() {
    for text in [
        "\"open",
        "/* open",
        "r#\"open",
        "'",
        "'\\",
        "\"\\",
        "#[cfg(test)]",
        "#[",
        "b'",
    ] {
        assert_eq!(code(text).chars().count(), text.chars().count(), "{text}");
    }
}

#[test]
fn a_test_module_is_test_to_its_closing_brace() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n";
    assert_eq!(test_lines(text), [2, 3, 4, 5]);
    assert_eq!(Source::parse(text).production_lines(), 2);
}

#[test]
fn other_test_items_are_test() {
    let function = "#[cfg(test)]\n#[expect(x)]\nfn a(b: (u8, u8)) -> R<X, Y> {\n}\nfn c() {}";
    assert_eq!(test_lines(function), [1, 2, 3, 4]);
    assert_eq!(test_lines("#[cfg(test)]\nuse a::{b, c};\nuse d;"), [1, 2]);
    assert_eq!(
        test_lines("struct A {\n#[cfg(test)]\nhits: u32,\nb: u8,\n}"),
        [2, 3]
    );
    assert_eq!(
        test_lines("struct A {\n#[cfg(test)]\nhits: u32\n}\nfn b() {}"),
        [2, 3]
    );
    assert_eq!(
        test_lines("#[cfg(all(test, unix))]\nmod t {\n}\nfn b() {}"),
        [1, 2, 3]
    );
    assert_eq!(test_lines("#![cfg(test)]\nfn b() {}"), [1, 2]);
    assert_eq!(
        test_lines("#[cfg(any(test, feature = \"x\"))]\nfn b() {}"),
        Vec::<usize>::new()
    );
    assert_eq!(
        test_lines("#[cfg(not(test))]\nfn b() {}"),
        Vec::<usize>::new()
    );
}

#[test]
fn a_test_module_in_another_file_is_named() {
    let source =
        Source::parse("#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod fixtures;\n");
    assert_eq!(source.test_modules, ["tests", "fixtures"]);
    assert!(Source::parse("mod product;").test_modules.is_empty());
}

#[test]
fn words_are_found_whole() {
    assert_eq!(
        find_words("unsafe { unsafe_code; a.unsafe }", "unsafe"),
        [0, 24]
    );
    assert_eq!(
        find_words("use std::fs; use std::fs_x; xstd::fs", "std::fs"),
        [4]
    );
}

#[test]
fn the_last_line_counts_with_and_without_a_line_break() {
    assert_eq!(Source::parse("a\nb\n").production_lines(), 2);
    assert_eq!(Source::parse("a\nb").production_lines(), 2);
    assert_eq!(Source::parse("").production_lines(), 0);
}
