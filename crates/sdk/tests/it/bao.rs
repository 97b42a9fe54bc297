//! A real OpenBao, through a door that counts what is asked and can be shut.

use std::sync::Arc;
use std::time::Duration;

use strongroom_sdk::BackendErrorKind;
use strongroom_sdk::GetError;
use strongroom_sdk::OnError;
use strongroom_sdk::Secrets;
use strongroom_testkit::openbao::OpenBao;
use tokio::sync::Barrier;

use crate::place::Place;
use crate::place::text;
use crate::server::Door;
use crate::server::put;

const MANIFEST: &str = "[profiles.development]\nchain = [\"vault:secret/shop\"]\n\
                        [secrets.API_KEY]\npath = \"api/key\"\n[secrets.OTHER_KEY]\n";

fn place(bao: &OpenBao, door: &Door) -> Place {
    put(bao, "shop/api/key", "of-the-server-4Qz");
    Place::new(MANIFEST)
        .with("VAULT_ADDR", &door.url())
        .with("VAULT_TOKEN", "root")
        .with("VAULT_MAX_RETRIES", "0")
        .with("API_KEY", "old-value-of-the-environment")
}

#[tokio::test]
async fn callers_of_one_expired_value_cause_one_fetch() {
    let bao = OpenBao::start();
    let door = Door::open(bao.port()).await;
    let place = place(&bao, &door);
    let secrets = place.builder().load().await.unwrap();
    const CALLERS: usize = 32;
    let together = Arc::new(Barrier::new(CALLERS));
    let call = |secrets: Secrets, together: Arc<Barrier>| async move {
        together.wait().await;
        secrets.get("API_KEY").await.unwrap()
    };
    let before = door.count("GET /v1/secret/data/shop/api/key");
    let calls = (0..CALLERS).map(|_| tokio::spawn(call(secrets.clone(), together.clone())));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(text(&call.await.unwrap()), "of-the-server-4Qz");
    }
    let asked = door.count("GET /v1/secret/data/shop/api/key") - before;
    assert_eq!(asked, 1, "one fetch for all");
    put(&bao, "shop/api/key", "rotated-7Kd");
    assert_eq!(
        text(&secrets.get("API_KEY").await.unwrap()),
        "of-the-server-4Qz"
    );
    assert_eq!(
        text(&secrets.refresh("API_KEY").await.unwrap()),
        "rotated-7Kd"
    );
}

#[tokio::test]
async fn a_failure_is_never_not_found() {
    let bao = OpenBao::start();
    let door = Door::open(bao.port()).await;
    let place = place(&bao, &door);
    let load = |on_error| {
        let builder = place.builder().ttl(Duration::ZERO);
        builder.on_error(on_error).load()
    };
    let secrets = load(OnError::Fail).await.unwrap();
    let tolerant = load(OnError::GoOn).await.unwrap();
    // Not there: the variable's value.
    let found = secrets.get_or_env("OTHER_KEY", "API_KEY").await.unwrap();
    assert_eq!(text(&found), "old-value-of-the-environment");
    assert!(secrets.get("OTHER_KEY").await.unwrap_err().is_not_found());
    // Not allowed: an error.
    let denied = Place::new(MANIFEST)
        .with("VAULT_ADDR", &door.url())
        .with("VAULT_TOKEN", "no-such-token")
        .with("API_KEY", "old-value-of-the-environment");
    let denied = denied.builder().load().await;
    let kind = match denied {
        Ok(secrets) => match secrets.get_or_env("API_KEY", "API_KEY").await.unwrap_err() {
            GetError::Backend(error) => error.kind,
            error => panic!("{error}"),
        },
        Err(strongroom_sdk::LoadError::Backend(error)) => error.kind,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(kind, BackendErrorKind::Denied);
    // Away: an error, unless the application says otherwise.
    door.shut();
    let error = secrets.get_or_env("API_KEY", "API_KEY").await.unwrap_err();
    assert!(!error.is_not_found());
    assert!(matches!(error, GetError::Backend(_)), "{error}");
    let found = tolerant.get_or_env("API_KEY", "API_KEY").await.unwrap();
    assert_eq!(text(&found), "old-value-of-the-environment");
    let error = tolerant.get_or_env("API_KEY", "UNSET").await.unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}
