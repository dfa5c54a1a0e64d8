//! What a layer's member means: pure, by name and header alone.
//!
//! Source: OCI image-spec
//! [layer.md](https://github.com/opencontainers/image-spec/blob/main/layer.md).
//! Names are taken as relative to the image's root, whether they begin with a
//! slash or not; one with `..` is refused, because no image builder writes it.

use crate::tarstream::{Kind, Member};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS kept its own files in layers under this prefix; they mean nothing here.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const PATH_BYTES_MAX: usize = 4095;
const NAME_BYTES_MAX: usize = 255;

/// A place in the tree: a directory's path from the root (empty: the root
/// itself) and a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) parent: Vec<u8>,
    pub(crate) name: Vec<u8>,
}

/// Owner, permissions, time and extended attributes of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Place),
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// One step of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The root directory's own attributes.
    Root(Metadata),
    /// A node appears, in place of what was there.
    Put(Place, Node, Metadata),
    /// What lower layers have at this place is hidden.
    Whiteout(Place),
    /// All that lower layers have in this directory is hidden.
    Opaque(Vec<u8>),
    /// Nothing for us.
    Ignore,
}

/// A member that no honest layer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) &'static str);

/// Reads the meaning of a member.
pub(crate) fn change(member: &Member) -> Result<Change, Refused> {
    let components = components(&member.path)?;
    let Some((name, parents)) = components.split_last() else {
        return match member.kind {
            Kind::Directory => Ok(Change::Root(metadata(member))),
            _ => Err(Refused("the root of an image must be a directory")),
        };
    };
    if parents.iter().chain([name]).any(|part| is_aufs(part)) {
        return Ok(Change::Ignore);
    }
    if parents.iter().any(|part| part.starts_with(WHITEOUT_PREFIX)) {
        return Err(Refused("a whiteout can't be a directory"));
    }
    let parent = parents.join(&b'/');
    if *name == OPAQUE {
        return Ok(Change::Opaque(parent));
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Refused("a whiteout must name a file of its own directory"));
        }
        return Ok(Change::Whiteout(Place { parent, name: hidden.to_vec() }));
    }
    let place = Place { parent, name: name.to_vec() };
    Ok(Change::Put(place, node(member)?, metadata(member)))
}

fn is_aufs(part: &[u8]) -> bool {
    part.starts_with(AUFS_PREFIX) && part != OPAQUE
}

fn node(member: &Member) -> Result<Node, Refused> {
    Ok(match member.kind {
        Kind::File => Node::File,
        Kind::Directory => Node::Directory,
        Kind::Fifo => Node::Fifo,
        Kind::CharDevice { major, minor } => Node::CharDevice { major, minor },
        Kind::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
        Kind::Symlink => {
            let target = &member.link;
            if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) {
                return Err(Refused(
                    "a symbolic link's target must be 1 to 4095 bytes, none of them 0",
                ));
            }
            Node::Symlink(target.clone())
        }
        Kind::HardLink => {
            let target = components(&member.link)?;
            let Some((name, parents)) = target.split_last() else {
                return Err(Refused("a hard link's target must be a file"));
            };
            Node::HardLink(Place { parent: parents.join(&b'/'), name: name.to_vec() })
        }
    })
}

fn metadata(member: &Member) -> Metadata {
    Metadata {
        mode: member.mode,
        uid: member.uid,
        gid: member.gid,
        mtime: member.mtime,
        xattrs: member.xattrs.clone(),
    }
}

/// The names on the way from the root, without empty ones and dots.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, Refused> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Refused("a path of more than 4095 bytes"));
    }
    if path.contains(&0) {
        return Err(Refused("a path with a zero byte"));
    }
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(Refused("a path with .. in it"));
    }
    if parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
        return Err(Refused("a name of more than 255 bytes"));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
