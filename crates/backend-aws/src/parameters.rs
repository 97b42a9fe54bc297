//! SSM Parameter Store, for reading: `ssm:[REGION][/PREFIX]`.
//!
//! An address is the parameter's full name, which begins with `/` when it has folders, or its ARN.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::Page;
use strongroom_core::port::Stored;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionDetails;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;
use strongroom_core::version::VersionState;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::connection::Service;
use crate::connection::Site;
use crate::credentials;
use crate::failure::Call;
use crate::payload;
use crate::payload::seconds;
use crate::settings::OPTIONS_PARAMETERS;
use crate::settings::Settings;

mod answer;
mod call;

use answer::History;
use answer::Parameter;
use answer::Parameters;
use call::Action;
use call::Caller;

/// The parameters of one account and region.
pub struct SsmBackend {
    caller: Caller,
    connection: Connection,
    settings: Settings,
}

type Found = Result<Option<Item>, BackendError>;

impl SsmBackend {
    /// Reads the address and finds region and credentials; the service is not asked yet.
    ///
    /// # Errors
    /// Of kind `Misconfigured` at an unknown option, without a region, or with an endpoint that
    /// cannot be used.
    pub fn open<'a>(
        uri: &'a BackendUri,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Self, BackendError>> {
        // Boxed here, so that the futures of the library are compiled with this crate.
        Box::pin(Self::connect(uri, variables))
    }

    async fn connect(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Settings::parse(uri, OPTIONS_PARAMETERS)?;
        let connection = Connection::open(Service::Parameters, &settings, variables).await?;
        Ok(Self {
            caller: Caller::new(&connection),
            connection,
            settings,
        })
    }

    fn site(&self) -> &Site {
        &self.connection.site
    }

    /// The values of many names (with `:version` or `:label`), [`BATCH`] in a request.
    async fn read_all(&self, names: &[String]) -> Vec<Found> {
        let names: Vec<String> = names.iter().map(|name| full(name)).collect();
        let deadline = Instant::now() + self.site().patience();
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        let mut asked: Vec<&str> = Vec::new();
        for name in &names {
            if !found.contains_key(name.as_str()) {
                let checked = self.check_name(name);
                if checked.is_ok() {
                    asked.push(name);
                }
                let late = || Err(self.site().late());
                found.insert(name, checked.map_or_else(Err, |()| late()));
            }
        }
        let requests: Vec<BoxFuture<'_, Vec<(&str, Found)>>> = asked
            .chunks(BATCH)
            .map(|chunk| -> BoxFuture<'_, Vec<(&str, Found)>> {
                Box::pin(self.read_batch(chunk, deadline))
            })
            .collect();
        let mut answers = stream::iter(requests).buffer_unordered(IN_FLIGHT);
        while let Some(batch) = answers.next().await {
            found.extend(batch);
        }
        let of = |name: &String| match found.get(name.as_str()) {
            Some(found) => found.clone(),
            None => Err(self.site().late()),
        };
        names.iter().map(of).collect()
    }

    async fn read_batch<'a>(&self, chunk: &[&'a str], deadline: Instant) -> Vec<(&'a str, Found)> {
        let body = json!({ "Names": chunk, "WithDecryption": true });
        let address = match chunk {
            [single] => single,
            _ => "",
        };
        let call = Call {
            action: "ssm:GetParameters",
            address,
        };
        let asked = self.caller.call::<Parameters>(Action::Named, body);
        let asked = self.site().ask(call, asked);
        let Ok(answer) = tokio::time::timeout_at(deadline, asked).await else {
            return Vec::new();
        };
        let each = |found: &Found| chunk.iter().map(|name| (*name, found.clone())).collect();
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return each(&Err(failure.error)),
        };
        let absent = answer.invalid_parameters.unwrap_or_default();
        let mut found: Vec<(&str, Found)> = Vec::new();
        let mut left = chunk.to_vec();
        for parameter in answer.parameters.unwrap_or_default() {
            let named: Vec<&str> = left
                .extract_if(.., |name| is_named(name, &parameter))
                .collect();
            let item = self.item(parameter);
            found.extend(named.into_iter().map(|name| (name, item.clone())));
        }
        for name in left {
            // Names are checked beforehand, so that this list holds what is not there.
            if absent.iter().any(|absent| absent == name) {
                found.push((name, Ok(None)));
            } else {
                let message = format!("the answer does not speak of `{name}`");
                let error = self.site().error(BackendErrorKind::Malformed, message);
                found.push((name, Err(error)));
            }
        }
        found
    }

    fn item(&self, parameter: Parameter) -> Found {
        let payload = payload::payload(parameter.value, None).ok_or_else(|| {
            let name = parameter.name.unwrap_or_default();
            let message = format!("the answer for `{name}` holds no value");
            self.site().error(BackendErrorKind::Malformed, message)
        })?;
        Ok(Some(Item {
            payload,
            version: Some(parameter.version.unwrap_or_default().to_string()),
            stages: Vec::new(),
            created: seconds(parameter.last_modified_date),
            expires_at: None,
        }))
    }

    fn check_name(&self, name: &str) -> Result<(), BackendError> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"/_.-".contains(&c);
        let is_good = match name.strip_prefix("arn:") {
            Some(rest) => {
                name.len() <= NAME_BYTES_MAX && rest.bytes().all(|c| is_plain(c) || c == b':')
            }
            None => {
                let (base, selector) = name.split_once(':').unwrap_or((name, "x"));
                (1..=NAME_BYTES_MAX).contains(&base.len())
                    && base.bytes().all(is_plain)
                    && (base.starts_with('/') || !base.contains('/'))
                    && !selector.is_empty()
                    && selector.bytes().all(is_plain)
            }
        };
        if is_good {
            return Ok(());
        }
        let message = "a parameter has a name of letters, digits and _.-, with a `/` in front \
                       when there are folders";
        let shown: String = name.chars().take(80).collect();
        Err(self
            .site()
            .error(BackendErrorKind::Invalid, message)
            .with_hint(format!("`{shown}` needs another name, e.g. by `?name=`")))
    }

    /// One page of the names below a folder.
    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let own = self.folder();
        let prefix = &full(prefix);
        let narrower = if prefix.starts_with(&own) {
            prefix
        } else if own.starts_with(prefix) {
            &own
        } else {
            return Ok(Page::default());
        };
        let folder = match narrower.rsplit_once('/') {
            None | Some(("", _)) => "/",
            Some((folder, _)) => folder,
        };
        let mut body = json!({
            "Path": folder,
            "Recursive": true,
            "WithDecryption": false,
            "MaxResults": limit.clamp(1, PAGE_MAX),
        });
        if let Some(after) = after {
            body["NextToken"] = after.into();
        }
        let call = Call {
            action: "ssm:GetParametersByPath",
            address: folder,
        };
        let asked = self.caller.call::<Parameters>(Action::Below, body);
        let answer = self.site().ask(call, asked).await?;
        let parameters = answer.parameters.unwrap_or_default();
        let names = parameters
            .into_iter()
            .filter_map(|parameter| parameter.name);
        Ok(Page {
            addresses: names.filter(|name| name.starts_with(narrower)).collect(),
            next: answer.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn list_all(&self) -> Result<Vec<String>, BackendError> {
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.list_page("", after.as_deref(), 10).await?;
            names.extend(page.addresses);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if self.settings.is_below_prefix {
            let below = self.folder();
            for name in &mut names {
                let relative = name.strip_prefix(&below).unwrap_or(name);
                *name = relative.trim_start_matches('/').to_owned();
            }
        }
        names.sort();
        Ok(names)
    }

    /// The prefix as a folder, `/a/b/`; empty without one.
    fn folder(&self) -> String {
        match self.settings.prefix.as_str() {
            "" => String::new(),
            prefix => format!("/{prefix}/"),
        }
    }

    /// Versions, labels and dates. Values come with them, still sealed, and are not kept.
    async fn describe_all(&self, address: &str) -> Result<Option<Details>, BackendError> {
        let address = &full(address);
        self.check_name(address)?;
        let call = Call {
            action: "ssm:GetParameterHistory",
            address,
        };
        let mut history = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut body = json!({ "Name": address, "WithDecryption": false });
            if let Some(next) = next {
                body["NextToken"] = next.into();
            }
            let asked = self.caller.call::<History>(Action::History, body);
            let answer = match self.site().ask(call, asked).await {
                Ok(answer) => answer,
                Err(failure) if failure.is_not_found() => return Ok(None),
                Err(failure) => return Err(failure.error),
            };
            next = answer.next_token.filter(|token| !token.is_empty());
            history.extend(answer.parameters.unwrap_or_default());
            if next.is_none() {
                break;
            }
        }
        history.sort_by_key(|version| version.version);
        let (Some(first), Some(last)) = (history.first(), history.last()) else {
            return Ok(None);
        };
        let versions = history.iter().map(|version| VersionDetails {
            id: version.version.unwrap_or_default().to_string(),
            stages: version.labels.clone().unwrap_or_default(),
            created: seconds(version.last_modified_date),
            state: VersionState::Live,
        });
        Ok(Some(Details {
            description: last.description.clone(),
            created: seconds(first.last_modified_date),
            updated: seconds(last.last_modified_date),
            versions: versions.collect(),
            ..Details::default()
        }))
    }

    async fn ask_health(&self) -> Result<String, BackendError> {
        let folder = self.folder();
        let folder = match folder.trim_end_matches('/') {
            "" => "/",
            folder => folder,
        };
        let body = json!({ "Path": folder, "WithDecryption": false, "MaxResults": 1 });
        let call = Call {
            action: "ssm:GetParametersByPath",
            address: folder,
        };
        let asked = self.caller.call::<Parameters>(Action::Below, body);
        let asked = self.site().ask(call, asked).await;
        let who = match credentials::describe(&self.connection.config).await {
            Ok(who) => format!(", with {who}"),
            Err(_) => String::new(),
        };
        let region = &self.site().region;
        let Err(failure) = asked else {
            return Ok(format!("SSM Parameter Store in {region}{who}"));
        };
        if failure.is_operation_refused() {
            return Ok(format!(
                "SSM Parameter Store in {region}{who}; listing is not allowed"
            ));
        }
        Err(failure.error)
    }

    fn fetched(&self, address: &str, item: Item) -> Result<Option<Fetched>, BackendError> {
        let value = match &self.settings.field {
            None => Some(item.payload.value),
            Some(key) => payload::field(&item.payload, key).map_err(|_| {
                let message = format!("`{address}` is no JSON object, so that it has no `{key}`");
                self.site().error(BackendErrorKind::Malformed, message)
            })?,
        };
        Ok(value.map(|value| Fetched {
            value,
            version: item.version,
            expires_at: item.expires_at,
        }))
    }
}

