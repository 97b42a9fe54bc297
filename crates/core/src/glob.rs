//! Patterns of paths: `*` stands for any letters, `?` for one.

/// Whether a whole text fits a pattern.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // It is not gone back further than to the last `*`.
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while at < text.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(&letter) if letter == b'?' || text.get(at) == Some(&letter) => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((place, begun)) => {
                    star = Some((place, begun + 1));
                    of = place + 1;
                    at = begun + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(of).all(|&rest| rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_paths() {
        for (pattern, path, fits) in [
            ("jwt/*", "jwt/key", true),
            ("jwt/*", "jwt/a/b", true),
            ("jwt/*", "jwt", false),
            ("jwt/*", "my/jwt/key", false),
            ("*jwt*", "my/jwt/key", true),
            ("*", "", true),
            ("", "a", false),
            ("", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*c*", "xaxbxcx", true),
            ("*a*b*c*", "xaxcxbx", false),
            ("a*a", "a", false),
            ("a*a", "aba", true),
            ("**", "x", true),
        ] {
            let found = matches(pattern, path);
            assert_eq!(found, fits, "{pattern} {path}");
        }
        // Linear in effect: a pattern of many stars ends at once.
        let long = "a".repeat(512);
        assert!(!matches(&"*a".repeat(60), &format!("{long}b")));
    }
}
