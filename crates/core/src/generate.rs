//! Generators: how a value is drawn, and whether it can satisfy its declared format.

pub(crate) mod draw;
mod layout;
mod prove;
mod spec;

use zeroize::Zeroizing;

use crate::format::FormatProblem;
use crate::format::Pattern;
use crate::format::ValueType;
use crate::port::Rng;
use crate::secret::SecretValue;
use crate::time::Timestamp;

pub use prove::Proof;
pub use spec::CharClass;
pub use spec::Charset;
pub use spec::GeneratorSpec;
pub use spec::LENGTH_CHARS_MAX;
pub use spec::ParseGeneratorError;
pub use spec::RawGenerator;

/// Draws made before a format is given up.
pub const MATCH_ATTEMPTS_MAX: u32 = 1_000;

impl GeneratorSpec {
    /// Draws a value.
    #[must_use]
    pub fn generate(&self, rng: &dyn Rng, now: Timestamp) -> SecretValue {
        if let Self::Timestamp = self {
            return SecretValue::from_text(whole_seconds(now).to_string());
        }
        let layout = layout::of(self);
        let mut source = draw::Source::new(rng);
        // Uniform over the passwords that hold every class: what lacks one is drawn again.
        for _ in 0..draw::CLASS_ATTEMPTS_MAX {
            let (text, classes) = draw::text(&layout, &mut source);
            if classes == layout.classes {
                return finish(text);
            }
        }
        finish(draw::forced(&layout, &mut source))
    }

    /// Draws a value that satisfies a declared pattern and type.
    ///
    /// # Errors
    /// When no value of this generator does, or none was found in 1,000 draws.
    pub fn generate_matching(
        &self,
        pattern: Option<&Pattern>,
        value_type: Option<ValueType>,
        rng: &dyn Rng,
        now: Timestamp,
    ) -> Result<SecretValue, GenerateError> {
        let attempts = match self.proves(pattern, value_type) {
            Proof::Never { reason } => return Err(GenerateError::Never { reason }),
            Proof::Always | Proof::Sometimes { .. } => MATCH_ATTEMPTS_MAX,
        };
        let mut problem = None;
        for _ in 0..attempts {
            let value = self.generate(rng, now);
            // EXPOSE: to check the new value against its declared format; goes nowhere.
            match check(pattern, value_type, value.expose_secret()) {
                Ok(()) => return Ok(value),
                Err(found) => problem = Some(found),
            }
        }
        let problem = problem
            .map(|problem| problem.to_string())
            .unwrap_or_default();
        Err(GenerateError::Unlucky { attempts, problem })
    }

    /// Bits of entropy of a drawn value; 0 for a timestamp.
    #[must_use]
    pub fn entropy_bits(&self) -> f64 {
        layout::of(self).entropy_bits()
    }

    /// Most characters that a drawn value has.
    #[must_use]
    pub fn chars_max(&self) -> Option<usize> {
        Some(layout::of(self).chars_max())
    }

    /// True when what is drawn can be a secret at all.
    #[must_use]
    pub fn makes_secrets(&self) -> bool {
        !matches!(self, Self::Timestamp)
    }

    /// Whether the values of this generator satisfy a declared pattern and type.
    #[must_use]
    pub fn proves(&self, pattern: Option<&Pattern>, value_type: Option<ValueType>) -> Proof {
        prove::proves(&layout::of(self), pattern, value_type)
    }
}

fn check(
    pattern: Option<&Pattern>,
    value_type: Option<ValueType>,
    value: &[u8],
) -> Result<(), FormatProblem> {
    pattern.map_or(Ok(()), |pattern| pattern.check(value))?;
    value_type.map_or(Ok(()), |value_type| value_type.check(value))
}

/// The text as a secret: its buffer is wiped when it is not of exact size.
fn finish(mut text: Zeroizing<String>) -> SecretValue {
    SecretValue::from_text(std::mem::take(&mut *text))
}

/// A time without its fraction of a second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let micros = time.as_micros();
    Timestamp::from_micros(micros - micros.rem_euclid(1_000_000))
}

/// Why no value was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No value of this generator satisfies the format.
    #[error("the generator can never satisfy the declared format: {reason}")]
    Never {
        /// Why.
        reason: String,
    },
    /// A value may exist, but none was drawn.
    #[error("none of {attempts} drawn values satisfied the declared format; the last {problem}")]
    Unlucky {
        /// How many were drawn.
        attempts: u32,
        /// What was wrong with the last one.
        problem: String,
    },
}

#[cfg(test)]
mod tests;
