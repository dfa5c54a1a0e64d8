//! `berth image verify`.

use std::process::ExitCode;

use berth_images::{Damage, Remedy, Store, Verification};

use super::super::{Failure, output, progress::Bar};

pub(super) fn run(store: &Store, json: bool) -> Result<ExitCode, Failure> {
    let found = store.verify(&Bar::new())?;
    if json {
        output::json(&document(&found))?;
    } else {
        output::print(&words(&found))?;
    }
    let well = found.damages.is_empty() && found.unchecked.is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn names(damage: &Damage) -> Vec<String> {
    damage.images.iter().map(ToString::to_string).collect()
}

fn document(found: &Verification) -> serde_json::Value {
    let damages: Vec<_> = found
        .damages
        .iter()
        .map(|damage| {
            serde_json::json!({
                "path": damage.path,
                "problem": damage.problem,
                "images": names(damage),
                "remedy": remedy(damage),
            })
        })
        .collect();
    let unchecked = found.unchecked.iter();
    let unchecked = unchecked.map(|(path, why)| serde_json::json!({"path": path, "reason": why}));
    serde_json::json!({
        "blobs": found.blobs,
        "blob_bytes": found.blob_bytes,
        "trees": found.trees,
        "damages": damages,
        "unchecked": unchecked.collect::<Vec<_>>(),
    })
}

fn words(found: &Verification) -> String {
    let mut text = String::new();
    for damage in &found.damages {
        let (path, problem) = (damage.path.display(), &damage.problem);
        text.push_str(&format!("{path}: {problem}; {}\n", remedy(damage)));
    }
    for (path, why) in &found.unchecked {
        text.push_str(&format!("{} could not be checked: {why}\n", path.display()));
    }
    text.push_str(&format!(
        "read {} ({}), compared {}: {}\n",
        output::count(found.blobs, "blob", "blobs"),
        output::bytes(found.blob_bytes),
        output::count(found.trees, "tree", "trees"),
        match found.damages.len() {
            0 => "no damage".to_owned(),
            many => format!("{many} damaged"),
        }
    ));
    text
}

/// What mends it.
fn remedy(damage: &Damage) -> String {
    let images = names(damage).join(", ");
    match damage.remedy {
        Remedy::BringAgain => {
            format!("pull, import or build again: {images} (servers may run on)")
        }
        Remedy::RemoveAndBringAgain => format!(
            "stop what runs on it, `berth image rm` and bring again: {}",
            if images.is_empty() { "the image, which has lost its name" } else { &images }
        ),
        Remedy::Collect => "nothing needs it; `berth image gc`".to_owned(),
    }
}
