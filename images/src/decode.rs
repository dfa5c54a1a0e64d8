//! Decompression: by first bytes, not by name; and on a thread of its own, so
//! that inflating and writing overlap.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::Digest as _;

use crate::Digest;
use crate::digest::HashReader;
use crate::error::{ImageError, Result, opening};
use crate::progress::Progress;
use crate::store::Layer;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A zstd frame, or one of the skippable frames that may precede it (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_MAX: usize = 16;

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
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(source)?))
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

/// The plain bytes of a layer, decompressed by another thread and hashed on the
/// way: one pass over the blob gives content and both digests.
#[derive(Debug)]
pub(crate) struct LayerReader {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    consumed: usize,
    hasher: sha2::Sha256,
    plain_bytes: u64,
    limit: u64,
    ended: bool,
}

impl LayerReader {
    /// Runs `apply` over the plain bytes of the blob at `path`, then reads what
    /// it left and gives both digests with its result. More than `limit` plain
    /// bytes are an error; progress counts the blob's own bytes.
    ///
    /// A failure of `apply` comes first: it mostly is the cause of what follows.
    pub(crate) fn scope<T, E: From<io::Error>>(
        path: &Path,
        limit: u64,
        progress: &dyn Progress,
        apply: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> Result<std::result::Result<(T, Whole), E>> {
        let file = File::open(path).map_err(opening(path))?;
        let (full_sender, full) = sync_channel(CHUNKS_MAX);
        let (empty, empty_receiver) = sync_channel(CHUNKS_MAX);
        for _ in 0..CHUNKS_MAX {
            // The channel was made for this many.
            let _ = empty.send(Vec::new());
        }
        thread::scope(|scope| {
            let inflater = thread::Builder::new()
                .name("inflate".into())
                .spawn_scoped(scope, move || {
                    inflate(Counted(file, progress), &full_sender, &empty_receiver)
                })
                .map_err(|source| ImageError::Thread { purpose: "decompression", source })?;
            let mut reader = Self {
                full,
                empty,
                chunk: Vec::new(),
                consumed: 0,
                hasher: sha2::Sha256::new(),
                plain_bytes: 0,
                limit,
                ended: false,
            };
            let outcome = apply(&mut reader).and_then(|value| {
                io::copy(&mut reader, &mut io::sink())?;
                Ok(value)
            });
            let plain_bytes = reader.plain_bytes;
            let diff_id = Digest::from_sha256(reader.hasher.clone().finalize().into());
            // Ends the other thread, if it still has something to send.
            drop(reader);
            let blob = inflater.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(outcome.and_then(|value| Ok((value, Whole { blob: blob?, diff_id, plain_bytes }))))
        })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let spent = std::mem::take(&mut self.chunk);
        self.consumed = 0;
        // Nobody takes spent chunks once the last one is on its way.
        let _ = self.empty.try_send(spent);
        match self.full.recv() {
            Ok(Ok(chunk)) => {
                self.plain_bytes += chunk.len() as u64;
                if self.plain_bytes > self.limit {
                    self.ended = true;
                    let message = format!("more than {} bytes uncompressed", self.limit);
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
                }
                self.hasher.update(&chunk);
                self.chunk = chunk;
            }
            Ok(Err(error)) => {
                self.ended = true;
                return Err(error);
            }
            Err(_) => self.ended = true,
        }
        Ok(())
    }
}

impl BufRead for LayerReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.chunk.len() && !self.ended {
            self.next_chunk()?;
        }
        Ok(&self.chunk[self.consumed..])
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed = (self.consumed + bytes).min(self.chunk.len());
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let bytes = available.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&available[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

/// Reports what is read.
struct Counted<'a>(File, &'a dyn Progress);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read(buffer)?;
        self.1.advance(bytes as u64);
        Ok(bytes)
    }
}

/// The decompressing side: sends plain chunks until the end, an error, or until
/// nobody listens. Gives the digest of the whole blob.
fn inflate(
    file: Counted<'_>,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Digest> {
    let mut hashed = HashReader::new(file);
    let sent = send_plain(&mut hashed, full, empty);
    if let Err(error) = sent {
        let kind = error.kind();
        // The reader reports it; if it is gone, it has its own error.
        let _ = full.send(Err(error));
        return Err(kind.into());
    }
    Ok(hashed.finish()?.0)
}

fn send_plain(
    source: &mut (impl Read + Send),
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut plain = decoder(BufReader::with_capacity(CHUNK_BYTES, source))?;
    loop {
        let Ok(mut chunk) = empty.recv() else {
            return Ok(());
        };
        chunk.resize(CHUNK_BYTES, 0);
        let bytes = fill(&mut plain, &mut chunk)?;
        chunk.truncate(bytes);
        if bytes == 0 || full.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// Reads until `buffer` is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
