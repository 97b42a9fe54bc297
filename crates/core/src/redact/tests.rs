use data_encoding::BASE64;
use data_encoding::BASE64_MIME;
use data_encoding::BASE64URL_NOPAD;
use data_encoding::HEXLOWER;
use data_encoding::HEXUPPER;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
    MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n\
    NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ\n\
    -----END PRIVATE KEY-----\n";

fn patterns(secrets: &[(&str, &[u8])]) -> Patterns {
    let mut builder = RedactorBuilder::new();
    for (name, value) in secrets {
        builder.add(name, &SecretValue::copy_from(value));
    }
    builder.build()
}

#[track_caller]
fn check(secrets: &[(&str, &[u8])], text: &[u8], expected: &[u8]) {
    let patterns = patterns(secrets);
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(shown(&redact_text(&patterns, text)), shown(expected));
    for size in [1, 2, 3, 7, 16, 61] {
        assert_eq!(
            shown(&in_chunks(&patterns, text, &[size])),
            shown(expected),
            "by {size}"
        );
    }
}

fn in_chunks(patterns: &Patterns, text: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = patterns.stream();
    let mut rest = text;
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        stream.push(chunk, &mut out);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    stream.finish(&mut out);
    out
}

/// Hidden pieces, found by trying every form everywhere.
fn hidden_pieces(patterns: &Patterns, text: &[u8]) -> Vec<store::Match> {
    let forms = &patterns.0.forms;
    let mut found = Vec::new();
    for id in patterns.0.prefixes.forms() {
        let form = forms.form(*id).unwrap();
        for at in 0..text.len().saturating_sub(form.len() - 1) {
            if form.may_start(text, at)
                && forms.agrees(form, 0, &text[at..at + form.len()])
                && let store::Verdict::Yes(hidden) = form.settle(text, at, true)
            {
                found.push(hidden);
            }
        }
    }
    found.sort_unstable();
    found
}

fn reference(patterns: &Patterns, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut done = 0;
    for hidden in hidden_pieces(patterns, text) {
        if hidden.start >= done {
            out.extend_from_slice(&text[done..hidden.start]);
            let name = patterns.0.forms.name(hidden.secret);
            out.extend_from_slice(format!("[redacted:{name}]").as_bytes());
        }
        done = done.max(hidden.end.0);
    }
    out.extend_from_slice(&text[done..]);
    out
}

fn outside(patterns: &Patterns, text: &[u8]) -> Vec<u8> {
    let mut is_hidden = vec![false; text.len()];
    for hidden in hidden_pieces(patterns, text) {
        is_hidden[hidden.start..hidden.end.0].fill(true);
    }
    text.iter()
        .zip(is_hidden)
        .filter(|(_, is_hidden)| !is_hidden)
        .map(|(&byte, _)| byte)
        .collect()
}

#[test]
fn a_value_is_masked_and_the_rest_passes() {
    check(
        &[("DB", b"hunter2hunter2")],
        b"a hunter2hunter2 b",
        b"a [redacted:DB] b",
    );
    check(
        &[("DB", b"hunter2hunter2")],
        b"hunter2hunter",
        b"hunter2hunter",
    );
    check(
        &[("DB", b"hunter2hunter2")],
        b"\0\xff\xfe\r\n",
        b"\0\xff\xfe\r\n",
    );
    check(&[], b"anything", b"anything");
}

#[test]
fn of_equal_values_the_first_gives_the_name() {
    check(
        &[("A", b"sameValue1"), ("B", b"sameValue1")],
        b"sameValue1",
        b"[redacted:A]",
    );
}

#[test]
fn the_longer_of_two_values_that_begin_alike_wins() {
    let secrets: [(&str, &[u8]); 2] = [("A", b"prefix-value"), ("B", b"prefix-value-more")];
    check(&secrets, b"<prefix-value-more>", b"<[redacted:B]>");
    check(&secrets, b"<prefix-value-mor>", b"<[redacted:A]-mor>");
}

#[test]
fn overlapping_values_leave_no_part_of_either() {
    let secrets: [(&str, &[u8]); 2] = [("A", b"abcdefgh1234"), ("B", b"1234qrstuvwx")];
    check(&secrets, b"<abcdefgh1234qrstuvwx>", b"<[redacted:A]>");
    check(&[("A", b"abababab")], b"-ababababab-", b"-[redacted:A]-");
    check(
        &[("A", b"abababab")],
        b"-abababababababab-",
        b"-[redacted:A]-",
    );
}

