//! Whether two trees are the same: names, kinds, modes, owners, times, links, devices,
//! extended attributes and contents.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::decode::fill;
use crate::error::{Result, listing, opening, reading};

/// How many differences are named; the rest are counted.
const NAMED_MAX: usize = 5;
const BUFFER_BYTES: usize = 128 << 10;

/// In what `found` differs from `expected`, in words; `None` if in nothing.
pub(super) fn difference(found: &Path, expected: &Path) -> Result<Option<String>> {
    let mut comparison = Comparison { found, expected, named: Vec::new(), count: 0 };
    let mut links = (BTreeMap::new(), BTreeMap::new());
    let mut open = vec![PathBuf::new()];
    while let Some(name) = open.pop() {
        let (ours, theirs) = (found.join(&name), expected.join(&name));
        let (ours, theirs) = (status(&ours)?, status(&theirs)?);
        let (Some(ours), Some(theirs)) = (&ours, &theirs) else {
            let what = if ours.is_some() { "should not be there" } else { "is missing" };
            comparison.note(&name, what);
            continue;
        };
        if let Some(what) = comparison.attributes(&name, ours, theirs)? {
            comparison.note(&name, what);
        }
        // The first name of each file, so that links must lead to the same one.
        let first = |links: &mut BTreeMap<u64, PathBuf>, metadata: &Metadata| {
            links.entry(metadata.ino()).or_insert_with(|| name.clone()).clone()
        };
        if ours.is_dir() {
            if theirs.is_dir() {
                let names: BTreeSet<OsString> = comparison.names(&name)?;
                open.extend(names.into_iter().map(|child| name.join(child)));
            }
        } else if first(&mut links.0, ours) != first(&mut links.1, theirs) {
            comparison.note(&name, "is linked to another file");
        }
    }
    Ok(comparison.words())
}

struct Comparison<'a> {
    found: &'a Path,
    expected: &'a Path,
    named: Vec<String>,
    count: usize,
}

impl Comparison<'_> {
    fn note(&mut self, name: &Path, what: &str) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(format!("/{} {what}", name.display()));
        }
    }

    fn words(self) -> Option<String> {
        let rest = self.count - self.named.len();
        let mut text = self.named.join(", ");
        if rest > 0 {
            text.push_str(&format!(", and {rest} more"));
        }
        (self.count > 0).then_some(text)
    }

    /// The names in a directory, of either side.
    fn names(&self, name: &Path) -> Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for directory in [self.found.join(name), self.expected.join(name)] {
            for entry in fs::read_dir(&directory).map_err(listing(&directory))? {
                names.insert(entry.map_err(listing(&directory))?.file_name());
            }
        }
        Ok(names)
    }

    /// What differs between two nodes of the same name.
    fn attributes(
        &self,
        name: &Path,
        ours: &Metadata,
        theirs: &Metadata,
    ) -> Result<Option<&'static str>> {
        let (found, expected) = (self.found.join(name), self.expected.join(name));
        let kind = ours.file_type();
        if kind != theirs.file_type() {
            return Ok(Some("is of another kind"));
        }
        if ours.mode() != theirs.mode() {
            return Ok(Some("has another mode"));
        }
        if (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid()) {
            return Ok(Some("has another owner"));
        }
        if (ours.mtime(), ours.mtime_nsec()) != (theirs.mtime(), theirs.mtime_nsec()) {
            return Ok(Some("was changed later"));
        }
        if (kind.is_char_device() || kind.is_block_device()) && ours.rdev() != theirs.rdev() {
            return Ok(Some("is another device"));
        }
        if attributes(&found)? != attributes(&expected)? {
            return Ok(Some("has other extended attributes"));
        }
        let same = if kind.is_symlink() {
            let target = |path: &Path| fs::read_link(path).map_err(reading(path));
            target(&found)? == target(&expected)?
        } else if kind.is_file() {
            ours.len() == theirs.len() && same_content(&found, &expected)?
        } else {
            true
        };
        Ok((!same).then_some("has another content"))
    }
}

fn status(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(reading(path)(error)),
    }
}

fn attributes(path: &Path) -> Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    let names = xattr::list(path).map_err(reading(path))?;
    names.map(|name| Ok((name.clone(), xattr::get(path, &name).map_err(reading(path))?))).collect()
}

fn same_content(found: &Path, expected: &Path) -> Result<bool> {
    let open = |path: &Path| {
        let file = File::open(path).map_err(opening(path))?;
        Ok::<_, crate::ImageError>(BufReader::with_capacity(BUFFER_BYTES, file))
    };
    let (mut ours, mut theirs) = (open(found)?, open(expected)?);
    let (mut left, mut right) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        // A file that can't be read has not the content that it should have.
        let Ok(bytes) = fill(&mut ours, &mut left) else { return Ok(false) };
        let others = fill(&mut theirs, &mut right).map_err(reading(expected))?;
        if left[..bytes] != right[..others] {
            return Ok(false);
        }
        if bytes == 0 {
            return Ok(true);
        }
    }
}
