//! One blob: from the registry into the store, going on where an earlier try ended, be it
//! of this process or of one that was killed.
//!
//! Bytes come in on the asynchronous side and are written and hashed on a thread that may
//! block, so that network and disk overlap.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::error::{PullError, Result};
use super::patience::Patience;
use super::session::Session;
use crate::Digest;
use crate::error::ImageError;
use crate::store::{Partial, Store};

/// Chunks on their way to the disk, each a read of the network (16 KiB to some hundred).
const CHUNKS: usize = 16;
/// A blob whose bytes were wrong is fetched once more, not as often as one that broke off.
const WRONG_MAX: u32 = 2;
/// How often it is looked whether another process has finished a blob.
const OTHER_POLL: Duration = Duration::from_millis(50);
/// A try that brought a twentieth of the blob, or so much, did not fail in vain: the next
/// failure begins a new row.
const STRIDE_MAX: u64 = 1 << 20;

/// A blob that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// How a blob came to be in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// It was there.
    Present,
    /// So many bytes were fetched; so many were there from an earlier try.
    Fetched { bytes: u64, resumed: u64 },
}

/// Fetches blobs of one repository. `told` hears of bytes that are there.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    pub(super) store: Store,
    pub(super) session: Arc<Session>,
    pub(super) told: mpsc::Sender<u64>,
}

impl Fetcher {
    /// Sees to it that a blob is in the store, whole and right.
    pub(super) async fn fetch(&self, wanted: Wanted) -> Result<Got> {
        let Some(partial) = self.begin(wanted).await? else {
            self.tell(wanted.size).await;
            return Ok(Got::Present);
        };
        let mut tries = Tries::new(wanted, &partial);
        self.tell(tries.resumed).await;
        let mut partial = partial;
        loop {
            if partial.length() == wanted.size {
                let (returned, wrong) = self.publish(partial, wanted).await?;
                let Some(wrong) = wrong else {
                    return Ok(Got::Fetched { bytes: tries.fetched, resumed: tries.resumed });
                };
                partial = returned;
                tries.wrong += 1;
                // What an earlier process left may have been wrong; this registry was not.
                if tries.wrong >= WRONG_MAX {
                    partial.remove().map_err(PullError::store)?;
                    return Err(wrong);
                }
                partial.restart().map_err(PullError::store)?;
            }
            let before = partial.length();
            let (returned, outcome) = self.once(partial, wanted, &mut tries).await?;
            partial = returned;
            if partial.length() > before && partial.length() - before >= tries.stride {
                tries.patience.restore();
            }
            if let Err(error) = outcome {
                tries.patience.after(error, &self.session.registries).await?;
            }
        }
    }

    /// The beginning that there is; `None` if all of it is there. Waits while another
    /// process fetches it.
    async fn begin(&self, wanted: Wanted) -> Result<Option<Partial>> {
        let deadline = Instant::now() + self.store.limits().unpack_wait;
        loop {
            let store = self.store.clone();
            let look = move || {
                if store.has_blob(&wanted.digest, wanted.size)? {
                    return Ok((true, None));
                }
                let partial = store.partial(wanted.digest, wanted.size)?;
                // Another process may have finished since.
                match partial {
                    Some(partial) if store.has_blob(&wanted.digest, wanted.size)? => {
                        partial.remove()?;
                        Ok((true, None))
                    }
                    partial => Ok((false, partial)),
                }
            };
            match blocking(look).await.map_err(PullError::store)? {
                (true, _) => return Ok(None),
                (false, Some(partial)) => return Ok(Some(partial)),
                (false, None) if Instant::now() >= deadline => {
                    let path = self.store.partial_dir().join(wanted.digest.hex());
                    let waited = self.store.limits().unpack_wait;
                    return Err(PullError::store(ImageError::Locked { path, waited }));
                }
                (false, None) => sleep(OTHER_POLL).await,
            }
        }
    }

    /// Makes a blob of what is there; gives the error if it is not what was wanted.
    async fn publish(
        &self,
        mut partial: Partial,
        wanted: Wanted,
    ) -> Result<(Partial, Option<PullError>)> {
        let store = self.store.clone();
        let (partial, outcome) = blocking(move || {
            let outcome = partial.publish(&store);
            (partial, outcome)
        })
        .await;
        match outcome {
            Ok(()) => Ok((partial, None)),
            Err(ImageError::WrongDigest { found, expected, .. }) => {
                let (registry, what) = (self.session.registry(), name(wanted));
                Ok((partial, Some(PullError::WrongDigest { registry, what, found, expected })))
            }
            Err(error) => Err(PullError::store(error)),
        }
    }

