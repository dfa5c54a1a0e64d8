//! Reading a log from somewhere on, across rotations.
//!
//! A position is an offset in the log together with the identity of `LOG.1` at
//! that time. When `LOG.1` is another file now, the log was rotated: as many
//! bytes as the newer files hold have been cut off before the position. What of
//! them was not read yet is read from those files first.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{identity, rotated};
use crate::error::{Result, RuntimeError};

/// Most bytes that one call returns.
const MAX_CHUNK: u64 = 256 << 10;
/// Rotated files that are looked at; more rotations between two calls are a gap.
const MAX_ROTATED: u32 = 64;
/// How much is read at a time when looking for line ends backwards.
const STEP: u64 = 64 << 10;

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes, in order.
    Data(Vec<u8>),
    /// Nothing new now; ask again later.
    Nothing,
    /// So many rotations, or a truncation, came in between that bytes may be
    /// missing here.
    Gap,
}

/// A reader of one log.
#[derive(Debug)]
pub struct Follower {
    log: PathBuf,
    offset: u64,
    newest_rotated: Option<(u64, u64)>,
    /// Unread parts of rotated files, oldest first: file, from, to.
    pending: Vec<(File, u64)>,
}

impl Follower {
    /// A reader that begins with the last `lines` lines of the log; with all of
    /// it for `None`. Rotated files are not looked at. The log need not exist.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn open(log: &Path, lines: Option<usize>) -> Result<Self> {
        let mut follower = Self {
            log: log.to_path_buf(),
            offset: 0,
            newest_rotated: newest(log)?.map(|(id, _)| id),
            pending: Vec::new(),
        };
        if let Some(lines) = lines
            && let Some(file) = follower.lock()?
        {
            follower.newest_rotated = newest(log)?.map(|(id, _)| id);
            follower.offset =
                last_lines(&file, lines).map_err(RuntimeError::io("read the log", log))?;
        }
        Ok(follower)
    }

    /// The next bytes, at most 256 KiB. Does not wait.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn next_chunk(&mut self) -> Result<Chunk> {
        let Some(file) = self.lock()? else {
            return Ok(Chunk::Nothing);
        };
        if let Some(gap) = self.account_for_rotations()? {
            return Ok(gap);
        }
        if let Some(data) = self.pending_data()? {
            return Ok(Chunk::Data(data));
        }
        let size = file.metadata().map_err(RuntimeError::io("examine", &self.log))?.len();
        if size < self.offset {
            self.offset = 0;
            return Ok(Chunk::Gap);
        }
        let mut source = &*file;
        let mut data = Vec::new();
        source
            .seek(SeekFrom::Start(self.offset))
            .and_then(|_| source.take(MAX_CHUNK).read_to_end(&mut data))
            .map_err(RuntimeError::io("read the log", &self.log))?;
        self.offset += data.len() as u64;
        Ok(if data.is_empty() { Chunk::Nothing } else { Chunk::Data(data) })
    }

    /// The log, locked against rotation; `None` when it does not exist, or is
    /// being rotated just now.
    fn lock(&self) -> Result<Option<Flock<File>>> {
        let file = match File::open(&self.log) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RuntimeError::io("open the log", &self.log)(error)),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(file) => Ok(Some(file)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(RuntimeError::io("lock the log", &self.log)(error)),
        }
    }

    /// Moves the position back by what was cut off since the last call, and
    /// remembers what of that is still unread.
    fn account_for_rotations(&mut self) -> Result<Option<Chunk>> {
        let mut newer = Vec::new();
        let mut found = self.newest_rotated.is_none();
        for number in 1..=MAX_ROTATED {
            let path = rotated(&self.log, number);
            let Some((id, size)) = examine(&path)? else {
                break;
            };
            if Some(id) == self.newest_rotated {
                found = true;
                break;
            }
            newer.push((path, id, size));
        }
        let Some((_, newest, _)) = newer.first() else {
            return Ok(None);
        };
        self.newest_rotated = Some(*newest);
        for (path, _, size) in newer.into_iter().rev() {
            if self.offset < size {
                let file = File::open(&path).map_err(RuntimeError::io("open", &path))?;
                self.pending.push((file, self.offset));
            }
            self.offset = self.offset.saturating_sub(size);
        }
        Ok((!found).then_some(Chunk::Gap))
    }

    fn pending_data(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some((file, from)) = self.pending.first_mut() {
            let mut data = Vec::new();
            file.seek(SeekFrom::Start(*from))
                .and_then(|_| file.take(MAX_CHUNK).read_to_end(&mut data))
                .map_err(RuntimeError::io("read a rotated file of", &self.log))?;
            if !data.is_empty() {
                *from += data.len() as u64;
                return Ok(Some(data));
            }
            self.pending.remove(0);
        }
        Ok(None)
    }
}

/// Identity and size of the newest rotated file.
fn newest(log: &Path) -> Result<Option<((u64, u64), u64)>> {
    examine(&rotated(log, 1))
}

fn examine(path: &Path) -> Result<Option<((u64, u64), u64)>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some((identity(&metadata), metadata.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RuntimeError::io("examine", path)(error)),
    }
}

/// Where the last `lines` lines begin. A last line without an end counts as one.
fn last_lines(mut file: &File, lines: usize) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let (mut begin, mut ends) = (size, 0);
    while begin > 0 {
        let from = begin.saturating_sub(STEP);
        let mut block = vec![0; usize::try_from(begin - from).unwrap_or_default()];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = from + index as u64 + 1;
            if after == size {
                continue;
            }
            ends += 1;
            if ends == lines {
                return Ok(after);
            }
        }
        begin = from;
    }
    Ok(if lines == 0 { size } else { 0 })
}
