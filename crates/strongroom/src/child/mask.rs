//! What stands between the command's output and ours.

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
