//! The server that `--server` names, for the commands that administer it.

use serde_json::Value;
use strongroom_chain::server;
use strongroom_chain::server::Api;
use strongroom_chain::server::ApiAnswer;
pub(crate) use strongroom_chain::server::As;
pub(crate) use strongroom_chain::server::Call;
use strongroom_core::secret::SecretValue;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::runtime;

/// A server to be asked.
pub(crate) struct Server {
    api: Api,
}

impl Server {
    /// The server that was named; there must be one.
    pub(crate) fn open(app: &App) -> Result<Self, CommandError> {
        if app.global.server.is_none() {
            let message = format!("`{}` is for a server, and none is named", app.command);
            return Err(CommandError::usage(message)
                .hint("--server URL, or STRONGROOM_ADDR, names the server"));
        }
        runtime::start()?;
        let api = server::open(&app.environment.for_backends())?;
        Ok(Self { api })
    }

    /// Its URL, for messages.
    pub(crate) fn name(&self) -> &str {
        self.api.server()
    }

    /// A call; `None` when nothing is there.
    pub(crate) fn ask(
        &self,
        call: Call,
        path: &str,
        body: Option<Value>,
        caller: As<'_>,
    ) -> Result<Option<ApiAnswer>, CommandError> {
        Ok(runtime::wait(self.api.call(call, path, body, caller))?)
    }

    /// A call with the token that is set, which has an answer.
    pub(crate) fn demand(
        &self,
        call: Call,
        path: &str,
        body: Option<Value>,
    ) -> Result<ApiAnswer, CommandError> {
        let answer = self.ask(call, path, body, As::Configured)?;
        answer.ok_or_else(|| {
            let message = format!("{} has nothing at `{path}`", self.name());
            CommandError::new(Kind::NotFound, "server.not_found", message)
        })
    }
}

/// A secret that the server needs, typed or piped in; never an argument.
pub(crate) fn secret(app: &App, question: &str) -> Result<SecretValue, CommandError> {
    match ValueSource::parse(None)? {
        ValueSource::Prompt => app.ui.ask_secret(question, false),
        source => {
            let text = source.read(app, question, true)?;
            // EXPOSE: the end of the line is no part of it.
            Ok(SecretValue::copy_from(
                text.expose_secret().trim_ascii_end(),
            ))
        }
    }
}

/// A secret as a text of a body.
pub(crate) fn in_body(secret: &SecretValue) -> Result<Value, CommandError> {
    // EXPOSE: goes into the body of a request, which is wiped after it.
    let text = secret.expose_secret_text().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| CommandError::usage("that is empty, or no text"))?;
    Ok(Value::from(text))
}

/// A list of texts in an answer.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_owned()))
        .collect()
}

/// How long a token lives, at the end of a sentence.
pub(crate) fn lasting(seconds: u64) -> String {
    match seconds {
        0 => "without an end".to_owned(),
        _ => format!("for {}", span(seconds)),
    }
}

/// Seconds as people say them.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0 => "no end".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
