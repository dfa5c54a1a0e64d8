//! `berth image …`: the image store.

mod collect;
mod pull;
mod verify;

use std::{path::Path, process::ExitCode};

use berth_images::{BuildOptions, Image, Recipe, Reference, Store, build, builtin_recipes};

use super::{Failure, args, output, progress::Bar};
use crate::config::Config;

pub(super) fn run(config: &Config, command: args::Image) -> Result<ExitCode, Failure> {
    let store = Store::open(&config.images_dir)?;
    match command {
        args::Image::Build { recipe, tag } => build_image(&store, &recipe, tag.as_deref())?,
        args::Image::Pull(what) => pull::run(config, &store, &what)?,
        args::Image::Import { path, tag } => import(&store, &path, &tag)?,
        args::Image::Unpack { reference } => {
            let image = find(&store, &reference)?;
            let tree = store.unpack(&image, &Bar::new())?;
            output::print(&format!("{} is at {}\n", image.reference, tree.root.display()))?;
        }
        args::Image::List(what) => return list(&store, what.json),
        args::Image::Inspect { reference, json } => inspect(&store, &reference, json.json)?,
        args::Image::Gc(what) => collect::run(config, &store, &what)?,
        args::Image::Verify(what) => return verify::run(&store, what.json),
        args::Image::Sbom { reference } => sbom(&store, &reference)?,
        args::Image::Rm { reference } => remove(config, &store, &reference)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn find(store: &Store, reference: &str) -> Result<Image, Failure> {
    let reference: Reference = reference.parse()?;
    let found = store.resolve(&reference)?;
    found.ok_or_else(|| format!("there is no image {reference}; see `berth image list`").into())
}

fn build_image(store: &Store, recipe: &str, tag: Option<&str>) -> Result<(), Failure> {
    let known = match Recipe::builtin(recipe)? {
        Some(known) => known,
        None if Path::new(recipe).is_dir() => Recipe::load(Path::new(recipe))?,
        None => {
            let names = builtin_recipes().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "there is no recipe {recipe:?}; expected one of {names}, or a recipe's directory"
            )
            .into());
        }
    };
    let reference = match tag {
        Some(tag) => tag.parse()?,
        None => known.reference().clone(),
    };
    let built = build(&known, store, &reference, &BuildOptions::default(), &Bar::new())?;
    let packages = built.packages.len();
    output::print(&format!(
        "built {} ({packages} packages, {}), {}\n",
        built.image.reference,
        output::bytes(built.image.size),
        built.image.manifest_digest
    ))?;
    Ok(())
}

fn import(store: &Store, path: &Path, tag: &str) -> Result<(), Failure> {
    let image = store.import(path, &tag.parse()?, &Bar::new())?;
    output::print(&format!("imported {}, {}\n", image.reference, image.manifest_digest))?;
    Ok(())
}

fn list(store: &Store, json: bool) -> Result<ExitCode, Failure> {
    let listing = store.list()?;
    let unpacked = |image: &Image| store.tree(image).is_ok_and(|tree| tree.is_some());
    if json {
        let images: Vec<_> =
            listing.images.iter().map(|image| summary(image, unpacked(image))).collect();
        output::json(&images)?;
    } else {
        let rows = listing.images.iter().map(|image| {
            vec![
                image.reference.to_string(),
                image.manifest_digest.hex()[..12].to_owned(),
                output::bytes(image.size),
                if unpacked(image) { "unpacked" } else { "-" }.to_owned(),
            ]
        });
        output::print(&output::table(&["IMAGE", "DIGEST", "SIZE", "TREE"], rows.collect()))?;
    }
    for (reference, error) in &listing.broken {
        let causes = crate::files::chain(error).join(": ");
        output::warning(&format!("image {reference} is damaged: {causes}"));
    }
    Ok(if listing.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(image: &Image, unpacked: bool) -> serde_json::Value {
    serde_json::json!({
        "reference": image.reference.to_string(),
        "manifest_digest": image.manifest_digest.to_string(),
        "index_digest": image.index_digest.map(|digest| digest.to_string()),
        "config_digest": image.config_digest.to_string(),
        "size_bytes": image.size,
        "layers": image.layers.len(),
        "unpacked": unpacked,
    })
}

fn inspect(store: &Store, reference: &str, json: bool) -> Result<(), Failure> {
    let parsed: Reference = reference.parse()?;
    let Some(found) = store.inspect(&parsed)? else {
        return Err(format!("there is no image {parsed}; see `berth image list`").into());
    };
    if json {
        output::json(&serde_json::json!({
            "summary": summary(&found.image, found.tree.is_some()),
            "annotations": found.image.annotations,
            "manifest": found.manifest,
            "config": found.image.config,
            "tree": found.tree.map(|tree| tree.root),
        }))?;
        return Ok(());
    }
    let mut lines = vec![
        ("image", found.image.reference.to_string()),
        ("manifest", found.image.manifest_digest.to_string()),
        ("config", found.image.config_digest.to_string()),
        ("size", output::bytes(found.image.size)),
    ];
    lines.extend(found.image.index_digest.map(|digest| ("index", digest.to_string())));
    for layer in &found.image.layers {
        lines.push(("layer", format!("{} {}", layer.digest, output::bytes(layer.size))));
    }
    let tree = found.tree.map_or("not unpacked".to_owned(), |tree| tree.root.display().to_string());
    lines.push(("tree", tree));
    for (name, value) in &found.image.annotations {
        lines.push(("annotation", format!("{name}={value}")));
    }
    let text: String = lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    output::print(&text)?;
    Ok(())
}

fn sbom(store: &Store, reference: &str) -> Result<(), Failure> {
    let image = find(store, reference)?;
    let Some(document) = store.sbom(&image)? else {
        return Err(format!(
            "image {} has no bill of materials; those built by `berth image build` have",
            image.reference
        )
        .into());
    };
    output::print(&format!("{}\n", String::from_utf8_lossy(&document)))?;
    Ok(())
}

fn remove(config: &Config, store: &Store, reference: &str) -> Result<(), Failure> {
    let parsed: Reference = reference.parse()?;
    let removed = store.remove(&parsed, &collect::in_use(config)?)?;
    output::print(&format!(
        "removed {parsed}: {} blobs, {}{}\n",
        removed.blobs,
        output::bytes(removed.blob_bytes),
        if removed.tree { " and its tree" } else { "" }
    ))?;
    Ok(())
}