impl Backend for SsmBackend {
    fn scheme(&self) -> &'static str {
        "ssm"
    }

    fn describe(&self) -> String {
        self.settings.address.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: true,
            stages: true,
            list: true,
            description: true,
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let addresses: Vec<String> = lookups.iter().map(|l| self.address(l)).collect();
            let found = self.read_all(&addresses).await;
            let found = addresses.iter().zip(found).map(|(address, found)| {
                let Some(item) = found? else {
                    return Ok(None);
                };
                self.fetched(address, item)
            });
            found.collect()
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("write"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(self.site().within(self.list_all()))
    }

    fn address(&self, lookup: &Lookup) -> String {
        full(&self.settings.template.address(lookup))
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.site().within(self.ask_health()))
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            let name = match version {
                VersionRef::Current => address.to_owned(),
                VersionRef::Id(selector) | VersionRef::Stage(selector) => {
                    format!("{address}:{selector}")
                }
            };
            let mut found = self.read_all(&[name]).await;
            found.pop().unwrap_or_else(|| Err(self.site().late()))
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(self.read_all(addresses))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(self.site().within(self.list_page(prefix, after, limit)))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(self.site().within(self.describe_all(address)))
    }
}

/// A name with folders begins with `/`.
fn full(name: &str) -> String {
    if name.contains('/') && !name.starts_with('/') && !name.starts_with("arn:") {
        return format!("/{name}");
    }
    name.to_owned()
}

/// By name or ARN, with the selector that was asked for. AWS repeats the selector; a server that
/// does not is believed where the version is the one.
fn is_named(asked: &str, parameter: &Parameter) -> bool {
    let version = parameter.version.unwrap_or_default().to_string();
    let selector = parameter.selector.as_deref().unwrap_or_default();
    let selector = selector.strip_prefix(':').unwrap_or(selector);
    let is = |base: Option<&str>| {
        let rest = base.and_then(|base| asked.strip_prefix(base));
        rest.is_some_and(|rest| match rest.strip_prefix(':') {
            None => rest.is_empty() && selector.is_empty(),
            Some(asked) if selector.is_empty() => asked == version,
            Some(asked) => asked == selector,
        })
    };
    is(parameter.name.as_deref()) || is(parameter.arn.as_deref())
}

/// As many as `GetParameters` takes.
const BATCH: usize = 10;
const IN_FLIGHT: usize = 8;
const NAME_BYTES_MAX: usize = 2048;
const PAGE_MAX: usize = 10;
