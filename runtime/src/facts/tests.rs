use super::{preflight, release};

#[test]
fn kernel_releases() {
    assert_eq!(release("6.1.0-13-amd64\n"), Some((6, 1)));
    assert_eq!(release("6.18.44"), Some((6, 18)));
    assert_eq!(release("5.14-rc1"), Some((5, 14)));
    assert_eq!(release(""), None);
}

#[test]
fn preflight_agrees_with_proc() {
    let facts = preflight().unwrap();
    assert_eq!(facts.namespaces.len(), 6);
    assert!(facts.nofile_hard > 0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(facts.seccomp, status.contains("\nSeccomp:"));
}
