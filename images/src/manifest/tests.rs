use serde_json::json;

use super::*;

const SOME: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest(config_type: &str, layer_type: &str, digest: &str) -> Result<Parsed> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": config_type, "digest": SOME, "size": 2},
        "layers": [{"mediaType": layer_type, "digest": digest, "size": 3}],
    });
    parse_manifest("here", manifest.to_string().as_bytes())
}

fn config(diff_ids: &[&str], os: &str) -> ImageConfiguration {
    let config = json!({
        "architecture": "amd64", "os": os, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    parse_config("here", config.to_string().as_bytes()).unwrap()
}

#[test]
fn dockers_types_are_read_like_ocis() {
    for (config, layer) in [
        (CONFIG_TYPES[0], LAYER_TYPES[0]),
        (CONFIG_TYPES[1], "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ] {
        let parsed = manifest(config, layer, SOME).unwrap();
        assert_eq!((parsed.layers.len(), parsed.layers[0].size), (1, 3));
        assert_eq!(parsed.layers[0].media_type, layer);
    }
}

#[test]
fn parts_of_unknown_kinds_are_named() {
    for (config, layer, digest, words) in [
        ("application/vnd.cncf.helm.config.v1+json", LAYER_TYPES[0], SOME, "helm"),
        (CONFIG_TYPES[0], "application/wasm", SOME, "application/wasm"),
        (CONFIG_TYPES[0], LAYER_TYPES[0], "sha512:00", "here is not a valid"),
    ] {
        let error = manifest(config, layer, digest).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = parse_manifest("here", b"[]").unwrap_err();
    assert_eq!(error.to_string(), "here is not a valid image manifest");
}

#[test]
fn layers_and_diff_ids_go_in_pairs() {
    let blobs = || manifest(CONFIG_TYPES[0], LAYER_TYPES[0], SOME).unwrap().layers;
    let layers = join_layers("here", blobs(), &config(&[SOME], "linux")).unwrap();
    assert_eq!(layers[0].diff_id.to_string(), SOME);
    let error = join_layers("here", blobs(), &config(&[], "linux")).unwrap_err();
    assert!(matches!(error, ImageError::LayerCount { layers: 1, diff_ids: 0, .. }));
    join_layers("here", blobs(), &config(&["md5:1"], "linux")).unwrap_err();
}

#[test]
fn images_for_other_systems_are_refused() {
    let error = check_platform("here", &config(&[], "windows")).unwrap_err();
    assert!(error.to_string().contains("found an image for windows/"), "{error}");
}
