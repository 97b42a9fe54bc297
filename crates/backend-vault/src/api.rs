//! Plain calls of a server's API, for whoever administers it.

use std::sync::Arc;

use serde_json::Value;
use strongroom_core::port::BackendError;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;

use crate::client::Client;
use crate::client::Reply;
use crate::client::Request;
use crate::client::Verb;
use crate::explain;
use crate::session::Session;
use crate::settings::Settings;
use crate::value::wipe;

/// A server, and the token that its settings name.
pub struct Api {
    session: Session,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads.
    Read,
    /// Lists names.
    List,
    /// Writes; also what is done by writing. What the server says that repeats a part of it is not
    /// quoted.
    Write,
    /// Writes what holds no secret: all that the server says of it may be told.
    Tell,
    /// Deletes.
    Delete,
}

/// As whom a call is made.
#[derive(Clone, Copy, Debug)]
pub enum As<'t> {
    /// With the token of the settings.
    Configured,
    /// With no token: logins, and what a sealed server answers.
    Nobody,
    /// With this token.
    Token(&'t SecretValue),
}

/// What a call was answered; wiped on drop.
pub struct ApiAnswer(Value);

impl ApiAnswer {
    /// The body.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }
}

impl Drop for ApiAnswer {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl Api {
    /// Reads the URI, the variables and the files they name; asks the server nothing.
    ///
    /// # Errors
    /// When a setting makes no sense, or a file cannot be read.
    pub fn open(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Arc::new(Settings::read(uri, variables)?);
        Ok(Self {
            session: Session::new(Client::new(settings)?),
        })
    }

    /// The server as messages name it: scheme, host and port.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.session.client.settings().server
    }

    /// Calls a path below `/v1/`. `None` when nothing is there.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses. The body is quoted nowhere.
    pub async fn call(
        &self,
        call: Call,
        path: &str,
        body: Option<Value>,
        caller: As<'_>,
    ) -> Result<Option<ApiAnswer>, BackendError> {
        let request = Request::new(call.verb(), path);
        let request = match body {
            Some(body) if call == Call::Tell => request.with_open_json(body),
            Some(body) => request.with_json(body),
            None => request,
        };
        let (client, deadline) = (&self.session.client, self.session.client.deadline());
        let reply = match caller {
            As::Configured => self.session.send(&request, deadline).await?,
            As::Nobody => client.send(&request, None, deadline).await?,
            As::Token(token) => client.send(&request, Some(token), deadline).await?,
        };
        if reply.is(404) {
            explain::absent(client, &request, &reply)?;
            return Ok(None);
        }
        if reply.is(403) {
            return Err(match caller {
                As::Configured => self.session.denied(&request, &reply, deadline).await,
                As::Nobody | As::Token(_) => {
                    let said = explain::quote(&request, &reply);
                    let kind = strongroom_core::port::BackendErrorKind::Denied;
                    client.error(kind, format!("the server refuses that{said}"))
                }
            });
        }
        if !reply.is_success() {
            return Err(explain::unexpected(client, &request, &reply));
        }
        self.body(&request, &reply).map(Some)
    }

    fn body(&self, request: &Request, reply: &Reply) -> Result<ApiAnswer, BackendError> {
        if reply.is_empty() {
            return Ok(ApiAnswer(Value::Null));
        }
        let answer = reply.json().map(|mut answer| answer.take(""));
        answer
            .map(ApiAnswer)
            .ok_or_else(|| explain::malformed(&self.session.client, request))
    }
}

impl Call {
    fn verb(self) -> Verb {
        match self {
            Self::Read => Verb::Get,
            Self::List => Verb::List,
            Self::Write | Self::Tell => Verb::Post,
            Self::Delete => Verb::Delete,
        }
    }
}
