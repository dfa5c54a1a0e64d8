//! Layers and layouts made by hand, and the second opinions.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "helpers of tests; every test binary uses a part of them"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_images::{Digest, Image, ImageError, NoProgress, Reference, Store, Tree};
use serde_json::{Value, json};
use tar::{EntryType, Header};

pub const NAME: &str = "berth-test/image:1";

/// This machine's, in the image specification's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn reference() -> Reference {
    NAME.parse().unwrap()
}

/// Host tests need root; they say so rather than pass.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
}

pub fn require_tool(tool: &str) {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(tool).exists());
    assert!(found, "this test needs {tool}: apt-get install {tool}");
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {} {text}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An error with all its causes.
pub fn chain(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A temporary directory on a file system with xattrs and device nodes.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("berth-test-").tempdir_in("/var/tmp").unwrap()
}

pub fn store(scratch: &tempfile::TempDir) -> Store {
    Store::open(scratch.path().join("store")).unwrap()
}

pub fn import(store: &Store, layout: &Layout) -> Image {
    store
        .import(&layout.path, &reference(), &NoProgress)
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

pub fn unpack(store: &Store, layout: &Layout) -> Tree {
    let image = import(store, layout);
    store.unpack(&image, &NoProgress).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// What a layer's member has besides its name.
#[derive(Clone)]
pub struct Meta {
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: String,
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Default for Meta {
    fn default() -> Self {
        Self { mode: 0o644, uid: 0, gid: 0, mtime: "1600000000".into(), xattrs: Vec::new() }
    }
}

pub fn mode(mode: u32) -> Meta {
    Meta { mode, ..Meta::default() }
}

/// Writes a layer, any name in it.
#[derive(Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn member(
        mut self,
        kind: EntryType,
        path: impl AsRef<[u8]>,
        link: &str,
        content: &[u8],
        meta: &Meta,
    ) -> Self {
        let mut records: Vec<(String, Vec<u8>)> = vec![
            ("path".into(), path.as_ref().to_vec()),
            ("mtime".into(), meta.mtime.clone().into_bytes()),
        ];
        if !link.is_empty() {
            records.push(("linkpath".into(), link.into()));
        }
        for (name, value) in &meta.xattrs {
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
        self = self.pax(&records);
        let mut head = header(kind, content.len(), meta);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            head.set_device_major(1).unwrap();
            head.set_device_minor(3).unwrap();
        }
        self.block(head, content);
        self
    }

    /// An extended header for what comes next.
    pub fn pax<K: AsRef<str>, V: AsRef<[u8]>>(mut self, records: &[(K, V)]) -> Self {
        let records: Vec<u8> =
            records.iter().flat_map(|(key, value)| record(key.as_ref(), value.as_ref())).collect();
        self.block(header(EntryType::XHeader, records.len(), &Meta::default()), &records);
        self
    }

    /// A header as it is, whatever its content.
    pub fn raw(mut self, header: Header, content: &[u8]) -> Self {
        self.block(header, content);
        self
    }

    fn block(&mut self, mut header: Header, content: &[u8]) {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn file(self, path: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.member(EntryType::Regular, path, "", content, &Meta::default())
    }

    pub fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.member(EntryType::Directory, path, "", b"", &mode(0o755))
    }

    pub fn symlink(self, path: impl AsRef<[u8]>, target: &str) -> Self {
        self.member(EntryType::Symlink, path, target, b"", &mode(0o777))
    }

    pub fn hard_link(self, path: impl AsRef<[u8]>, target: &str) -> Self {
        self.member(EntryType::Link, path, target, b"", &Meta::default())
    }

    pub fn whiteout(self, directory: &str, name: &str) -> Self {
        self.file(format!("{directory}.wh.{name}"), b"")
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub fn header(kind: EntryType, size: usize, meta: &Meta) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid);
    header.set_gid(meta.gid);
    header.set_mtime(0);
    header.set_path("pax").unwrap();
    header
}

/// A PAX record: its length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

#[derive(Clone)]
pub enum Pack {
    Plain,
    Gzip,
    Zstd,
    /// These bytes, whatever the layer: gzip by their media type.
    Made(Vec<u8>),
}

impl Pack {
    pub fn pack(&self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => {
                let level = flate2::Compression::fast();
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
                gzip.write_all(tar).unwrap();
                gzip.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
            Self::Made(bytes) => bytes.clone(),
        }
    }

    fn media_type(&self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::Made(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// An OCI layout in a directory.
pub struct Layout {
    pub path: PathBuf,
    pub layers: Vec<Digest>,
    pub manifest: Digest,
}

impl Layout {
    /// One image, tagged `1`, of plain tars.
    pub fn write(path: &Path, layers: &[(Pack, Vec<u8>)]) -> Self {
        Self::write_for(path, layers, architecture())
    }

    pub fn write_for(path: &Path, layers: &[(Pack, Vec<u8>)], architecture: &str) -> Self {
        let diff_ids: Vec<String> =
            layers.iter().map(|(_, tar)| Digest::of(tar).to_string()).collect();
        Self::write_with(path, layers, architecture, &diff_ids)
    }

    pub fn write_with(
        path: &Path,
        layers: &[(Pack, Vec<u8>)],
        architecture: &str,
        diff_ids: &[String],
    ) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        let mut digests = Vec::new();
        let mut descriptors = Vec::new();
        for (pack, tar) in layers {
            let descriptor = put(path, pack.media_type(), &pack.pack(tar));
            digests.push(descriptor["digest"].as_str().unwrap().parse().unwrap());
            descriptors.push(descriptor);
        }
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"User": "1001", "Cmd": ["/usr/sbin/mysqld"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config_type = "application/vnd.oci.image.config.v1+json";
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": put(path, config_type, config.to_string().as_bytes()),
            "layers": descriptors,
        });
        let mut descriptor = put(path, manifest_type, manifest.to_string().as_bytes());
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        let manifest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        write_index(path, &[descriptor]);
        Self { path: path.to_owned(), layers: digests, manifest }
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// The same layout as a tar, by the tar program.
    pub fn tar(&self, to: &Path, flag: &str) {
        run(Command::new("tar").arg(flag).arg(to).arg("-C").arg(&self.path).arg("."));
    }
}

pub fn write_index(path: &Path, manifests: &[Value]) {
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}

/// Stores a blob and describes it.
pub fn put(path: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(path.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
}

/// Nothing in the store but what `open` made.
pub fn assert_empty(store: &Store) {
    for directory in ["blobs/sha256", "refs", "trees", "tmp"] {
        let left: Vec<_> = fs::read_dir(store.root().join(directory)).unwrap().collect();
        assert!(left.is_empty(), "{directory}: {left:?}");
    }
}

/// Everything of a tree that a layer can say.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut nodes = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    walk(root, root, &mut nodes, &mut first_names);
    nodes
}

fn walk(
    root: &Path,
    path: &Path,
    nodes: &mut BTreeMap<PathBuf, String>,
    first_names: &mut BTreeMap<u64, PathBuf>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(root).unwrap().to_owned();
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        let first = first_names.entry(metadata.ino()).or_insert_with(|| name.clone());
        let digest = Digest::of(&fs::read(path).unwrap());
        format!("file {digest} links {} of {}", metadata.nlink(), first.display())
    } else if kind.is_symlink() {
        format!("symlink {}", fs::read_link(path).unwrap().display())
    } else if kind.is_dir() {
        "directory".to_owned()
    } else {
        assert!(kind.is_fifo() || kind.is_char_device() || kind.is_block_device());
        format!("{kind:?} {:x}", metadata.rdev())
    };
    let mut names: Vec<OsString> = xattr::list(path).unwrap().collect();
    names.sort();
    let xattrs: Vec<_> =
        names.into_iter().map(|name| (xattr::get(path, &name).unwrap(), name)).collect();
    let text = format!(
        "{content} mode {:o} owner {}:{} mtime {}.{:09} {xattrs:?}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    nodes.insert(name, text);
    if kind.is_dir() {
        let mut children: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        for child in children {
            walk(root, &child, nodes, first_names);
        }
    }
}