#[test]
fn coverage_follows_the_length() {
    let mut builder = RedactorBuilder::new();
    for (value, coverage) in [
        ("", Coverage::Never),
        ("abc", Coverage::Never),
        ("abc\n", Coverage::Never),
        ("abcd", Coverage::WholeTokens),
        ("abcdefg\r\n", Coverage::WholeTokens),
        ("abcdefgh", Coverage::Full),
    ] {
        let value = SecretValue::from_text(value.to_owned());
        assert_eq!(builder.add("X", &value), coverage);
    }
    assert!(!builder.build().is_empty());
    assert!(RedactorBuilder::new().build().is_empty());
}

#[test]
fn short_values_are_masked_as_whole_tokens_only() {
    let secrets: [(&str, &[u8]); 1] = [("PIN", b"4711")];
    check(&secrets, b"4711", b"[redacted:PIN]");
    check(
        &secrets,
        b"pin=4711, 4711",
        b"pin=[redacted:PIN], [redacted:PIN]",
    );
    check(
        &secrets,
        b"14711 47110 _4711 4711_ 4711",
        b"14711 47110 _4711 4711_ [redacted:PIN]",
    );
    check(&[("ABC", b"abc")], b"abc", b"abc");
}

#[test]
fn a_short_value_at_the_end_waits_for_the_next_byte() {
    let patterns = patterns(&[("PIN", b"4711")]);
    let mut out = Vec::new();
    let mut stream = patterns.stream();
    stream.push(b"4711", &mut out);
    assert!(stream.has_held());
    assert_eq!(out, b"");
    stream.flush_idle(&mut out);
    assert!(!stream.has_held());
    stream.push(b" 4711", &mut out);
    stream.push(b"0", &mut out);
    stream.finish(&mut out);
    assert_eq!(out, b"[redacted:PIN] 47110");
}

#[test]
fn the_rest_of_a_value_is_masked_after_a_pause() {
    let patterns = patterns(&[("A", b"Password1234")]);
    let mut out = Vec::new();
    let mut stream = patterns.stream();
    stream.push(b"Pass", &mut out);
    assert_eq!(out, b"");
    stream.flush_idle(&mut out);
    assert_eq!(out, b"Pass");
    stream.push(b"word1234: Password: ", &mut out);
    assert_eq!(out, b"Pass[redacted:A]: Password: ");
}

#[test]
fn ordinary_output_is_not_held_back() {
    let patterns = patterns(&[("A", b"Zx8!kQ-secret-value")]);
    let mut out = Vec::new();
    let mut stream = patterns.stream();
    stream.push(b"login: ", &mut out);
    assert_eq!(out, b"login: ");
    stream.push(b"line\nZx8", &mut out);
    assert_eq!(out, b"login: line\n");
}

#[test]
fn a_multi_line_value_is_masked_as_a_whole_and_by_line() {
    let secrets: [(&str, &[u8]); 1] = [("KEY", PEM.as_bytes())];
    let text = format!("<{PEM}>");
    check(&secrets, text.as_bytes(), b"<[redacted:KEY]\n>");
    check(
        &secrets,
        text.replace('\n', "\r\n").as_bytes(),
        b"<[redacted:KEY]\r\n>",
    );
    let line = PEM.lines().nth(2).unwrap();
    check(
        &secrets,
        format!("  {line}\n").as_bytes(),
        b"  [redacted:KEY]\n",
    );
    check(
        &secrets,
        line.replace('/', "\\/").as_bytes(),
        b"[redacted:KEY]",
    );
    check(
        &secrets,
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n",
    );
    let json = format!("\"{}\"", PEM.replace('\n', "\\n"));
    check(&secrets, json.as_bytes(), b"\"[redacted:KEY]\\n\"");
    check(
        &[("A", b"line-one-1\r\nline-two-2")],
        b"line-one-1\nline-two-2",
        b"[redacted:A]",
    );
}

