use super::*;

fn package(name: &str, version: &str, source: Option<&str>) -> Package {
    Package {
        name: name.into(),
        version: version.into(),
        architecture: "amd64".into(),
        source: source.map(str::to_owned),
    }
}

#[test]
fn the_document_says_what_spdx_asks_for() {
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    let packages = [package("libstdc++6", "1:15~2", None), package("zlib1g", "1", Some("zlib"))];
    let bytes = document(&recipe, &Digest::of(b"x"), &packages);
    assert_eq!(bytes, document(&recipe, &Digest::of(b"x"), &packages));
    let found: Value = serde_json::from_slice(&bytes).unwrap();
    // SPDX 2.3, 6.1 to 6.9: those that are mandatory.
    assert_eq!(found["spdxVersion"], "SPDX-2.3");
    assert_eq!(found["dataLicense"], "CC0-1.0");
    assert_eq!(found["SPDXID"], "SPDXRef-DOCUMENT");
    assert_eq!(found["name"], "berth/mysql:9.7");
    assert_eq!(found["creationInfo"]["created"], "2026-11-01T00:00:00Z");
    assert_eq!(found["creationInfo"]["creators"][0], "Tool: berth");
    let plus = &found["packages"][1];
    assert_eq!(plus["SPDXID"], "SPDXRef-Package-libstdc-plus--plus-6-amd64");
    assert_eq!(
        plus["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/libstdc%2B%2B6@1%3A15~2?arch=amd64&distro=sid"
    );
    assert_eq!(found["packages"][2]["sourceInfo"], "built from Debian source package zlib");
    let ids: Vec<&Value> =
        found["packages"].as_array().unwrap().iter().map(|package| &package["SPDXID"]).collect();
    let relationships = found["relationships"].as_array().unwrap();
    assert_eq!(relationships.len(), ids.len());
    for (relationship, id) in relationships.iter().zip(ids) {
        assert_eq!(&relationship["relatedSpdxElement"], id);
    }
}
