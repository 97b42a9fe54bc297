//! Runs a command as `strongroom run` does, with every `secret` in its output masked, to try the
//! child-process part by hand: `child_probe [--inherit] [--file TEXT] [--stdin TEXT] -- CMD ...`

#[path = "../src"]
mod program {
    #[allow(dead_code)]
    pub(crate) mod child;
    pub(crate) mod hardening;
}

use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use program::child;
use program::child::ChildSpec;
use program::child::Mask;
use program::child::PassThrough;
use program::child::SecretFile;
use program::child::SecretOrPlain;
use program::hardening;
use strongroom_core::secret::SecretValue;

fn main() -> ExitCode {
    let original_limits = hardening::harden();
    let mut spec = ChildSpec {
        program: OsString::new(),
        args: Vec::new(),
        env: std::env::vars_os()
            .map(|(name, value)| (name, SecretOrPlain::Plain(value)))
            .chain([(
                OsString::from("PROBE_SECRET"),
                SecretOrPlain::Secret(SecretValue::copy_from(WORD)),
            )])
            .collect(),
        files: Vec::new(),
        private_dirs: vec!["/dev/shm".into()],
        stdin_secret: None,
        redact: true,
        original_limits,
    };
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_default().into_encoded_bytes();
        match arg.to_str() {
            Some("--inherit") => spec.redact = false,
            Some("--file") => spec.files.push(SecretFile {
                name: "probe".to_owned(),
                value: SecretValue::new(value()),
                mode: 0o600,
                env: Some("PROBE_FILE".to_owned()),
            }),
            Some("--stdin") => spec.stdin_secret = Some(SecretValue::new(value())),
            Some("--") => spec.program = args.next().unwrap_or_default(),
            _ => spec.args.push(arg),
        }
        if !spec.program.is_empty() {
            spec.args.extend(args.by_ref());
        }
    }
    match child::run(spec, || {
        [Box::new(WordMask::default()), Box::new(PassThrough)]
    }) {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) => {
            let _ = writeln!(io::stderr(), "child_probe: {error}");
            ExitCode::from(error.exit_code().unwrap_or(125))
        }
    }
}

/// Masks one word, and holds back what may become it.
#[derive(Default)]
struct WordMask {
    held: Vec<u8>,
}

impl Mask for WordMask {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for byte in chunk {
            self.held.push(*byte);
            while !WORD.starts_with(&self.held) {
                out.push(self.held.remove(0));
            }
            if self.held == WORD {
                self.held.clear();
                out.extend_from_slice(b"[redacted:PROBE]");
            }
        }
    }

    fn flush_idle(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

const WORD: &[u8] = b"secret";
