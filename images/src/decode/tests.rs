use std::io::Write;

use super::*;
use crate::progress::NoProgress;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn scope(blob: &[u8], limit: u64) -> std::result::Result<(Vec<u8>, Whole), io::Error> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(blob).unwrap();
    LayerReader::scope(file.path(), limit, &NoProgress, |reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .unwrap()
}

#[test]
fn every_compression_is_known_by_its_first_bytes() {
    let plain = vec![7; 1 << 20];
    let skippable =
        [&b"\x50\x2a\x4d\x18\x02\0\0\0ab"[..], &zstd::encode_all(&plain[..], 1).unwrap()].concat();
    for blob in [
        plain.clone(),
        gzip(&plain),
        [gzip(&plain[..100]), gzip(&plain[100..])].concat(),
        zstd::encode_all(&plain[..], 1).unwrap(),
        [zstd::encode_all(&plain[..9], 1).unwrap(), zstd::encode_all(&plain[9..], 1).unwrap()]
            .concat(),
        skippable,
    ] {
        let (bytes, whole) = scope(&blob, u64::MAX).unwrap();
        assert_eq!(bytes, plain);
        let expected = Whole {
            blob: Digest::of(&blob),
            diff_id: Digest::of(&plain),
            plain_bytes: plain.len() as u64,
        };
        assert_eq!(whole, expected);
    }
}

#[test]
fn what_the_caller_leaves_is_hashed_too() {
    let plain = vec![3; 9 << 20];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&gzip(&plain)).unwrap();
    let (value, whole) =
        LayerReader::scope(file.path(), u64::MAX, &NoProgress, |_| Ok::<_, io::Error>(5))
            .unwrap()
            .unwrap();
    assert_eq!((value, whole.diff_id), (5, Digest::of(&plain)));
}

#[test]
fn a_caller_that_fails_ends_the_other_thread() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![1; 64 << 20]).unwrap();
    let error = LayerReader::scope(file.path(), u64::MAX, &NoProgress, |_| {
        Err::<(), _>(io::Error::other("mine"))
    })
    .unwrap()
    .unwrap_err();
    assert_eq!(error.to_string(), "mine");
}

#[test]
fn damage_truncation_and_excess_are_errors() {
    let packed = gzip(&vec![1; 100_000]);
    let mut damaged = packed.clone();
    let crc = damaged.len() - 6;
    damaged[crc] ^= 1;
    for blob in [&damaged[..], &packed[..packed.len() / 2], &packed[..packed.len() - 3]] {
        scope(blob, u64::MAX).unwrap_err();
    }
    let error = scope(&packed, 99_999).unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    scope(&packed, 100_000).unwrap();
    scope(b"", 0).unwrap();
}
