//! Which places are asked for an image, and under which address.

use super::*;

fn registries() -> Registries {
    Registries {
        plain_http: ["mirror:5000".to_owned()].into(),
        mirrors: [(
            "docker.io".to_owned(),
            vec!["mirror:5000".to_owned(), "cache.example/hub/".to_owned()],
        )]
        .into(),
        ..Registries::default()
    }
}

#[test]
fn mirrors_come_before_the_origin_under_the_same_path() {
    let reference = "mysql:8.4".parse().unwrap();
    let endpoints = registries().endpoints(&reference);
    let urls: Vec<String> = endpoints.iter().map(|it| it.url("manifests", "8.4")).collect();
    assert_eq!(
        urls,
        [
            "http://mirror:5000/v2/library/mysql/manifests/8.4",
            "https://cache.example/v2/hub/library/mysql/manifests/8.4",
            "https://index.docker.io/v2/library/mysql/manifests/8.4",
        ]
    );
}

#[test]
fn mirrors_are_of_one_registry_only() {
    let reference = "quay.io/percona/server:8.4".parse().unwrap();
    let endpoints = registries().endpoints(&reference);
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].url("blobs", "x"), "https://quay.io/v2/percona/server/blobs/x");
}

#[test]
fn a_mirror_is_a_host() {
    for good in ["mirror:5000", "m.example", "m.example/a/b", "localhost"] {
        Registries::check_mirror(good).unwrap();
    }
    for bad in ["", "mirror", "https://m.example", "a/b", "m.example/A", "m.example/x:1"] {
        assert!(Registries::check_mirror(bad).is_err(), "{bad}");
    }
}
