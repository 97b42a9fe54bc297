use std::sync::Arc;

use strongroom_core::port::Storage;
use strongroom_store::embedded::Writes;
use strongroom_store::memory::MemoryStorage;
use strongroom_testkit::store_contract;

use crate::support::embedded;

fn memory() -> (Arc<dyn Storage>, ()) {
    (Arc::new(MemoryStorage::new()), ())
}

store_contract!(memory_storage, memory());
store_contract!(embedded_inline, embedded(Writes::Inline));
store_contract!(embedded_grouped, embedded(Writes::Grouped));
