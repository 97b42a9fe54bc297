//! Reading values, one and many.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::primitives::DateTime;
use aws_sdk_secretsmanager::types::SecretValueEntry;
use futures_util::StreamExt;
use futures_util::stream;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Item;
use strongroom_core::port::VersionRef;
use strongroom_core::version::STAGE_CURRENT;
use tokio::time::Instant;

use super::AwsBackend;
use crate::failure::Call;
use crate::payload::payload;
use crate::payload::timestamp;

/// What one secret's reading came to.
type Found = Result<Option<Item>, BackendError>;

/// Of a batch: what is settled, and what has to be asked singly.
#[derive(Default)]
struct Batch<'a> {
    settled: Vec<(&'a str, Found)>,
    open: Vec<&'a str>,
}

impl AwsBackend {
    /// One version of one secret.
    pub(super) async fn read_one(&self, address: &str, version: &VersionRef) -> Found {
        self.check_address(address)?;
        let request = self.client.get_secret_value().secret_id(address);
        let request = match version {
            VersionRef::Current => request.version_stage(self.stage()),
            // No version has such an id; AWS would refuse the request instead.
            VersionRef::Id(id) if !VERSION_ID_BYTES.contains(&id.len()) => return Ok(None),
            VersionRef::Id(id) => request.version_id(id),
            VersionRef::Stage(stage) => request.version_stage(stage),
        };
        let call = Call {
            action: GET,
            address,
        };
        match self.site().ask(call, request.send()).await {
            Ok(found) => self
                .item(
                    address,
                    found.secret_string,
                    found.secret_binary,
                    Facts {
                        version: found.version_id,
                        stages: found.version_stages,
                        created: found.created_date,
                    },
                )
                .map(Some),
            Err(failure) if failure.is_not_found() || failure.is_marked_deleted() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// The current versions of many, [`BATCH`] in a request and [`IN_FLIGHT`] requests at once.
    pub(super) async fn read_all(&self, addresses: &[String]) -> Vec<Found> {
        let deadline = Instant::now() + self.site().patience();
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        let mut asked: Vec<&str> = Vec::new();
        for address in addresses {
            if found.contains_key(address.as_str()) {
                continue;
            }
            match self.check_address(address) {
                // Until an answer says otherwise.
                Ok(()) => {
                    asked.push(address);
                    found.insert(address, Err(self.site().late()));
                }
                Err(error) => {
                    found.insert(address, Err(error));
                }
            }
        }
        let batch = self.read_batches(&asked, deadline).await;
        found.extend(batch.settled);
        found.extend(self.read_singly(&batch.open, deadline).await);
        let of = |address: &String| match found.get(address.as_str()) {
            Some(found) => found.clone(),
            None => Err(self.site().late()),
        };
        addresses.iter().map(of).collect()
    }

    async fn read_batches<'a>(&self, addresses: &[&'a str], deadline: Instant) -> Batch<'a> {
        let is_possible =
            self.settings.version_stage.is_none() && !self.is_batch_refused.load(Ordering::Relaxed);
        if !is_possible {
            return Batch {
                settled: Vec::new(),
                open: addresses.to_vec(),
            };
        }
        let requests: Vec<BoxFuture<'_, Batch<'a>>> = addresses
            .chunks(BATCH)
            .map(|chunk| -> BoxFuture<'_, Batch<'a>> { Box::pin(self.read_batch(chunk, deadline)) })
            .collect();
        let mut answers = stream::iter(requests).buffer_unordered(IN_FLIGHT);
        let mut all = Batch::default();
        while let Some(batch) = answers.next().await {
            all.settled.extend(batch.settled);
            all.open.extend(batch.open);
        }
        all
    }

    async fn read_batch<'a>(&self, chunk: &[&'a str], deadline: Instant) -> Batch<'a> {
        let mut batch = Batch::default();
        if let [single] = chunk {
            batch.open.push(single);
            return batch;
        }
        let ids = chunk.iter().map(|address| (*address).to_owned()).collect();
        let request = self
            .client
            .batch_get_secret_value()
            .set_secret_id_list(Some(ids));
        let call = Call {
            action: "secretsmanager:BatchGetSecretValue",
            address: "",
        };
        let asked = self.site().ask(call, request.send());
        let Ok(answer) = tokio::time::timeout_at(deadline, asked).await else {
            // They keep the error that they had at the start: no answer in time.
            return batch;
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                if failure.is_operation_refused() {
                    self.is_batch_refused.store(true, Ordering::Relaxed);
                    batch.open = chunk.to_vec();
                } else if failure.is_request_refused() {
                    batch.open = chunk.to_vec();
                } else {
                    let each = chunk.iter().map(|a| (*a, Err(failure.error.clone())));
                    batch.settled = each.collect();
                }
                return batch;
            }
        };
        let mut left = chunk.to_vec();
        for entry in answer.secret_values.unwrap_or_default() {
            let named: Vec<&str> = left.extract_if(.., |id| is_named(id, &entry)).collect();
            let found = self.item_of_entry(entry);
            let each = named.into_iter().map(|address| (address, found.clone()));
            batch.settled.extend(each);
        }
        for error in answer.errors.unwrap_or_default() {
            let id = error.secret_id().unwrap_or_default();
            for address in left.extract_if(.., |asked| *asked == id) {
                let call = Call {
                    action: GET,
                    address,
                };
                let code = error.error_code().unwrap_or_default();
                let message = error.message().unwrap_or_default();
                let failure = self.site().answered(call, code, message, 400);
                let found = if failure.is_not_found() || failure.is_marked_deleted() {
                    Ok(None)
                } else {
                    Err(failure.error)
                };
                batch.settled.push((address, found));
            }
        }
        // What the answer does not speak of is not taken for absent.
        batch.open = left;
        batch
    }

    async fn read_singly<'a>(
        &self,
        addresses: &[&'a str],
        deadline: Instant,
    ) -> Vec<(&'a str, Found)> {
        let one = |address: &'a str| -> BoxFuture<'_, (&'a str, Found)> {
            Box::pin(async move {
                let reading = self.read_one(address, &VersionRef::Current);
                let found = tokio::time::timeout_at(deadline, reading).await;
                (address, found.unwrap_or_else(|_| Err(self.site().late())))
            })
        };
        let requests: Vec<_> = addresses.iter().copied().map(one).collect();
        stream::iter(requests)
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await
    }

    fn item_of_entry(&self, entry: SecretValueEntry) -> Found {
        let address = entry.name.unwrap_or_default();
        let facts = Facts {
            version: entry.version_id,
            stages: entry.version_stages,
            created: entry.created_date,
        };
        self.item(&address, entry.secret_string, entry.secret_binary, facts)
            .map(Some)
    }

    fn item(
        &self,
        address: &str,
        text: Option<String>,
        binary: Option<Blob>,
        facts: Facts,
    ) -> Result<Item, BackendError> {
        let payload = payload(text, binary).ok_or_else(|| {
            let message = format!("the answer for `{address}` holds no value");
            self.site().error(BackendErrorKind::Malformed, message)
        })?;
        Ok(Item {
            payload,
            version: facts.version,
            stages: facts.stages.unwrap_or_default(),
            created: timestamp(facts.created.as_ref()),
            expires_at: None,
        })
    }

    /// The stage that is read by default.
    fn stage(&self) -> &str {
        self.settings
            .version_stage
            .as_deref()
            .unwrap_or(STAGE_CURRENT)
    }

    /// Refuses what AWS can have no secret for, so that one wrong name fails alone.
    pub(super) fn check_address(&self, address: &str) -> Result<(), BackendError> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"/_+=.@-".contains(&c);
        let is_good = match address.strip_prefix("arn:") {
            Some(rest) => {
                address.len() <= ARN_BYTES_MAX && rest.bytes().all(|c| is_plain(c) || c == b':')
            }
            None => NAME_BYTES.contains(&address.len()) && address.bytes().all(is_plain),
        };
        if is_good {
            return Ok(());
        }
        let message = "an AWS secret has a name of 1 to 512 letters, digits and /_+=.@-";
        let shown: String = address.chars().take(80).collect();
        Err(self
            .site()
            .error(BackendErrorKind::Invalid, message)
            .with_hint(format!("`{shown}` needs another name, e.g. by `?name=`")))
    }
}

/// What comes with a value.
struct Facts {
    version: Option<String>,
    stages: Option<Vec<String>>,
    created: Option<DateTime>,
}

/// By name, ARN, or ARN without the six characters that AWS adds.
fn is_named(id: &str, entry: &SecretValueEntry) -> bool {
    if entry.name() == Some(id) || entry.arn() == Some(id) {
        return true;
    }
    let suffix = entry.arn().and_then(|arn| arn.strip_prefix(id));
    id.starts_with("arn:") && suffix.is_some_and(|suffix| suffix.len() == 7)
}

const GET: &str = "secretsmanager:GetSecretValue";
/// As many as `BatchGetSecretValue` takes.
pub(super) const BATCH: usize = 20;
const IN_FLIGHT: usize = 8;
const NAME_BYTES: std::ops::RangeInclusive<usize> = 1..=512;
const ARN_BYTES_MAX: usize = 2048;
const VERSION_ID_BYTES: std::ops::RangeInclusive<usize> = 32..=64;