#[test]
fn base64_is_masked_at_each_alignment() {
    for value in [
        &b"s3cr3t-Value?>~\xff"[..],
        b"12345678",
        b"123456789",
        b"abcdefghij",
    ] {
        let secrets: [(&str, &[u8]); 1] = [("A", value)];
        for (before, after) in [
            ("", ""),
            ("u", "x"),
            ("us", "xy"),
            ("use:", ""),
            ("user:", "\n"),
        ] {
            let text = [before.as_bytes(), value, after.as_bytes()].concat();
            for encoded in [BASE64.encode(&text), BASE64URL_NOPAD.encode(&text)] {
                let redacted = redact_text(&patterns(&secrets), encoded.as_bytes());
                let redacted = String::from_utf8(redacted).unwrap();
                let lead = before.len() * 8 / 6;
                let tail = redacted.strip_prefix(&encoded[..lead]).unwrap();
                let tail = tail.strip_prefix("[redacted:A]").unwrap();
                assert!(encoded.ends_with(tail) && tail.len() <= (after.len() * 8).div_ceil(6) + 2);
                check(&secrets, encoded.as_bytes(), redacted.as_bytes());
            }
        }
        let encoded = format!("<{}>", BASE64.encode(value));
        check(&secrets, encoded.as_bytes(), b"<[redacted:A]>");
    }
}

#[test]
fn base64_in_lines_is_masked() {
    let value: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(73)).collect();
    let secrets: [(&str, &[u8]); 1] = [("A", &value)];
    let redacted = redact_text(&patterns(&secrets), BASE64_MIME.encode(&value).as_bytes());
    assert_eq!(redacted, b"[redacted:A]\r\n".repeat(4));
}

#[test]
fn other_encodings_are_masked() {
    let value = "pa's \"w\\o/\u{e9}<\u{1}\u{1f600}";
    let secrets: [(&str, &[u8]); 1] = [("A", value.as_bytes())];
    for encoded in [
        HEXLOWER.encode(value.as_bytes()),
        HEXUPPER.encode(value.as_bytes()),
        "pa%27s%20%22w%5Co%2F%C3%A9%3C%01%F0%9F%98%80".to_owned(),
        "pa%27s%20%22w%5co%2f%c3%a9%3c%01%f0%9f%98%80".to_owned(),
        "pa's%20%22w%5Co%2F%C3%A9%3C%01%F0%9F%98%80".to_owned(),
        "pa%27s+%22w%5Co%2F%C3%A9%3C%01%F0%9F%98%80".to_owned(),
        value.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        value.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        "pa's \\\"w\\\\o/\u{e9}<\\u0001\u{1f600}".to_owned(),
        "pa's \\\"w\\\\o\\/\\u00e9<\\u0001\\ud83d\\ude00".to_owned(),
        "pa\\u0027s \\\"w\\\\o/\\u00E9\\u003C\\u0001\\uD83D\\uDE00".to_owned(),
        "pa'\\''s \"w\\o/\u{e9}<\u{1}\u{1f600}".to_owned(),
        "pa\\'s\\ \\\"w\\\\o/\u{e9}\\<\u{1}\u{1f600}".to_owned(),
    ] {
        check(
            &secrets,
            format!("({encoded})").as_bytes(),
            b"([redacted:A])",
        );
    }
}

#[test]
fn a_value_of_a_mebibyte_is_masked_without_copies_of_its_encodings() {
    let mut state = 1u64;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1 << 20)
    .map(|byte| if byte == b'\n' { 0 } else { byte })
    .collect();
    let patterns = patterns(&[("BIG", &value)]);
    assert!(
        patterns.table_bytes() < 8 << 20,
        "{}",
        patterns.table_bytes()
    );
    for text in [
        value.clone(),
        HEXLOWER.encode(&value).into(),
        BASE64.encode(&value).into(),
    ] {
        let text = [&b"<"[..], &text, b">"].concat();
        assert!(redact_text(&patterns, &text) == b"<[redacted:BIG]>");
        assert!(in_chunks(&patterns, &text, &[1000, 1, 70_000]) == b"<[redacted:BIG]>");
        let cut = &text[..text.len() - 6];
        assert!(redact_text(&patterns, cut) == cut);
    }
}

