//! Tokens: `auth/token/`.

mod create;
mod roles;

use serde_json::Value;
use serde_json::json;
use strongroom_core::lease::format_short;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::tokens::Token;
use strongroom_engine::tokens::TokenKind;

use super::call::Call;
use super::error::Fault;
use super::field;
use super::reply::Answer;
use super::reply::Auth;
use super::route::Route;
use super::route::route;
use crate::core::Known;

pub(crate) const ROUTES: &[Route] = &[
    route!(Policy "create" { Write => create::create }),
    route!(Policy "create/+" { Write => create::create_by_role }),
    route!(Policy "create-orphan" { Write => create::create_orphan }),
    route!(Policy "lookup" { Read => lookup, Write => lookup }),
    route!(Policy "lookup-self" { Read => lookup_self, Write => lookup_self }),
    route!(Policy "lookup-accessor" { Read => lookup_accessor, Write => lookup_accessor }),
    route!(Policy "renew" { Write => renew }),
    route!(Policy "renew-self" { Write => renew_self }),
    route!(Policy "renew-accessor" { Write => renew_accessor }),
    route!(Policy "revoke" { Write => revoke }),
    route!(Policy "revoke-self" { Write => revoke_self }),
    route!(Policy "revoke-accessor" { Write => revoke_accessor }),
    route!(Sudo "revoke-orphan" { Write => revoke_orphan }),
    route!(Sudo "accessors" { List => accessors }),
    route!(Policy "roles" { List => roles::list, Read => roles::list }),
    route!(Policy "roles/+" [roles::exists] {
        Read => roles::read,
        Write => roles::write,
        Delete => roles::delete,
    }),
    route!(Policy "tidy" { Write => tidy }),
];

/// The token that a request names, or the one in its query.
fn named(call: &Call) -> Result<Option<SecretValue>, Fault> {
    field::secret(&call.fields, "token")
}

fn accessor(call: &Call) -> Result<String, Fault> {
    field::text(&call.fields, "accessor")?
        .filter(|accessor| !accessor.is_empty())
        .ok_or_else(|| Fault::invalid("1 error occurred:\n\t* missing accessor\n\n"))
}

fn invalid_accessor() -> Fault {
    Fault::invalid("1 error occurred:\n\t* invalid accessor\n\n")
}

async fn lookup(call: &mut Call) -> Result<Answer, Fault> {
    let Some(plain) = named(call)? else {
        return lookup_self(call).await;
    };
    let found = super::dispatch::find_token(&call.core, &plain, call.now).await?;
    match found.filter(|known| known.is_alive(call.now)) {
        Some(known) => Ok(Answer::data(describe(&known.token, Some(&plain), call.now))),
        None => Err(Fault::Refused("bad token".into())),
    }
}

async fn lookup_self(call: &mut Call) -> Result<Answer, Fault> {
    let token = &call.caller()?.token;
    Ok(Answer::data(describe(token, call.token.as_ref(), call.now)))
}

async fn lookup_accessor(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.token_of_accessor(&accessor(call)?).await?;
    match found.filter(|found| found.value.is_alive(call.now)) {
        Some(found) => Ok(Answer::data(describe(&found.value, None, call.now))),
        None => Err(invalid_accessor()),
    }
}

fn describe(token: &Token, plain: Option<&SecretValue>, now: Timestamp) -> Value {
    // EXPOSE: whoever looks a token up by itself has it already, and gets it back as Vault does.
    let id = plain.and_then(SecretValue::expose_secret_text);
    let mut json = json!({
        "accessor": token.accessor,
        "creation_time": token.created.as_micros() / 1_000_000,
        "creation_ttl": token.creation_ttl,
        "display_name": token.display_name,
        "entity_id": token.entity_id,
        "expire_time": token.expires.map(|end| end.to_string()),
        "explicit_max_ttl": token.explicit_max_ttl,
        "id": id.unwrap_or_default(),
        "issue_time": token.created.to_string(),
        "meta": token.meta,
        "num_uses": token.num_uses,
        "orphan": token.parent.is_none(),
        "path": token.path,
        "policies": token.policies,
        "renewable": token.is_renewable,
        "ttl": token.ttl_seconds(now),
        "type": token.kind.word(),
    });
    if let Some(map) = json.as_object_mut() {
        if token.period > 0 {
            map.insert("period".into(), token.period.into());
        }
        if !token.role.is_empty() {
            map.insert("role".into(), token.role.as_str().into());
        }
        if !token.bound_cidrs.is_empty() {
            map.insert("bound_cidrs".into(), token.bound_cidrs.clone().into());
        }
        if let Some(at) = token.last_renewal {
            map.insert("last_renewal".into(), at.to_string().into());
            let seconds = at.as_micros() / 1_000_000;
            map.insert("last_renewal_time".into(), seconds.into());
        }
    }
    json
}

