use super::*;

#[test]
fn only_installed_packages_are_listed() {
    let status = "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n Package: y\n\n\
        Package: b\nVersion: 1\nStatus: deinstall ok config-files\n\n\
        Package: c\nStatus: hold ok installed\nVersion: 4\n";
    let found: Vec<_> = installed(status).into_iter().collect();
    assert_eq!(found, [("a".into(), "1:2-3".into()), ("c".into(), "4".into())]);
}

#[test]
fn documents_have_the_same_bytes_every_time() {
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    let layered = || Layered {
        digest: Digest::of(b"a"),
        diff_id: Digest::of(b"b"),
        size: 3,
        media_type: MediaType::ImageLayerZstd,
    };
    let packages = BTreeMap::from([("p".to_owned(), "1".to_owned())]);
    let make = || {
        let config = json(&configuration(&recipe, &layered()));
        let manifest = manifest(&recipe, &layered(), (Digest::of(&config), 1), &packages, false);
        (config, manifest)
    };
    let first = make();
    // A map in another order each time would show.
    assert!((0..20).all(|_| make() == first));
    let parsed = crate::manifest::parse_manifest("m", &first.1).unwrap();
    assert_eq!(parsed.config, Digest::of(&first.0));
    assert_eq!(parsed.layers[0].size, 3);
}
