//! Pulling images from registries.
//!
//! Flow: for each place that may have the image (mirrors, then the registry of its name)
//! find the manifest for this machine; protect what it needs from the collector; fetch the
//! configuration, then the layers side by side, each verified before it is a blob; put
//! manifest and tag in place together. What broke off is gone on with by the next pull.
//!
//! Layers are not decompressed here: unpacking compares their diff_ids.
//!
//! Source: [OCI distribution-spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).

mod blob;
mod credentials;
mod document;
pub(crate) mod error;
mod patience;
mod registries;
mod session;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::error::{ImageError, Result, chain, reading, writing};
use crate::manifest::{self, Parsed};
use crate::progress::Progress;
use crate::store::{Image, Lease, Store, Tag};
use crate::{Digest, Reference};
use blob::{Fetcher, Got, Wanted};
use document::{Document, Found};
pub use error::PullError;
pub use registries::Registries;
use session::Session;

/// Names that are kept for images built here, so that nobody else's image of that name is
/// ever run.
const LOCAL_HOST: &str = "docker.io";
const LOCAL_PREFIX: &str = "berth/";
/// Reports of progress on their way to who draws it.
const REPORTS: usize = 64;

/// A pulled image, and what it took.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// The registry that gave it.
    pub registry: String,
    /// Blobs that were there already.
    pub blobs_present: usize,
    /// Blobs that were fetched, or completed.
    pub blobs_fetched: usize,
    /// Bytes of blobs that came over the network.
    pub bytes_fetched: u64,
    /// Bytes that an earlier pull had left.
    pub bytes_resumed: u64,
}

impl Reference {
    /// Whether a registry may have it: names on Docker Hub that begin with `berth/` are
    /// kept for images built here.
    pub fn is_pullable(&self) -> bool {
        self.host() != LOCAL_HOST || !self.path().starts_with(LOCAL_PREFIX)
    }
}

/// The file in which docker keeps logins: config.json in `DOCKER_CONFIG`, else in
/// `.docker` below the home directory.
pub fn docker_config_file() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = given("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| given("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    Some(directory.join("config.json"))
}

impl Store {
    /// Pulls an image and tags it. Blobs that are here are not fetched again, but looked
    /// at; what an earlier pull left is gone on with.
    ///
    /// # Errors
    /// [`ImageError::Pull`] with what each registry said. Until all is verified and on the
    /// disk, no tag names the image; a tag of that name stays as it is.
    pub fn pull(
        &self,
        reference: &Reference,
        registries: &Registries,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        let failed = |source| {
            let reference = reference.to_string();
            ImageError::Pull { reference, source: Box::new(source) }
        };
        if !reference.is_pullable() {
            return Err(failed(PullError::LocalName));
        }
        self.sweep_first();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| failed(PullError::Runtime(source)))?;
        let pull = Pull { store: self, reference, progress };
        runtime.block_on(pull.pull_anywhere(&Arc::new(registries.clone()))).map_err(failed)
    }
}

/// One pull.
struct Pull<'a> {
    store: &'a Store,
    reference: &'a Reference,
    progress: &'a dyn Progress,
}

