//! Secrets without versions: each write takes the place of what was there.

use serde_json::Value;
use strongroom_engine::Error;
use strongroom_engine::secrets::NewVersion;

use super::body::Wiped;
use super::call::Call;
use super::error::Fault;

use super::reply::Answer;
use super::reply::Data;
use super::reply::Full;
use super::route::Route;
use super::route::route;

pub(crate) const ROUTES: &[Route] = &[route!(Policy "*" [exists] {
    Read => read,
    List => list,
    Scan => scan,
    Write => write,
    Delete => delete,
})];

async fn exists(call: &Call) -> Result<bool, Fault> {
    let Ok(path) = call.secret_path() else {
        return Ok(false);
    };
    Ok(call.core.secret(&call.live, &path).await?.is_some())
}

async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    let Some(seen) = call.core.secret(&call.live, &path).await? else {
        return Err(Fault::NotFound);
    };
    let Some(newest) = seen.snapshot.newest() else {
        return Err(Fault::NotFound);
    };
    let value = call
        .live
        .secrets
        .value_in(&seen.snapshot, newest.number, call.now);
    let Some(payload) = value.await? else {
        return Err(Fault::NotFound);
    };
    call.note_read(&path, newest);
    // EXPOSE: the value goes into the answer to a caller that may read it.
    let parsed = serde_json::from_slice(payload.value.expose_secret());
    let value: Value = parsed.map_err(|_| Fault::Internal("a stored object is no JSON".into()))?;
    let usual = match call.live.mount.default_lease_ttl {
        0 => strongroom_engine::tokens::TTL_SECONDS_MAX_DEFAULT,
        own => own,
    };
    // A secret may say itself when to look again.
    let own = value.get("ttl").or_else(|| value.get("lease"));
    let own = own
        .and_then(super::field::seconds_of)
        .filter(|seconds| *seconds > 0);
    let mut full = Full::of(Data::Value(value));
    full.lease_seconds = own.unwrap_or(usual);
    Ok(Answer::Full(Box::new(full)))
}

async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let folder = call.capture(0).trim_end_matches('/').to_owned();
    super::kv2::names_in(call, &folder).await
}

async fn scan(call: &mut Call) -> Result<Answer, Fault> {
    let folder = call.capture(0).trim_end_matches('/').to_owned();
    let paths = call.live.secrets.paths_below(&folder).await?;
    let prefix = if folder.is_empty() {
        folder
    } else {
        folder + "/"
    };
    let names = paths.into_iter().map(|path| {
        path.strip_prefix(&prefix)
            .map(str::to_owned)
            .unwrap_or(path)
    });
    Answer::keys(&super::kv2::page(call, names.collect())?)
}

async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    if call.fields.is_empty() {
        return Err(Fault::invalid("missing data fields"));
    }
    let object = Wiped(call.fields.to_value());
    let bytes = super::body::compact(&object.0);
    let payload = strongroom_core::secret::Payload {
        value: strongroom_core::secret::SecretValue::copy_from(&bytes),
        shape: strongroom_core::secret::Shape::Fields,
    };
    let how = NewVersion {
        cas: None,
        cas_required: false,
        max_versions: 1,
        delete_after: None,
    };
    let (secrets, context) = (&call.live.secrets, call.context());
    secrets.put_version(&context, &path, &payload, &how).await?;
    Ok(Answer::Empty)
}

async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    match call.live.secrets.remove(&call.context(), &path).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(Answer::Empty),
        Err(error) => Err(error.into()),
    }
}
