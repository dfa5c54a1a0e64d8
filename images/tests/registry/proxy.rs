//! A proxy in front of a registry that does wrong on demand. One request per connection;
//! what it was asked is kept, to be judged.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a stalled answer may stay open: longer than any client waits.
const STALL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// With its query.
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// The proxy's own host and port.
    pub host: String,
    pub at: Instant,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// The registry's answer.
    Pass,
    /// Its beginning: so many bytes of the body.
    Cut(usize),
    /// Its beginning, and then nothing until the client goes or the stall is lifted.
    Stall(usize),
    /// One byte of the body is another.
    Flip(usize),
    /// Another Content-Length, and as many bytes.
    Length(usize),
    /// No Content-Length, and so many bytes more, or fewer.
    Unsized(isize),
    /// No range: all of it, whatever was asked.
    Whole,
    /// An answer of the proxy's own: status, further headers, body.
    Answer(u16, String, String),
}

type Rule = dyn Fn(&Request) -> Act + Send + Sync;

/// The proxy, ended with this value.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: u16,
    rule: Box<Rule>,
    requests: Mutex<Vec<Request>>,
    /// Body bytes of blobs that were passed on.
    sent: Mutex<u64>,
    lifted: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    pub fn start(upstream: u16, rule: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            rule: Box::new(rule),
            requests: Mutex::default(),
            sent: Mutex::default(),
            lifted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (own, stream) = (Arc::clone(&own), stream.unwrap());
                // A client that goes away is what some tests are about.
                std::thread::spawn(move || drop(own.serve(stream)));
            }
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// The requests so far whose path holds this.
    pub fn requests(&self, part: &str) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.path.contains(part)).cloned().collect()
    }

    /// Body bytes of blobs so far.
    pub fn sent(&self) -> u64 {
        *self.shared.sent.lock().unwrap()
    }

    /// Lets stalled answers go on.
    pub fn lift(&self) {
        self.shared.lifted.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let head = read_head(&mut BufReader::new(client.try_clone()?))?;
        let Some(request) = Request::parse(&head) else { return Ok(()) };
        self.requests.lock().unwrap().push(request.clone());
        let act = (self.rule)(&request);
        if let Act::Answer(status, headers, body) = &act {
            let length = body.len();
            return write!(
                client,
                "HTTP/1.1 {status} Test\r\n{headers}Content-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            );
        }
        let (head, body) = self.ask(&head, matches!(act, Act::Whole))?;
        self.answer(&mut client, &head, body, &act, request.path.contains("/blobs/"))?;
        client.shutdown(Shutdown::Write)
    }

    /// The registry's answer, head and body.
    fn ask(&self, head: &str, whole: bool) -> io::Result<(String, Vec<u8>)> {
        let mut upstream = TcpStream::connect(("127.0.0.1", self.upstream))?;
        let dropped = |line: &str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            name == "connection" || name == "authorization" || (whole && name == "range")
        };
        let lines: Vec<&str> = head.lines().filter(|line| !dropped(line)).collect();
        write!(upstream, "{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))?;
        let mut reader = BufReader::new(upstream);
        let head = read_head(&mut reader)?;
        let mut body = Vec::new();
        reader.read_to_end(&mut body)?;
        Ok((head, body))
    }

    fn answer(
        &self,
        client: &mut TcpStream,
        head: &str,
        mut body: Vec<u8>,
        act: &Act,
        blob: bool,
    ) -> io::Result<()> {
        let mut length = Some(body.len());
        let mut send = body.len();
        match act {
            Act::Cut(bytes) | Act::Stall(bytes) => send = send.min(*bytes),
            Act::Flip(at) => body[*at] ^= 0x40,
            Act::Length(bytes) => {
                body.resize(*bytes, 0);
                (length, send) = (Some(*bytes), *bytes);
            }
            Act::Unsized(more) => {
                send = body.len().checked_add_signed(*more).unwrap();
                body.resize(send, 0);
                length = None;
            }
            Act::Pass | Act::Whole | Act::Answer(..) => {}
        }
        let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-le"));
        let mut head = kept.collect::<Vec<_>>().join("\r\n");
        if let Some(length) = length {
            head.push_str(&format!("\r\nContent-Length: {length}"));
        }
        client.write_all(format!("{head}\r\n\r\n").as_bytes())?;
        client.write_all(&body[..send])?;
        if blob {
            *self.sent.lock().unwrap() += send as u64;
        }
        if matches!(act, Act::Stall(_)) && self.stall(client) {
            client.write_all(&body[send..])?;
        }
        Ok(())
    }

    /// Waits until the client goes; true if the stall is lifted first.
    fn stall(&self, client: &TcpStream) -> bool {
        let deadline = Instant::now() + STALL;
        client.set_nonblocking(true).unwrap();
        let gone = |mut client: &TcpStream| matches!(client.read(&mut [0]), Ok(0));
        while Instant::now() < deadline && !gone(client) && !self.ended.load(Ordering::SeqCst) {
            if self.lifted.load(Ordering::SeqCst) {
                client.set_nonblocking(false).unwrap();
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let path = head.split(' ').nth(1)?.to_owned();
        let header = |wanted: &str| {
            let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
            let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_owned())
        };
        let (range, authorization) = (header("range"), header("authorization"));
        let host = header("host").unwrap_or_default();
        Some(Self { path, range, authorization, host, at: Instant::now() })
    }
}

/// Up to the empty line, without it.
fn read_head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(head);
        }
        head.push_str(&line);
    }
}
