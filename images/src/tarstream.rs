//! Reads a tar archive as a stream: headers, PAX records and GNU long names
//! become one [`Member`] each; contents are read in between.
//!
//! The `tar` crate parses and checks the header block, but its iterator is not
//! used: it splits PAX records at newlines, which loses binary values such as
//! `security.capability` and every record after them, and it reads long names
//! of any length into memory. Here one place decides a member's size, so no two
//! readers of it can disagree.
//!
//! Formats: POSIX.1-2017 `pax`, ustar, old GNU long names
//! ([tar(5)](https://man.freebsd.org/cgi/man.cgi?query=tar&sektion=5)). Sparse
//! members are refused: no image builder writes them.

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Of a PAX header or a long name. The kernel takes 64 KiB per xattr and 4 KiB
/// per path.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// No file is larger (off_t), and its padding is a number too.
const MEMBER_BYTES_MAX: u64 = (1 << 63) - 1;
const NANOS_DIGITS: usize = 9;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// A member's header, with its extensions applied. Names are as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970, and nanoseconds after that second.
    pub(crate) mtime: (i64, i64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream that is not one, or not one that is read here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("cannot read the tar stream")]
    Read(#[from] io::Error),
    #[error("tar header at byte {at}: {reason}")]
    Header { at: u64, reason: &'static str },
    #[error("tar member {name:?}: {reason}")]
    Member { name: String, reason: &'static str },
}

/// A tar archive being read.
#[derive(Debug)]
pub(crate) struct TarStream<R> {
    source: R,
    at: u64,
    /// Content of the current member not yet read, and its padding.
    content_left: u64,
    padding: u64,
}

#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, i64)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: BufRead> TarStream<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, at: 0, content_left: 0, padding: 0 }
    }

    /// The next member; `None` at the end of the archive. What was not read of
    /// the last one is skipped.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip_rest()?;
        let mut extensions = Extensions::default();
        let mut extended = false;
        loop {
            let at = self.at;
            let Some(header) = self.read_header()? else {
                if extended {
                    return Err(TarError::Header { at, reason: "extensions without a member" });
                }
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| bad(at, "unreadable size"))?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.path = Some(self.read_long_name(at, size)?),
                EntryType::GNULongLink => extensions.link = Some(self.read_long_name(at, size)?),
                EntryType::XHeader => {
                    let records = self.read_extension(at, size)?;
                    extensions.apply(&records).map_err(|reason| bad(at, reason))?;
                }
                // Defaults for all members: git's commit id and such.
                EntryType::XGlobalHeader => {
                    self.read_extension(at, size)?;
                    continue;
                }
                _ => {
                    let size = extensions.size.unwrap_or(size);
                    if size > MEMBER_BYTES_MAX {
                        return Err(bad(at, "size out of range"));
                    }
                    let member = member(at, &header, size, extensions)?;
                    self.begin_content(if member.kind == Kind::File { size } else { 0 });
                    // Others have no content, whatever their header says; some
                    // writers give a hard link its target's size.
                    return Ok(Some(member));
                }
            }
            extended = true;
        }
    }

    /// Reads what is after the archive's end.
    pub(crate) fn into_inner(self) -> R {
        self.source
    }

    /// The content that is at hand; empty at the member's end.
    pub(crate) fn fill_content(&mut self) -> io::Result<&[u8]> {
        if self.content_left == 0 {
            return Ok(&[]);
        }
        let available = self.source.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let usable = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        Ok(&available[..available.len().min(usable)])
    }

    /// Marks so many bytes of [`TarStream::fill_content`] as read.
    pub(crate) fn consume_content(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.content_left -= bytes as u64;
        self.at += bytes as u64;
    }

    fn begin_content(&mut self, size: u64) {
        self.content_left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.fill_content()?.len();
            if bytes == 0 {
                break;
            }
            self.consume_content(bytes);
        }
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.source.by_ref().take(padding), &mut io::sink())?;
        self.at += skipped;
        if skipped < padding {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// A header block; `None` at the end, which is a block of zeros. A stream
    /// that just stops between members is taken for ended too, as GNU tar does.
    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                bytes => filled += bytes,
            }
        }
        let at = self.at;
        self.at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let expected = sum(&block[..148]) + sum(&block[156..]) + 8 * u32::from(b' ');
        // A fuzzer would get no further than a wrong checksum.
        if !cfg!(fuzzing) && header.cksum().ok() != Some(expected) {
            return Err(bad(at, "checksum mismatch"));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_BYTES_MAX {
            return Err(bad(at, "extended header of more than 1 MiB"));
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        loop {
            let chunk = self.fill_content()?;
            if chunk.is_empty() {
                break;
            }
            bytes.extend_from_slice(chunk);
            let read = chunk.len();
            self.consume_content(read);
        }
        self.skip_rest()?;
        Ok(bytes)
    }

    fn read_long_name(&mut self, at: u64, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_extension(at, size)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }
}

