use super::*;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn text_form_round_trips() {
    assert_eq!(Digest::of(b"").to_string(), EMPTY);
    assert_eq!(EMPTY.parse::<Digest>(), Ok(Digest::of(b"")));
    assert_eq!(Digest::from_hex(&EMPTY[7..]), Ok(Digest::of(b"")));
}

#[test]
fn other_forms_are_refused_and_named() {
    for text in [
        "",
        "sha256:",
        "sha256:abc",
        &EMPTY.to_uppercase(),
        &EMPTY.replace("sha256", "sha512"),
        &EMPTY[7..],
        &format!("{EMPTY}0"),
        &EMPTY.replace('e', "g"),
        "sha256:../../../../../../../../../../../../../../../../../../../etc/pass",
    ] {
        let error = text.parse::<Digest>().expect_err(text);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn a_reader_and_a_writer_hash_what_passes() {
    let mut reader = HashReader::new(&b"hello world"[..]);
    let mut start = [0; 5];
    reader.read_exact(&mut start).unwrap();
    assert_eq!(reader.finish().unwrap(), (Digest::of(b"hello world"), 11));

    let mut writer = HashWriter::new(Vec::new());
    io::Write::write_all(&mut writer, b"hello").unwrap();
    assert_eq!(writer.finish(), (b"hello".to_vec(), Digest::of(b"hello"), 5));
}
