use super::*;

#[test]
fn documents_have_the_same_bytes_every_time() {
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    let layered = || Layered {
        digest: Digest::of(b"a"),
        diff_id: Digest::of(b"b"),
        size: 3,
        media_type: MediaType::ImageLayerZstd,
    };
    let layers = || Layers { packages: layered(), sbom: layered() };
    let packages = packages::installed("Package: p\nStatus: install ok installed\nVersion: 1\n");
    let make = || {
        let config = json(&configuration(&recipe, &layers()));
        let manifest = manifest(&recipe, &layers(), (Digest::of(&config), 1), &packages, false);
        (config, manifest)
    };
    let first = make();
    // A map in another order each time would show.
    assert!((0..20).all(|_| make() == first));
    let parsed = crate::manifest::parse_manifest("m", &first.1).unwrap();
    assert_eq!(parsed.config, Digest::of(&first.0));
    assert_eq!(parsed.layers[0].size, 3);
}
