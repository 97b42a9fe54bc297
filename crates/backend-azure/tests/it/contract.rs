//! The contract of every backend.

use strongroom_fakes::wait;
use strongroom_testkit::backend_contract;

use crate::world::World;

backend_contract!(
    contract,
    wait,
    wait(async {
        let world = World::start().await;
        (Box::new(world.backend("", "").await), world)
    })
);
