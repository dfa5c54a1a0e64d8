use proptest::prelude::*;

use super::*;

fn header(kind: EntryType, name: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header
}

fn block(archive: &mut Vec<u8>, mut header: Header, content: &[u8]) {
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn archive(members: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (kind, name, content) in members {
        block(&mut archive, header(*kind, name, content.len()), content);
    }
    archive.extend_from_slice(&[0; 1024]);
    archive
}

fn pax(records: &[u8]) -> (EntryType, &'static str, &[u8]) {
    (EntryType::XHeader, "pax", records)
}

fn read(archive: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, TarError> {
    let mut tar = TarStream::new(archive);
    let mut members = Vec::new();
    while let Some(member) = tar.next_member()? {
        let mut content = Vec::new();
        loop {
            let chunk = tar.fill_content()?;
            if chunk.is_empty() {
                break;
            }
            content.extend_from_slice(chunk);
            let read = chunk.len();
            tar.consume_content(read);
        }
        members.push((member, content));
    }
    Ok(members)
}

fn one(archive: &[u8]) -> Member {
    read(archive).unwrap().remove(0).0
}

#[test]
fn plain_members_and_their_contents() {
    let long = [5; 1300];
    let bytes = archive(&[
        (EntryType::Regular, "a", b"hello"),
        (EntryType::Directory, "d/", b""),
        (EntryType::Regular, "old-style/", b""),
        (EntryType::Regular, "b", &long),
    ]);
    let members = read(&bytes).unwrap();
    let kinds: Vec<_> = members.iter().map(|(member, _)| member.kind).collect();
    assert_eq!(kinds, [Kind::File, Kind::Directory, Kind::Directory, Kind::File]);
    assert_eq!((members[0].1.as_slice(), members[3].1.as_slice()), (&b"hello"[..], &long[..]));
    let first = &members[0].0;
    assert_eq!((first.mode, first.uid, first.gid, first.mtime), (0o644, 1, 2, (3, 0)));
}

#[test]
fn unread_content_is_skipped() {
    let bytes = archive(&[(EntryType::Regular, "a", &[1; 700]), (EntryType::Regular, "b", b"x")]);
    let mut tar = TarStream::new(&bytes[..]);
    tar.next_member().unwrap();
    assert_eq!(tar.next_member().unwrap().unwrap().path, b"b");
    assert_eq!(tar.next_member().unwrap(), None);
}

#[test]
fn pax_records_override_the_header_whatever_bytes_they_hold() {
    // The xattr comes first and holds newlines: what follows must not be lost.
    let records = [
        record(b"SCHILY.xattr.user.a", b"\n=\n"),
        record(b"path", b"long"),
        record(b"linkpath", b"to"),
        record(b"uid", b"70000"),
        record(b"gid", b"80000"),
    ]
    .concat();
    let member = one(&archive(&[pax(&records), (EntryType::Symlink, "short", b"")]));
    assert_eq!(member.xattrs, [(b"user.a".to_vec(), b"\n=\n".to_vec())]);
    assert_eq!((member.path.as_slice(), member.link.as_slice()), (&b"long"[..], &b"to"[..]));
    assert_eq!((member.uid, member.gid), (70000, 80000));
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[test]
fn a_pax_size_is_the_only_size() {
    // Readers that took the header's 0 would see the content as a member.
    let inner = archive(&[(EntryType::Regular, "smuggled", b"")]);
    let mut bytes = Vec::new();
    let size = record(b"size", inner.len().to_string().as_bytes());
    block(&mut bytes, header(EntryType::XHeader, "pax", size.len()), &size);
    block(&mut bytes, header(EntryType::Regular, "outer", 0), &inner);
    bytes.extend_from_slice(&[0; 1024]);
    let members = read(&bytes).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].0.size, &members[0].1), (inner.len() as u64, &inner));
}

#[test]
fn gnu_long_names_are_read_and_bounded() {
    let long = "n".repeat(300);
    let member = one(&archive(&[
        (EntryType::GNULongName, "././@LongLink", format!("{long}\0").as_bytes()),
        (EntryType::GNULongLink, "././@LongLink", b"target\0"),
        (EntryType::Symlink, "n", b""),
    ]));
    assert_eq!((member.path, member.link), (long.into_bytes(), b"target".to_vec()));
    let huge = vec![b'n'; 2 << 20];
    let error = read(&archive(&[(EntryType::GNULongName, "l", &huge)])).unwrap_err();
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
}

#[test]
fn times_have_fractions_and_may_be_before_1970() {
    for (text, time) in [
        ("5", Some((5, 0))),
        ("5.5", Some((5, 500_000_000))),
        ("5.123456789012", Some((5, 123_456_789))),
        ("-1.25", Some((-2, 750_000_000))),
        ("-3", Some((-3, 0))),
        ("", None),
        ("+5", None),
        ("5.x", None),
        ("1e3", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(timestamp(text.as_bytes()), time, "{text}");
    }
}

#[test]
fn what_is_broken_is_told() {
    let good = archive(&[(EntryType::Regular, "a", &[1; 600])]);
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    let global_only = archive(&[(EntryType::XHeader, "pax", b"")]);
    for (bytes, words) in [
        (&flipped[..], "checksum mismatch"),
        (&good[..100], "cannot read"),
        (&good[..600], "cannot read"),
        (&good[..1300], "cannot read"),
        (&global_only[..], "extensions without a member"),
        (&archive(&[pax(b"3 x"), (EntryType::Regular, "a", b"")])[..], "malformed pax"),
        (&archive(&[pax(b"9999 a=b\n"), (EntryType::Regular, "a", b"")])[..], "malformed pax"),
        (&archive(&[pax(b"0 a=b\n"), (EntryType::Regular, "a", b"")])[..], "malformed pax"),
        (&archive(&[pax(&record(b"size", b"-1")), (EntryType::Regular, "a", b"")])[..], "pax size"),
        (&archive(&[(EntryType::GNUSparse, "s", b"")])[..], "sparse members"),
        (&archive(&[(EntryType::new(b'Z'), "z", b"")])[..], "unknown member type"),
    ] {
        let error = read(bytes).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn global_headers_are_passed_over() {
    let comment = record(b"comment", b"x");
    let bytes =
        archive(&[(EntryType::XGlobalHeader, "g", &comment), (EntryType::Regular, "a", b"1")]);
    assert_eq!(one(&bytes).path, b"a");
    assert_eq!(read(&[]).unwrap().len(), 0);
}

proptest! {
    #[test]
    fn any_xattr_value_survives(value in prop::collection::vec(any::<u8>(), 0..40)) {
        let records = [record(b"SCHILY.xattr.user.v", &value), record(b"path", b"p")].concat();
        let member = one(&archive(&[pax(&records), (EntryType::Regular, "x", b"")]));
        prop_assert_eq!(&member.xattrs[0].1, &value);
        prop_assert_eq!(member.path, b"p");
    }

    #[test]
    fn damaged_archives_never_panic(at in 0usize..2048, byte in any::<u8>(), cut in 0usize..2560) {
        let records = [record(b"SCHILY.xattr.user.v", b"1"), record(b"size", b"5")].concat();
        let mut bytes = archive(&[pax(&records), (EntryType::Regular, "x", b"12345")]);
        bytes[at] = byte;
        bytes.truncate(cut);
        let _ = read(&bytes);
    }
}
