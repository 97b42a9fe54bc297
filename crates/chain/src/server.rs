//! The server that stands in the store's place, for whoever administers it.

use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::uri::BackendUri;

pub use strongroom_backend_vault::Api;
pub use strongroom_backend_vault::ApiAnswer;
pub use strongroom_backend_vault::As;
pub use strongroom_backend_vault::Call;

use crate::detect::SERVER;

/// The server that the variables name.
///
/// # Errors
/// When they name none, or a setting makes no sense.
pub fn open(variables: &Variables) -> Result<Api, BackendError> {
    let uri = BackendUri::parse(&format!("{SERVER}:")).map_err(|_| {
        let message = "the address of a server cannot be read";
        BackendError::new(BackendErrorKind::Misconfigured, SERVER, message)
    })?;
    Api::open(&uri, variables)
}

/// The file below a folder that keeps the token for a server: one for each, so that none is sent
/// to another.
#[must_use]
pub fn token_file(folder: &std::path::Path, server: &str) -> std::path::PathBuf {
    let mut name = String::new();
    for byte in server.trim_end_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => name.push(char::from(byte)),
            b'A'..=b'Z' => name.push(char::from(byte.to_ascii_lowercase())),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    folder.join("tokens").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_file_of_its_own() {
        let file = |server| token_file("/s".as_ref(), server).display().to_string();
        assert_eq!(file("http://A.b:1/"), "/s/tokens/http%3a%2f%2fa.b%3a1");
        assert_eq!(file("http://a.b:1"), file("http://A.b:1/"));
        assert_ne!(file("http://a-b:1"), file("http://a_b:1"));
        assert_ne!(file("http://a:1"), file("https://a:1"));
    }
}
