//! Answers and how they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use super::body::compact;

/// JSON that was written before, and how it stands in the audit log.
pub(crate) struct Rendered {
    pub(crate) json: Zeroizing<Vec<u8>>,
    pub(crate) audit: String,
}

/// What an answer says.
pub(crate) enum Answer {
    /// Done; nothing to say.
    Empty,
    /// JSON as it is, without the usual frame.
    Bare(StatusCode, Value),
    /// A text that is no JSON.
    Text(&'static str, String),
    /// The usual frame.
    Full(Box<Full>),
    /// An answer that was wrapped, as it was.
    Stored(Zeroizing<Vec<u8>>),
}

/// The usual frame of an answer.
pub(crate) struct Full {
    pub(crate) status: StatusCode,
    pub(crate) data: Data,
    pub(crate) auth: Option<Auth>,
    pub(crate) wrap: Option<WrapInfo>,
    pub(crate) warnings: Vec<String>,
    /// The data's fields stand at the top as well.
    pub(crate) is_lifted: bool,
    pub(crate) lease_id: String,
    pub(crate) lease_seconds: i64,
    pub(crate) is_renewable: bool,
    /// The accessor of what the answer gives, for whoever wraps it.
    pub(crate) accessor: Option<String>,
}

/// The data of an answer.
pub(crate) enum Data {
    /// `null`.
    None,
    /// JSON.
    Value(Value),
    /// JSON that was written before.
    Rendered(Arc<Rendered>),
}

/// A token that was given.
pub(crate) struct Auth {
    pub(crate) client_token: Option<SecretValue>,
    pub(crate) accessor: String,
    pub(crate) policies: Vec<String>,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    pub(crate) lease_seconds: i64,
    pub(crate) is_renewable: bool,
    pub(crate) entity_id: String,
    pub(crate) token_type: &'static str,
    pub(crate) is_orphan: bool,
    pub(crate) num_uses: i64,
}

/// A wrapping token.
pub(crate) struct WrapInfo {
    pub(crate) token: SecretValue,
    pub(crate) accessor: String,
    pub(crate) ttl: i64,
    pub(crate) created: String,
    pub(crate) path: String,
    pub(crate) wrapped_accessor: Option<String>,
}

impl Answer {
    /// Data in the usual frame.
    pub(crate) fn data(value: Value) -> Self {
        Self::Full(Box::new(Full::of(Data::Value(value))))
    }

    /// Data in the usual frame, its fields at the top as well.
    pub(crate) fn lifted(value: Value) -> Self {
        let mut full = Full::of(Data::Value(value));
        full.is_lifted = true;
        Self::Full(Box::new(full))
    }

    /// A token that was given.
    pub(crate) fn auth(auth: Auth, warnings: Vec<String>) -> Self {
        let mut full = Full::of(Data::None);
        full.accessor = Some(auth.accessor.clone());
        full.auth = Some(auth);
        full.warnings = warnings;
        Self::Full(Box::new(full))
    }

    /// What was written before.
    pub(crate) fn rendered(rendered: Arc<Rendered>) -> Self {
        Self::Full(Box::new(Full::of(Data::Rendered(rendered))))
    }

    /// Names, or "not found" for none.
    pub(crate) fn keys(names: &[String]) -> Result<Self, super::error::Fault> {
        if names.is_empty() {
            return Err(super::error::Fault::NotFound);
        }
        Ok(Self::data(json!({ "keys": names })))
    }

    pub(crate) fn with_warning(self, warning: &str) -> Self {
        match self {
            Self::Full(mut full) => {
                full.warnings.push(warning.to_owned());
                Self::Full(full)
            }
            other => other,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Empty => StatusCode::NO_CONTENT,
            Self::Bare(status, _) => *status,
            Self::Text(..) | Self::Stored(_) => StatusCode::OK,
            Self::Full(full) => full.status,
        }
    }
}

impl Full {
    pub(crate) fn of(data: Data) -> Self {
        Self {
            status: StatusCode::OK,
            data,
            auth: None,
            wrap: None,
            warnings: Vec::new(),
            is_lifted: false,
            lease_id: String::new(),
            lease_seconds: 0,
            is_renewable: false,
            accessor: None,
        }
    }