#[test]
fn what_is_held_back_is_less_than_the_longest_form() {
    let value = b"0123456789abcdefghij";
    let patterns = patterns(&[("A", value)]);
    assert_eq!(patterns.held_bytes_max(), value.len() * 3 - 1);
    let mut stream = patterns.stream();
    let mut out = Vec::new();
    let text: Vec<u8> = value
        .iter()
        .flat_map(|byte| format!("%{byte:02x}").into_bytes())
        .collect();
    for (at, byte) in text[..text.len() - 1].iter().enumerate() {
        stream.push(&[*byte], &mut out);
        assert!(at + 1 - out.len() <= patterns.held_bytes_max());
    }
    stream.push(b"!", &mut out);
    assert_eq!(out.len(), text.len());
}

fn small_text(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(&b"aaab- _\n"[..]), len)
}

fn input() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>, Vec<usize>)> {
    let values = vec(
        prop_oneof![small_text(4..9), small_text(8..40), vec(any::<u8>(), 8..30)],
        1..6,
    );
    values.prop_flat_map(|values| {
        let whole = prop::sample::select(values);
        let piece = prop_oneof![
            small_text(0..30),
            whole.clone(),
            (whole.clone(), any::<prop::sample::Index>())
                .prop_map(|(value, at)| value[..at.index(value.len())].to_vec()),
            (whole.clone(), small_text(0..4), small_text(0..4))
                .prop_map(|(value, a, b)| BASE64.encode(&[a, value, b].concat()).into_bytes()),
            whole
                .clone()
                .prop_map(|value| HEXLOWER.encode(&value).into_bytes()),
            whole
                .clone()
                .prop_map(|value| value.escape_ascii().to_string().into_bytes()),
            vec(any::<u8>(), 0..4),
        ];
        let values = vec(whole, 1..6);
        (
            values,
            vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
            vec(1usize..40, 1..8),
        )
    })
}

fn named(values: &[Vec<u8>]) -> Patterns {
    let names = ["A", "B", "C", "D", "E", "F"];
    let secrets: Vec<_> = names
        .into_iter()
        .zip(values.iter().map(Vec::as_slice))
        .collect();
    patterns(&secrets)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    })]

    #[test]
    fn any_split_gives_what_the_reference_gives((values, text, sizes) in input()) {
        let patterns = named(&values);
        let expected = reference(&patterns, &text);
        prop_assert_eq!(&redact_text(&patterns, &text), &expected);
        prop_assert_eq!(&in_chunks(&patterns, &text, &sizes), &expected);
        prop_assert_eq!(&in_chunks(&patterns, &text, &[1]), &expected);
    }

    #[test]
    fn pauses_lose_nothing_and_keep_the_bound((mut values, text, sizes) in input()) {
        // A pause ends a token.
        values.retain(|value| encode::trim_line_end(value).len() >= VALUE_BYTES_FULL);
        let patterns = named(&values);
        let mut stream = patterns.stream();
        let mut out = Vec::new();
        let mut rest = text.as_slice();
        for (i, size) in sizes.iter().cycle().enumerate() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            stream.push(chunk, &mut out);
            prop_assert!(stream.held_bytes() <= patterns.held_bytes_max());
            if i % 2 == 1 {
                stream.flush_idle(&mut out);
                prop_assert!(!stream.has_held());
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        stream.finish(&mut out);
        let mut left = out.iter();
        for byte in outside(&patterns, &text) {
            prop_assert!(left.any(|&other| other == byte));
        }
    }
}

#[test]
fn places_of_values_are_told_as_they_are_masked() {
    let patterns = patterns(&[
        ("A", b"correct horse"),
        ("B", b"battery-staple"),
        ("C", b"abcd"),
    ]);
    let encoded = BASE64.encode(b"correct horse");
    let text = format!("x correct horse,{encoded} battery-staple abcd abcde battery-stapl");
    let found = find(&patterns, text.as_bytes());
    let mut masked = String::new();
    let mut done = 0;
    for one in &found {
        masked.push_str(&text[done..one.bytes.start]);
        masked.push_str(&format!("[redacted:{}]", one.name));
        done = one.bytes.end;
    }
    masked.push_str(&text[done..]);
    assert_eq!(found.len(), 4, "{found:?}");
    let expected = redact_text(&patterns, text.as_bytes());
    assert_eq!(masked.as_bytes(), expected.as_slice());
    assert_eq!(find(&patterns, b""), []);
}
