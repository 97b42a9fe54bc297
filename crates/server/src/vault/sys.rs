//! The server itself: `sys/`.

mod access_keys;
mod audit;
mod capabilities;
mod catalog;
mod jwks;
mod leases;
mod mails;
pub(crate) mod mounts;
mod options;
mod password_policies;
mod policies;
mod quotas;
mod rotation_policies;
mod rotations;
mod rotators;
mod tools;
pub(crate) mod users;
mod webhooks;

use serde_json::json;

use super::call::Call;
use super::error::Fault;
use super::keys;
use super::reply::Answer;
use super::route::Route;
use super::route::route;
use super::wrap;

pub(crate) const ROUTES: &[Route] = &[
    route!(Policy "internal/ui/resultant-acl" { Read => capabilities::resultant }),
    route!(AnyToken "internal/ui/mounts" { Read => mounts::visible }),
    route!(AnyToken "internal/ui/mounts/*" { Read => mounts::preflight }),
    route!(Policy "mounts" { Read => mounts::list_engines }),
    route!(Policy "mounts/*" {
        Read => mounts::read_engine,
        Write => mounts::write_engine,
        Delete => mounts::remove_engine,
    }),
    route!(Policy "auth" { Read => mounts::list_methods }),
    route!(Sudo "auth/*" {
        Read => mounts::read_method,
        Write => mounts::write_method,
        Delete => mounts::remove_method,
    }),
    route!(Sudo "remount" { Write => mounts::remount }),
    route!(Policy "remount/status/+" { Read => mounts::remount_status }),
    route!(Policy "policy" { Read => policies::list_old, List => policies::list_old }),
    route!(Policy "policy/+" {
        Read => policies::read_old,
        Write => policies::write,
        Delete => policies::delete,
    }),
    route!(Policy "policies/password" { List => password_policies::list }),
    route!(Policy "policies/password/+" [password_policies::exists] {
        Read => password_policies::read,
        Write => password_policies::write,
        Delete => password_policies::delete,
    }),
    route!(Policy "policies/password/+/generate" { Read => password_policies::generate }),
    route!(Policy "policies/acl" { List => policies::list, Read => policies::list }),
    route!(Policy "policies/acl/+" {
        Read => policies::read,
        Write => policies::write,
        Delete => policies::delete,
    }),
    route!(Policy "capabilities" { Write => capabilities::of_token }),
    route!(Policy "capabilities-self" { Write => capabilities::of_self }),
    route!(Policy "capabilities-accessor" { Write => capabilities::of_accessor }),
    route!(Policy "aws/keys" { List => access_keys::list, Write => access_keys::create }),
    route!(Policy "aws/keys/+" { Read => access_keys::read, Delete => access_keys::revoke }),
    route!(Policy "aws/keys/+/rotate" { Write => access_keys::rotate }),
    route!(Sudo "aws/rotators" { List => rotators::list }),
    route!(Sudo "aws/rotators/+" {
        Read => rotators::read,
        Write => rotators::write,
        Delete => rotators::delete,
    }),
    route!(Sudo "rotation/policies" { List => rotation_policies::list }),
    route!(Sudo "rotation/policies/+" {
        Read => rotation_policies::read,
        Write => rotation_policies::write,
        Delete => rotation_policies::delete,
    }),
    route!(Sudo "rotation/webhooks" { List => webhooks::list }),
    route!(Sudo "rotation/webhooks/+" {
        Read => webhooks::read,
        Write => webhooks::write,
        Delete => webhooks::delete,
    }),
    route!(Sudo "rotation/mails" { List => mails::list }),
    route!(Sudo "rotation/mails/+" {
        Read => mails::read,
        Write => mails::write,
        Delete => mails::delete,
    }),
    route!(Open "jwks/*" { Read => jwks::read }),
    route!(Policy "aws/rotations" { List => rotations::list }),
    route!(Policy "aws/rotations/*" {
        Read => rotations::read,
        Write => rotations::write,
        Delete => rotations::abort,
    }),
    route!(Policy "users/+/secrets" {
        Read => users::list,
        List => users::list,
        Delete => users::erase,
    }),
    route!(Policy "users/+/secrets/*" [users::exists] {
        Read => users::read,
        Write => users::write,
        Delete => users::remove,
    }),
    route!(Policy "users/+/export" { Read => users::export }),
    route!(Policy "leases/lookup" { Write => leases::lookup }),
    route!(Sudo "leases/lookup/*" { List => leases::list }),
    route!(Policy "leases/count" { Read => leases::count }),
    route!(Sudo "leases" { Read => leases::irrevocable }),
    route!(Policy "leases/renew" { Write => leases::renew }),
    route!(Policy "leases/renew/*" { Write => leases::renew }),
    route!(Policy "leases/revoke" { Write => leases::revoke }),
    route!(Policy "leases/revoke/*" { Write => leases::revoke }),
    route!(Sudo "leases/revoke-prefix/*" { Write => leases::revoke_prefix }),
    route!(Sudo "leases/revoke-force/*" { Write => leases::revoke_force }),
    route!(Policy "leases/tidy" { Write => leases::tidy }),
    route!(Sudo "leases/reconcile" { Read => leases::compare, Write => leases::reconcile }),
    route!(Policy "renew" { Write => leases::renew }),
    route!(Policy "renew/*" { Write => leases::renew }),
    route!(Policy "revoke" { Write => leases::revoke }),
    route!(Policy "revoke/*" { Write => leases::revoke }),
    route!(Sudo "revoke-prefix/*" { Write => leases::revoke_prefix }),
    route!(Sudo "revoke-force/*" { Write => leases::revoke_force }),
    route!(Policy "wrapping/wrap" { Write => wrap::wrap_fields }),
    route!(Open "wrapping/lookup" { Read => wrap::lookup, Write => wrap::lookup }),
    route!(Open "wrapping/unwrap" { Write => wrap::unwrap }),
    route!(AnyToken "wrapping/rewrap" { Write => wrap::rewrap }),
    route!(Sudo "audit" { Read => audit::list }),
    route!(Sudo "audit/+" { Write => audit::enable, Delete => audit::disable }),
    route!(Policy "audit-hash/+" { Write => audit::hash }),
    route!(Sudo "config/auditing/request-headers" { Read => options::list_headers }),
    route!(Sudo "config/auditing/request-headers/+" {
        Read => options::read_header,
        Write => options::write_header,
        Delete => options::delete_header,
    }),
    route!(Policy "key-status" { Read => keys::key_status }),
    route!(Sudo "rotate" { Write => keys::rotate }),
    route!(Sudo "rotate/keyring" { Write => keys::rotate }),
    route!(Policy "rotate/config" {
        Read => options::read_rotation,
        Write => options::write_rotation,
    }),
    route!(Policy "rotate/keyring/config" {
        Read => options::read_rotation,
        Write => options::write_rotation,
    }),
    route!(Sudo "seal" { Write => keys::seal }),
    route!(Sudo "step-down" { Write => step_down }),
    route!(Open "generate-root/attempt" {
        Read => keys::root_status,
        Write => keys::root_begin,
        Delete => keys::root_cancel,
    }),
    route!(Open "generate-root/update" { Write => keys::root_update }),
    route!(Open "generate-root-token/attempt" {
        Read => keys::framed_status,
        Write => keys::framed_begin,
        Delete => keys::root_cancel,
    }),
    route!(Open "generate-root-token/update" { Write => keys::framed_update }),
    route!(Open "rekey/init" {
        Read => keys::rekey_status,
        Write => keys::rekey_begin,
        Delete => keys::rekey_cancel,
    }),
    route!(Open "rekey/update" { Write => keys::rekey_update }),
    route!(Open "rekey/verify" {
        Read => keys::verify_status,
        Write => keys::verify_update,
        Delete => keys::verify_restart,
    }),
    route!(Sudo "rekey/backup" { Read => keys::no_backup, Delete => keys::forget_backup }),
    route!(Policy "quotas/config" {
        Read => options::read_quotas,
        Write => options::write_quotas,
    }),
    route!(Policy "quotas/rate-limit" { List => quotas::list }),
    route!(Policy "quotas/rate-limit/+" {
        Read => quotas::read,
        Write => quotas::write,
        Delete => quotas::delete,
    }),
    route!(Policy "tools/random" { Write => tools::random }),
    route!(Policy "tools/random/+" { Write => tools::random }),
    route!(Policy "tools/random/+/+" { Write => tools::random }),
    route!(Policy "tools/hash" { Write => tools::hash }),
    route!(Policy "tools/hash/+" { Write => tools::hash }),
    route!(Policy "version-history" { List => options::versions }),
    route!(Policy "plugins/catalog" { Read => catalog::all }),
    route!(Sudo "plugins/catalog/+" { List => catalog::list }),
    route!(Sudo "plugins/catalog/+/+" { Read => catalog::read }),
    route!(Policy "metrics" { Read => metrics }),
    route!(Policy "ha-status" { Read => ha_status }),
];

async fn metrics(call: &mut Call) -> Result<Answer, Fault> {
    let text = crate::metrics::render(&call.node);
    Ok(Answer::Text("text/plain; version=0.0.4", text))
}

async fn step_down(_call: &mut Call) -> Result<Answer, Fault> {
    // One node is always the active one: there is nobody to take over.
    Ok(Answer::Empty)
}

async fn ha_status(call: &mut Call) -> Result<Answer, Fault> {
    Ok(Answer::lifted(json!({
        "nodes": [{
            "hostname": "",
            "api_address": "",
            "cluster_address": "",
            "active_node": true,
            "last_echo": null,
            "version": call.node.settings.version,
        }],
    })))
}
