//! The query of a request.

/// Most fields that are looked at.
const FIELDS_MAX: usize = 64;

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Self {
        let Some(raw) = raw else {
            return Self::default();
        };
        let fields = raw.split('&').filter(|field| !field.is_empty());
        let pair = |field: &str| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            (decode(name), decode(value))
        };
        Self(fields.take(FIELDS_MAX).map(pair).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let found = fields.find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The fields as a body would have them; what says which verb is meant is none.
    pub(crate) fn to_fields(&self) -> super::body::Fields {
        let meant = |name: &str| !matches!(name, "list" | "scan" | "help");
        let fields = self.0.iter().filter(|(name, _)| meant(name));
        super::body::Fields::of(fields.cloned())
    }

    /// Whether a flag is set: `?list=true`, `?list=1`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(
            self.get(name),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True")
        )
    }
}

/// Escapes that are malformed stay as they are: a query chooses nothing that is protected.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = &after[2..];
            }
            (b'+', _, _) => bytes.push(b' '),
            (byte, _, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let query = Query::parse(Some("list=true&after=a%2Fb+c&x&y=%zz%4"));
        assert!(query.is_set("list"));
        assert_eq!(query.get("after"), Some("a/b c"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), Some("%zz%4"));
        assert_eq!(query.get("z"), None);
    }
}
