use super::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(30))
}

#[test]
fn a_held_key_is_busy_and_another_key_is_free() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("lock");
    let held = Lock::acquire(&path, "a", soon()).expect("the first lock");
    let second = Lock::acquire(&path, "a", soon());
    assert!(matches!(second, Err(LockError::Busy { .. })), "{second:?}");
    Lock::acquire(&path, "b", soon()).expect("another key");
    drop(held);
    Lock::acquire(&path, "a", soon()).expect("the key after its release");
}

#[test]
fn threads_exclude_each_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("lock");
    let inside = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let deadline = Deadline::after(Duration::from_secs(30));
                    let _lock = Lock::acquire(&path, "one", deadline).expect("a turn");
                    let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert_eq!(before, 0, "somebody else was inside");
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
}
