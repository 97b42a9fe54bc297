//! Every form that pgcrypto writes, made by the real one.

use data_encoding::HEXLOWER;
use strongroom_userkeys::Form;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::Work;
use strongroom_userkeys::pgcrypto::PgcryptoError;
use strongroom_userkeys::pgcrypto::decrypt;

use crate::support::OLD_KEY;
use crate::support::Rig;
use crate::support::name;
use crate::support::run;
use crate::support::text;
use crate::support::user;

const OPTIONS: &[&str] = &[
    "",
    "cipher-algo=aes128",
    "cipher-algo=aes192",
    "cipher-algo=aes256",
    "cipher-algo=3des",
    "s2k-mode=0",
    "s2k-mode=1",
    "s2k-mode=3,s2k-count=65536,s2k-digest-algo=sha256,cipher-algo=aes256",
    "s2k-digest-algo=md5",
    "s2k-cipher-algo=aes256,sess-key=1",
    "sess-key=1",
    "compress-algo=1",
    "compress-algo=2,compress-level=9",
    "disable-mdc=1",
    "disable-mdc=1,cipher-algo=3des,compress-algo=1",
    "unicode-mode=1",
    "convert-crlf=1",
];

fn insert(at: usize, options: &str, value: &str, how: &str) -> String {
    let value = value.replace('\'', "''");
    let encrypted = format!("pgp_sym_encrypt('{value}', '{OLD_KEY}', '{options}')");
    let encrypted = how.replace("$", &encrypted);
    format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
         VALUES ('u{at}', 'k', NULL, {encrypted});"
    )
}

#[tokio::test]
async fn every_form_is_read_and_sealed() {
    let (rig, keys) = Rig::attached().await;
    let long = "sk-ant-api03 ünïcode 🔑 ".repeat(400);
    let values = ["sk-ant-api03-TEST", "grüße 🔑", long.as_str(), "x"];
    let mut expected = Vec::new();
    for options in OPTIONS {
        for value in values {
            let _ = rig.sql(&insert(expected.len(), options, value, "$"));
            expected.push((*options, value));
        }
    }
    let _ = rig.sql(&insert(expected.len(), "", "in letters", "armor($)::bytea"));
    expected.push(("armor", "in letters"));
    let rows = expected.len() as u64;
    let status = keys.status().await.unwrap();
    assert_eq!((status.rows, status.pgcrypto_rows()), (rows, rows));
    assert_eq!(status.pgcrypto["aes256, sha256"], 4);
    assert_eq!(status.pgcrypto["in letters"], 1);
    assert!(status.pgcrypto["aes128, sha1"] >= 4, "{status:?}");
    for (at, (options, value)) in expected.iter().enumerate() {
        let of = user(&format!("u{at}"));
        let found = keys.get(&of, &name("k")).await.unwrap().unwrap();
        assert_eq!(found.was, Form::Pgcrypto, "{options}");
        assert!(found.value.ct_eq(&text(value)), "{options}: {value}");
    }
    let status = keys.status().await.unwrap();
    assert_eq!((status.sealed_rows(), status.pgcrypto_rows()), (rows, 0));
}

/// A pgcrypto over OpenSSL 3 has no Blowfish and no CAST5 and says nothing: what it writes is not
/// encrypted. Such a row is read where it was really encrypted, and else refused.
#[tokio::test]
async fn ciphers_that_openssl_no_longer_has_are_never_read_wrongly() {
    let (rig, keys) = Rig::attached().await;
    for (at, cipher) in ["bf", "cast5"].into_iter().enumerate() {
        let _ = rig.sql(&insert(at, &format!("cipher-algo={cipher}"), "value", "$"));
        match keys.get(&user(&format!("u{at}")), &name("k")).await {
            Ok(found) => assert!(found.unwrap().value.ct_eq(&text("value"))),
            Err(error) => assert!(matches!(error, UserKeysError::Pgcrypto { .. }), "{error}"),
        }
    }
}

