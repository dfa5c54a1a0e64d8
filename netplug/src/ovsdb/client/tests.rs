//! Against a server that says what each test tells it to.

use std::io::BufReader;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// Accepts connections and runs `serve` on each, until it returns false.
fn server(
    path: &Path,
    mut serve: impl FnMut(&mut Session) -> bool + Send + 'static,
) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        loop {
            let (stream, _) = listener.accept().expect("a client");
            let reader = BufReader::new(stream.try_clone().expect("a second handle"));
            if !serve(&mut Session { stream, reader }) {
                return;
            }
        }
    })
}

struct Session {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Session {
    fn request(&mut self) -> Value {
        let mut values = serde_json::Deserializer::from_reader(&mut self.reader).into_iter();
        values.next().expect("a request").expect("a JSON value")
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("a listening client");
    }

    fn reply(&mut self, request: &Value, result: &Value) {
        self.write(&json!({"id": request["id"], "result": result, "error": null}).to_string());
    }
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("db.sock");
    (dir, path)
}

#[test]
fn an_answer_in_pieces_between_echo_and_update_is_found() {
    let (_dir, path) = socket();
    let served = server(&path, |session| {
        let request = session.request();
        assert_eq!(request["method"], "transact");
        session.write(r#"{"method":"echo","id":"echo","params":["still","#);
        session.stream.flush().expect("a listening client");
        session.write(r#""there"]}{"method":"update","id":null,"params":["x",{}]}"#);
        let echo = session.request();
        assert_eq!(echo, json!({"id": "echo", "error": null, "result": ["still", "there"]}));
        session.reply(&request, &json!([{"count": 1}]));
        false
    });
    let mut client = Client::new(&path);
    let results = client.transact("try it", vec![], soon()).expect("an answer");
    assert_eq!(results, [json!({"count": 1})]);
    served.join().expect("a content server");
}

#[test]
fn a_failed_operation_and_a_failed_commit_are_refusals() {
    let (_dir, path) = socket();
    let served = server(&path, |session| {
        for result in [
            json!([{"error": "constraint violation", "details": "same name"}, null]),
            json!([{}, {"error": "timed out"}]),
        ] {
            let request = session.request();
            session.reply(&request, &result);
        }
        false
    });
    let mut client = Client::new(&path);
    for expected in ["constraint violation: same name", "timed out: "] {
        let error = client.transact("try it", vec![], soon()).expect_err("a refusal");
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    served.join().expect("a content server");
}

#[test]
fn a_closed_connection_is_opened_anew_for_the_next_call() {
    let (_dir, path) = socket();
    let mut turn = 0;
    let served = server(&path, move |session| {
        turn += 1;
        let request = session.request();
        session.reply(&request, &json!([turn]));
        turn < 2
    });
    let mut client = Client::new(&path);
    assert_eq!(client.transact("one", vec![], soon()).expect("an answer"), [json!(1)]);
    // The server closed it after its answer; wait until that is seen here.
    let connection = client.connection.as_mut().expect("a connection");
    connection.stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    assert_eq!(connection.stream.read(&mut [0]).expect("the end"), 0);
    assert_eq!(client.transact("two", vec![], soon()).expect("an answer"), [json!(2)]);
    served.join().expect("a content server");
}

#[test]
fn a_silent_server_is_given_up_at_the_deadline() {
    let (_dir, path) = socket();
    let _listener = UnixListener::bind(&path).expect("a socket");
    let mut client = Client::new(&path);
    let deadline = Deadline::after(Duration::from_millis(50));
    let error = client.transact("try it", vec![], deadline).expect_err("no answer");
    assert!(matches!(error, OvsdbError::Late { .. }), "{error}");
    assert!(client.connection.is_none(), "a late answer must not reach the next call");
}

#[test]
fn nobody_there_is_said_at_once() {
    let (_dir, path) = socket();
    let error = Client::new(&path).transact("try it", vec![], soon()).expect_err("no server");
    assert!(matches!(error, OvsdbError::Connect { .. }), "{error}");
}

#[test]
fn a_connection_that_ends_within_an_answer_is_broken() {
    let (_dir, path) = socket();
    let served = server(&path, |session| {
        session.request();
        session.write("{\"id\":1,");
        false
    });
    let error = Client::new(&path).transact("try it", vec![], soon()).expect_err("half an answer");
    assert!(matches!(error, OvsdbError::Broken { .. }), "{error}");
    served.join().expect("a content server");
}

#[test]
fn what_is_not_json_is_not_the_protocol() {
    let (_dir, path) = socket();
    let served = server(&path, |session| {
        session.request();
        session.write("HTTP/1.1 400\r\n");
        false
    });
    let error = Client::new(&path).transact("try it", vec![], soon()).expect_err("no JSON");
    assert!(matches!(error, OvsdbError::Protocol { .. }), "{error}");
    served.join().expect("a content server");
}

#[test]
fn a_watch_ends_with_the_update_it_waits_for() {
    let (_dir, path) = socket();
    let served = server(&path, |session| {
        let request = session.request();
        assert_eq!(request["method"], "monitor");
        let row = |n: i64| json!({"Open_vSwitch": {"u": {"new": {"cur_cfg": n}}}});
        session.reply(&request, &row(1));
        for update in [
            json!(["other", row(9)]),
            json!(["berth-watch", row(2)]),
            json!(["berth-watch", row(4)]),
        ] {
            session.write(&json!({"method": "update", "id": null, "params": update}).to_string());
        }
        let cancel = session.request();
        assert_eq!(cancel["method"], "monitor_cancel");
        session.reply(&cancel, &json!({}));
        false
    });
    let mut seen = Vec::new();
    let done = |value: &Value| {
        seen.extend(value.as_i64());
        value.as_i64() >= Some(3)
    };
    Client::new(&path)
        .watch("watch", ("Open_vSwitch", "cur_cfg"), soon(), done)
        .expect("the update");
    assert_eq!(seen, [1, 2, 4]);
    served.join().expect("a content server");
}
