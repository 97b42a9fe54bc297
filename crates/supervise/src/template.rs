//! `${data}`, `${bundle}` and `${SERVICE.PORT}` in a manifest's texts. Values are put in once and
//! not read again; a secret is never one of them.

use std::path::Path;

use crate::ports::Ports;

/// What variables stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template<'a> {
    pub(crate) data: &'a Path,
    pub(crate) bundle: &'a Path,
    pub(crate) ports: &'a Ports,
}

impl Template<'_> {
    /// A text with its variables filled in; one that is not known stays as it is.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                filled.push_str("${");
                rest = after;
                continue;
            };
            match self.value(name) {
                Some(value) => filled.push_str(&value),
                None => {
                    filled.push_str("${");
                    filled.push_str(name);
                    filled.push('}');
                }
            }
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "data" => Some(self.data.display().to_string()),
            "bundle" => Some(self.bundle.display().to_string()),
            name => {
                let (service, port) = name.rsplit_once('.')?;
                self.ports.get(service)?.get(port).map(u16::to_string)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_once() {
        let mut ports = Ports::new();
        ports
            .entry("a.b".into())
            .or_default()
            .insert("http".into(), 47_001);
        let template = Template {
            data: Path::new("/d/${bundle}"),
            bundle: Path::new("/b"),
            ports: &ports,
        };
        for (text, filled) in [
            ("http://127.0.0.1:${a.b.http}/", "http://127.0.0.1:47001/"),
            ("${data}/x:${bundle}", "/d/${bundle}/x:/b"),
            ("${nope.http} ${} ${", "${nope.http} ${} ${"),
            (
                "{{data}} <%= 1 %> #{x} $data",
                "{{data}} <%= 1 %> #{x} $data",
            ),
            ("${${data}}", "${${data}}"),
        ] {
            assert_eq!(template.fill(text), filled);
        }
    }
}
