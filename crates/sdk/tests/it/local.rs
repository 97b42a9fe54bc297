//! Without any server.

use std::time::Duration;

use strongroom_sdk::GetError;
use strongroom_sdk::LoadError;
use strongroom_sdk::Presented;
use strongroom_sdk::SecretValue;
use strongroom_sdk::blocking;

use crate::place::Place;
use crate::place::text;

const CHAIN: &str = "[profiles.development]\nchain = [\"store\", \"dotenv:.env\", \"env\"]\n\
                     [secrets.API_KEY]\npath = \"api/key\"\n\
                     [secrets.MAIL_TOKEN]\n\
                     [secrets.PORT]\nsensitive = false\ndefault = \"3000\"\n";

#[tokio::test]
async fn values_come_from_the_store_the_file_and_the_environment() {
    let place = Place::new(CHAIN).with("STRIPE_KEY", "rk_live_h3Kd9sLq");
    place.write(".env", "MAIL_TOKEN=from-the-file-8Kd\nAPI_KEY=shadowed\n");
    let store = place.store();
    store
        .set("shop/development/api/key", "of-the-store-4Qz")
        .await;
    let secrets = place.builder().load().await.unwrap();
    assert_eq!(
        text(&secrets.get("API_KEY").await.unwrap()),
        "of-the-store-4Qz"
    );
    assert_eq!(
        text(&secrets.get("MAIL_TOKEN").await.unwrap()),
        "from-the-file-8Kd"
    );
    assert_eq!(text(&secrets.get("PORT").await.unwrap()), "3000");
    let names: Vec<&str> = secrets.names().collect();
    assert_eq!(names, ["API_KEY", "MAIL_TOKEN", "PORT"]);
    assert_eq!(secrets.profile(), "development");
    assert!(!format!("{secrets:?}").contains("of-the-store"));
}

#[tokio::test]
async fn what_an_application_fetches_is_in_the_ledger_of_the_store() {
    let place = Place::new(CHAIN).with("USER", "shop");
    place.write(".env", "MAIL_TOKEN=from-the-file-8Kd\n");
    let store = place.store();
    let path = "shop/development/api/key";
    store.set(path, "the-first-4Qz").await;
    let secrets = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    for _ in 0..3 {
        secrets.get("API_KEY").await.unwrap();
    }
    let first = "sdk shop/development/api/key store v1 shop";
    assert_eq!(
        store.deliveries().await,
        [first],
        "fetched again, it is the same delivery"
    );
    store.set(path, "the-second-7Kd").await;
    for name in ["API_KEY", "MAIL_TOKEN", "PORT"] {
        secrets.get(name).await.unwrap();
    }
    let rows = store.deliveries().await;
    let [mail, second, last] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!(second, "sdk shop/development/api/key store v2 shop");
    assert_eq!(last, first);
    let parts: Vec<&str> = mail.split(' ').take(2).collect();
    assert_eq!(parts, ["sdk", "shop/development/MAIL_TOKEN"]);
    // Through a chain without the store, that lies beside.
    let beside = place.builder().chain(["dotenv:.env"]).load().await.unwrap();
    beside.get("MAIL_TOKEN").await.unwrap();
    assert_eq!(store.deliveries().await.len(), 4);
}

#[tokio::test]
async fn a_value_is_kept_for_its_time_and_then_fetched_anew() {
    let place = Place::new(CHAIN);
    let store = place.store();
    let path = "shop/development/api/key";
    store.set(path, "the-first-4Qz").await;
    let kept = place.builder().load().await.unwrap();
    let fresh = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    assert_eq!(text(&kept.get("API_KEY").await.unwrap()), "the-first-4Qz");
    assert_eq!(text(&fresh.get("API_KEY").await.unwrap()), "the-first-4Qz");
    store.set(path, "the-second-7Kd").await;
    assert_eq!(text(&kept.get("API_KEY").await.unwrap()), "the-first-4Qz");
    assert_eq!(text(&fresh.get("API_KEY").await.unwrap()), "the-second-7Kd");
    assert_eq!(
        text(&kept.refresh("API_KEY").await.unwrap()),
        "the-second-7Kd"
    );
    // A clone shares what is in memory.
    assert_eq!(
        text(&kept.clone().get("API_KEY").await.unwrap()),
        "the-second-7Kd"
    );
}

