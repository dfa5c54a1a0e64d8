//! The directories of a tree under construction, and what of them the current
//! layer wrote. Directories are known by inode, so that two names for one
//! directory (through a symbolic link) are one.

use std::collections::{HashMap, HashSet};

use super::LayerErrorKind;

/// Deeper nesting than any image has; it also bounds recursion.
const DEPTH_MAX: u32 = 512;

/// A directory's inode number. The whole tree is on one file system.
pub(super) type Inode = u64;

#[derive(Debug)]
struct Directory {
    parent: Inode,
    name: Vec<u8>,
    depth: u32,
    mtime: (i64, i64),
}

/// Every directory of the tree below the root, and the names that the current
/// layer put.
#[derive(Debug)]
pub(super) struct Directories {
    root: Inode,
    root_mtime: (i64, i64),
    known: HashMap<Inode, Directory>,
    written: HashSet<(Inode, Vec<u8>)>,
}

impl Directories {
    pub(super) fn new(root: Inode) -> Self {
        Self { root, root_mtime: (0, 0), known: HashMap::new(), written: HashSet::new() }
    }

    /// From here on, everything there is belongs to lower layers.
    pub(super) fn begin_layer(&mut self) {
        self.written.clear();
    }

    /// Notes that this layer put a name.
    pub(super) fn wrote(&mut self, parent: Inode, name: &[u8]) {
        self.written.insert((parent, name.to_vec()));
    }

    /// Whether this layer put a name.
    pub(super) fn is_written(&self, parent: Inode, name: &[u8]) -> bool {
        // A borrowed key would need its own type; names are short.
        self.written.contains(&(parent, name.to_vec()))
    }

    /// Notes that a name is gone.
    pub(super) fn removed(&mut self, parent: Inode, name: &[u8]) {
        self.written.remove(&(parent, name.to_vec()));
    }

    /// Notes that a directory is gone, so that its inode may come again.
    pub(super) fn removed_directory(&mut self, inode: Inode) {
        self.known.remove(&inode);
    }

    /// Whether a directory may be made in `parent`.
    pub(super) fn check_depth(&self, parent: Inode) -> Result<(), LayerErrorKind> {
        if self.depth(parent) >= DEPTH_MAX {
            return Err(LayerErrorKind::TooDeep { limit: DEPTH_MAX });
        }
        Ok(())
    }

    fn depth(&self, inode: Inode) -> u32 {
        self.known.get(&inode).map_or(0, |directory| directory.depth)
    }

    /// Notes a directory and the time it shall have in the end.
    pub(super) fn put(&mut self, inode: Inode, parent: Inode, name: &[u8], mtime: (i64, i64)) {
        let depth = self.depth(parent) + 1;
        self.known.insert(inode, Directory { parent, name: name.to_vec(), depth, mtime });
    }

    /// Notes the time the root shall have in the end.
    pub(super) fn put_root(&mut self, mtime: (i64, i64)) {
        self.root_mtime = mtime;
    }

    /// Every directory by its path without symbolic links, and its time. What
    /// was made in a directory changed its time, so these are set last.
    pub(super) fn times(&self) -> impl Iterator<Item = (Vec<u8>, (i64, i64))> + '_ {
        let below = self.known.keys().map(|inode| (self.path(*inode), self.known[inode].mtime));
        below.chain([(Vec::new(), self.root_mtime)])
    }

    fn path(&self, inode: Inode) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = inode;
        while at != self.root {
            let Some(directory) = self.known.get(&at) else {
                break;
            };
            names.push(directory.name.as_slice());
            at = directory.parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}
