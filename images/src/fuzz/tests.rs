//! A short, repeatable run of what the fuzz targets run: the kept seeds, and
//! mutations of them. Without root a layer gets no further than its first owner.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target} has {} seeds", paths.len());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A change at a place, given as a fraction of the length.
#[derive(Debug, Clone)]
enum Mutation {
    Set(u16, u8),
    Cut(u16),
    Insert(u16, Vec<u8>),
    /// Copies so many bytes from one place to another.
    Copy(u16, u16, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => any::<(u16, u8)>().prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => any::<u16>().prop_map(Mutation::Cut),
        2 => (any::<u16>(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => any::<(u16, u16, u8)>().prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let at = |fraction: u16| usize::from(fraction) * bytes.len() / usize::from(u16::MAX);
        match mutation {
            Mutation::Set(place, byte) => {
                let place = at(*place);
                if let Some(target) = bytes.get_mut(place) {
                    *target = *byte;
                }
            }
            Mutation::Cut(place) => bytes.truncate(at(*place)),
            Mutation::Insert(place, inserted) => {
                let place = at(*place);
                bytes.splice(place..place, inserted.iter().copied());
            }
            Mutation::Copy(from, to, length) => {
                let (from, to) = (at(*from), at(*to));
                let end = (from + usize::from(*length)).min(bytes.len());
                let copied = bytes[from..end].to_vec();
                bytes.splice(to..to, copied);
            }
        }
    }
}

/// Makes the checksum of every block right that could be a header: without it
/// the reader would stop at the first.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if &block[257..262] != b"ustar" {
            continue;
        }
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn run(target: &str, cases: u32, tars: bool, entry: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| entry(seed));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mutated = (prop::sample::select(seeds), prop::collection::vec(mutation(), 1..6));
    let outcome = TestRunner::new_with_rng(config.clone(), deterministic()).run(
        &mutated,
        |(mut bytes, mutations)| {
            mutate(&mut bytes, &mutations);
            if tars {
                mend_checksums(&mut bytes);
            }
            entry(&bytes);
            Ok(())
        },
    );
    outcome.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

/// The same cases every time: what is new comes from `make fuzz`.
fn deterministic() -> proptest::test_runner::TestRng {
    let seed = [7; 32];
    proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed)
}

#[test]
fn references() {
    run("reference", 5_000, false, reference);
}

#[test]
fn manifests_and_indexes() {
    run("manifest", 5_000, false, manifest);
}

#[test]
fn configurations() {
    run("config", 5_000, false, config);
}

#[test]
fn tar_streams() {
    run("tar", 5_000, true, tar);
}

#[test]
fn layers() {
    run("layer", 300, true, layer);
}