async fn renew(call: &mut Call) -> Result<Answer, Fault> {
    let plain = named(call)?.ok_or_else(|| Fault::invalid("missing token ID"))?;
    let found = super::dispatch::find_token(&call.core, &plain, call.now).await?;
    let Some(known) = found.filter(|known| known.is_alive(call.now)) else {
        return Err(Fault::invalid("token not found"));
    };
    prolong(call, &known.token, known.id, Some(plain)).await
}

async fn renew_self(call: &mut Call) -> Result<Answer, Fault> {
    let caller = std::sync::Arc::clone(call.caller()?);
    let plain = call.token.clone();
    prolong(call, &caller.token, caller.id, plain).await
}

async fn renew_accessor(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.token_of_accessor(&accessor(call)?).await?;
    let Some(found) = found.filter(|found| found.value.is_alive(call.now)) else {
        return Err(invalid_accessor());
    };
    prolong(call, &found.value, found.id, None).await
}

async fn prolong(
    call: &Call,
    token: &Token,
    id: strongroom_core::port::RecordId,
    plain: Option<SecretValue>,
) -> Result<Answer, Fault> {
    let increment = field::seconds(&call.fields, "increment")?.unwrap_or(0);
    if token.kind == TokenKind::Batch {
        return Err(Fault::invalid("batch tokens cannot be renewed"));
    }
    super::renewal::check(&call.core, token).await?;
    let max_ttl = call.core.max_ttl_of(token.mount);
    let renewed = call
        .core
        .state
        .renew(id, call.now, increment, max_ttl)
        .await;
    let token = match renewed {
        Err(Error::NotFound { .. }) => return Err(Fault::invalid("token not found")),
        result => result?,
    };
    let token_period = token.period;
    let auth = Auth {
        client_token: plain,
        lease_seconds: token.ttl_seconds(call.now),
        accessor: token.accessor,
        policies: token.policies,
        metadata: token.meta,
        is_renewable: token.is_renewable,
        entity_id: token.entity_id,
        token_type: token.kind.word(),
        is_orphan: token.parent.is_none(),
        num_uses: token.num_uses,
    };
    let given = auth.lease_seconds;
    let mut warnings = Vec::new();
    if increment > given && token_period == 0 {
        let short = |seconds| format_short(Span::from_seconds(seconds));
        warnings.push(format!(
            "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped \
             accordingly",
            short(increment),
            short(given)
        ));
    }
    Ok(Answer::auth(auth, warnings))
}

async fn end(call: &Call, known: &Known) -> Result<Answer, Fault> {
    if known.token.kind == TokenKind::Batch {
        return Err(Fault::invalid("batch tokens cannot be revoked"));
    }
    call.core.state.revoke(known.id).await?;
    Ok(Answer::Empty)
}

async fn revoke(call: &mut Call) -> Result<Answer, Fault> {
    let plain = named(call)?.ok_or_else(|| Fault::invalid("missing token ID"))?;
    match super::dispatch::find_token(&call.core, &plain, call.now).await? {
        Some(known) => end(call, &known).await,
        None => Ok(Answer::Empty),
    }
}

async fn revoke_self(call: &mut Call) -> Result<Answer, Fault> {
    end(call, call.caller()?).await
}

async fn revoke_accessor(call: &mut Call) -> Result<Answer, Fault> {
    match call.core.state.token_of_accessor(&accessor(call)?).await? {
        Some(found) => {
            call.core.state.revoke(found.id).await?;
            Ok(Answer::Empty)
        }
        None => {
            let nobody = "No token found with this accessor";
            Ok(Answer::data(Value::Null).with_warning(nobody))
        }
    }
}

async fn revoke_orphan(call: &mut Call) -> Result<Answer, Fault> {
    let plain = named(call)?.ok_or_else(|| Fault::invalid("missing token ID"))?;
    match super::dispatch::find_token(&call.core, &plain, call.now).await? {
        Some(known) if known.token.kind == TokenKind::Service => {
            call.core.state.revoke_orphan(known.id).await?;
            Ok(Answer::Empty)
        }
        Some(_) => Err(Fault::invalid("batch tokens cannot be revoked")),
        None => Err(Fault::invalid("token to revoke not found")),
    }
}

async fn accessors(call: &mut Call) -> Result<Answer, Fault> {
    let names = call.core.state.accessors().await?;
    Answer::keys(&super::kv2::page(call, names)?)
}

async fn tidy(call: &mut Call) -> Result<Answer, Fault> {
    call.core.state.tidy_tokens().await?;
    let answer = Answer::data(Value::Null).with_warning(
        "Tidy operation successfully started. Any information from the operation will be \
         printed to the server logs.",
    );
    Ok(match answer {
        Answer::Full(mut full) => {
            full.status = http::StatusCode::ACCEPTED;
            Answer::Full(full)
        }
        other => other,
    })
}
