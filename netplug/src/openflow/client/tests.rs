//! The client against peers that answer as they should, late, wrongly or not at all.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn message(kind: u8, number: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).expect("a short message");
    let mut bytes = vec![VERSION, kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The kind and number of the next message.
fn next(stream: &mut UnixStream) -> (u8, u32) {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).expect("a message");
    let [_, kind, l0, l1, n0, n1, n2, n3] = header;
    let mut body = vec![0; usize::from(u16::from_be_bytes([l0, l1])) - HEADER];
    stream.read_exact(&mut body).expect("its body");
    (kind, u32::from_be_bytes([n0, n1, n2, n3]))
}

/// What `ask` gets from a peer that does `answer` once it was greeted.
fn with_peer<T>(answer: impl FnOnce(&mut UnixStream) + Send, ask: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bridge.mgmt");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            assert_eq!(next(&mut stream).0, HELLO);
            answer(&mut stream);
        });
        ask(&path)
    })
}

fn greet(stream: &mut UnixStream) {
    stream.write_all(&message(HELLO, 9, &[])).expect("a greeting");
}

fn connect(path: &Path, patience: Duration) -> Result<Client, OpenflowError> {
    Client::connect(path, Deadline::after(patience))
}

const ALL: Cookies = Cookies { value: 0, mask: 0 };

#[test]
fn what_comes_unasked_is_passed_over_and_parts_are_put_together() {
    let part = |more: u8, cookie: u8| {
        let mut body = vec![0, 1, 0, more, 0, 0, 0, 0];
        let mut entry = [0; 56];
        entry[1] = 56;
        entry[31] = cookie;
        body.extend(entry);
        body
    };
    let answer = move |stream: &mut UnixStream| {
        greet(stream);
        let (kind, number) = next(stream);
        assert_eq!(kind, MULTIPART_REQUEST);
        let port_status = 12;
        let mut bytes = message(port_status, 0, &[0; 72]);
        bytes.extend(message(ECHO_REQUEST, 77, b"there?"));
        bytes.extend(message(MULTIPART_REPLY, number - 1, &part(0, 5)));
        bytes.extend(message(MULTIPART_REPLY, number, &part(1, 6)));
        bytes.extend(message(MULTIPART_REPLY, number, &part(0, 7)));
        // In pieces, as a stream may bring them.
        for piece in bytes.chunks(13) {
            stream.write_all(piece).expect("a piece");
        }
        assert_eq!(next(stream), (ECHO_REPLY, 77));
    };
    let found = with_peer(answer, |path| {
        connect(path, LONG).expect("a connection").cookies(ALL).expect("the cookies")
    });
    assert_eq!(found, BTreeSet::from([6, 7]));
}

#[test]
fn a_refusal_is_told() {
    let answer = |stream: &mut UnixStream| {
        greet(stream);
        let (_, number) = next(stream);
        let (kind, barrier) = next(stream);
        assert_eq!(kind, BARRIER_REQUEST);
        let mut bytes = message(ERROR, number, &[0, 2, 0, 5, 1, 2, 3]);
        bytes.extend(message(BARRIER_REPLY, barrier, &[]));
        stream.write_all(&bytes).expect("an answer");
    };
    let error = with_peer(answer, |path| {
        connect(path, LONG).expect("a connection").change(&[ALL], &[]).expect_err("a refusal")
    });
    assert!(matches!(error, OpenflowError::Refused { kind: 2, code: 5, .. }), "{error:?}");
}

#[test]
fn silence_and_nonsense_are_given_up() {
    let late = with_peer(
        |stream| drop(stream.read(&mut [0])),
        |path| connect(path, Duration::from_millis(50)).expect_err("no greeting"),
    );
    assert!(matches!(late, OpenflowError::Late { .. }), "{late:?}");
    let gone = with_peer(|_| {}, |path| connect(path, LONG).expect_err("no greeting"));
    assert!(matches!(gone, OpenflowError::Broken { .. }), "{gone:?}");
    for greeting in [&message(BARRIER_REPLY, 1, &[])[..], &[VERSION, HELLO, 0, 3, 0, 0, 0, 0]] {
        let error = with_peer(
            |stream| stream.write_all(greeting).expect("a greeting"),
            |path| connect(path, LONG).expect_err("nonsense"),
        );
        assert!(matches!(error, OpenflowError::Protocol { .. }), "{error:?}");
    }
    let answer = |stream: &mut UnixStream| {
        greet(stream);
        let (_, number) = next(stream);
        let short = message(MULTIPART_REPLY, number, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 99]);
        stream.write_all(&short).expect("an answer");
    };
    let error = with_peer(answer, |path| {
        connect(path, LONG).expect("a connection").cookies(ALL).expect_err("half an entry")
    });
    assert!(matches!(error, OpenflowError::Protocol { .. }), "{error:?}");
    let nobody = connect(Path::new("/nonexistent/bridge.mgmt"), LONG).expect_err("nobody");
    assert!(matches!(nobody, OpenflowError::Connect { .. }), "{nobody:?}");
}
