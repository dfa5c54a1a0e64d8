//! Commands in a machine, through QEMU's guest agent on a virtio port.
//!
//! The protocol is JSON, a request and a reply a line (qemu-ga(8), QEMU Guest Agent Protocol
//! Reference). A reply that comes late, to a request that was given up, must not be taken for
//! another's: every conversation begins with a `guest-sync-delimited` of a fresh number, and
//! what comes before its answer is thrown away.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The longest that one request may go without an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two questions whether a command has ended: at first, and at most. Each costs a
/// machine under emulation about as much as a command.
const LOOK: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(500)];
/// What a command may print is kept up to 16 MiB by the agent; a reply is longer than that.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// Precedes the answer to a synchronisation (guest-sync-delimited).
const DELIMITER: u8 = 0xFF;

/// What a command did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; 128 and more for a signal, as a shell says it.
    pub code: i64,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// The guest agent of one machine.
#[derive(Debug)]
pub struct Guest {
    socket: PathBuf,
    stream: Option<UnixStream>,
}

/// The agent doesn't answer: the machine is off, or not up yet, or goes down.
#[derive(Debug)]
struct Silent;

impl Guest {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, stream: None }
    }

    /// The machine is off: the connection ends.
    pub(super) fn forget(&mut self) {
        self.stream = None;
    }

    /// Runs a shell script; `None` when the agent doesn't answer, or not within this time.
    pub(super) fn try_run(&mut self, script: &str, within: Duration) -> Option<Ran> {
        self.try_run_with(script, "", within)
    }

    /// The same with this standard input.
    pub(super) fn try_run_with(
        &mut self,
        script: &str,
        input: &str,
        within: Duration,
    ) -> Option<Ran> {
        let ran = self.converse(script, input, Instant::now() + within);
        if ran.is_err() {
            self.stream = None;
        }
        ran.ok()
    }

    fn converse(&mut self, script: &str, input: &str, end: Instant) -> Result<Ran, Silent> {
        self.connect()?;
        let arguments = json!({
            "path": "/bin/sh", "arg": ["-c", script], "capture-output": true,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"],
            "input-data": STANDARD.encode(input),
        });
        let pid = self.request("guest-exec", &arguments)?["pid"].clone();
        let [mut look, most] = LOOK;
        loop {
            let status = self.request("guest-exec-status", &json!({ "pid": pid }))?;
            if status["exited"] == json!(true) {
                return Ok(ran(&status));
            }
            if Instant::now() >= end {
                return Err(Silent);
            }
            thread::sleep(look);
            look = (look * 3 / 2).min(most);
        }
    }

    /// Connects and synchronises, unless that is done.
    fn connect(&mut self) -> Result<(), Silent> {
        if self.stream.is_some() {
            return Ok(());
        }
        let stream = UnixStream::connect(&self.socket).map_err(|_| Silent)?;
        stream
            .set_read_timeout(Some(ANSWER))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER)))
            .expect("a timeout that is not zero");
        self.stream = Some(stream);
        let number = fastrand::i32(1..);
        let mut text = vec![DELIMITER];
        text.extend(request_text("guest-sync-delimited", &json!({ "id": number })));
        self.send(&text)?;
        loop {
            let line = self.receive()?;
            let answer = line.rsplit(|byte| *byte == DELIMITER).next().unwrap_or_default();
            let answer: Option<Value> = serde_json::from_slice(answer).ok();
            if answer.is_some_and(|answer| answer["return"] == json!(number)) {
                return Ok(());
            }
        }
    }

    fn request(&mut self, what: &str, arguments: &Value) -> Result<Value, Silent> {
        self.send(&request_text(what, arguments))?;
        let line = self.receive()?;
        let mut reply: Value = serde_json::from_slice(&line).map_err(|_| Silent)?;
        assert!(reply["error"].is_null(), "{what} {arguments}: {}", reply["error"]);
        Ok(reply["return"].take())
    }

    fn send(&mut self, text: &[u8]) -> Result<(), Silent> {
        self.stream.as_mut().ok_or(Silent)?.write_all(text).map_err(|_| Silent)
    }

    /// One line. It has a bound in time and in length.
    fn receive(&mut self) -> Result<Vec<u8>, Silent> {
        let stream = self.stream.as_mut().ok_or(Silent)?;
        let end = Instant::now() + ANSWER;
        let (mut line, mut piece) = (Vec::new(), [0; 1 << 16]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Err(Silent),
                Ok(count) => line.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Silent),
            }
            if line.ends_with(b"\n") {
                return Ok(line);
            }
            if Instant::now() >= end || line.len() > REPLY_BYTES_MAX {
                return Err(Silent);
            }
        }
    }
}

fn request_text(what: &str, arguments: &Value) -> Vec<u8> {
    format!("{}\n", json!({ "execute": what, "arguments": arguments })).into_bytes()
}

fn ran(status: &Value) -> Ran {
    let text = |field: &str| {
        let bytes = STANDARD.decode(status[field].as_str().unwrap_or_default());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    let code = status["exitcode"]
        .as_i64()
        .or_else(|| status["signal"].as_i64().map(|signal| 128 + signal))
        .unwrap_or(-1);
    Ran { code, stdout: text("out-data"), stderr: text("err-data") }
}
