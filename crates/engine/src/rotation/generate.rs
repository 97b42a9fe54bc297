//! The rotator that draws a new value, for secrets that nobody else has to be told of.

use std::sync::Arc;

use strongroom_core::format::Pattern;
use strongroom_core::format::ValueType;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rng;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

use crate::object::Object;
use strongroom_core::secret::Shape;

/// The field of a JSON object that is drawn anew unless somebody says.
const FIELD_DEFAULT: &str = "password";
/// Draws until one differs from the current value.
const DRAWS_MAX: usize = 16;

/// Draws new values.
pub struct Generator {
    spec: GeneratorSpec,
    field: Option<String>,
    pattern: Option<Arc<Pattern>>,
    value_type: Option<ValueType>,
    rng: Arc<dyn Rng>,
}

impl Generator {
    /// Draws by `spec`. Of a secret that is a JSON object it is `field` that changes.
    #[must_use]
    pub fn new(spec: GeneratorSpec, field: Option<String>, rng: Arc<dyn Rng>) -> Self {
        Self {
            spec,
            field,
            pattern: None,
            value_type: None,
            rng,
        }
    }

    /// Draws values that satisfy a declared pattern and type.
    #[must_use]
    pub fn fitting(self, pattern: Option<Arc<Pattern>>, value_type: Option<ValueType>) -> Self {
        Self {
            pattern,
            value_type,
            ..self
        }
    }

    fn draw(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        match call.current {
            Some(current) if current.shape == Shape::Fields => self.draw_field(call, current),
            Some(current) if current.shape == Shape::Binary => {
                let mut bytes = vec![0; current.value.len_bytes().max(16)];
                self.rng.fill(&mut bytes);
                Ok(Payload {
                    value: SecretValue::new(bytes),
                    shape: Shape::Binary,
                })
            }
            current => {
                let before = current.map(|current| &current.value);
                Ok(Payload {
                    value: self.draw_text(call, before)?,
                    shape: Shape::Text,
                })
            }
        }
    }

    fn draw_text(
        &self,
        call: &StepCall<'_>,
        before: Option<&SecretValue>,
    ) -> Result<SecretValue, RotatorError> {
        for _ in 0..DRAWS_MAX {
            let pattern = self.pattern.as_deref();
            let spec = &self.spec;
            let value = spec.generate_matching(pattern, self.value_type, &*self.rng, call.now);
            let value =
                value.map_err(|error| RotatorError::new("rotation.no_value", error.to_string()))?;
            if before.is_none_or(|before| !before.ct_eq(&value)) {
                return Ok(value);
            }
        }
        let message = "the generator draws the current value again and again: it has to have more \
                       values than one";
        Err(RotatorError::new("rotation.same_value", message))
    }

    /// A JSON object with one field drawn anew; the others keep their order and values.
    fn draw_field(&self, call: &StepCall<'_>, current: &Payload) -> Result<Payload, RotatorError> {
        let unread = || RotatorError::new("rotation.no_object", "the value is no JSON object");
        let mut object = Object::read(&current.value).ok_or_else(unread)?;
        let names: Vec<&str> = object.names().collect();
        let name = match (&self.field, names.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, names) if names.contains(&FIELD_DEFAULT) => FIELD_DEFAULT.to_owned(),
            (None, [only]) => (*only).to_owned(),
            (None, _) => {
                let message = "the value is a JSON object without a field `password`: register \
                               a rotator with --field that says which one changes";
                return Err(RotatorError::new("rotation.which_field", message));
            }
        };
        let before = object.text(&name);
        let drawn = self.draw_text(call, before.as_ref())?;
        match object.set(&name, &drawn) {
            true => Ok(object.payload()),
            false => Err(unread()),
        }
    }
}

impl Rotator for Generator {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        let done = match call.step {
            Step::Create => self.draw(call).map(Some),
            Step::Test => check(call).map(|()| None),
            // Nobody has to be told, and the engine moves the stages.
            Step::Set | Step::Finish => Ok(None),
        };
        Box::pin(std::future::ready(done))
    }
}

/// A new value that is empty must not become the current one.
fn check(call: &StepCall<'_>) -> Result<(), RotatorError> {
    match call.pending {
        Some(pending) if !pending.value.is_empty() => Ok(()),
        _ => Err(RotatorError::new(
            "rotation.empty_value",
            "the new value is empty",
        )),
    }
}
