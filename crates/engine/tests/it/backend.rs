//! The store keeps the contract of backends.

use strongroom_core::port::Backend;
use strongroom_engine::backend::StoreBackend;

use crate::support::World;

fn store() -> (Box<dyn Backend>, World) {
    let world = World::new();
    let engine = world.engine.clone();
    let backend = StoreBackend::new(engine, crate::support::context(), String::new());
    (Box::new(backend), world)
}

strongroom_testkit::backend_contract!(contract, pollster::block_on, store());
