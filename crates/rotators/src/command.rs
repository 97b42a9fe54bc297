//! A program of the operator's own does the steps.
//!
//! It is run once for each step, in an environment with nothing in it but `PATH`, `HOME` and
//! `LANG`, and gets one JSON object on its standard input; values are nowhere else. What it says on
//! its standard error is not shown: it may quote a value.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::rotator::Program;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Span;
use strongroom_engine::object::Object;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::unusable;

/// Time of a step unless somebody says, and the longest.
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_SECONDS_MAX: i64 = 900;
/// Most words of a command.
const WORDS_MAX: usize = 32;
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// The step in which the old value is put back.
const TAKE_BACK: &str = "takeBack";
/// Where programs are found; nothing of the caller's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The rotator.
pub(crate) struct Own {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

/// What is wrong with a declaration.
pub(crate) fn check(spec: &Program) -> Result<Duration, String> {
    let Some(program) = spec.command.first() else {
        return Err("`command` has a program, and perhaps arguments".into());
    };
    if !Path::new(program).is_absolute() {
        return Err("`command` begins with the whole path of a program".into());
    }
    let is_word = |word: &String| !word.contains('\0');
    if spec.command.len() > WORDS_MAX || !spec.command.iter().all(is_word) {
        return Err(format!(
            "`command` has at most {WORDS_MAX} words, without zero bytes"
        ));
    }
    let Some(text) = &spec.timeout else {
        return Ok(TIMEOUT);
    };
    let parsed = text.parse::<Span>();
    let seconds = parsed
        .map_err(|error| format!("`timeout`: {error}"))?
        .as_seconds();
    match seconds {
        1..=TIMEOUT_SECONDS_MAX => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => Err(format!("`timeout` is 1 s to {TIMEOUT_SECONDS_MAX} s")),
    }
}

impl Own {
    pub(crate) fn new(spec: &Program) -> Result<Self, RotatorError> {
        let timeout = check(spec).map_err(unusable)?;
        let mut words = spec.command.iter().cloned();
        Ok(Self {
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
            timeout,
        })
    }

    async fn run(&self, step: &str, call: &StepCall<'_>) -> Result<SecretValue, RotatorError> {
        let asked = question(step, call)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/nonexistent")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let failed = |what: &str| {
            let message = format!("{} {what}", self.program);
            RotatorError::new("rotator.failed", message)
        };
        let mut child = command
            .spawn()
            .map_err(|error| failed(&format!("cannot be run: {}", error.kind())))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("has no standard input and output"));
        };
        let talking = async {
            let tell = async {
                // EXPOSE: the program is told the values; that is what it is for. One that does
                // not read them is no failure.
                let _ = input.write_all(asked.expose_secret()).await;
                drop(input);
            };
            // Sized in advance, so that no part of it is left behind when it grows.
            let mut answer = Vec::with_capacity(64 * 1024);
            let mut limited = output.take(ANSWER_BYTES_MAX + 1);
            let read = limited.read_to_end(&mut answer);
            let ((), read) = tokio::join!(tell, read);
            let answer = SecretValue::new(answer);
            read.map(|_| answer)
        };
        let talked = tokio::time::timeout(self.timeout, async {
            let answer = talking.await;
            (answer, child.wait().await)
        })
        .await;
        let Ok((answer, status)) = talked else {
            let what = format!(
                "did not end in {} s, and was killed",
                self.timeout.as_secs()
            );
            // Its children, too: it leads a group of its own.
            kill_group(&child);
            let _ = child.kill().await;
            return Err(failed(&what));
        };
        let answer = answer.map_err(|_| failed("broke off"))?;
        let status = status.map_err(|_| failed("cannot be waited for"))?;
        if !status.success() {
            let what = format!("failed at {step} ({status}): its own log says why");
            return Err(failed(&what));
        }
        if answer.len_bytes() as u64 > ANSWER_BYTES_MAX {
            return Err(failed("answered more than 2 MiB"));
        }
        Ok(answer)
    }
}

fn kill_group(child: &tokio::process::Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

impl Rotator for Own {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move {
            let answer = self.run(call.step.word(), call).await?;
            match call.step {
                Step::Create => new_value(&answer, call).map(Some),
                Step::Set | Step::Test | Step::Finish => Ok(None),
            }
        })
    }

    fn take_back<'a>(&'a self, call: &'a StepCall<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(async move { self.run(TAKE_BACK, call).await.map(drop) })
    }
}

/// What the program is told.
fn question(step: &str, call: &StepCall<'_>) -> Result<SecretValue, RotatorError> {
    let mut object = Object::default();
    let plain = json!({ "step": step, "secret": call.secret, "version_id": call.token });
    for (name, value) in plain.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        object.set(name, &SecretValue::copy_from(text.as_bytes()));
    }
    for (name, value) in [("current", call.current), ("pending", call.pending)] {
        let is_told = value.is_none_or(|payload| object.set(name, &payload.value));
        if !is_told {
            let message = "a value that is no text cannot be told to a program as JSON";
            return Err(RotatorError::new("rotation.no_text", message));
        }
    }
    Ok(object.payload().value)
}

/// The value in an answer: `{"value": "…"}`.
fn new_value(answer: &SecretValue, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
    let object = Object::read(answer);
    let value = object.and_then(|object| object.text("value"));
    let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let message = "the program answered no {\"value\": \"…\"} to createSecret";
        RotatorError::new("rotation.no_value", message)
    })?;
    let was_object = call.current.is_some_and(|one| one.shape == Shape::Fields);
    let shape = match was_object && Object::read(&value).is_some() {
        true => Shape::Fields,
        false => Shape::Text,
    };
    Ok(Payload { value, shape })
}