    /// The JSON of the whole answer.
    pub(crate) fn render(&self, request_id: &str) -> Zeroizing<Vec<u8>> {
        let rendered;
        let data: &[u8] = match &self.data {
            Data::None => b"null",
            Data::Rendered(rendered) => &rendered.json,
            Data::Value(value) => {
                rendered = compact(value);
                &rendered
            }
        };
        let auth = self.auth.as_ref().map(|auth| compact(&auth.to_json()));
        let wrap = self.wrap.as_ref().map(|wrap| compact(&wrap.to_json()));
        let auth: &[u8] = auth.as_ref().map_or(b"null", |json| json);
        let wrap: &[u8] = wrap.as_ref().map_or(b"null", |json| json);
        let lifted: &[u8] = match (self.is_lifted, data) {
            (true, [b'{', fields @ .., b'}']) if !fields.is_empty() => fields,
            _ => b"",
        };
        let size = 320 + data.len() + lifted.len() + auth.len() + wrap.len();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.push(b'{');
        if !lifted.is_empty() {
            out.extend_from_slice(lifted);
            out.push(b',');
        }
        out.extend_from_slice(b"\"request_id\":\"");
        out.extend_from_slice(request_id.as_bytes());
        out.extend_from_slice(b"\",\"lease_id\":");
        match self.lease_id.as_str() {
            "" => out.extend_from_slice(b"\"\""),
            id => out.extend_from_slice(&compact(&Value::from(id))),
        }
        out.extend_from_slice(if self.is_renewable {
            b",\"renewable\":true"
        } else {
            b",\"renewable\":false"
        });
        out.extend_from_slice(b",\"lease_duration\":");
        out.extend_from_slice(self.lease_seconds.to_string().as_bytes());
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
        out.extend_from_slice(b",\"wrap_info\":");
        out.extend_from_slice(wrap);
        out.extend_from_slice(b",\"warnings\":");
        match self.warnings.as_slice() {
            [] => out.extend_from_slice(b"null"),
            warnings => out.extend_from_slice(&compact(&json!(warnings))),
        }
        out.extend_from_slice(b",\"auth\":");
        out.extend_from_slice(auth);
        out.push(b'}');
        out
    }
}

impl Auth {
    fn to_json(&self) -> Value {
        let token = self.client_token.as_ref();
        // EXPOSE: a new token goes into the answer to the one who asked for it.
        let token = token.and_then(SecretValue::expose_secret_text);
        json!({
            "client_token": token.unwrap_or_default(),
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.policies,
            "metadata": self.metadata,
            "lease_duration": self.lease_seconds,
            "renewable": self.is_renewable,
            "entity_id": self.entity_id,
            "token_type": self.token_type,
            "orphan": self.is_orphan,
            "mfa_requirement": null,
            "num_uses": self.num_uses,
        })
    }
}

impl WrapInfo {
    fn to_json(&self) -> Value {
        // EXPOSE: a wrapping token goes into the answer to the one who asked for it.
        let token = self.token.expose_secret_text().unwrap_or_default();
        let mut info = Map::new();
        info.insert("token".into(), token.into());
        info.insert("accessor".into(), self.accessor.as_str().into());
        info.insert("ttl".into(), self.ttl.into());
        info.insert("creation_time".into(), self.created.as_str().into());
        info.insert("creation_path".into(), self.path.as_str().into());
        if let Some(accessor) = &self.wrapped_accessor {
            info.insert("wrapped_accessor".into(), accessor.as_str().into());
        }
        Value::Object(info)
    }
}
