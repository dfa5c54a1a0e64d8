//! A lane: the threads that inflate and hash one layer, and the reader that
//! takes what they make.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use sha2::Digest as _;

use super::{Whole, decoder};
use crate::Digest;
use crate::error::{ImageError, Result, opening};
use crate::progress::Progress;

const CHUNK_BYTES: usize = 256 << 10;
/// Plain chunks of all lanes together: 24 MiB.
const CHUNKS_MAX: usize = 96;
/// Chunks, compressed and plain, that one lane has on the way to its hashes.
const HASH_CHUNKS_MAX: usize = 16;
/// Layers at work at once. A lane has its decompressor's window and queue.
const LANES_MAX: usize = 4;

/// Bytes that several threads read.
type Chunk = Arc<Vec<u8>>;

/// Plain bytes, and how many of the blob's were read for them.
#[derive(Debug)]
struct Inflated {
    chunk: Chunk,
    blob_bytes: u64,
}

/// What a lane's hashing thread takes.
#[derive(Debug)]
enum Hashable {
    Blob(Chunk),
    Plain(Chunk),
}

/// Spent buffers on their way back to be filled again. It only saves
/// allocations; the bound is that of the queues.
#[derive(Debug, Clone)]
struct Spent(SyncSender<Vec<u8>>);

impl Spent {
    fn queue(count: usize) -> (Self, Receiver<Vec<u8>>) {
        let (spent, buffers) = sync_channel(count);
        (Self(spent), buffers)
    }

    /// Gives a chunk up. Who does so last returns its buffer.
    fn give_back(&self, chunk: Chunk) {
        if let Some(buffer) = Arc::into_inner(chunk) {
            // Full, or nobody fills buffers any more: it is freed.
            let _ = self.0.try_send(buffer);
        }
    }
}

/// Hands the plain bytes of `blobs`, first to last, to `apply`, and then tells
/// `finish` what the layer turned out to be. Decompression of later ones goes
/// on meanwhile. Progress counts the blobs' own bytes, in the caller's thread.
///
/// `apply` must read to the end (see [`LayerReader::drain`]) or fail.
///
/// # Errors
/// Those of `apply` and `finish`; a blob that can't be opened.
pub(crate) fn in_order(
    blobs: &[PathBuf],
    progress: &dyn Progress,
    mut apply: impl FnMut(usize, &mut LayerReader<'_>) -> Result<()>,
    mut finish: impl FnMut(usize, Whole) -> Result<()>,
) -> Result<()> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let lanes = processors.min(LANES_MAX).min(blobs.len());
    thread::scope(|scope| {
        let mut started = VecDeque::new();
        let mut waiting = blobs.iter();
        for number in 0..blobs.len() {
            while started.len() < lanes
                && let Some(blob) = waiting.next()
            {
                started.push_back(Lane::start(scope, blob, CHUNKS_MAX / lanes)?);
            }
            let Some(lane) = started.pop_front() else { break };
            let mut reader = LayerReader::new(lane.inflated, lane.spent, progress);
            apply(number, &mut reader)?;
            let plain_bytes = reader.plain_bytes;
            drop(reader);
            let hashes = lane.hashes.join();
            let (blob, diff_id) = hashes.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            finish(number, Whole { blob, diff_id, plain_bytes })?;
        }
        Ok(())
    })
}

/// The threads of one layer. They end when the receiver is dropped.
struct Lane<'scope> {
    inflated: Receiver<io::Result<Inflated>>,
    spent: Spent,
    hashes: ScopedJoinHandle<'scope, (Digest, Digest)>,
}

impl<'scope> Lane<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>, blob: &Path, chunks: usize) -> Result<Self> {
        let file = File::open(blob).map_err(opening(blob))?;
        let (full, inflated) = sync_channel(chunks);
        let (to_hash, hashable) = sync_channel(HASH_CHUNKS_MAX);
        let (spent, buffers) = Spent::queue(chunks);
        let (spent_blob, blob_buffers) = Spent::queue(HASH_CHUNKS_MAX);
        let failed = |source| ImageError::Thread { purpose: "decompression", source };
        let blob = Blob {
            file,
            to_hash: to_hash.clone(),
            spent: spent_blob.clone(),
            buffers: blob_buffers,
            chunk: Chunk::default(),
            consumed: 0,
            bytes: Arc::default(),
        };
        thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, move || inflate(blob, &buffers, &full, &to_hash))
            .map_err(failed)?;
        let spent_plain = spent.clone();
        let hashes = thread::Builder::new()
            .name("hash".into())
            .spawn_scoped(scope, move || hash(&hashable, &spent_blob, &spent_plain))
            .map_err(failed)?;
        Ok(Self { inflated, spent, hashes })
    }
}

/// The hashing side: the digests of blob and plain bytes, once both have ended.
fn hash(chunks: &Receiver<Hashable>, spent_blob: &Spent, spent_plain: &Spent) -> (Digest, Digest) {
    let (mut blob, mut plain) = (sha2::Sha256::new(), sha2::Sha256::new());
    for hashable in chunks {
        match hashable {
            Hashable::Blob(chunk) => {
                blob.update(&*chunk);
                spent_blob.give_back(chunk);
            }
            Hashable::Plain(chunk) => {
                plain.update(&*chunk);
                spent_plain.give_back(chunk);
            }
        }
    }
    (Digest::from_sha256(blob.finalize().into()), Digest::from_sha256(plain.finalize().into()))
}

