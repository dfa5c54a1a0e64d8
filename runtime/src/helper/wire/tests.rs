use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::{Go, Reply, receive, send};

#[test]
fn frames_follow_each_other_and_the_end_is_none() {
    let (a, b) = UnixStream::pair().unwrap();
    send(&a, &Reply::Started, &[]).unwrap();
    send(&a, &Reply::Failed { chain: vec!["x".repeat(100_000)] }, &[]).unwrap();
    drop(a);
    let (first, _) = receive::<Reply>(&b).unwrap().unwrap();
    assert!(matches!(first, Reply::Started));
    let (second, _) = receive::<Reply>(&b).unwrap().unwrap();
    assert!(matches!(second, Reply::Failed { chain } if chain[0].len() == 100_000));
    assert!(receive::<Reply>(&b).unwrap().is_none());
}

#[test]
fn descriptors_arrive_with_their_frame() {
    let (a, b) = UnixStream::pair().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    send(&a, &Go {}, &[reader.as_raw_fd()]).unwrap();
    drop(reader);
    let (_, mut fds) = receive::<Go>(&b).unwrap().unwrap();
    writer.write_all(b"through").unwrap();
    drop(writer);
    let mut text = String::new();
    File::from(fds.remove(0)).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn a_wrong_length_or_text_is_an_error() {
    for bytes in [&[255u8, 255, 255, 255][..], &[2, 0, 0, 0, b'{', b'x'], &[9, 0]] {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(bytes).unwrap();
        drop(a);
        assert!(receive::<Go>(&b).is_err(), "{bytes:?}");
    }
}
