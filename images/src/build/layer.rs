//! The layer's blob: a tar stream, compressed, with both its digests.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use oci_spec::image::MediaType;

use crate::Digest;
use crate::digest::{HashReader, HashWriter};

const BUFFER_BYTES: usize = 256 << 10;
/// zstd's own default: about 300 MB/s on one core.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// How a built layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Smaller and several times faster to unpack than gzip; read by
    /// containerd, podman, skopeo, and Docker since 23.
    #[default]
    Zstd,
    /// For tools that know nothing else.
    Gzip,
    /// The plain tar.
    None,
}

/// A written layer.
#[derive(Debug)]
pub(super) struct Layered {
    pub(super) digest: Digest,
    pub(super) diff_id: Digest,
    pub(super) size: u64,
    pub(super) media_type: MediaType,
}

/// Compresses the tar `source` into the new file at `path`. `note` hears how
/// many plain bytes went through.
pub(super) fn write(
    source: impl Read,
    path: &Path,
    compression: Compression,
    note: impl Fn(u64),
) -> io::Result<Layered> {
    let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    let blob = HashWriter::new(file);
    let mut plain = HashReader::new(source);
    let (blob, media_type) = match compression {
        Compression::None => {
            let mut blob = blob;
            pump(&mut plain, &mut blob, note)?;
            (blob, MediaType::ImageLayer)
        }
        Compression::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut gzip = flate2::write::GzEncoder::new(blob, level);
            pump(&mut plain, &mut gzip, note)?;
            (gzip.finish()?, MediaType::ImageLayerGzip)
        }
        Compression::Zstd => {
            let mut zstd = zstd::stream::write::Encoder::new(blob, ZSTD_LEVEL)?;
            pump(&mut plain, &mut zstd, note)?;
            (zstd.finish()?, MediaType::ImageLayerZstd)
        }
    };
    let (diff_id, _) = plain.finish()?;
    let (file, digest, size) = blob.finish();
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(Layered { digest, diff_id, size, media_type })
}

fn pump(source: &mut impl Read, sink: &mut impl Write, note: impl Fn(u64)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(bytes) => {
                sink.write_all(&buffer[..bytes])?;
                note(bytes as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