/// Messages of GnuPG, which has these ciphers.
#[test]
fn blowfish_and_cast5_are_read() {
    for message in [
        "8c0d0404030250edea7f1e64497660d23701677ac35ac65bd0773dd10588f71178803afde58404cf2db6f8f4\
         70dde0b39f230fa024bf3359ca6a4d92338443995a32f6a19a94a901",
        "8c0d04030302d682d3d4a57c6d6060d237011843e4c128d85a1b6cd58790426143552ab0a9462e65f3930c48\
         f3b8ec89f7d81b74fe7d3144cf04d50456bc708c0d89dd47df42c4b1",
    ] {
        let message = HEXLOWER.decode(message.as_bytes()).unwrap();
        let value = decrypt(&message, &[text("a-key-of-tests")]).unwrap();
        assert!(value.ct_eq(&text("sk-of-a-test-1")));
    }
}

/// Without a hash of the plaintext what a wrong key makes of it begins like a packet once in a
/// hundred times.
#[tokio::test]
async fn no_wrong_key_is_taken_for_the_right_one() {
    let (rig, _) = Rig::attached().await;
    let long = "sk-ant-api03 ".repeat(300);
    for options in [
        "disable-mdc=1,s2k-mode=0",
        "disable-mdc=1,s2k-mode=0,compress-algo=1,cipher-algo=3des",
    ] {
        let encrypted =
            format!("SELECT encode(pgp_sym_encrypt('{long}', '{OLD_KEY}', '{options}'), 'hex')");
        let message = rig.sql(&encrypted);
        let message = HEXLOWER.decode(message.trim().as_bytes()).unwrap();
        let mut keys: Vec<_> = (0..2000).map(|at| text(&format!("key {at}"))).collect();
        assert!(decrypt(&message, &keys).is_err(), "{options}");
        keys.push(text(OLD_KEY));
        assert!(decrypt(&message, &keys).unwrap().ct_eq(&text(&long)));
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_changed_row_are_told_and_kept() {
    let (rig, keys) = Rig::attached().await;
    for at in 0..3 {
        let _ = rig.sql(&insert(at, "", "value", "$"));
    }
    let cut = "UPDATE user_secrets SET secret_value_encrypted = CASE user_id
        WHEN 'u1' THEN substring(secret_value_encrypted FROM 1 FOR 40)
        WHEN 'u2' THEN set_byte(secret_value_encrypted, 40,
            get_byte(secret_value_encrypted, 40) # 1)
        ELSE secret_value_encrypted END";
    let _ = rig.sql(cut);
    for of in ["u1", "u2"] {
        let error = keys.get(&user(of), &name("k")).await.unwrap_err();
        assert!(matches!(error, UserKeysError::Pgcrypto { .. }), "{error}");
    }
    let done = run(&keys, Work::Encrypt, 1).await;
    assert_eq!((done.from_pgcrypto, done.trouble.len()), (1, 2));
    let bare = keys.with_pgcrypto_keys(Vec::new());
    let error = bare.get(&user("u2"), &name("k")).await.unwrap_err();
    let is_without = matches!(
        error,
        UserKeysError::Pgcrypto {
            error: PgcryptoError::NoKey,
            ..
        }
    );
    assert!(is_without, "{error}");
}

#[tokio::test]
async fn a_message_to_a_public_key_is_named() {
    // The head of a packet for a public key: version 3, key id, RSA.
    let message = [&[0xc1, 0x0d, 3][..], &[9; 8], &[1, 0, 8, 0xff]].concat();
    let error = decrypt(&message, &[text("k")]).unwrap_err();
    assert_eq!(error, PgcryptoError::PublicKey);
}

#[test]
fn garbage_is_refused_and_does_not_panic() {
    let keys = [text("k")];
    for seed in 0..20_000_u32 {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut message = vec![0xc3, 0x0d, 4, 7, 3, 2];
        for _ in 0..(seed % 90) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            message.push((state >> 24) as u8);
        }
        if let Some(count) = message.get_mut(14) {
            // How often a key is hashed: few times, or this test takes long.
            *count = 0;
        }
        let at = (seed as usize) % message.len();
        message[at] = (state >> 16) as u8;
        assert!(decrypt(&message, &keys).is_err());
    }
}
