//! What is answered.

use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use serde_json::Value;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use zeroize::Zeroizing;

use crate::value::wipe;

/// An answer: its status and its body.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The server's own clock.
    pub(crate) date: Option<Timestamp>,
    body: Zeroizing<Vec<u8>>,
    /// What it was asked with: words that repeat it are not shown.
    token: Option<SecretValue>,
}

/// The body as JSON; wiped on drop.
pub(crate) struct Answer(Value);

impl Reply {
    pub(super) fn new(
        status: StatusCode,
        date: Option<String>,
        body: Zeroizing<Vec<u8>>,
        token: Option<&SecretValue>,
    ) -> Self {
        let date = date.and_then(|text| rfc2822::parse(&text).ok());
        let date = date.map(|time| Timestamp::from_micros(time.timestamp().as_microsecond()));
        let token = token.cloned();
        Self {
            status,
            date,
            body,
            token,
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        self.status.as_u16() == status
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// The body, if it is a JSON object as the API sends them.
    pub(crate) fn json(&self) -> Option<Answer> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let answer = Answer(value);
        answer.0.is_object().then_some(answer)
    }

    /// The server's own words, if the body has some.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.json()
            .map(|answer| answer.texts("errors"))
            .unwrap_or_default()
    }

    /// For answers that are no JSON: whether a phrase is in it.
    pub(crate) fn body_has(&self, phrase: &str) -> bool {
        contains(&self.body, phrase.as_bytes())
    }

    /// Whether a text repeats the token of the request.
    pub(crate) fn has_token_in(&self, text: &str) -> bool {
        self.token.as_ref().is_some_and(|token| {
            // EXPOSE: looked for in an answer, so that it is not shown.
            contains(text.as_bytes(), token.expose_secret())
        })
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.errors().iter().any(|text| text.contains("is sealed"))
    }

    /// True when the server denies by its policies: the token is good, and not enough.
    pub(crate) fn is_denied_by_policy(&self) -> bool {
        self.errors().iter().any(|text| {
            text.contains("1 error occurred") || text.contains("preflight capability check")
        })
    }
}

fn contains(body: &[u8], phrase: &[u8]) -> bool {
    !phrase.is_empty() && body.windows(phrase.len()).any(|window| window == phrase)
}

impl Answer {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// Takes a part out, to be wiped by whoever takes it.
    pub(crate) fn take(&mut self, pointer: &str) -> Value {
        self.0
            .pointer_mut(pointer)
            .map(Value::take)
            .unwrap_or_default()
    }

    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    pub(crate) fn number(&self, pointer: &str) -> Option<u64> {
        self.at(pointer)?.as_u64()
    }

    pub(crate) fn time(&self, pointer: &str) -> Option<Timestamp> {
        self.text(pointer)?.parse().ok()
    }

    /// A list of texts.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        let items = self.get(key).and_then(Value::as_array);
        let texts = items.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}