#[test]
fn it_works_without_async() {
    let place = Place::new(CHAIN)
        .with("FROM_ENV", "of-the-environment")
        .with("EMPTY", "");
    place.write(".env", "MAIL_TOKEN=from-the-file-8Kd\n");
    let secrets = blocking::Secrets::from_builder(place.builder()).unwrap();
    assert_eq!(
        text(&secrets.get("MAIL_TOKEN").unwrap()),
        "from-the-file-8Kd"
    );
    assert_eq!(
        text(&secrets.get_or_env("MAIL_TOKEN", "FROM_ENV").unwrap()),
        "from-the-file-8Kd"
    );
    // Only what is not found comes from the variable, and an empty one is not set.
    assert_eq!(
        text(&secrets.get_or_env("API_KEY", "FROM_ENV").unwrap()),
        "of-the-environment"
    );
    let error = secrets.get_or_env("API_KEY", "EMPTY").unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let shown = error.to_string();
    assert!(
        shown.contains("looked in: store, dotenv:.env, env"),
        "{shown}"
    );
    assert!(
        shown.contains("strongroom set API_KEY --profile development"),
        "{shown}"
    );
    // What was not found is found once it is there.
    place.write(".env", "API_KEY=now-there-5Jw\n");
    assert_eq!(text(&secrets.get("API_KEY").unwrap()), "now-there-5Jw");
}

