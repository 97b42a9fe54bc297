//! Rows of pgcrypto's from a real project: all are read.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a person"
)]

use std::path::Path;
use std::process::ExitCode;

use strongroom_core::secret::SecretValue;
use strongroom_userkeys::pgcrypto::decrypt;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: corpus_pgcrypto FOLDER");
        return ExitCode::from(2);
    };
    let path = Path::new(&folder).join("vaporform/derived/pgcrypto_vectors.json");
    match check(&path) {
        Ok(count) => {
            println!("{count} rows of pgcrypto's are read");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{}: {problem}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let parsed: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| "it is no JSON".to_owned())?;
    let vectors = parsed["vectors"].as_array().ok_or("it has no vectors")?;
    for vector in vectors {
        let field = |name: &str| vector[name].as_str().unwrap_or_default();
        let name = field("name");
        let message = data_encoding::HEXLOWER
            .decode(field("ciphertext_hex").as_bytes())
            .map_err(|_| format!("{name}: no hex"))?;
        let key = SecretValue::copy_from(field("key").as_bytes());
        let value = decrypt(&message, &[key]).map_err(|error| format!("{name}: {error}"))?;
        let wanted = SecretValue::copy_from(field("plaintext").as_bytes());
        if !value.ct_eq(&wanted) {
            return Err(format!("{name}: another plaintext"));
        }
    }
    match vectors.len() {
        0 => Err("it has no vectors".into()),
        count => Ok(count),
    }
}
