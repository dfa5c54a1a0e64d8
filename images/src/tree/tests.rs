use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nmysql:x:1001:1002:,,:/var/lib/mysql:/bin/false\nmysql:x:1:1::/:/\nbad:x:y:1::/:/\nshort:x:1\n";

#[test]
fn the_first_line_of_a_name_counts() {
    let user = find_user(PASSWD, "mysql").unwrap();
    assert_eq!(user, User { uid: 1001, gid: 1002, home: "/var/lib/mysql".into() });
    assert_eq!(find_user(PASSWD, "root").map(|user| user.uid), Some(0));
}

#[test]
fn lines_that_are_none_do_not_count() {
    for name in ["bad", "short", "mysq", "", "x"] {
        assert_eq!(find_user(PASSWD, name), None, "{name:?}");
    }
    assert_eq!(find_user(b"", "root"), None);
}
