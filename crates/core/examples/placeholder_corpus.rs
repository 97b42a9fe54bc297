//! Measures the placeholder rules on a list of values.
//!
//! Reads lines `name TAB value [TAB project]` from standard input, prints what was found, what
//! was missed, and how often the rules fire on random values.

use std::io::BufRead;
use std::io::Write;

use strongroom_core::placeholder::is_sensitive_name;
use strongroom_core::placeholder::placeholder_reason;

/// Values drawn for each shape.
const DRAWS: u32 = 200_000;

/// Names of values in the list that are settings and must not fire.
const SETTINGS: [&str; 7] = [
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "API_KEY_VALIDATION",
    "CORS_CREDENTIALS",
    "MAX_TOKENS",
    "REFRESH_TOKEN_EXPIRE_DAYS",
    "SECRETS_SOURCE",
    "VAULT_SECRET_PATH",
];

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (mut found, mut total, mut alarms, mut settings) = (0, 0, 0, 0);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let (Some(name), Some(value)) = (fields.next(), fields.next()) else {
            continue;
        };
        let reason = placeholder_reason(name, value, fields.next());
        if SETTINGS.contains(&name) {
            settings += 1;
            alarms += u32::from(reason.is_some()) + u32::from(is_sensitive_name(name));
            continue;
        }
        total += 1;
        match reason {
            Some(reason) => {
                found += 1;
                writeln!(out, "  {name}={value}: {reason}")?;
            }
            None => writeln!(out, "  {name}={value}: MISSED")?,
        }
    }
    writeln!(
        out,
        "found {found} of {total}; false alarms {alarms} of {settings}"
    )?;
    random(&mut out)
}

fn random(out: &mut impl Write) -> std::io::Result<()> {
    let base62 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let base64url = format!("{base62}-_");
    let base64 = format!("{base62}+/");
    let ascii: String = ('!'..='~').collect();
    let upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // `?` is drawn from the alphabet, everything else stands for itself.
    let shapes = [
        ("base62 x 32", base62, "?".repeat(32)),
        ("base62 x 12", base62, "?".repeat(12)),
        ("lower case x 16", &base62[..26], "?".repeat(16)),
        ("lower case x 10", &base62[..26], "?".repeat(10)),
        ("digits x 8", &base62[52..], "?".repeat(8)),
        ("hex x 32", "0123456789abcdef", "?".repeat(32)),
        ("hex x 64", "0123456789abcdef", "?".repeat(64)),
        ("base64 x 44", &base64, format!("{}=", "?".repeat(43))),
        ("base64url x 43", &base64url, "?".repeat(43)),
        ("ascii x 24", &ascii, "?".repeat(24)),
        (
            "uuid",
            "0123456789abcdef",
            "????????-????-4???-a???-????????????".to_owned(),
        ),
        ("aws id", upper, format!("AKIA{}", "?".repeat(16))),
        ("aws secret", &base64, "?".repeat(40)),
        ("stripe", base62, format!("sk_live_{}", "?".repeat(24))),
        ("stripe test", base62, format!("sk_test_{}", "?".repeat(24))),
        ("github", base62, format!("ghp_{}", "?".repeat(36))),
        ("openai", &base64url, format!("sk-proj-{}", "?".repeat(48))),
        (
            "database url",
            base62,
            format!("postgres://app:{}@db:5432/app", "?".repeat(20)),
        ),
    ];
    let mut state = 0x5851_f42d_4c95_7f2d_u64;
    for (label, alphabet, shape) in shapes {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut fired = 0;
        let mut seen = String::new();
        for _ in 0..DRAWS {
            let draw = |c: char| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from((state >> 20) % letters.len() as u64).unwrap_or(0);
                if c == '?' {
                    letters.get(at).copied().unwrap_or(c)
                } else {
                    c
                }
            };
            let value: String = shape.chars().map(draw).collect();
            if let Some(reason) = placeholder_reason("ACME_API_KEY", &value, Some("acme")) {
                fired += 1;
                seen = format!("{value}: {reason}");
            }
        }
        writeln!(out, "{label:16} {fired} of {DRAWS} {seen}")?;
    }
    Ok(())
}