fn bad(at: u64, reason: &'static str) -> TarError {
    TarError::Header { at, reason }
}

fn member(at: u64, header: &Header, size: u64, extensions: Extensions) -> Result<Member, TarError> {
    let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let refuse =
        |reason| TarError::Member { name: String::from_utf8_lossy(&path).into_owned(), reason };
    let id = |extended: Option<u32>, plain: io::Result<u64>| {
        let plain = || plain.ok().and_then(|id| u32::try_from(id).ok());
        extended.or_else(plain).ok_or_else(|| refuse("user or group id out of range"))
    };
    let mtime = match extensions.mtime {
        Some(mtime) => mtime,
        None => {
            let seconds = header.mtime().map_err(|_| bad(at, "unreadable mtime"))?;
            (i64::try_from(seconds).map_err(|_| refuse("mtime out of range"))?, 0)
        }
    };
    Ok(Member {
        kind: kind(header, &path).map_err(refuse)?,
        link: extensions.link.unwrap_or_else(|| {
            header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default()
        }),
        size,
        mode: header.mode().map_err(|_| bad(at, "unreadable mode"))? & 0o7777,
        uid: id(extensions.uid, header.uid())?,
        gid: id(extensions.gid, header.gid())?,
        mtime,
        xattrs: extensions.xattrs,
        path,
    })
}

fn kind(header: &Header, path: &[u8]) -> Result<Kind, &'static str> {
    let device = || {
        let number = |number: io::Result<Option<u32>>| {
            number.ok().flatten().ok_or("unreadable device number")
        };
        Ok::<_, &'static str>((number(header.device_major())?, number(header.device_minor())?))
    };
    match header.entry_type() {
        // Before ustar, a directory was a file with a slash at its end.
        EntryType::Regular if path.ends_with(b"/") => Ok(Kind::Directory),
        EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
        EntryType::Directory => Ok(Kind::Directory),
        EntryType::Symlink => Ok(Kind::Symlink),
        EntryType::Link => Ok(Kind::HardLink),
        EntryType::Fifo => Ok(Kind::Fifo),
        EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor }),
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor }),
        EntryType::GNUSparse => Err("sparse members are not read"),
        _ => Err("unknown member type"),
    }
}

impl Extensions {
    /// Reads `<length> <key>=<value>\n` records. The length rules: a value may
    /// hold any byte.
    fn apply(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = "malformed pax record";
        while !records.is_empty() {
            let space = records.iter().take(20).position(|b| *b == b' ').ok_or(MALFORMED)?;
            let length = number::<usize>(&records[..space]).ok_or(MALFORMED)?;
            let record = records.get(space + 1..length).ok_or(MALFORMED)?;
            let record = record.strip_suffix(b"\n").ok_or(MALFORMED)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or(MALFORMED)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value).ok_or("unreadable pax size")?),
            b"uid" => self.uid = Some(number(value).ok_or("unreadable pax uid")?),
            b"gid" => self.gid = Some(number(value).ok_or("unreadable pax gid")?),
            b"mtime" => self.mtime = Some(timestamp(value).ok_or("unreadable pax mtime")?),
            _ if key.starts_with(b"GNU.sparse.") => return Err("sparse members are not read"),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// `[-]seconds[.fraction]`, to (seconds, nanoseconds) with nanoseconds >= 0.
fn timestamp(text: &[u8]) -> Option<(i64, i64)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|byte| *byte == b'.');
    let (seconds, fraction) = match dot {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &text[..0]),
    };
    let seconds: i64 = number(seconds)?;
    let nanos: i64 = if fraction.is_empty() {
        0
    } else {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut digits = fraction.to_vec();
        digits.resize(NANOS_DIGITS, b'0');
        number(&digits)?
    };
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests;
