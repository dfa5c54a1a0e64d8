//! Builds an image of Debian packages: mmdebstrap makes the root file system,
//! and its tar becomes the one layer.
//!
//! Flow: recipe and machine's package source → mmdebstrap in namespaces of its
//! own, with a deadline → its output, compressed and hashed as it comes, in a
//! stage → a second layer with the bill of materials → configuration and
//! manifest → the same checks as an import.
//!
//! Reproducible: the same packages give the same bytes. mmdebstrap sorts and
//! clamps times to the recipe's date, the hooks remove what installation leaves
//! behind, and every document has its keys in order and no other date.
//!
//! A Release file past its Valid-Until date: the strict check comes first. If
//! that is what fails, the build is repeated without it, with a warning and a
//! mark on the image, unless [`BuildOptions::refuse_expired`] is set. The
//! signature is checked either way; what the date guards against is a mirror
//! that withholds updates, and a mirror that merely lags looks the same.
//!
//! Does not push, and does not run what it built.

mod builtin;
pub(crate) mod error;
mod invocation;
mod layer;
mod overlay;
mod packages;
mod recipe;
mod run;
mod sbom;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::image::{
    ConfigBuilder, Descriptor, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder,
    ImageManifestBuilder, MediaType, Os, RootFsBuilder,
};

pub use builtin::builtin_recipes;
pub use error::BuildError;
pub use layer::Compression;
pub use recipe::Recipe;
pub use sources::machine_mirror;

use crate::error::{ImageError, Result, reading};
use crate::progress::Progress;
use crate::store::{Image, Stage, Store};
use crate::{Digest, Reference};
use layer::Layered;
use packages::Package;

/// Annotation: every installed package with its version, `name=version`,
/// separated by spaces.
pub const PACKAGES_ANNOTATION: &str = "io.github.berth-db.packages";
/// Annotation: `true` when the package index was past its Valid-Until date.
pub const EXPIRED_ANNOTATION: &str = "io.github.berth-db.release-expired";

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Where packages come from, instead of the recipe's mirror or the
    /// machine's own apt sources.
    pub mirror: Option<String>,
    /// The layer's compression.
    pub compression: Compression,
    /// Give up when the package index is past its Valid-Until date.
    pub refuse_expired: bool,
    /// The longest that one run of mmdebstrap may take.
    pub deadline: Duration,
    /// The program to run.
    pub mmdebstrap: PathBuf,
    /// The directory that holds apt's sources, `/etc/apt`.
    pub apt_directory: PathBuf,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            mirror: None,
            compression: Compression::default(),
            refuse_expired: false,
            deadline: Duration::from_secs(1800),
            mmdebstrap: "mmdebstrap".into(),
            apt_directory: "/etc/apt".into(),
        }
    }
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The image, tagged in the store.
    pub image: Image,
    /// Installed packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// Whether the package index was past its Valid-Until date.
    pub expired: bool,
}

