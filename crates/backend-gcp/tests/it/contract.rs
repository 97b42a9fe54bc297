//! The contract of every backend.

use strongroom_fakes::google::Fake;
use strongroom_fakes::wait;
use strongroom_testkit::backend_contract;

use crate::world::open;

backend_contract!(
    contract,
    wait,
    wait(async {
        let fake = Fake::start().await;
        (Box::new(open("shop", fake.port(), "").await), fake)
    })
);
