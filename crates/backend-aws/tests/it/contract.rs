//! Secrets Manager against the contract that every backend keeps.

use crate::support::Moto;
use crate::support::open_at;
use crate::support::wait;

fn fresh() -> (Box<strongroom_backend_aws::AwsBackend>, Moto) {
    let moto = Moto::start();
    let backend = open_at("/", moto.address, "");
    (Box::new(backend), moto)
}

strongroom_testkit::backend_contract!(secrets_manager, wait, fresh());
