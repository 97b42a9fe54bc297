//! A person rotates: the rotation waits with a checklist until somebody brings the new value.

use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::rotator::Checklist;
use strongroom_core::secret::Payload;
use strongroom_engine::rotation::WAITS;

/// Most lines of a checklist, and characters of one.
const LINES_MAX: usize = 50;
const LINE_CHARS_MAX: usize = 500;

/// The rotator.
pub(crate) struct Manual {
    checklist: Vec<String>,
}

/// What is wrong with a declaration.
pub(crate) fn check(spec: &Checklist) -> Result<(), String> {
    let lines = &spec.checklist;
    let is_line = |line: &String| {
        let is_plain = !line.chars().any(char::is_control);
        is_plain && !line.is_empty() && line.chars().count() <= LINE_CHARS_MAX
    };
    match (1..=LINES_MAX).contains(&lines.len()) && lines.iter().all(is_line) {
        true => Ok(()),
        false => Err(format!(
            "`checklist` has 1 to {LINES_MAX} lines of at most {LINE_CHARS_MAX} characters"
        )),
    }
}

impl Manual {
    pub(crate) fn new(spec: &Checklist) -> Self {
        Self {
            checklist: spec.checklist.clone(),
        }
    }

    /// What there is to do.
    fn waits(&self) -> RotatorError {
        let lines = self.checklist.iter().enumerate();
        let lines: Vec<String> = lines
            .map(|(at, line)| format!("{}. {line}", at + 1))
            .collect();
        let message = format!(
            "waits for somebody: {}; then `strongroom rotate supply` takes the new value",
            lines.join("; ")
        );
        RotatorError::new(WAITS, message)
    }
}

impl Rotator for Manual {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        let is_same = match (call.current, call.pending) {
            (Some(current), Some(pending)) => current.value.ct_eq(&pending.value),
            _ => false,
        };
        let done = match call.step {
            // With a new value this step is not asked for.
            Step::Create => Err(self.waits()),
            Step::Test if is_same => {
                let message = "the new value is the current one: nothing was rotated";
                Err(RotatorError::new("rotation.same_value", message))
            }
            Step::Set | Step::Test | Step::Finish => Ok(None),
        };
        Box::pin(std::future::ready(done))
    }
}
