use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn key_file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

#[test]
fn passwords_are_the_same_everywhere_and_for_nothing_else() {
    let (_dir, path) = key_file(&[7; 32], 0o600);
    let key = FleetKey::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cluster in ["orders", "order", ""] {
        for purpose in Purpose::ALL {
            let secret = key.password(cluster, purpose);
            assert_eq!(secret, key.password(cluster, purpose));
            assert_eq!(secret.expose().len(), 32);
            assert!(secret.expose().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
            assert!(seen.insert(secret.expose().to_owned()));
        }
    }
    // Fixed for ever: hosts of different releases must agree. Computed with Python's hmac.
    assert_eq!(key.password("orders", Purpose::Replication).expose(), PINNED);
}

#[test]
fn white_space_at_the_end_of_the_file_changes_nothing() {
    let (_a, bare) = key_file(&[b'k'; 40], 0o400);
    let (_b, edited) = key_file(&[&[b'k'; 40][..], b"\r\n"].concat(), 0o600);
    let password = |path| FleetKey::read(path).unwrap().password("c", Purpose::Check);
    assert_eq!(password(&bare), password(&edited));
}

#[test]
fn key_files_that_are_not_safe_are_refused_by_path() {
    for mode in [0o640, 0o604, 0o620, 0o601] {
        let (_dir, path) = key_file(&[7; 32], mode);
        let error = FleetKey::read(&path).unwrap_err();
        assert!(matches!(error, KeyError::Permissions { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    for length in [0, 31, KEY_MAX + 1] {
        let (_dir, path) = key_file(&vec![7; length], 0o600);
        let error = FleetKey::read(&path).unwrap_err();
        assert!(matches!(error, KeyError::Length { length: found, .. } if found == length));
    }
    let (dir, path) = key_file(&[&[7; 31][..], b"\n\n\n"].concat(), 0o600);
    assert!(matches!(FleetKey::read(&path), Err(KeyError::Length { length: 31, .. })));
    assert!(matches!(FleetKey::read(dir.path()), Err(KeyError::NotAFile { .. })));
    let missing = dir.path().join("missing");
    assert!(matches!(FleetKey::read(&missing), Err(KeyError::Read { .. })));
}

#[test]
fn a_named_pipe_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(matches!(FleetKey::read(&path), Err(KeyError::NotAFile { .. })));
}

#[test]
fn debug_shows_no_secret() {
    let (_dir, path) = key_file(&[b'K'; 32], 0o600);
    let key = FleetKey::read(&path).unwrap();
    let secret = key.password("orders", Purpose::Clone);
    let shown = format!("{key:?} {secret:?}");
    assert!(!shown.contains(secret.expose()) && !shown.contains("KKKK") && !shown.contains("75"));
}

/// `password("orders", Replication)` of the key of 32 bytes 7.
const PINNED: &str = "frgwJr9qAiXaD9nkTEgk4q6-Y9GI-aA1";