/// Builds a recipe and tags the result.
///
/// # Errors
/// [`ImageError::Build`] when the recipe is not usable, mmdebstrap is missing,
/// fails, or takes too long; otherwise as [`Store::import`]. Nothing is visible
/// then.
pub fn build(
    recipe: &Recipe,
    store: &Store,
    reference: &Reference,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Built> {
    let failed = |source| ImageError::Build { recipe: recipe.name().to_owned(), source };
    store.sweep_first();
    let mirror = sources::mirror(recipe, options).map_err(failed)?;
    let mut stage = Stage::new(store)?;
    let work = Work::prepare(stage.directory())?;
    overlay::write(recipe, &work.overlay).map_err(failed)?;
    progress.begin(&format!("building {}", recipe.name()), None);
    let (layered, expired) =
        bootstrap(recipe, &mirror, &work, options, progress).map_err(failed)?;
    progress.finish();
    stage.adopt(&work.layer, &layered.digest)?;
    let status = fs::read_to_string(&work.status).map_err(reading(&work.status))?;
    let packages = packages::installed(&status);
    let sbom = sbom::document(recipe, &layered.diff_id, &packages);
    let sbom = layer::write(sbom::layer(recipe, &sbom), &work.sbom, options.compression, |_| {})
        .map_err(|source| failed(BuildError::Layer { path: work.sbom.clone(), source }))?;
    stage.adopt(&work.sbom, &sbom.digest)?;
    let layers = Layers { packages: layered, sbom };
    let config = json(&configuration(recipe, &layers));
    let config = (stage.add(&config)?, config.len() as u64);
    let manifest = manifest(recipe, &layers, config, &packages, expired);
    let manifest = stage.add(&manifest)?;
    let packages = packages.into_iter().map(|it| (it.name, it.version)).collect();
    let place = Path::new(recipe.name());
    let image = store.finish_import(place, stage, reference, manifest, progress)?;
    Ok(Built { image, packages, expired })
}

/// The files of a build, all in a temporary of the store.
#[derive(Debug)]
struct Work {
    scratch: PathBuf,
    overlay: PathBuf,
    status: PathBuf,
    layer: PathBuf,
    sbom: PathBuf,
}

/// The layers of a built image, lowest first.
#[derive(Debug)]
struct Layers {
    packages: Layered,
    sbom: Layered,
}

impl Layers {
    fn all(&self) -> [&Layered; 2] {
        [&self.packages, &self.sbom]
    }
}

impl Work {
    fn prepare(directory: &Path) -> Result<Self> {
        let scratch = directory.join("scratch");
        crate::store::make_private_dir(&scratch)?;
        Ok(Self {
            scratch,
            overlay: directory.join("overlay.tar"),
            status: directory.join("dpkg-status"),
            layer: directory.join("layer"),
            sbom: directory.join("sbom"),
        })
    }
}

/// Runs mmdebstrap, strictly first; tells whether the index was out of date.
fn bootstrap(
    recipe: &Recipe,
    mirror: &str,
    work: &Work,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> std::result::Result<(Layered, bool), BuildError> {
    let attempt = |check_date: bool| {
        let arguments = invocation::arguments(recipe, mirror, work, check_date);
        run::run(&arguments, recipe, work, options, progress)
    };
    match attempt(true) {
        Err(BuildError::Expired { output }) if !options.refuse_expired => {
            let message = format!(
                "the mirror's Release file is past its Valid-Until date, building without that check: {output}"
            );
            tracing::warn!(recipe = recipe.name(), "{message}");
            progress.warn(&message);
            attempt(false).map(|layered| (layered, true))
        }
        result => result.map(|layered| (layered, false)),
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Through a sorted map, so that equal images have equal bytes.
    let sorted = serde_json::to_value(value).expect("an image's documents are plain data");
    serde_json::to_vec(&sorted).expect("JSON values serialise")
}

fn configuration(recipe: &Recipe, layers: &Layers) -> ImageConfiguration {
    let mut config = ConfigBuilder::default()
        .user(recipe.user_and_group())
        .env(recipe.env())
        .cmd(recipe.cmd().to_vec())
        .working_dir("/");
    if !recipe.volumes().is_empty() {
        config = config.volumes(recipe.volumes().to_vec());
    }
    let labels: HashMap<String, String> =
        recipe.annotations().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let config = config.labels(labels).build().expect("no field is required");
    let created = recipe.created();
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(layers.all().map(|layer| layer.diff_id.to_string()))
        .build()
        .expect("every required field is set");
    let history = ["packages and files", "bill of materials"].map(|what| {
        HistoryBuilder::default()
            .created(created.clone())
            .created_by(format!("berth image build {}: {what}", recipe.name()))
            .build()
            .expect("no field is required")
    });
    ImageConfigurationBuilder::default()
        .created(created)
        .os(Os::Linux)
        .rootfs(rootfs)
        .config(config)
        .history(history)
        .build()
        .expect("every required field is set")
}

fn manifest(
    recipe: &Recipe,
    layers: &Layers,
    (config, config_bytes): (Digest, u64),
    packages: &[Package],
    expired: bool,
) -> Vec<u8> {
    let descriptor = |media_type, size, digest: Digest| {
        let digest: oci_spec::image::Digest =
            digest.to_string().parse().expect("a sha256 digest is an OCI digest");
        Descriptor::new(media_type, size, digest)
    };
    let list: Vec<String> =
        packages.iter().map(|it| format!("{}={}", it.name, it.version)).collect();
    let mut annotations: HashMap<String, String> =
        recipe.annotations().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    annotations.insert(PACKAGES_ANNOTATION.to_owned(), list.join(" "));
    annotations.insert(EXPIRED_ANNOTATION.to_owned(), expired.to_string());
    let mut blobs =
        layers.all().map(|it| descriptor(it.media_type.clone(), it.size, it.digest)).to_vec();
    let marked = HashMap::from([(sbom::ANNOTATION.to_owned(), sbom::PATH.to_owned())]);
    if let Some(top) = blobs.last_mut() {
        top.set_annotations(Some(marked));
    }
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config_bytes, config))
        .layers(blobs)
        .annotations(annotations)
        .build()
        .expect("every required field is set");
    json(&manifest)
}

#[cfg(test)]
mod tests;
