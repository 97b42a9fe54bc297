use strongroom_testkit::store_contract;

use std::sync::Arc;

use strongroom_core::port::Storage;
use strongroom_testkit::postgres::Postgres;

use crate::support::store;

fn postgres() -> (Arc<dyn Storage>, Postgres) {
    store()
}

store_contract!(postgres_storage, postgres());
