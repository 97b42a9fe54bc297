//! Rotations that wait for a person.

use strongroom_core::rotator::Checklist;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::version::Provenance;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::WAITS;

use crate::support::World;
use crate::support::build;
use crate::support::shown;
use crate::support::text;

fn spec(lines: &[&str]) -> RotatorSpec {
    RotatorSpec::Manual(Checklist {
        checklist: lines.iter().map(|&line| line.to_owned()).collect(),
    })
}

#[tokio::test]
async fn a_rotation_waits_until_somebody_brings_the_value() {
    let world = World::with("old").await;
    let rotator = build(&spec(&["Log in at example.org", "Make a key"]), None);
    world.ask(Purpose::Rotate).await;
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    let waits = world.failure().await;
    assert_eq!(waits.code, WAITS);
    assert!(
        waits
            .message
            .contains("1. Log in at example.org; 2. Make a key"),
        "{waits}"
    );
    // Waiting is no failure.
    assert_eq!(world.record().await.failures, 0);
    assert!(world.supply(&text("new")).await);
    assert_eq!(shown(&world.current().await), "old");
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Finished), "{after:?}");
    assert_eq!(shown(&world.current().await), "new");
    let versions = world.versions().await;
    assert_eq!(versions.last().unwrap().provenance, Provenance::Rotated);
    assert!(!world.supply(&text("nobody waits")).await);
}

#[tokio::test]
async fn the_value_that_is_there_already_is_no_new_one() {
    let world = World::with("old").await;
    let rotator = build(&spec(&["Make a key"]), None);
    world.ask(Purpose::Rotate).await;
    world.drive(&*rotator).await;
    assert!(world.supply(&text("old")).await);
    let after = world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    assert_eq!(world.failure().await.code, "rotation.same_value");
    for lines in [&[][..], &[""], &["a\nb"]] {
        assert!(
            strongroom_rotators::check(&spec(lines)).is_err(),
            "{lines:?}"
        );
    }
}
