//! Blobs on their way in: hashed as they are copied into a temporary, and put
//! in place together with the tag that needs them.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use super::{Lease, Store, Tag, TempDir, rename, sync};
use crate::digest::HashReader;
use crate::error::{ImageError, Result, opening, reading, writing};
use crate::progress::Progress;
use crate::{Digest, Reference};

const COPY_BYTES: usize = 256 << 10;

/// A set of verified blobs that nobody sees yet. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    store: &'a Store,
    temp: TempDir,
    count: u64,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(store: &'a Store) -> Result<Self> {
        Ok(Self { store, temp: store.temp()?, count: 0 })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.temp.path().join(digest.hex())
    }

    /// Copies `reader` in, at most `limit` bytes; gives digest and length.
    /// `place` names the source in errors.
    pub(crate) fn copy(
        &mut self,
        place: &str,
        reader: &mut dyn Read,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<(Digest, u64)> {
        self.count += 1;
        let path = self.temp.path().join(format!("incoming-{}", self.count));
        let mut file = File::create_new(&path).map_err(writing(&path))?;
        let mut hashed = HashReader::new(reader.take(limit.saturating_add(1)));
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let bytes = match hashed.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(ImageError::Read { path: place.into(), source });
                }
            };
            file.write_all(&buffer[..bytes]).map_err(writing(&path))?;
            progress.advance(bytes as u64);
        }
        let (digest, size) = hashed.finish().map_err(reading(&path))?;
        if size > limit {
            return Err(ImageError::TooLarge { place: place.to_owned(), limit });
        }
        rename(&path, &self.path(&digest))?;
        Ok((digest, size))
    }

    /// Copies `reader` in and refuses it unless its digest is `expected`.
    pub(crate) fn copy_expecting(
        &mut self,
        place: &str,
        reader: &mut dyn Read,
        expected: Digest,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<u64> {
        let (found, size) = self.copy(place, reader, limit, progress)?;
        if found != expected {
            return Err(ImageError::WrongDigest { place: place.to_owned(), found, expected });
        }
        Ok(size)
    }

    /// Adds a small blob made here.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        fs::write(&path, bytes).map_err(writing(&path))?;
        Ok(digest)
    }

    /// A place for a blob that something else writes: see [`Stage::adopt`].
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.temp.path()
    }

    /// Takes a file below [`Stage::directory`] as the blob that the caller
    /// found it to be.
    pub(crate) fn adopt(&mut self, path: &std::path::Path, digest: &Digest) -> Result<()> {
        rename(path, &self.path(digest))
    }

    /// Opens a staged blob; `None` when there is none of that digest.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<BufReader<File>>> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(BufReader::with_capacity(COPY_BYTES, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(opening(&path)(error)),
        }
    }

    /// Puts the blobs, each named once, in place, and then the tag. Every blob
    /// is on the disk before a tag names it.
    pub(crate) fn commit(
        self,
        reference: &Reference,
        manifest: &Digest,
        blobs: &[Digest],
    ) -> Result<()> {
        for blob in blobs {
            sync(&self.path(blob))?;
        }
        let _names = self.store.lock_names()?;
        for blob in blobs {
            rename(&self.path(blob), &self.store.blob_path(blob))?;
        }
        sync(&self.store.blob_dir())?;
        self.store.write_ref(reference, &Tag { manifest: *manifest, index: None })
    }
}

impl Store {
    /// Gives documents that lie in a lease's directory their names as blobs, and then
    /// writes the tag, which is refused unless every blob in `needed` is there.
    pub(crate) fn put_documents(
        &self,
        lease: &Lease,
        documents: &[Digest],
        needed: &[Digest],
        reference: &Reference,
        tag: &Tag,
    ) -> Result<()> {
        let path = |digest: &Digest| lease.directory().join(digest.hex());
        for document in documents {
            sync(&path(document))?;
        }
        let _names = self.lock_names()?;
        if let Some(missing) = needed.iter().find(|digest| !self.blob_path(digest).exists()) {
            let (reference, digest) = (reference.to_string(), *missing);
            return Err(ImageError::MissingBlob { reference, digest });
        }
        for document in documents {
            rename(&path(document), &self.blob_path(document))?;
        }
        sync(&self.blob_dir())?;
        self.write_ref(reference, tag)
    }
}
