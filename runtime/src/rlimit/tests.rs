use super::clamp;

#[test]
fn a_limit_is_lowered_only_without_the_privilege_and_says_so() {
    assert_eq!(clamp("nofile", 100, 200, false), (100, None));
    assert_eq!(clamp("nofile", 300, 200, true), (300, None));
    let (value, note) = clamp("nofile", 300, 200, false);
    assert_eq!(value, 200);
    assert_eq!(
        note.unwrap(),
        "rlimit nofile is 200 instead of 300: raising it needs CAP_SYS_RESOURCE"
    );
}