impl Pull<'_> {
    async fn pull_anywhere(&self, registries: &Arc<Registries>) -> error::Result<Pulled> {
        let endpoints = registries.endpoints(self.reference);
        let mut failures = Vec::new();
        for endpoint in endpoints {
            let registry = endpoint.registry.clone();
            let session = Arc::new(Session::new(endpoint, Arc::clone(registries))?);
            let error = match self.pull_from(session).await {
                Ok(pulled) => return Ok(pulled),
                Err(error) if error.is_local() => return Err(error),
                Err(error) => error,
            };
            tracing::warn!(
                %registry, reference = %self.reference,
                error = &error as &dyn std::error::Error, "cannot pull"
            );
            failures.push(error);
        }
        match failures.len() {
            1 => Err(failures.remove(0)),
            _ => Err(PullError::Everywhere(failures.iter().map(|error| chain(error)).collect())),
        }
    }

    async fn pull_from(&self, session: Arc<Session>) -> error::Result<Pulled> {
        let limit = self.store.limits().document_bytes;
        let Found { manifest, index } = document::find(&session, self.reference, limit).await?;
        let place = format!("manifest {}", manifest.digest);
        let content = |source: ImageError| PullError::Content {
            registry: session.registry(),
            source: Box::new(source),
        };
        let parsed = manifest::parse_manifest(&place, &manifest.bytes).map_err(content)?;
        let (config, layers) = self.wanted(&place, &parsed).map_err(content)?;
        let lease = self.protect(&manifest, index.as_ref(), &config, &layers)?;
        self.check_room(&config, &layers)?;
        let mut pulled = Tally::default();
        let total = config.size + layers.iter().map(|layer| layer.size).sum::<u64>();
        self.progress.begin(&format!("pulling {}", self.reference), Some(total));
        let fetched = self.fetch(&session, vec![config], &mut pulled).await;
        let fetched = match fetched {
            Ok(()) => {
                self.check_config(&parsed).map_err(content)?;
                self.fetch(&session, layers.clone(), &mut pulled).await
            }
            failed => failed,
        };
        if let Err(error) = fetched {
            if error.is_no_space() {
                self.give_up(&layers);
            }
            return Err(error);
        }
        let documents = [Some(&manifest), index.as_ref()];
        let tag = Tag { manifest: manifest.digest, index: index.as_ref().map(|it| it.digest) };
        let image =
            self.commit(&lease, &documents, &tag, &config, &layers).map_err(PullError::store)?;
        self.progress.finish();
        Ok(pulled.into_pulled(image, session.registry()))
    }

    /// What the manifest asks for, each blob once.
    fn wanted(&self, place: &str, parsed: &Parsed) -> Result<(Wanted, Vec<Wanted>)> {
        let limits = self.store.limits();
        let size = parsed.manifest.config().size();
        if size > limits.document_bytes {
            let limit = limits.document_bytes;
            return Err(ImageError::TooLarge { place: format!("{place}: config"), limit });
        }
        if parsed.layers.len() > limits.layers {
            let (place, limit) = (place.to_owned(), limits.layers as u64);
            return Err(ImageError::Limit { place, what: "layers", limit });
        }
        let mut seen = BTreeSet::from([parsed.config]);
        let layers = parsed.layers.iter().filter(|layer| seen.insert(layer.digest));
        let layers: Vec<Wanted> =
            layers.map(|layer| Wanted { digest: layer.digest, size: layer.size }).collect();
        Ok((Wanted { digest: parsed.config, size }, layers))
    }

    fn protect(
        &self,
        manifest: &Document,
        index: Option<&Document>,
        config: &Wanted,
        layers: &[Wanted],
    ) -> error::Result<Lease> {
        let documents = [manifest.digest, config.digest].into_iter();
        let documents = documents.chain(index.map(|index| index.digest));
        let needed = documents.chain(layers.iter().map(|layer| layer.digest)).collect();
        let lease = Lease::new(self.store).map_err(PullError::store)?;
        lease.protect(self.store, &needed).map_err(PullError::store)?;
        Ok(lease)
    }

    /// Fails before the first byte if the disk can't hold them all.
    fn check_room(&self, config: &Wanted, layers: &[Wanted]) -> error::Result<()> {
        let missing = |wanted: &Wanted| {
            let length = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
            let begun = self.store.partial_dir().join(wanted.digest.hex());
            let there = length(self.store.blob_path(&wanted.digest)).max(length(begun));
            wanted.size.saturating_sub(there)
        };
        let needed = [config].into_iter().chain(layers).map(missing).sum();
        let path = self.store.root().to_owned();
        let free = self.store.free_bytes().map_err(PullError::store)?;
        if needed > free {
            return Err(PullError::NoRoom { path, needed, free });
        }
        Ok(())
    }

    /// Fetches blobs side by side. The first failure ends the others; what they have
    /// brought stays for the next pull.
    async fn fetch(
        &self,
        session: &Arc<Session>,
        wanted: Vec<Wanted>,
        tally: &mut Tally,
    ) -> error::Result<()> {
        let (told, mut reports) = mpsc::channel(REPORTS);
        let places = Arc::new(Semaphore::new(session.registries.parallel.max(1)));
        let mut fetches = JoinSet::new();
        for wanted in wanted {
            let (store, session) = (self.store.clone(), Arc::clone(session));
            let fetcher = Fetcher { store, session, told: told.clone() };
            let places = Arc::clone(&places);
            fetches.spawn(async move {
                let _place = places.acquire().await.expect("the semaphore is never closed");
                fetcher.fetch(wanted).await
            });
        }
        drop(told);
        // Ends when every fetch has dropped its end.
        loop {
            tokio::select! {
                Some(bytes) = reports.recv() => self.progress.advance(bytes),
                ended = fetches.join_next() => match ended {
                    Some(Ok(Ok(got))) => tally.count(got),
                    Some(Ok(Err(error))) => {
                        fetches.shutdown().await;
                        return Err(error);
                    }
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                    None => break,
                },
            }
        }
        while let Ok(bytes) = reports.try_recv() {
            self.progress.advance(bytes);
        }
        Ok(())
    }

    /// Refuses an image for another machine before its layers are fetched.
    fn check_config(&self, parsed: &Parsed) -> Result<()> {
        let path = self.store.blob_path(&parsed.config);
        let bytes = fs::read(&path).map_err(reading(&path))?;
        let place = format!("config {}", parsed.config);
        let config = manifest::parse_config(&place, &bytes)?;
        manifest::check_platform(&place, &config)?;
        let diff_ids = config.rootfs().diff_ids().len();
        if diff_ids != parsed.layers.len() {
            let layers = parsed.layers.len();
            return Err(ImageError::LayerCount { place, layers, diff_ids });
        }
        Ok(())
    }

    /// Makes room: nothing is kept of an image that does not fit.
    fn give_up(&self, layers: &[Wanted]) {
        for layer in layers {
            if let Err(error) = self.store.remove_partial(&layer.digest) {
                let digest = layer.digest;
                tracing::warn!(%digest, error = &error as &dyn std::error::Error, "left behind");
            }
        }
    }

    /// Puts manifest, index and tag in place; all that they name has to be there.
    fn commit(
        &self,
        lease: &Lease,
        documents: &[Option<&Document>],
        tag: &Tag,
        config: &Wanted,
        layers: &[Wanted],
    ) -> Result<Image> {
        let mut digests = Vec::new();
        for document in documents.iter().flatten() {
            let path = lease.directory().join(document.digest.hex());
            fs::write(&path, &document.bytes).map_err(writing(&path))?;
            digests.push(document.digest);
        }
        let needed: Vec<Digest> =
            [config].into_iter().chain(layers).map(|wanted| wanted.digest).collect();
        self.store.put_documents(lease, &digests, &needed, self.reference, tag)?;
        let resolved = self.store.resolve(self.reference)?;
        resolved.ok_or_else(|| ImageError::NoSuchImage { reference: self.reference.to_string() })
    }
}

/// What a pull took.
#[derive(Debug, Default)]
struct Tally {
    present: usize,
    fetched: usize,
    bytes: u64,
    resumed: u64,
}

impl Tally {
    fn count(&mut self, got: Got) {
        match got {
            Got::Present => self.present += 1,
            Got::Fetched { bytes, resumed } => {
                self.fetched += 1;
                self.bytes += bytes;
                self.resumed += resumed;
            }
        }
    }

    fn into_pulled(self, image: Image, registry: String) -> Pulled {
        Pulled {
            image,
            registry,
            blobs_present: self.present,
            blobs_fetched: self.fetched,
            bytes_fetched: self.bytes,
            bytes_resumed: self.resumed,
        }
    }
}
