//! Which login is found where, and that no secret is told.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
}

fn encoded(text: &str) -> String {
    BASE64.encode(text)
}

#[test]
fn the_most_specific_entry_of_the_first_file_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, c) = (encoded("a:1"), encoded("b:2:3"), encoded("c:4"));
    let first = write(
        dir.path(),
        "first",
        &format!(
            r#"{{"auths": {{"r:5000": {{"auth": "{a}"}}, "r:5000/team": {{"auth": "{b}"}},
                "https://index.docker.io/v1/": {{"auth": "{c}"}},
                "stored.example": {{}}}}, "HttpHeaders": {{}}}}"#
        ),
    );
    let second = write(
        dir.path(),
        "second",
        r#"{"auths": {"r:5000": {"auth": "eDp5"}, "http://q/v2/": {"username": "u", "password": "p"},
            "t": {"registrytoken": "secret"}}}"#,
    );
    let files = [dir.path().join("missing"), first, second];
    let find = |registry, repository| find(&files, registry, repository).unwrap();
    assert_eq!(find("r:5000", "x"), basic("a", "1"));
    assert_eq!(find("r:5000", "team/x"), basic("b", "2:3"));
    assert_eq!(find("r:5000", "teams/x"), basic("a", "1"));
    assert_eq!(find("docker.io", "library/mysql"), basic("c", "4"));
    assert_eq!(find("q", "x"), basic("u", "p"));
    assert_eq!(find("t", "x"), Credentials::Token("secret".to_owned()));
    assert_eq!(find("stored.example", "x"), Credentials::Anonymous);
    assert_eq!(find("r:5001", "x"), Credentials::Anonymous);
}

#[test]
fn what_is_wrong_is_told_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (r#"{"auths": {"r": {"auth": "c2VjcmV0"}}}"#, "not `user:password`"),
        (r#"{"auths": {"r": {"identitytoken": "secret"}}}"#, "identity token"),
        (r#"{"auths": {"r": "secret"}}"#, "form of docker's"),
        (r#"{"credHelpers": {"r": "../secret"}}"#, "credential helper"),
        (r#"{"credsStore": "berth-test-none"}"#, "credential helper"),
    ];
    for (text, part) in cases {
        let error = find(&[write(dir.path(), "file", text)], "r", "x").unwrap_err();
        let message = format!("{error}");
        assert!(message.contains(part) && !message.contains("c2Vj"), "{message}");
    }
    let open = write(dir.path(), "open", "{}");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(find(&[open], "r", "x"), Err(CredentialsError::Mode { mode: 0o644, .. })));
    assert_eq!(format!("{:?}", basic("u", "secret")), "as \"u\"");
    assert_eq!(format!("{:?}", Credentials::Token("secret".into())), "with a token");
}
