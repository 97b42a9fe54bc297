//! Measures the redactor: 1 GB of log text, 200 secrets in all their encodings.

use std::io;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::redact::Patterns;
use strongroom_core::redact::RedactorBuilder;
use strongroom_core::secret::SecretValue;

const SECRETS: usize = 200;
const TEXT_BYTES: usize = 256_000_000;
const ROUNDS: usize = 4;
const CHUNK_BYTES: usize = 64 * 1024;
const LINE_BYTES: usize = 100;

fn main() -> io::Result<()> {
    let mut random = Random(0x5eed);
    let mut secrets = secrets(&mut random);
    let text = log_text(&mut random, &secrets);
    let mut out = io::stdout().lock();

    let floor = measure(&text, CHUNK_BYTES, |chunk, copy| {
        copy.extend_from_slice(chunk);
    });
    writeln!(out, "copy only:                  {:>6.0} MB/s", rate(floor))?;
    report(&mut out, "200 secrets", &secrets, &text)?;
    secrets.push(SecretValue::copy_from(b"Tr0ub4dor"));
    report(&mut out, "and one of 9 bytes", &secrets, &text)?;
    secrets.push(SecretValue::copy_from(b"4711"));
    report(&mut out, "and one of 4 bytes", &secrets, &text)
}

fn report(
    out: &mut impl Write,
    what: &str,
    secrets: &[SecretValue],
    text: &[u8],
) -> io::Result<()> {
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let patterns = build(secrets);
        best = best.min(start.elapsed());
        drop(patterns);
    }
    let patterns = build(secrets);
    let mut stream = patterns.stream();
    let elapsed = measure(text, CHUNK_BYTES, |chunk, redacted| {
        stream.push(chunk, redacted);
    });
    let mut stream = patterns.stream();
    let by_line = measure(text, LINE_BYTES, |chunk, redacted| {
        stream.push(chunk, redacted);
    });
    writeln!(
        out,
        "{what:<27} {:>6.0} MB/s, {:>4.0} MB/s by {LINE_BYTES} bytes, \
         built in {best:?}, tables of {} KiB",
        rate(elapsed),
        rate(by_line),
        patterns.table_bytes() / 1024
    )
}

fn build(secrets: &[SecretValue]) -> Patterns {
    let mut builder = RedactorBuilder::new();
    for (i, value) in secrets.iter().enumerate() {
        builder.add(&format!("SECRET_{i}"), value);
    }
    builder.build()
}

fn measure(text: &[u8], chunk_bytes: usize, mut push: impl FnMut(&[u8], &mut Vec<u8>)) -> Duration {
    let mut out = Vec::with_capacity(2 * CHUNK_BYTES);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for chunk in text.chunks(chunk_bytes) {
            out.clear();
            push(chunk, &mut out);
            std::hint::black_box(&out);
        }
    }
    start.elapsed()
}

fn rate(elapsed: Duration) -> f64 {
    (TEXT_BYTES * ROUNDS) as f64 / 1e6 / elapsed.as_secs_f64()
}

fn secrets(random: &mut Random) -> Vec<SecretValue> {
    let base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let base64_url = format!("{base62}-_");
    let mut secrets: Vec<SecretValue> = (1..SECRETS)
        .map(|i| {
            let len = 32 + random.below(33);
            let text = match i % 4 {
                0 => random.text(base62, len),
                1 => random.text("0123456789abcdef", len),
                2 => random.text(&base64_url, len),
                _ => {
                    let password = random.text(base62, 24);
                    format!("postgres://app_{i}:{password}@db.internal.example.com:5432/app")
                }
            };
            SecretValue::from_text(text)
        })
        .collect();
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for _ in 0..26 {
        pem.push_str(&random.text(&format!("{base62}+/"), 64));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    secrets.push(SecretValue::from_text(pem));
    secrets
}

/// Lines as services log them; one in two thousand shows a secret.
fn log_text(random: &mut Random, secrets: &[SecretValue]) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "request",
        "completed",
        "GET",
        "/api/v1/users",
        "status=200",
        "user_id",
        "connection",
        "pool",
        "timeout",
        "https://example.com/path?x=1&y=2",
        "retrying",
        "worker",
        "postgres",
        "cache miss",
        "level=info",
        "duration_ms",
        "\"message\":",
        "{\"key\": \"value\"}",
        "TypeError: undefined is not a function",
        "at Object.<anonymous>",
        "127.0.0.1:5432",
        "checkout",
        "INFO",
        "service=checkout",
    ];
    let hex = "0123456789abcdef";
    let mut text = Vec::with_capacity(TEXT_BYTES + 4096);
    let mut line = 0usize;
    while text.len() < TEXT_BYTES {
        line += 1;
        let second = line / 20 % 60;
        text.extend(format!("2026-03-01T12:34:{second:02}.{:03}Z ", line % 1000).into_bytes());
        for _ in 0..4 + random.below(10) {
            text.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
            text.push(b' ');
        }
        match random.below(8) {
            0 => text.extend(format!("trace_id={}", random.text(hex, 32)).into_bytes()),
            1 => text.extend(format!("n={}", random.below(1_000_000)).into_bytes()),
            _ => {}
        }
        if line.is_multiple_of(2000) {
            // EXPOSE: values made up above, into the text that is then redacted.
            text.extend_from_slice(secrets[random.below(secrets.len())].expose_secret());
        }
        text.push(b'\n');
    }
    text.truncate(TEXT_BYTES);
    text
}

/// A small generator of numbers, always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn text(&mut self, alphabet: &str, len: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..len)
            .map(|_| char::from(alphabet[self.below(alphabet.len())]))
            .collect()
    }
}
