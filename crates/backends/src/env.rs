//! Environment variables, and the files that `NAME_FILE` variables name.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::Page;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

use crate::file;
use crate::file::ReadFileError;
use crate::pages;

/// Largest file that a `NAME_FILE` variable may name, in bytes.
pub const VARIABLE_FILE_BYTES_MAX: u64 = 1 << 20;

/// Looks secrets up among variables that were handed in; this crate never reads the environment.
///
/// `NAME` gives the value as its exact bytes, UTF-8 or not. An empty variable counts as unset.
/// `NAME_FILE` gives the path of a regular file whose exact bytes are the value, nothing trimmed;
/// a file that cannot be read is an error, since somebody pointed to it. Both set at once is an
/// error too: one of them is a mistake.
pub struct EnvBackend {
    variables: HashMap<OsString, SecretValue>,
}

impl EnvBackend {
    /// A backend for these variables; of a repeated name the last counts.
    #[must_use]
    pub fn new(variables: Vec<(OsString, OsString)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name, SecretValue::new(value.into_vec())))
            .collect();
        Self { variables }
    }

    fn variable(&self, name: &str) -> Option<&SecretValue> {
        self.variables
            .get(std::ffi::OsStr::new(name))
            .filter(|value| !value.is_empty())
    }

    fn names(&self) -> Vec<String> {
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        let mut names: Vec<String> = set
            .filter_map(|(name, _)| name.to_str().map(str::to_owned))
            .collect();
        names.sort_unstable();
        names
    }

    fn find(&self, name: &str) -> Result<Option<SecretValue>, BackendError> {
        let file_variable = format!("{name}{FILE_SUFFIX}");
        match (self.variable(name), self.variable(&file_variable)) {
            (Some(_), Some(_)) => Err(self.error(
                BackendErrorKind::Malformed,
                format!("{name} and {file_variable} are both set: unset one of them"),
            )),
            (Some(value), None) => Ok(Some(value.clone())),
            (None, Some(path)) => self.read_named_file(&file_variable, path).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn read_named_file(
        &self,
        variable: &str,
        path: &SecretValue,
    ) -> Result<SecretValue, BackendError> {
        // Messages name the variable only: a secret put there by mistake would be shown otherwise.
        // EXPOSE: names a file, which is opened.
        let path = Path::new(std::ffi::OsStr::from_bytes(path.expose_secret()));
        match file::read_capped(path, VARIABLE_FILE_BYTES_MAX) {
            Ok(bytes) => Ok(SecretValue::copy_from(&bytes)),
            Err(error) => {
                let kind = match error {
                    ReadFileError::Denied => BackendErrorKind::Denied,
                    ReadFileError::TooLarge { .. } | ReadFileError::NotRegular => {
                        BackendErrorKind::Malformed
                    }
                    _ => BackendErrorKind::Unreachable,
                };
                Err(self.error(kind, format!("the file that {variable} names: {error}")))
            }
        }
    }

    fn error(&self, kind: BackendErrorKind, message: String) -> BackendError {
        BackendError::new(kind, self.describe(), message)
    }
}

impl Backend for EnvBackend {
    fn scheme(&self) -> &'static str {
        "env"
    }

    fn describe(&self) -> String {
        "env".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let fetched = |value| Fetched {
                value,
                version: None,
                expires_at: None,
            };
            lookups
                .iter()
                .map(|lookup| Ok(self.find(&lookup.name)?.map(fetched)))
                .collect()
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        let message = "the environment cannot be written".to_owned();
        Box::pin(async move { Err(self.error(BackendErrorKind::Unsupported, message)) })
    }

    /// The variables that are set and have a readable name, `NAME_FILE` ones as they are.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { Ok(self.names()) })
    }

    /// An address is a variable's name.
    fn address(&self, lookup: &Lookup) -> String {
        lookup.name.clone()
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            if *version != VersionRef::Current {
                return Err(self.unsupported("keep versions"));
            }
            let item = |value| Item {
                payload: Payload::detect(value),
                version: None,
                stages: Vec::new(),
                created: None,
                expires_at: None,
            };
            Ok(self.find(address)?.map(item))
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(async move { Ok(pages::page(&self.names(), prefix, after, limit)) })
    }
}

