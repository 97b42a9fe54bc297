//! Bodies of requests: JSON objects within bounds, wiped after use.

use serde_json::Map;
use serde_json::Value;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use super::error::Fault;

/// Longest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Deepest nesting.
pub(crate) const DEPTH_MAX: usize = 64;
/// Most values in one body.
pub(crate) const VALUES_MAX: usize = 10_000;

/// The fields of a body. Texts in it are wiped when it goes.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body. Nothing and `null` are no fields.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        check_bounds(bytes)?;
        // Only the place of an error is told: its text may quote what stands there.
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            Fault::Invalid(format!(
                "failed to decode JSON input: malformed at line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        match value {
            Value::Null => Ok(Self::default()),
            Value::Object(fields) => Ok(Self(fields)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(
                Fault::invalid("failed to decode JSON input: the body is no JSON object"),
            ),
        }
    }

    /// Names and texts.
    pub(crate) fn of(fields: impl Iterator<Item = (String, String)>) -> Self {
        Self(
            fields
                .map(|(name, text)| (name, Value::String(text)))
                .collect(),
        )
    }

    /// The fields of an object in a field.
    pub(crate) fn from_map(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// A field; `null` is none.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn map(&self) -> &Map<String, Value> {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves only the fields of these names.
    pub(crate) fn keep(&mut self, names: &[&str]) {
        self.0.retain(|name, value| {
            let is_kept = names.contains(&name.as_str());
            if !is_kept {
                wipe(value);
            }
            is_kept
        });
    }

    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Wiped> {
        self.0
            .remove(name)
            .filter(|value| !value.is_null())
            .map(Wiped)
    }

    /// The whole as JSON.
    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            wipe(value);
        }
    }
}

/// JSON whose texts are wiped when it goes.
#[derive(Debug)]
pub(crate) struct Wiped(pub(crate) Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Compact JSON in a buffer of exact size.
pub(crate) fn compact(value: &Value) -> Zeroizing<Vec<u8>> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing into memory cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    let mut bytes = Zeroizing::new(Vec::with_capacity(count.0));
    let _ = serde_json::to_writer(&mut *bytes, value);
    bytes
}

/// Looks at the bounds before anything is built in memory.
fn check_bounds(bytes: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => loop {
                match rest.next() {
                    Some(b'\\') => {
                        rest.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            // As many values as commas, and one more in all that is not empty.
            b'{' | b'[' => (depth, values) = (depth + 1, values + 1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Fault::Invalid(format!(
                "failed to decode JSON input: nested more than {DEPTH_MAX} deep"
            )));
        }
        if values > VALUES_MAX {
            return Err(Fault::Invalid(format!(
                "failed to decode JSON input: more than {VALUES_MAX} values"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        match Fields::parse(bytes) {
            Err(fault) => fault.answer().1.join(" "),
            Ok(fields) => format!("{fields:?}"),
        }
    }

    #[test]
    fn digits_and_order_stay() {
        let text = br#"{"b":123456789012345678901234567890,"a":1.50,"c":[1e+400,{"d":"\u00e9"}]}"#;
        let fields = Fields::parse(text).unwrap();
        let compact = compact(&fields.to_value());
        let expected = r#"{"b":123456789012345678901234567890,"a":1.50,"c":[1e+400,{"d":"é"}]}"#;
        assert_eq!(std::str::from_utf8(&compact).unwrap(), expected);
    }

    #[test]
    fn nothing_is_no_fields() {
        for text in ["", "null", "  \n", "{}"] {
            assert!(Fields::parse(text.as_bytes()).unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn an_error_quotes_nothing() {
        let canary = "canary-71d2";
        for text in [
            format!("{{\"a\":\"{canary}\""),
            format!("\"{canary}\""),
            format!("[\"{canary}\"]"),
            format!("{{\"a\":{canary}}}"),
            format!("{{\"{canary}\"}}"),
            canary.to_owned(),
        ] {
            let error = error_of(text.as_bytes());
            assert!(error.contains("failed to decode JSON input"), "{error}");
            assert!(!error.contains(canary), "{error}");
        }
    }

    #[test]
    fn bounds_hold() {
        let nested = |depth: usize| {
            let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            error_of(body.as_bytes())
        };
        assert!(!nested(DEPTH_MAX - 1).contains("nested"));
        assert!(nested(DEPTH_MAX).contains("nested"));
        assert!(nested(10_000).contains("nested"));
        let many =
            |count: usize| error_of(format!("{{\"a\":[1{}]}}", ",1".repeat(count)).as_bytes());
        assert!(!many(VALUES_MAX - 2).contains("more than"));
        assert!(many(VALUES_MAX - 1).contains("more than"));
        let keys: Vec<String> = (1..VALUES_MAX).map(|at| format!("\"k{at}\":1")).collect();
        let object = |more: &str| error_of(format!("{{{more}{}}}", keys.join(",")).as_bytes());
        assert!(!object("\"a\":1,").contains("more than"));
        assert!(object("\"a\":[],").contains("more than"));
    }
}
