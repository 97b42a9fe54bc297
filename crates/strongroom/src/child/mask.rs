//! What stands between the command's output and ours.

use zeroize::Zeroizing;

/// Takes the bytes of one output stream in chunks and gives them out with secrets masked.
pub(crate) trait Mask: Send {
    /// Takes `chunk`; appends what can be let go to `out`.
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>);

    /// The command has been silent for a while: appends what was held back to `out`.
    fn flush_idle(&mut self, out: &mut Vec<u8>);

    /// True while bytes are held back because a secret may have begun.
    fn has_held(&self) -> bool;

    /// The stream has ended: appends all that is left to `out`.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Masks nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassThrough;

impl Mask for PassThrough {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(chunk);
    }

    fn flush_idle(&mut self, _out: &mut Vec<u8>) {}

    fn has_held(&self) -> bool {
        false
    }

    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// Masks one behind the other: what one lets go passes through the next.
///
/// While a command runs, more values can become secret. What an older mask still holds back is
/// let go by itself only, so that it stays in front until it holds nothing.
pub(crate) struct Layers(Vec<Box<dyn Mask>>);

impl Layers {
    /// One mask.
    pub(crate) fn new(mask: Box<dyn Mask>) -> Self {
        Self(vec![mask])
    }

    /// From now on `mask`, which knows all that is secret.
    pub(crate) fn add(&mut self, mask: Box<dyn Mask>) {
        self.0.push(mask);
        self.retire();
    }

    fn retire(&mut self) {
        while self.0.len() > 1 && self.0.first().is_some_and(|first| !first.has_held()) {
            self.0.remove(0);
        }
    }

    /// `own` is what a mask lets go by itself, behind what it is given.
    fn pass(
        &mut self,
        chunk: &[u8],
        own: impl Fn(&mut Box<dyn Mask>, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let mut carried = Zeroizing::new(chunk.to_owned());
        for mask in &mut self.0 {
            let mut next = Zeroizing::new(Vec::with_capacity(carried.len()));
            if !carried.is_empty() {
                mask.push(&carried, &mut next);
            }
            own(mask, &mut next);
            carried = next;
        }
        out.extend_from_slice(&carried);
        self.retire();
    }
}

impl Mask for Layers {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        match self.0.as_mut_slice() {
            [only] => only.push(chunk, out),
            _ => self.pass(chunk, |_, _| {}, out),
        }
    }

    fn flush_idle(&mut self, out: &mut Vec<u8>) {
        match self.0.as_mut_slice() {
            [only] => only.flush_idle(out),
            _ => self.pass(&[], |mask, out| mask.flush_idle(out), out),
        }
    }

    fn has_held(&self) -> bool {
        self.0.iter().any(|mask| mask.has_held())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass(&[], |mask, out| mask.finish(out), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds everything back until it is told to let go.
    struct Holding(Vec<u8>);

    impl Mask for Holding {
        fn push(&mut self, chunk: &[u8], _out: &mut Vec<u8>) {
            self.0.extend_from_slice(chunk);
        }

        fn flush_idle(&mut self, out: &mut Vec<u8>) {
            out.append(&mut self.0);
        }

        fn has_held(&self) -> bool {
            !self.0.is_empty()
        }

        fn finish(&mut self, out: &mut Vec<u8>) {
            out.append(&mut self.0);
        }
    }

    /// Writes in capitals.
    struct Loud;

    impl Mask for Loud {
        fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
            out.extend(chunk.to_ascii_uppercase());
        }

        fn flush_idle(&mut self, _out: &mut Vec<u8>) {}

        fn has_held(&self) -> bool {
            false
        }

        fn finish(&mut self, _out: &mut Vec<u8>) {}
    }

    #[test]
    fn what_an_older_mask_holds_passes_through_the_newer() {
        let mut layers = Layers::new(Box::new(Holding(Vec::new())));
        let mut out = Vec::new();
        layers.push(b"a", &mut out);
        layers.add(Box::new(Loud));
        layers.push(b"b", &mut out);
        assert_eq!(out, b"");
        layers.flush_idle(&mut out);
        assert_eq!(out, b"AB");
        // The older one held nothing any more, and is gone.
        layers.push(b"c", &mut out);
        assert_eq!(out, b"ABC");
    }

    #[test]
    fn at_the_end_nothing_is_left() {
        let mut layers = Layers::new(Box::new(Holding(b"a".to_vec())));
        layers.add(Box::new(Holding(Vec::new())));
        layers.add(Box::new(Loud));
        let mut out = Vec::new();
        layers.finish(&mut out);
        assert_eq!(out, b"A");
    }
}
