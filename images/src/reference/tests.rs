use proptest::prelude::*;

use super::*;

fn digest() -> String {
    Digest::of(b"x").to_string()
}

#[test]
fn familiar_names_are_normalised() {
    for (text, key, shown) in [
        ("mysql", "docker.io+library+mysql:latest", "mysql:latest"),
        ("docker.io/mysql:9", "docker.io+library+mysql:9", "mysql:9"),
        ("index.docker.io/library/mysql:9", "docker.io+library+mysql:9", "mysql:9"),
        ("berth/mysql:9.7", "docker.io+berth+mysql:9.7", "berth/mysql:9.7"),
        ("localhost/a", "localhost+a:latest", "localhost/a:latest"),
        (
            "db.example:5000/a/b-c__d:T_1",
            "db.example:5000+a+b-c__d:T_1",
            "db.example:5000/a/b-c__d:T_1",
        ),
        ("localhost:5000/a", "localhost:5000+a:latest", "localhost:5000/a:latest"),
        // Without the host these would be other images.
        ("docker.io/docker.io/x", "docker.io+docker.io+x:latest", "docker.io/docker.io/x:latest"),
        ("docker.io/localhost/x", "docker.io+localhost+x:latest", "docker.io/localhost/x:latest"),
        ("library/x/y", "docker.io+library+x+y:latest", "library/x/y:latest"),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.key(), key);
        assert_eq!(reference.to_string(), shown);
        assert_eq!(shown.parse(), Ok(reference));
    }
}

#[test]
fn a_digest_needs_no_tag_and_outranks_one() {
    let pinned: Reference = format!("mysql@{}", digest()).parse().unwrap();
    assert_eq!((pinned.tag(), pinned.digest()), (None, Some(Digest::of(b"x"))));
    let both: Reference = format!("mysql:9@{}", digest()).parse().unwrap();
    assert_eq!(both.tag(), Some("9"));
    assert_eq!(both.key(), pinned.key());
    assert_eq!(both.to_string(), format!("mysql:9@{}", digest()));
}

#[test]
fn bad_references_are_refused_with_the_text() {
    let long = "a".repeat(250);
    for text in [
        "",
        "/",
        "a/",
        "/a",
        "A",
        "a:",
        "a:-b",
        "a b",
        "a:b:c",
        "a@sha256:1",
        "a@md5:1",
        "a//b",
        "a..b",
        "a___b",
        ".a",
        "a.",
        "../a",
        "a:x/../b",
        "-a.example/b",
        "a.example:99999/b",
        "a.example:/b",
        "a.example:+80/b",
        "a\0",
        "a+b",
        "é",
        &long,
        &format!("a:{}", "b".repeat(129)),
    ] {
        let error = text.parse::<Reference>().expect_err(text);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

proptest! {
    #[test]
    fn whatever_parses_round_trips_and_makes_a_safe_file_name(
        text in "([a-z0-9.:-]{1,12}/)?[a-z0-9._/-]{1,20}(:[a-zA-Z0-9._-]{1,8})?"
    ) {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            let key = reference.key();
            prop_assert!(!key.contains('/') && !key.starts_with('.') && key.len() <= 255);
            prop_assert_eq!(&Reference::from_key(&key).unwrap(), &reference);
        }
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Reference>();
    }
}
