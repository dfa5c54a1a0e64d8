use super::*;

fn member(kind: Kind, path: &str, link: &str) -> Member {
    Member {
        path: path.into(),
        link: link.into(),
        kind,
        size: 0,
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime: (3, 4),
        xattrs: vec![(b"user.x".to_vec(), b"y".to_vec())],
    }
}

fn place(parent: &str, name: &str) -> Place {
    Place { parent: parent.into(), name: name.into() }
}

fn file(path: &str) -> Result<Change, Refused> {
    change(&member(Kind::File, path, ""))
}

#[test]
fn names_are_relative_to_the_root_however_they_are_written() {
    for path in ["a/b", "/a/b", "./a/b", "a//b", "a/./b/", "//a/b//"] {
        let Ok(Change::Put(at, Node::File, metadata)) = file(path) else { panic!("{path}") };
        assert_eq!(at, place("a", "b"));
        assert_eq!((metadata.mode, metadata.mtime, metadata.xattrs.len()), (0o640, (3, 4), 1));
    }
    for path in ["", "/", "./", "."] {
        let root = change(&member(Kind::Directory, path, ""));
        assert!(matches!(root, Ok(Change::Root(_))), "{path:?}");
        file(path).unwrap_err();
    }
}

#[test]
fn whiteouts_are_told_from_files() {
    assert_eq!(file("a/.wh.b"), Ok(Change::Whiteout(place("a", "b"))));
    assert_eq!(file(".wh.b"), Ok(Change::Whiteout(place("", "b"))));
    assert_eq!(file("a/.wh..wh..opq"), Ok(Change::Opaque(b"a".to_vec())));
    assert_eq!(file(".wh..wh..opq"), Ok(Change::Opaque(Vec::new())));
    assert_eq!(file(".wh..hidden"), Ok(Change::Whiteout(place("", ".hidden"))));
    for aufs in [".wh..wh.plnk/1.2", ".wh..wh.aufs", "a/.wh..wh.orph/x"] {
        assert_eq!(file(aufs), Ok(Change::Ignore), "{aufs}");
    }
    assert!(matches!(file("a.wh.b"), Ok(Change::Put(..))));
}

#[test]
fn members_that_mean_harm_are_refused() {
    let long = "a/".repeat(2048);
    let name = "n".repeat(256);
    for path in [
        "..",
        "a/..",
        "../a",
        "/../a",
        "a/../../b",
        ".wh..",
        ".wh...",
        ".wh.",
        "a/.wh.",
        ".wh.d/x",
        "a\0",
        &long,
        &name,
    ] {
        assert!(file(path).is_err_and(|refused| !refused.to_string().is_empty()), "{path:?}");
    }
    for target in ["", "/", ".", "../a", "a/../b", "a\0"] {
        change(&member(Kind::HardLink, "l", target)).unwrap_err();
    }
    let long = "x".repeat(4096);
    for target in ["", "a\0", &long] {
        change(&member(Kind::Symlink, "l", target)).unwrap_err();
    }
}

#[test]
fn a_symbolic_links_target_is_kept_as_it_is() {
    for target in ["/abs", "../../up", ".", "a//b/"] {
        let Ok(Change::Put(_, Node::Symlink(found), _)) =
            change(&member(Kind::Symlink, "l", target))
        else {
            panic!("{target}")
        };
        assert_eq!(found, target.as_bytes());
    }
    let Ok(Change::Put(_, Node::HardLink(target), _)) =
        change(&member(Kind::HardLink, "l", "/a/b"))
    else {
        panic!("a hard link")
    };
    assert_eq!(target, place("a", "b"));
}
