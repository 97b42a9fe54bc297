//! The contract of every backend, with and without one object for everything.

use strongroom_fakes::wait;
use strongroom_testkit::backend_contract;

use crate::world::World;

fn make(line: &str) -> (Box<strongroom_backend_kubernetes::KubernetesBackend>, World) {
    wait(async {
        let world = World::start().await;
        (Box::new(world.backend(line).await), world)
    })
}

backend_contract!(a_namespace, wait, make("k8s:shop"));
backend_contract!(one_object, wait, make("k8s:shop/app"));
