//! How the server is.

use http::StatusCode;
use serde_json::Map;
use serde_json::json;

use crate::node::Node;
use crate::vault::error::Fault;
use crate::vault::query::Query;
use crate::vault::reply::Answer;

/// What `sys/health` answers, whose statuses can be chosen.
pub(super) fn health(node: &Node, query: &Query) -> Result<Answer, Fault> {
    let core = node.core();
    let is_initialised = core.is_some() || node.header()?.is_some();
    let (name, usual) = match (is_initialised, core.is_some()) {
        (false, _) => ("uninitcode", 501),
        (true, false) => ("sealedcode", 503),
        // A load balancer asks another server then.
        (true, true) if !node.keeper.is_reachable() => ("unreachablecode", 503),
        (true, true) => ("activecode", 200),
    };
    let code = match query.get(name) {
        None | Some("") => usual,
        Some(text) => text
            .parse()
            .map_err(|_| Fault::invalid("bad status code"))?,
    };
    let status = StatusCode::from_u16(code).map_err(|_| Fault::invalid("bad status code"))?;
    if code < 200 {
        return Err(Fault::invalid("bad status code"));
    }
    let mut map = Map::new();
    map.insert("initialized".into(), is_initialised.into());
    map.insert("sealed".into(), core.is_none().into());
    map.insert("standby".into(), core.is_none().into());
    map.insert("performance_standby".into(), false.into());
    let disabled = if core.is_some() {
        "disabled"
    } else {
        "unknown"
    };
    map.insert("replication_performance_mode".into(), disabled.into());
    map.insert("replication_dr_mode".into(), disabled.into());
    let seconds = node.now().as_micros() / 1_000_000;
    map.insert("server_time_utc".into(), seconds.into());
    map.insert("version".into(), node.settings.version.as_str().into());
    if let Some(core) = core {
        map.insert("cluster_name".into(), core.cluster_name.as_str().into());
        map.insert("cluster_id".into(), core.cluster_id.as_str().into());
    }
    Ok(Answer::Bare(status, map.into()))
}

/// What `sys/seal-status` and `sys/unseal` answer.
pub(super) async fn seal_status(node: &Node) -> Result<Answer, Fault> {
    let header = node.header()?;
    let core = node.core();
    let slot = header.as_ref().and_then(|header| node.share_slot(header));
    let (shares, threshold) = slot.map_or((0, 0), |slot| (slot.shares, slot.threshold));
    let ceremonies = node.ceremonies.lock().await;
    let (progress, nonce) = match core {
        Some(_) => (0, ""),
        None => (ceremonies.unseal.count(), ceremonies.unseal.nonce.as_str()),
    };
    let mut map = Map::new();
    map.insert("type".into(), "shamir".into());
    map.insert("initialized".into(), header.is_some().into());
    map.insert("sealed".into(), core.is_none().into());
    map.insert("t".into(), threshold.into());
    map.insert("n".into(), shares.into());
    map.insert("progress".into(), progress.into());
    map.insert("nonce".into(), nonce.into());
    map.insert("version".into(), node.settings.version.as_str().into());
    map.insert("commit_date".into(), "".into());
    map.insert("migration".into(), false.into());
    if let Some(core) = &core {
        map.insert("cluster_name".into(), core.cluster_name.as_str().into());
        map.insert("cluster_id".into(), core.cluster_id.as_str().into());
    }
    map.insert("recovery_seal".into(), false.into());
    map.insert("storage_type".into(), node.keeper.word().into());
    Ok(Answer::Bare(StatusCode::OK, map.into()))
}

pub(super) fn leader() -> Answer {
    Answer::Bare(StatusCode::OK, json!({ "ha_enabled": false }))
}
