//! Decompression of layers: by first bytes, not by name; beside the thread that
//! applies them, and several layers at once.
//!
//! Flow: every layer at work has a thread that reads and inflates its blob and
//! one that hashes both forms; the caller takes the plain bytes, layer by layer
//! in order. Layers behind the current one inflate ahead until their chunks are
//! used up, so the memory is bounded whatever the layers hold.
//!
//! Does not apply anything, and does not judge digests.

mod lane;

use std::io::{self, BufRead, Read};
use std::path::Path;

use crate::Digest;
use crate::error::{ImageError, Result};
use crate::store::Layer;

pub(crate) use lane::{LayerReader, fill, in_order};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A zstd frame, or one of the skippable frames that may precede it (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// The largest window of a zstd frame, as a power of two: 32 MiB. Image builders
/// stay at 8 MiB, which RFC 8878 has every decoder support; what asks for more
/// than this asks for memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// A reader of the plain bytes of `source`, whatever its compression: gzip
/// (several members too), zstd (several frames too) or none.
pub(crate) fn decoder<'a, R: BufRead + Send + 'a>(
    mut source: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let start = source.fill_buf()?;
    let zstd = start.starts_with(&ZSTD_MAGIC)
        || (start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == ZSTD_SKIPPABLE);
    if start.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(source)))
    } else if zstd {
        let mut plain = zstd::stream::read::Decoder::with_buffer(source)?;
        plain.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Ok(Box::new(plain))
    } else {
        Ok(Box::new(source))
    }
}

/// What a layer turned out to be, once all of it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Of the blob as stored.
    pub(crate) blob: Digest,
    /// Of the plain bytes.
    pub(crate) diff_id: Digest,
    /// How many plain bytes.
    pub(crate) plain_bytes: u64,
}

impl Whole {
    /// Refuses a layer that is not what manifest and configuration promise.
    pub(crate) fn check(&self, layer: &Layer, path: &Path) -> Result<()> {
        if self.blob != layer.digest {
            let place = path.display().to_string();
            return Err(ImageError::WrongDigest {
                place,
                found: self.blob,
                expected: layer.digest,
            });
        }
        if self.diff_id != layer.diff_id {
            return Err(ImageError::WrongDiffId {
                layer: layer.digest,
                found: self.diff_id,
                expected: layer.diff_id,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
