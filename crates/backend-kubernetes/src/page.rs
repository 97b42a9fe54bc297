//! Addresses page by page: the server's pages hold objects, ours hold keys.

use kube::api::ListParams;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Page;
use tokio::time::Instant;

use crate::KubernetesBackend;
use crate::backend::Held;
use crate::call::Repeat;
use crate::error::Failure;
use crate::layout::is_object;

/// Objects in one answer: the API server's answers hold the values too.
const OBJECTS_MAX: u32 = 100;

/// Where a listing stands: behind a key, in an answer that this token asks for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cursor {
    object: String,
    key: String,
    token: String,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '\n').map(str::to_owned);
        Some(Self {
            object: parts.next()?,
            key: parts.next()?,
            token: parts.next()?,
        })
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}", self.object, self.key, self.token)
    }

    fn is_behind(&self, object: &str, key: &str) -> bool {
        (self.object.as_str(), self.key.as_str()) < (object, key)
    }
}

impl KubernetesBackend {
    pub(crate) async fn page_of(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let mut cursor = match after.map(Cursor::parse) {
            None => Cursor::default(),
            Some(Some(cursor)) => cursor,
            Some(None) => {
                let message = "this is no place in a listing of mine";
                let kind = BackendErrorKind::Invalid;
                return Err(BackendError::new(kind, self.name.clone(), message)
                    .with_hint("list from the beginning"));
            }
        };
        let limit = limit.max(1);
        let mut page = Page::default();
        loop {
            let (secrets, token) = self.objects(prefix, &mut cursor).await?;
            for secret in &secrets {
                let object = secret.metadata.name.as_deref().unwrap_or_default();
                for key in secret.data.iter().flatten().map(|(key, _)| key) {
                    let address = self.layout.address(object, key);
                    if !cursor.is_behind(object, key) || !address.starts_with(prefix) {
                        continue;
                    }
                    if page.addresses.len() == limit {
                        page.next = Some(cursor.text());
                        return Ok(page);
                    }
                    page.addresses.push(address);
                    cursor.object = object.to_owned();
                    cursor.key = key.clone();
                }
            }
            match token {
                Some(token) => cursor.token = token,
                None => return Ok(page),
            }
        }
    }

    /// The objects of one answer that may hold such addresses, and the token for the next one.
    async fn objects(
        &self,
        prefix: &str,
        cursor: &mut Cursor,
    ) -> Result<(Vec<Held>, Option<String>), BackendError> {
        let deadline = self.deadline();
        let one = self
            .layout
            .object()
            .or_else(|| prefix.split_once('/').map(|(object, _)| object));
        if let Some(object) = one {
            if !is_object(object) {
                return Ok((Vec::new(), None));
            }
            let found = self.fetch(object, deadline).await?;
            return Ok((found.into_iter().collect(), None));
        }
        loop {
            match self.list_from(&cursor.token, deadline).await {
                Ok(found) => return Ok(found),
                // Too old: from the beginning, passing over what was given already.
                Err(Failure::Expired) if !cursor.token.is_empty() => cursor.token.clear(),
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
        }
    }

    async fn list_from(
        &self,
        token: &str,
        deadline: Instant,
    ) -> Result<(Vec<Held>, Option<String>), Failure> {
        let mut params = ListParams::default().limit(OBJECTS_MAX);
        if !token.is_empty() {
            params = params.continue_token(token);
        }
        let request = || self.api.list(&params);
        let found = self.call(deadline, Repeat::Harmless, request).await?;
        let token = found.metadata.continue_.filter(|token| !token.is_empty());
        Ok((found.items.into_iter().map(Held).collect(), token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        let cursor = Cursor {
            object: "app".into(),
            key: "a".into(),
            token: "t\nu".into(),
        };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        assert_eq!(Cursor::parse("x"), None);
    }
}
