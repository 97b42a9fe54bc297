//! The contract of every backend.

use strongroom_testkit::backend_contract;

use crate::fake::Fake;
use crate::world::open;
use crate::world::wait;

backend_contract!(
    contract,
    wait,
    wait(async {
        let fake = Fake::start().await;
        (Box::new(open("shop", fake.port(), "").await), fake)
    })
);
