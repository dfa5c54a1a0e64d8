//! Everything checked again: each tag, each blob against its digest, and each tree against
//! what its layers give when they are unpacked anew.
//!
//! A tree is compared with a second one, made in a temporary and removed at once: nothing
//! recorded beside a tree could be damaged with it. That needs room for one tree. Changes
//! nothing, and works beside pulls, unpacks and containers.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::remove::blobs_of;
use super::{HASH_BYTES, Image, Listing, Store, Tag};
use crate::digest::HashReader;
use crate::error::{ImageError, Result, chain, listing, opening};
use crate::progress::Progress;
use crate::unpack::ROOT;
use crate::{Digest, Reference};

/// What was checked, and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// Blobs that were read.
    pub blobs: usize,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Trees that were compared.
    pub trees: usize,
    /// What is wrong.
    pub damages: Vec<Damage>,
    /// Trees that could not be compared, and why.
    pub unchecked: Vec<(PathBuf, String)>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or tree.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// The images that need it.
    pub images: Vec<Reference>,
    /// What mends it.
    pub remedy: Remedy,
}

/// What mends a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Pull, import or build the image again: that replaces blobs that are wrong.
    BringAgain,
    /// Remove the image, and bring it again: a tree that is there is not made anew.
    RemoveAndBringAgain,
    /// Nothing needs it: collect the garbage.
    Collect,
}

impl Store {
    /// Checks everything again.
    ///
    /// # Errors
    /// When the store can't be read, or there is no room for a second tree. Damage is no
    /// error: it is told.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Verification> {
        self.sweep_first();
        let listing = self.list()?;
        let mut done = Verification::default();
        let wrong = self.verify_blobs(&listing, &mut done, progress)?;
        self.verify_tags(listing.broken, &mut done);
        for config in self.trees()? {
            self.verify_tree(config, &listing.images, &wrong, &mut done, progress)?;
        }
        Ok(done)
    }

    /// Reads every blob; gives those that are wrong or missing.
    fn verify_blobs(
        &self,
        listing: &Listing,
        done: &mut Verification,
        progress: &dyn Progress,
    ) -> Result<BTreeSet<Digest>> {
        let mut needed: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for image in &listing.images {
            for digest in blobs_of(image).collect::<BTreeSet<_>>() {
                needed.entry(digest).or_default().push(image.reference.clone());
            }
        }
        let mut wrong = BTreeSet::new();
        let there = self.blob_names()?;
        let all: BTreeSet<Digest> = needed.keys().chain(&there).copied().collect();
        for digest in all {
            let problem = match self.read_blob(&digest, progress)? {
                Some(Ok((found, bytes))) => {
                    done.blobs += 1;
                    done.blob_bytes += bytes;
                    (found != digest).then(|| format!("its content is {found}"))
                }
                Some(Err(error)) => Some(format!("it can't be read: {error}")),
                // One that nothing needs was removed meanwhile.
                None => needed.contains_key(&digest).then(|| "it is missing".to_owned()),
            };
            let Some(problem) = problem else { continue };
            wrong.insert(digest);
            let images = needed.get(&digest).cloned().unwrap_or_default();
            let remedy = if images.is_empty() { Remedy::Collect } else { Remedy::BringAgain };
            done.damages.push(Damage { path: self.blob_path(&digest), problem, images, remedy });
        }
        Ok(wrong)
    }

    fn blob_names(&self) -> Result<Vec<Digest>> {
        let directory = self.blob_dir();
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(listing(&directory))? {
            let name = entry.map_err(listing(&directory))?.file_name();
            names.extend(name.to_str().and_then(|hex| Digest::from_hex(hex).ok()));
        }
        Ok(names)
    }

    /// The digest and length of what is there. What can't be read is damage too.
    fn read_blob(
        &self,
        digest: &Digest,
        progress: &dyn Progress,
    ) -> Result<Option<io::Result<(Digest, u64)>>> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(opening(&path)(error)),
        };
        let size = file.metadata().map_err(opening(&path))?.len();
        progress.begin(&format!("reading {digest}"), Some(size));
        let read = HashReader::new(io::BufReader::with_capacity(HASH_BYTES, file)).finish();
        progress.advance(size);
        progress.finish();
        Ok(Some(read))
    }

    fn verify_tags(&self, broken: Vec<(Reference, ImageError)>, done: &mut Verification) {
        for (reference, error) in broken {
            done.damages.push(Damage {
                path: self.ref_path(&reference),
                problem: chain(&error),
                images: vec![reference],
                remedy: Remedy::BringAgain,
            });
        }
    }

    fn verify_tree(
        &self,
        config: Digest,
        images: &[Image],
        wrong: &BTreeSet<Digest>,
        done: &mut Verification,
        progress: &dyn Progress,
    ) -> Result<()> {
        let path = self.tree_path(&config);
        let Some(marker) = self.marker(&config)? else {
            // Unfinished: it is made anew when it is needed.
            return Ok(());
        };
        let tagged = images.iter().find(|image| image.config_digest == config).cloned();
        let image = match tagged {
            Some(image) => Ok(image),
            // Its tag has another image now.
            None => self.untagged(&Tag { manifest: marker.manifest, index: None }),
        };
        let image = match image {
            Ok(image) if blobs_of(&image).any(|digest| wrong.contains(&digest)) => {
                done.unchecked.push((path, "its image's blobs are damaged".to_owned()));
                return Ok(());
            }
            Ok(image) => image,
            Err(error) => {
                done.unchecked.push((path, chain(&error)));
                return Ok(());
            }
        };
        let again = self.unpack_aside(&image, progress)?;
        let problem = compare::difference(&path.join(ROOT), &again.path().join(ROOT))?;
        again.remove()?;
        // One that was removed meanwhile differs from nothing.
        if !path.exists() {
            return Ok(());
        }
        done.trees += 1;
        if let Some(problem) = problem {
            let images = images.iter().filter(|image| image.config_digest == config);
            let images = images.map(|image| image.reference.clone()).collect();
            let remedy = Remedy::RemoveAndBringAgain;
            done.damages.push(Damage { path, problem, images, remedy });
        }
        Ok(())
    }
}