#[tokio::test]
async fn the_overlap_of_a_declaration_says_how_long_the_value_before_is_accepted() {
    let declared = "every = \"30d\"\noverlap = \"3d\"\n";
    for (rotation, presented) in [
        (
            format!("[rotation.keys]\npattern = \"api/*\"\n{declared}"),
            Presented::Previous,
        ),
        (
            format!("[rotation.keys]\npattern = \"jwt/*\"\n{declared}"),
            Presented::Neither,
        ),
        (
            format!("[secrets.API_KEY.rotation]\n{declared}"),
            Presented::Previous,
        ),
    ] {
        let place = Place::new(&format!("{CHAIN}{rotation}"));
        let store = place.store();
        let path = "shop/development/api/key";
        store.set(path, "the-first-4Qz").await;
        let secrets = place.builder().load().await.unwrap();
        let rotatable = secrets.rotatable_as_declared("API_KEY").await.unwrap();
        store.set(path, "the-second-7Kd").await;
        rotatable.refresh().await.unwrap();
        let first = SecretValue::copy_from(b"the-first-4Qz");
        assert_eq!(
            rotatable.validate(&first).await.unwrap(),
            presented,
            "{rotation}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_without_its_value() {
    let place = Place::new(
        "[profiles.development]\nstrict = true\nchain = [\"dotenv:.env\"]\n\
         [secrets.API_KEY]\nformat = \"^sk-\"\n[secrets.OTHER_KEY]\n",
    )
    .with("API_KEY", "sk-of-the-environment");
    place.write(".env", "API_KEY=wrong-8Kd93\nOTHER_KEY=changeme\n");
    let secrets = blocking::Secrets::from_builder(place.builder()).unwrap();
    for (name, value) in [("API_KEY", "wrong-8Kd93"), ("OTHER_KEY", "changeme")] {
        let error = secrets.get_or_env(name, "API_KEY").unwrap_err();
        assert!(matches!(error, GetError::Rejected { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains(value), "{error}");
    }
    let error = secrets.get("API_KYE").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest declares no API_KYE; did you mean API_KEY?"
    );
}

#[test]
fn a_profile_and_a_chain_can_be_said() {
    let place = Place::new(&format!(
        "[profiles.staging]\nchain = [\"dotenv:staging.env\"]\n{CHAIN}"
    ))
    .with("APP_PROFILE", "staging");
    place.write("staging.env", "MAIL_TOKEN=of-staging-8Kd\n");
    place.write(".env", "MAIL_TOKEN=of-development-8Kd\n");
    let get = |builder: strongroom_sdk::Builder| {
        let secrets = blocking::Secrets::from_builder(builder).unwrap();
        text(&secrets.get("MAIL_TOKEN").unwrap()).to_owned()
    };
    assert_eq!(get(place.builder()), "of-staging-8Kd");
    assert_eq!(
        get(place.builder().profile("development")),
        "of-development-8Kd"
    );
    assert_eq!(
        get(place.builder().chain(["dotenv:.env"])),
        "of-development-8Kd"
    );
    let load = |builder| blocking::Secrets::from_builder(builder).unwrap_err();
    let error = load(place.builder().profile("prod"));
    assert!(matches!(error, LoadError::NoProfile { .. }), "{error}");
    let error = load(place.builder().chain(["nothing:x"]));
    assert!(matches!(error, LoadError::Chain(_)), "{error}");
    place.write("strongroom.toml", "[project]\nnam = \"shop\"\n");
    let error = load(place.builder());
    assert!(error.to_string().contains("strongroom.toml:2"), "{error}");
}

#[tokio::test]
async fn a_locked_store_is_an_error_and_not_an_empty_one() {
    let place = Place::new(CHAIN);
    let store = place.store();
    store
        .set("shop/development/api/key", "of-the-store-4Qz")
        .await;
    std::fs::remove_file(place.path(".config/strongroom/store.key")).unwrap();
    let error = place.builder().load().await.unwrap_err();
    assert!(matches!(error, LoadError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("there is none"), "{error}");
}

#[tokio::test]
async fn a_passphrase_opens_the_store_from_its_file_or_the_application() {
    let place = Place::new(CHAIN);
    let store = place.store_with_passphrase("of-the-passphrase-4Qz");
    store
        .set("shop/development/api/key", "of-the-store-4Qz")
        .await;
    let error = place.builder().load().await.unwrap_err();
    assert!(
        error.to_string().contains("STRONGROOM_PASSPHRASE_FILE"),
        "{error}"
    );
    let given = |text: &str| SecretValue::copy_from(text.as_bytes());
    let wrong = place.builder().passphrase(given("of-nothing-4Qz"));
    let error = wrong.load().await.unwrap_err().to_string();
    assert!(error.contains("the passphrase does not open it"), "{error}");
    assert!(!error.contains("of-nothing"), "{error}");

    let right = place.builder().passphrase(given("of-the-passphrase-4Qz"));
    let secrets = right.load().await.unwrap();
    assert_eq!(
        text(&secrets.get("API_KEY").await.unwrap()),
        "of-the-store-4Qz"
    );

    let file = place.path("passphrase");
    let place = place.with("STRONGROOM_PASSPHRASE_FILE", &file.display().to_string());
    let error = place.builder().load().await.unwrap_err();
    assert!(matches!(error, LoadError::Passphrase(_)), "{error}");
    place.write("passphrase", "of-the-passphrase-4Qz\n");
    let secrets = place.builder().load().await.unwrap();
    assert_eq!(
        text(&secrets.get("API_KEY").await.unwrap()),
        "of-the-store-4Qz"
    );
}

#[tokio::test]
async fn the_value_before_is_accepted_in_its_time_and_counted() {
    let place = Place::new(CHAIN);
    let store = place.store();
    let path = "shop/development/api/key";
    let value = |text: &str| SecretValue::copy_from(text.as_bytes());
    store.set(path, "the-first-4Qz").await;
    let secrets = place.builder().load().await.unwrap();
    let hour = Duration::from_secs(3600);
    let long = secrets.rotatable("API_KEY", hour).await.unwrap();
    let none = secrets.rotatable("API_KEY", Duration::ZERO).await.unwrap();
    let first = value("the-first-4Qz");
    assert_eq!(long.validate(&first).await.unwrap(), Presented::Current);
    assert_eq!(
        long.validate(&value("a guess")).await.unwrap(),
        Presented::Neither
    );
    store.set(path, "the-second-7Kd").await;
    for rotatable in [&long, &none] {
        assert_eq!(text(&rotatable.refresh().await.unwrap()), "the-second-7Kd");
        let second = rotatable.validate(&value("the-second-7Kd")).await.unwrap();
        assert_eq!(second, Presented::Current);
    }
    assert_eq!(long.previous_uses(), 0);
    assert_eq!(long.validate(&first).await.unwrap(), Presented::Previous);
    assert_eq!(long.validate(&first).await.unwrap(), Presented::Previous);
    assert_eq!(long.previous_uses(), 2);
    assert_eq!(none.validate(&first).await.unwrap(), Presented::Neither);
    assert_eq!(none.previous_uses(), 0);
    // Only one is remembered.
    store.set(path, "the-third-2Wx").await;
    long.refresh().await.unwrap();
    assert_eq!(long.validate(&first).await.unwrap(), Presented::Neither);
    assert!(!format!("{long:?}").contains("the-"));
    assert!(secrets.rotatable("NOT_DECLARED", hour).await.is_err());
}