/// The decompressing side: sends plain chunks until the end, an error, or until
/// nobody listens.
fn inflate(
    mut blob: Blob,
    buffers: &Receiver<Vec<u8>>,
    full: &SyncSender<io::Result<Inflated>>,
    to_hash: &SyncSender<Hashable>,
) {
    if let Err(error) = send_plain(&mut blob, buffers, full, to_hash) {
        // The reader reports it; if it is gone, it has its own error.
        let _ = full.send(Err(error));
    }
}

fn send_plain(
    blob: &mut Blob,
    buffers: &Receiver<Vec<u8>>,
    full: &SyncSender<io::Result<Inflated>>,
    to_hash: &SyncSender<Hashable>,
) -> io::Result<()> {
    let bytes_read = Arc::clone(&blob.bytes);
    let mut told = 0;
    let mut send = |buffer: Vec<u8>| {
        let chunk = Arc::new(buffer);
        let read = bytes_read.load(Ordering::Relaxed);
        let inflated = Inflated { chunk: Arc::clone(&chunk), blob_bytes: read - told };
        told = read;
        // The hashing thread outlives this one.
        let _ = to_hash.send(Hashable::Plain(chunk));
        full.send(Ok(inflated)).is_ok()
    };
    let mut plain = decoder(&mut *blob)?;
    loop {
        let mut buffer = buffers.try_recv().unwrap_or_default();
        buffer.resize(CHUNK_BYTES, 0);
        let bytes = fill(&mut plain, &mut buffer)?;
        buffer.truncate(bytes);
        if bytes == 0 {
            break;
        }
        if !send(buffer) {
            return Ok(());
        }
    }
    drop(plain);
    // What follows a compressed stream's end is part of the blob's digest.
    io::copy(blob, &mut io::sink())?;
    send(Vec::new());
    Ok(())
}

/// A blob's file, whose bytes go to be hashed as they are read.
#[derive(Debug)]
struct Blob {
    file: File,
    to_hash: SyncSender<Hashable>,
    spent: Spent,
    buffers: Receiver<Vec<u8>>,
    chunk: Chunk,
    consumed: usize,
    /// Read so far; shared with who reports it while a decoder owns this.
    bytes: Arc<AtomicU64>,
}

impl BufRead for Blob {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.chunk.len() {
            self.spent.give_back(std::mem::take(&mut self.chunk));
            let mut buffer = self.buffers.try_recv().unwrap_or_default();
            buffer.resize(CHUNK_BYTES, 0);
            let bytes = fill(&mut self.file, &mut buffer)?;
            buffer.truncate(bytes);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.chunk = Arc::new(buffer);
            self.consumed = 0;
            // The hashing thread outlives this one.
            let _ = self.to_hash.send(Hashable::Blob(Arc::clone(&self.chunk)));
        }
        Ok(&self.chunk[self.consumed..])
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed = (self.consumed + bytes).min(self.chunk.len());
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// `Read` for what can `BufRead`.
fn read_buffered(source: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = source.fill_buf()?;
    let bytes = available.len().min(buffer.len());
    buffer[..bytes].copy_from_slice(&available[..bytes]);
    source.consume(bytes);
    Ok(bytes)
}

/// Reads until `buffer` is full or the source ends.
pub(crate) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
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

/// The plain bytes of a layer, in the thread that applies it.
pub(crate) struct LayerReader<'a> {
    inflated: Receiver<io::Result<Inflated>>,
    spent: Spent,
    progress: &'a dyn Progress,
    chunk: Chunk,
    consumed: usize,
    plain_bytes: u64,
    limit: u64,
    ended: bool,
}

impl<'a> LayerReader<'a> {
    fn new(
        inflated: Receiver<io::Result<Inflated>>,
        spent: Spent,
        progress: &'a dyn Progress,
    ) -> Self {
        let chunk = Chunk::default();
        let limit = u64::MAX;
        Self { inflated, spent, progress, chunk, consumed: 0, plain_bytes: 0, limit, ended: false }
    }

    /// More plain bytes than this are an error.
    pub(crate) fn limit_to(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Reads what is left: the digests are of the whole.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        while !self.ended {
            self.next_chunk()?;
        }
        Ok(())
    }

    /// How many plain bytes were taken so far.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        self.spent.give_back(std::mem::take(&mut self.chunk));
        self.consumed = 0;
        match self.inflated.recv() {
            Ok(Ok(inflated)) => self.take(inflated),
            Ok(Err(error)) => {
                self.ended = true;
                Err(error)
            }
            Err(_) => {
                self.ended = true;
                Ok(())
            }
        }
    }

    fn take(&mut self, Inflated { chunk, blob_bytes }: Inflated) -> io::Result<()> {
        if blob_bytes > 0 {
            self.progress.advance(blob_bytes);
        }
        self.plain_bytes += chunk.len() as u64;
        if self.plain_bytes > self.limit {
            self.ended = true;
            let message = format!("more than {} bytes uncompressed", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.chunk = chunk;
        Ok(())
    }
}

impl BufRead for LayerReader<'_> {
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

impl Read for LayerReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}
