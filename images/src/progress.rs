//! How long work reports how far it is. The program decides what to draw; this
//! crate only calls.

/// Receives the progress of a pull, an import, an unpack or a build.
///
/// Calls come from one thread at a time, but not always the caller's.
pub trait Progress: Sync {
    /// A step begins. `total` is in bytes, where it is known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// So many more bytes of the current step are done.
    fn advance(&self, bytes: u64);
    /// The current step is done.
    fn finish(&self);
    /// Something the operator should know though the work goes on.
    fn warn(&self, message: &str);
}

/// Reports to nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn warn(&self, _message: &str) {}
}
