use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::progress::NoProgress;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn blobs(contents: &[&[u8]]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        (0..contents.len()).map(|number| directory.path().join(number.to_string())).collect();
    for (path, content) in paths.iter().zip(contents) {
        std::fs::write(path, content).unwrap();
    }
    (directory, paths)
}

fn failed(source: io::Error) -> ImageError {
    ImageError::Read { path: "blob".into(), source }
}

/// The plain bytes of blobs, and what they turned out to be.
fn read(contents: &[&[u8]], limit: u64) -> Result<Vec<(Vec<u8>, Whole)>> {
    let (_directory, paths) = blobs(contents);
    let mut plain = Vec::new();
    let mut wholes = Vec::new();
    let apply = |_, reader: &mut LayerReader<'_>| {
        reader.limit_to(limit);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(failed)?;
        plain.push(bytes);
        Ok(())
    };
    in_order(&paths, &NoProgress, apply, |number, whole| {
        assert_eq!(number, wholes.len());
        wholes.push(whole);
        Ok(())
    })?;
    Ok(plain.into_iter().zip(wholes).collect())
}

fn whole(blob: &[u8], plain: &[u8]) -> Whole {
    let plain_bytes = plain.len() as u64;
    Whole { blob: Digest::of(blob), diff_id: Digest::of(plain), plain_bytes }
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
        let read = read(&[&blob], u64::MAX).unwrap();
        assert_eq!(read, [(plain.clone(), whole(&blob, &plain))]);
    }
}

#[test]
fn many_layers_come_in_order_whatever_their_sizes() {
    // More than are at work at once, and more bytes than their queues hold.
    let layers: Vec<Vec<u8>> = [9_usize << 20, 0, 1, 300_000, 9 << 20, 5, 262_144, 0]
        .map(|size| vec![size.to_le_bytes()[0]; size])
        .into();
    let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let read = read(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>(), u64::MAX).unwrap();
    let expected: Vec<_> = blobs
        .iter()
        .zip(&layers)
        .map(|(blob, layer)| (layer.clone(), whole(blob, layer)))
        .collect();
    assert!(read == expected);
}

#[test]
fn what_the_caller_leaves_is_hashed_too() {
    let plain = vec![3; 9 << 20];
    let blob = gzip(&plain);
    let (_directory, paths) = blobs(&[&blob]);
    let mut found = None;
    in_order(
        &paths,
        &NoProgress,
        |_, reader| reader.drain().map_err(failed),
        |_, whole| {
            found = Some(whole);
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(found, Some(whole(&blob, &plain)));
}

#[test]
fn a_caller_that_fails_ends_the_other_threads() {
    let blob = vec![1; 64 << 20];
    let (_directory, paths) = blobs(&[&blob, &blob, &blob]);
    let mine = || ImageError::NoSuchImage { reference: "mine".into() };
    for fails_at in 0..3 {
        let apply = |number, reader: &mut LayerReader<'_>| {
            if number == fails_at { Err(mine()) } else { reader.drain().map_err(failed) }
        };
        let error = in_order(&paths, &NoProgress, apply, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), mine().to_string());
    }
    let finish = |_, _| Err(mine());
    let error = in_order(&paths, &NoProgress, |_, r| r.drain().map_err(failed), finish);
    assert_eq!(error.unwrap_err().to_string(), mine().to_string());
    let missing =
        in_order(&[paths[0].clone(), "none".into()], &NoProgress, |_, _| Ok(()), |_, _| Ok(()));
    assert!(matches!(missing, Err(ImageError::Open { .. })), "{missing:?}");
}

#[test]
fn damage_truncation_and_excess_are_errors() {
    let packed = gzip(&vec![1; 100_000]);
    let mut damaged = packed.clone();
    let crc = damaged.len() - 6;
    damaged[crc] ^= 1;
    for blob in [&damaged[..], &packed[..packed.len() / 2], &packed[..packed.len() - 3]] {
        read(&[blob], u64::MAX).unwrap_err();
    }
    let error = crate::error::chain(&read(&[&packed], 99_999).unwrap_err());
    assert!(error.contains("more than 99999 bytes"), "{error}");
    read(&[&packed], 100_000).unwrap();
    read(&[b""], 0).unwrap();
}

#[test]
fn a_zstd_frame_that_asks_for_much_memory_is_refused() {
    let frame = |log| {
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(log).unwrap();
        zstd.write_all(&vec![1; 1 << 20]).unwrap();
        zstd.finish().unwrap()
    };
    read(&[&frame(ZSTD_WINDOW_LOG_MAX)], u64::MAX).unwrap();
    let error = crate::error::chain(&read(&[&frame(27)], u64::MAX).unwrap_err());
    assert!(error.contains("memory"), "{error}");
}
