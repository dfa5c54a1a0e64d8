//! The image that all beds run: built from the `mysql` recipe by `berth image build`, once
//! per checkout, into `target/berth-test-store/`, and again when the recipe changes.
//!
//! With it, initialised data directories of the image ([`lend_template`]): a bed that needs
//! no new one gets a copy, and starts some seconds earlier.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::{program, until};

/// The image's name.
pub const REFERENCE: &str = "berth/mysql:9.7";
/// Time for another test program to build the image.
const BUILD_WAIT: Duration = Duration::from_secs(1800);

/// The image, built and unpacked.
#[derive(Debug)]
struct Image {
    root_fs: PathBuf,
    config_digest: String,
}

fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let _lock = lock();
        make()
    })
}

/// The image store for `images_dir`, with the image in it.
#[must_use]
pub fn store() -> PathBuf {
    image();
    place().join("images")
}

/// The root file system of the image; it must not be changed.
#[must_use]
pub fn root_fs() -> PathBuf {
    image().root_fs.clone()
}

/// The image as an OCI layout at `path`, tagged `1`. Its blobs are the store's own: it is to
/// be read only.
///
/// # Panics
/// It can't be written.
pub fn layout(path: &Path) {
    let place = place();
    let store = store();
    let config = place.join("berth.toml");
    let found: Value =
        serde_json::from_str(&berth(&config, &["inspect", REFERENCE, "--json"])).unwrap();
    let digest = &found["summary"]["manifest_digest"];
    let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
    fs::create_dir_all(path.join("blobs")).unwrap();
    symlink(store.join("blobs/sha256"), path.join("blobs/sha256")).unwrap();
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": fs::metadata(path.join("blobs/sha256").join(hex)).unwrap().len(),
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    });
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}

fn place() -> PathBuf {
    program::target_dir().join("berth-test-store")
}

fn lock() -> Flock<File> {
    fs::create_dir_all(place()).unwrap();
    let path = place().join("lock");
    let mut file = Some(File::create(path).unwrap());
    let locked =
        until(BUILD_WAIT, || match Flock::lock(file.take()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((back, _)) => {
                file = Some(back);
                None
            }
        });
    locked.expect("another test program builds the image for too long")
}

fn make() -> Image {
    let place = place();
    let config = place.join("berth.toml");
    fs::write(&config, format!("images_dir = \"{}\"\n", place.join("images").display())).unwrap();
    let (stamp, recipe) = (place.join("recipe"), recipe());
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&recipe) {
        eprintln!("building the image {REFERENCE} from Debian's packages (about a minute)");
        berth(&config, &["build", "mysql", "--tag", REFERENCE]);
        fs::write(&stamp, recipe).unwrap();
    }
    berth(&config, &["unpack", REFERENCE]);
    let found: Value =
        serde_json::from_str(&berth(&config, &["inspect", REFERENCE, "--json"])).unwrap();
    let text = |value: &Value| value.as_str().expect("a text in what inspect prints").to_owned();
    Image {
        root_fs: text(&found["tree"]).into(),
        config_digest: text(&found["summary"]["config_digest"]),
    }
}

/// All that the image is made from, as one text.
fn recipe() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/recipes/mysql");
    let mut text = String::new();
    add_files(&dir, &mut text);
    text
}

fn add_files(dir: &Path, text: &mut String) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add_files(&path, text);
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            text.push_str(&format!("== {name}\n{}\n", fs::read_to_string(&path).unwrap()));
        }
    }
}

fn berth(config: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program::berth());
    command.arg("--config").arg(config).arg("image").args(arguments);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "berth image {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Puts a copy of a template that an earlier bed made into a data directory, if there is one.
pub fn lend_template(data_dir: &Path) {
    let kept = kept_template();
    if kept.is_dir() {
        copy(&kept, &data_dir.join(".templates").join(template_name()));
    }
}

/// Keeps a copy of a data directory's template for later beds.
pub fn keep_template(data_dir: &Path) {
    let made = data_dir.join(".templates").join(template_name());
    let kept = kept_template();
    if kept.is_dir() || !made.join("ready").is_file() {
        return;
    }
    let _lock = lock();
    let half = kept.with_extension("new");
    let _ = fs::remove_dir_all(&half);
    copy(&made, &half);
    // It is there already if another bed was faster.
    let _ = fs::rename(&half, &kept);
}

/// The name of templates' directories, which follows from the image.
#[must_use]
pub fn template_name() -> String {
    image().config_digest.replace(':', "-")
}

fn kept_template() -> PathBuf {
    place().join("templates").join(template_name())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap_or(Path::new("/"))).unwrap();
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--no-target-directory"]).arg(from).arg(to);
    assert!(command.status().unwrap().success(), "{command:?}");
}