    /// One request, from where the beginning ends. The outer error is of this host.
    async fn once(
        &self,
        mut partial: Partial,
        wanted: Wanted,
        tries: &mut Tries,
    ) -> Result<(Partial, Result<()>)> {
        let offset = Some(partial.length()).filter(|length| *length > 0);
        let (digest, what) = (wanted.digest.to_string(), name(wanted));
        let asked = self.session.get(("blobs", &digest), "*/*", offset, &what).await;
        let response = match asked {
            Ok(response) => response,
            Err(error) => return Ok((partial, Err(error))),
        };
        if response.status() == StatusCode::OK && partial.length() > 0 {
            // A registry without ranges sends all of it again.
            partial.restart().map_err(PullError::store)?;
        }
        if let Some(coming) = response.content_length() {
            let (found, expected) = (partial.length().saturating_add(coming), wanted.size);
            if found != expected {
                let registry = self.session.registry();
                let wrong = PullError::WrongLength { registry, what, found, expected };
                return Ok((partial, Err(wrong)));
            }
        }
        self.copy(partial, response, wanted, tries).await
    }

    /// Brings the answer to the disk.
    async fn copy(
        &self,
        partial: Partial,
        mut response: Response,
        wanted: Wanted,
        tries: &mut Tries,
    ) -> Result<(Partial, Result<()>)> {
        let mut at = partial.length();
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let writer = spawn_blocking(move || write(partial, receiver));
        let (registry, what, expected) = (self.session.registry(), name(wanted), wanted.size);
        let received = loop {
            let chunk = match self.session.in_time(response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) if at == expected => break Ok(()),
                Ok(Ok(None)) => {
                    break Err(PullError::Short { registry, what, found: at, expected });
                }
                Ok(Err(source)) => {
                    let source = source.without_url();
                    break Err(PullError::BrokenOff { registry, source });
                }
                Err(stalled) => break Err(stalled),
            };
            at += chunk.len() as u64;
            if at > expected {
                break Err(PullError::WrongLength { registry, what, found: at, expected });
            }
            tries.fetched += chunk.len() as u64;
            self.tell(tries.news(at)).await;
            // The writer gives up only with an error of its own.
            if sender.send(chunk).await.is_err() {
                break Ok(());
            }
        };
        drop(sender);
        let (partial, written) = finish(writer).await;
        written.map_err(PullError::store)?;
        Ok((partial, received))
    }

    async fn tell(&self, bytes: u64) {
        // Nobody listens any more once the pull has failed.
        let _ = self.told.send(bytes).await;
    }
}

/// What the tries for one blob have come to.
#[derive(Debug)]
struct Tries {
    patience: Patience,
    /// Bytes that a try must bring to count as one that did not fail.
    stride: u64,
    /// Bytes that were there at first.
    resumed: u64,
    /// Bytes that came, some perhaps twice.
    fetched: u64,
    /// How far the progress was told.
    told: u64,
    /// How often the whole was wrong.
    wrong: u32,
}

impl Tries {
    fn new(wanted: Wanted, partial: &Partial) -> Self {
        let resumed = partial.length();
        Self {
            patience: Patience::default(),
            stride: (wanted.size / 20).clamp(1, STRIDE_MAX),
            resumed,
            fetched: 0,
            told: resumed,
            wrong: 0,
        }
    }

    /// How much further it is than it ever was.
    fn news(&mut self, at: u64) -> u64 {
        let news = at.saturating_sub(self.told);
        self.told = self.told.max(at);
        news
    }
}

fn write<B: AsRef<[u8]>>(
    mut partial: Partial,
    mut chunks: mpsc::Receiver<B>,
) -> (Partial, crate::Result<()>) {
    while let Some(chunk) = chunks.blocking_recv() {
        if let Err(error) = partial.append(chunk.as_ref()) {
            return (partial, Err(error));
        }
    }
    (partial, Ok(()))
}

fn name(wanted: Wanted) -> String {
    format!("blob {}", wanted.digest)
}

/// Runs what blocks. A panic there is one here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finish(spawn_blocking(work)).await
}

async fn finish<T>(work: tokio::task::JoinHandle<T>) -> T {
    // Only the end of the runtime cancels such work, and then nobody waits for it.
    work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
