//! `berth image pull`.

use berth_images::{Pulled, Store};

use super::super::{Failure, args::ImagePull, output, progress::Bar};
use crate::config::Config;

pub(super) fn run(config: &Config, store: &Store, what: &ImagePull) -> Result<(), Failure> {
    let reference = what.reference.parse()?;
    let pulled = store.pull(&reference, &config.registries.reach, &Bar::new())?;
    let tree = if what.no_unpack { None } else { Some(store.unpack(&pulled.image, &Bar::new())?) };
    let image = &pulled.image;
    if what.json {
        output::json(&serde_json::json!({
            "summary": super::summary(image, tree.is_some()),
            "registry": pulled.registry,
            "blobs_fetched": pulled.blobs_fetched,
            "blobs_present": pulled.blobs_present,
            "bytes_fetched": pulled.bytes_fetched,
            "bytes_resumed": pulled.bytes_resumed,
            "tree": tree.map(|tree| tree.root),
        }))?;
        return Ok(());
    }
    output::print(&format!(
        "pulled {} from {} ({}), {}\n",
        image.reference,
        pulled.registry,
        took(&pulled),
        image.index_digest.unwrap_or(image.manifest_digest)
    ))?;
    Ok(())
}

/// What had to be fetched, in words.
fn took(pulled: &Pulled) -> String {
    if pulled.blobs_fetched == 0 {
        return "nothing was missing".to_owned();
    }
    let mut text = format!(
        "{} fetched, {}",
        output::count(pulled.blobs_fetched, "blob", "blobs"),
        output::bytes(pulled.bytes_fetched)
    );
    if pulled.bytes_resumed > 0 {
        text.push_str(&format!(", {} from an earlier pull", output::bytes(pulled.bytes_resumed)));
    }
    text
}
