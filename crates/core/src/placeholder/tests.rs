//! Behaviour of the placeholder rules, on values made up for this purpose.

use super::*;

fn fires(name: &str, value: &str) -> bool {
    placeholder_reason(name, value, Some("acme-shop")).is_some()
}

#[test]
fn placeholders_of_every_family_are_found() {
    let cases = [
        ("JWT_SECRET", "changeme"),
        ("JWT_SECRET", "Change_Me_Now"),
        ("DB_PASSWORD", "strong-password-CHANGE-THIS"),
        ("MAPS_API_KEY", "your-maps-api-key"),
        ("MAPS_API_KEY", "YOUR_KEY"),
        ("MAPS_API_KEY", "yourmapskey"),
        ("MAPS_API_KEY", "pk_live_yourmapsprivatekey"),
        ("MAPS_API_KEY", "put-key-here"),
        ("MAPS_API_KEY", "REPLACE_WITH_LIVE_KEY"),
        ("MAPS_API_KEY", "INSERT_YOUR_KEY"),
        ("MAPS_API_KEY", "rk_live_placeholder"),
        ("MAPS_API_KEY", "sk-proj-..."),
        ("MAPS_API_KEY", "..."),
        ("MAPS_API_KEY", "abc…"),
        ("MAPS_API_KEY", "<api key>"),
        ("MAPS_API_KEY", "prefix-<your key>"),
        ("MAPS_API_KEY", "${MAPS_API_KEY}"),
        ("MAPS_API_KEY", "{{ maps_api_key }}"),
        ("MAPS_API_KEY", "xxx"),
        ("MAPS_API_KEY", "sk-proj-XXXXXXXXXXXX"),
        ("MAPS_API_KEY", "xxxx-xxxx"),
        ("MAPS_API_KEY", "********"),
        ("MAPS_API_KEY", "00000000-0000-0000-0000-000000000000"),
        ("MAPS_API_KEY", "AKIAIOSFODNN7EXAMPLE"),
        ("MAPS_API_KEY", "1234567890"),
        ("MAPS_API_KEY", "sk-12345678abcdef"),
        ("MAPS_API_KEY", "a1b2c3d4e5f6"),
        ("MAPS_API_KEY", "asdfasdf"),
        ("MAPS_API_KEY", "qwertz"),
        ("MAPS_API_KEY", "1qaz2wsx"),
        ("MAPS_API_KEY", "foofoofoo"),
        ("MAPS_API_KEY", "mapsapikey"),
        ("MAPS_API_KEY", "mapstoken"),
        ("MAPS_API_KEY", "TODO"),
        ("DB_PASSWORD", "postgres"),
        ("DB_PASSWORD", "P@ssw0rd"),
        ("DB_PASSWORD", "Password123!"),
        ("DB_PASSWORD", "acme-shop"),
        ("DB_PASSWORD", "acmeshop_dev"),
        ("DB_PASSWORD", "staging-db-password"),
        ("DB_PASSWORD", "\"secret\""),
        (
            "SESSION_SECRET",
            "some-very-long-random-string-64-characters",
        ),
        ("DATABASE_URL", "postgres://app:password@db:5432/app"),
        ("DATABASE_URL", "mongodb://<user>:<password>@<host>/db"),
        (
            "SIGNING_KEY",
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        ),
        ("SIGNING_KEY", "[redacted:SIGNING_KEY]"),
    ];
    let missed: Vec<_> = cases
        .iter()
        .filter(|(name, value)| !fires(name, value))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn real_looking_values_and_settings_are_left_alone() {
    let cases = [
        ("TOKEN_EXPIRE_MINUTES", "60"),
        ("API_KEY_REQUIRED", "false"),
        ("MAX_TOKENS", "8192"),
        ("TOKEN_TYPE", "bearer"),
        ("SECRETS_SOURCE", "vault"),
        ("VAULT_SECRET_PATH", "secret/data/acme/dev"),
        ("PIN", "8046"),
        ("JWT_SECRET", "xK9xx2mQxxxT7vLpXz4RbXxW8sYcNdFg"),
        ("JWT_SECRET", "3q2-7wXo_yourQ8z-Lk2"),
        ("STRIPE_KEY", "sk_test_4eC39HqLyjWDarjtT1zdp7dc"),
        ("GITHUB_TOKEN", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "kJ8vQ2xN5mR7tY9wB3cD6fG1hL4pS0zA+uEiO/qW",
        ),
        ("SESSION_ID", "6f9619ff-8b86-4011-b42d-00cf4fc964ff"),
        (
            "DATABASE_URL",
            "postgres://shop:pU6vKq2ZtX9r@db.internal:5432/shop",
        ),
        ("API_URL", "https://api.stripe.com/v1"),
        (
            "SENTRY_DSN",
            "https://9c1f4e2a7b8d@o4501.ingest.sentry.io/4507",
        ),
        ("DB_PASSWORD", "correct horse battery staple"),
        ("DB_PASSWORD", "gT7#kq!x2Lz"),
        (
            "HASH",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        ("MASTER_KEY", "QUFBQUFBQUFBQUFBQUFBAAAAAAAAAAAAQUE="),
        ("EMPTY", ""),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(name, value)| Some((name, placeholder_reason(name, value, Some("acme"))?)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn reasons_are_phrases_without_the_value() {
    assert_eq!(
        placeholder_reason("A_TOKEN", "sk-...", None),
        Some("ends in '...'")
    );
    assert_eq!(
        placeholder_reason("A_TOKEN", "aaaaaa", None),
        Some("is a run of one character")
    );
    assert_eq!(
        placeholder_reason("MAPS_TOKEN", "maps-token", None),
        Some("repeats its own name")
    );
    assert_eq!(
        placeholder_reason("DB_PASSWORD", "acme", Some("acme")),
        Some("is the project's name")
    );
    assert_eq!(
        placeholder_reason("DB_PASSWORD", "your-pw", None),
        Some("says 'your-…'")
    );
}

#[test]
fn random_values_do_not_fire() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % below).unwrap()
    };
    let base62 = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for _ in 0..3_000 {
        let value: String = (0..32).map(|_| char::from(base62[draw(62)])).collect();
        assert_eq!(
            placeholder_reason("API_KEY", &value, Some("shop")),
            None,
            "{value}"
        );
        let hex: String = value.bytes().map(|byte| format!("{byte:x}")).collect();
        assert_eq!(
            placeholder_reason("API_KEY", &hex, Some("shop")),
            None,
            "{hex}"
        );
    }
}

#[test]
fn names_of_secrets_are_told_from_names_of_settings() {
    for name in [
        "DB_PASSWORD",
        "apiKey",
        "STRIPE_SECRET_KEY",
        "github-token",
        "PRIVATE_KEY",
        "SENTRY_DSN",
        "ENCRYPTION_KEY",
        "DATABASE_URL",
        "REDIS_URL",
        "SLACK_WEBHOOK_URL",
        "MONGO_CONN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SECRET_KEY_BASE",
        "SITE_EMAIL_PASSWORD",
        "PGPASSWORD",
        "PASSWORD_SALT",
        "SMTP_PASS",
        "DB_USER_PASSWORD",
    ] {
        assert!(is_sensitive_name(name), "{name}");
    }
    for name in [
        "TOKEN_EXPIRE_MINUTES",
        "SECRETS_SOURCE",
        "JWT_PUBLIC_KEY",
        "STRIPE_PUBLISHABLE_KEY",
        "NEXT_PUBLIC_MAPS_KEY",
        "VAULT_SECRET_PATH",
        "MAX_TOKENS",
        "AWS_ACCESS_KEY_ID",
        "PORT",
        "TOKEN_URL",
        "POSTGRES_PASSWORD_FILE",
        "PASSWORD_MIN_LENGTH",
        "RECAPTCHA_SITE_KEY",
        "CORS_CREDENTIALS",
        "KEYCLOAK_HOST",
        "MONKEY",
        "LOG_LEVEL",
        "COMPASS_MODE",
    ] {
        assert!(!is_sensitive_name(name), "{name}");
    }
}

#[test]
fn guesses_for_a_first_manifest() {
    let check = |name: &str, value: &str, expected: Guess| {
        assert_eq!(guess(name, value), expected, "{name}");
    };
    let none = Guess::default();
    let secret = Guess {
        sensitive: true,
        ..none
    };
    let own = Guess {
        generated: true,
        ..secret
    };
    let infra = Guess {
        infrastructure: true,
        ..secret
    };
    let of = |format: ValueType| Guess {
        format: Some(format),
        ..none
    };
    use crate::format::ValueType;
    check("JWT_SECRET", "your-secret", own);
    check("SESSION_SECRET", "", own);
    check("SECRET_KEY", "x", own);
    check("DATA_ENCRYPTION_KEY", "abc", own);
    check("COOKIE_SECRET", "abc", own);
    check("STRIPE_SECRET_KEY", "sk_test_x", secret);
    check("GOOGLE_CLIENT_SECRET", "x", secret);
    check("MAPS_API_KEY", "x", secret);
    check("API_KEY", "x", secret);
    check("POSTGRES_PASSWORD", "x", infra);
    check(
        "DATABASE_URL",
        "postgres://a:b@c/d",
        Guess {
            format: Some(ValueType::PostgresUrl),
            ..infra
        },
    );
    check(
        "CACHE",
        "redis://:pw@h:6379",
        Guess {
            format: Some(ValueType::RedisUrl),
            ..infra
        },
    );
    check(
        "UPSTREAM",
        "https://u:p@h/x",
        Guess {
            format: Some(ValueType::Url),
            ..secret
        },
    );
    check("DATABASE_URL", "sqlite:///./a.db", of(ValueType::Url));
    check("UPSTREAM", "https://h/x", of(ValueType::Url));
    check("DB_PORT", "5432", of(ValueType::Port));
    check("WORKERS", "4", of(ValueType::Integer));
    check("DEBUG", "True", of(ValueType::Boolean));
    check("ADMIN_EMAIL", "a@b.org", of(ValueType::Email));
    check("API_KEY_VALIDATION", "true", of(ValueType::Boolean));
    check("ANYTHING", "ghp_16C7e42F292c6912E7710c83", secret);
}