/// What a variable's name ends in when its value is a path.
const FILE_SUFFIX: &str = "_FILE";

#[cfg(test)]
mod tests {
    use std::fs;

    use pollster::block_on;

    use super::*;

    fn backend(variables: &[(&str, &[u8])]) -> EnvBackend {
        let pair = |(name, value): &(&str, &[u8])| {
            (OsString::from(name), OsString::from_vec(value.to_vec()))
        };
        EnvBackend::new(variables.iter().map(pair).collect())
    }

    fn get(backend: &EnvBackend, name: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let (name, path, place) = (name.into(), "p".into(), "app/dev/p".parse().unwrap());
        let lookups = [Lookup { name, path, place }];
        let found = block_on(backend.get_many(&lookups)).pop().unwrap()?;
        Ok(found.map(|fetched| fetched.value.expose_secret().to_vec()))
    }

    #[test]
    fn variables_come_back_as_bytes_and_empty_ones_are_unset() {
        let backend = backend(&[("A", b"1"), ("B", b""), ("C", b"\xff\n "), ("B_FILE", b"")]);
        assert_eq!(get(&backend, "A").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(get(&backend, "B").unwrap(), None);
        assert_eq!(
            get(&backend, "C").unwrap().as_deref(),
            Some(&b"\xff\n "[..])
        );
        assert_eq!(get(&backend, "D").unwrap(), None);
        assert_eq!(block_on(backend.list()).unwrap(), ["A", "C"]);
        assert_eq!(
            (backend.scheme(), backend.describe().as_str()),
            ("env", "env")
        );
    }

    #[test]
    fn a_file_variable_gives_the_exact_bytes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for bytes in [&b" pem\r\n\n"[..], b"", b"\0\xff"] {
            fs::write(&path, bytes).unwrap();
            let backend = backend(&[("A_FILE", path.as_os_str().as_bytes())]);
            assert_eq!(get(&backend, "A").unwrap().as_deref(), Some(bytes));
        }
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let backend = backend(&[("A_FILE", path.as_os_str().as_bytes())]);
        assert_eq!(get(&backend, "A").unwrap().unwrap().len(), 1 << 20);
        fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert_eq!(
            get(&backend, "A").unwrap_err().kind,
            BackendErrorKind::Malformed
        );
    }

    #[test]
    fn mistakes_are_named_without_showing_a_value() {
        let error = get(&backend(&[("A", b"canary"), ("A_FILE", b"canary")]), "A").unwrap_err();
        assert_eq!(
            error.to_string(),
            "env: A and A_FILE are both set: unset one of them"
        );
        let error = get(&backend(&[("A_FILE", b"canary")]), "A").unwrap_err();
        assert_eq!(
            error.to_string(),
            "env: the file that A_FILE names: there is no such file"
        );
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        let error = get(&backend(&[("A_FILE", b"/dev/null")]), "A").unwrap_err();
        assert_eq!(
            error.message,
            "the file that A_FILE names: it is not a regular file"
        );
    }

    #[test]
    fn by_address_it_reads_and_lists_and_refuses_the_rest() {
        let backend = backend(&[("A", b"1"), ("AB", b"2"), ("B", b"3")]);
        let page = block_on(backend.page("A", None, 1)).unwrap();
        assert_eq!(
            (page.addresses, page.next),
            (vec!["A".into()], Some("A".into()))
        );
        let item = block_on(backend.read("AB", &VersionRef::Current)).unwrap();
        assert!(
            item.unwrap()
                .payload
                .value
                .ct_eq(&SecretValue::copy_from(b"2"))
        );
    }

    strongroom_testkit::backend_contract!(contract, block_on, (Box::new(backend(&[])), ()));
}
