//! A connection to one bridge: messages with a header of eight bytes (section 7.1), each
//! wait with a deadline. The bridge's `ECHO_REQUEST` is answered, what it tells of its own
//! accord is passed over.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::OpenflowError;
use super::flow::{self, Cookies, Flow};
use crate::deadline::Deadline;

const VERSION: u8 = 4;
const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const FLOW_MOD: u8 = 14;
const MULTIPART_REQUEST: u8 = 18;
const MULTIPART_REPLY: u8 = 19;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;
const REPLY_MORE: u16 = 1;
const HEADER: usize = 8;
/// What one request may bring: far more than a bridge of 4,000 addresses has.
const MESSAGES_MAX: usize = 100_000;

/// A connection to a bridge.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    deadline: Deadline,
    number: u32,
}

#[derive(Debug)]
struct Message {
    kind: u8,
    number: u32,
    body: Vec<u8>,
}

impl Client {
    /// Connects to the bridge that listens at `path`; all that follows ends by `deadline`.
    pub(crate) fn connect(path: &Path, deadline: Deadline) -> Result<Self, OpenflowError> {
        let stream = UnixStream::connect(path)
            .map_err(|source| OpenflowError::Connect { path: path.to_owned(), source })?;
        let mut client = Self { stream, deadline, number: 0 };
        let operation = "agree on a version";
        // A bitmap of the versions that are spoken (section 7.5.1): this one.
        client.send(operation, HELLO, &[0, 1, 0, 8, 0, 0, 0, 1 << VERSION])?;
        let greeting = client.receive(operation)?;
        match greeting.kind {
            HELLO => Ok(client),
            ERROR => Err(refused(operation, &greeting)),
            other => Err(protocol(operation, format!("message type {other} for a greeting"))),
        }
    }

    /// Removes all flows with such cookies, then adds these, in order.
    pub(crate) fn change(&mut self, remove: &[Cookies], add: &[Flow]) -> Result<(), OpenflowError> {
        let operation = "change flows";
        for cookies in remove {
            self.send(operation, FLOW_MOD, &flow::removal(*cookies))?;
        }
        for flow in add {
            self.send(operation, FLOW_MOD, &flow.addition())?;
        }
        // Errors about what was sent before come before its answer.
        let barrier = self.send(operation, BARRIER_REQUEST, &[])?;
        self.answers(operation, BARRIER_REPLY, barrier, |_| Some(true))
    }

    /// The cookies of all flows that have such ones.
    pub(crate) fn cookies(&mut self, cookies: Cookies) -> Result<BTreeSet<u64>, OpenflowError> {
        let operation = "list the flows";
        let request = self.send(operation, MULTIPART_REQUEST, &flow::listing(cookies))?;
        let mut found = BTreeSet::new();
        self.answers(operation, MULTIPART_REPLY, request, |body| {
            let flags = u16::from_be_bytes(body.get(2..4)?.try_into().ok()?);
            found.extend(flow::listed(body.get(8..)?)?);
            Some(flags & REPLY_MORE == 0)
        })?;
        Ok(found)
    }

    /// Takes the answers to a request until `last` says that it was the last; `last` gives
    /// `None` for what is malformed.
    fn answers(
        &mut self,
        operation: &'static str,
        kind: u8,
        number: u32,
        mut last: impl FnMut(&[u8]) -> Option<bool>,
    ) -> Result<(), OpenflowError> {
        for _ in 0..MESSAGES_MAX {
            let message = self.receive(operation)?;
            if message.kind == ERROR {
                return Err(refused(operation, &message));
            }
            if message.kind != kind || message.number != number {
                continue;
            }
            match last(&message.body) {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => return Err(protocol(operation, "it is malformed")),
            }
        }
        Err(protocol(operation, format!("more than {MESSAGES_MAX} messages")))
    }

    fn send(
        &mut self,
        operation: &'static str,
        kind: u8,
        body: &[u8],
    ) -> Result<u32, OpenflowError> {
        self.number = self.number.wrapping_add(1);
        self.reply(operation, kind, self.number, body)?;
        Ok(self.number)
    }

    fn reply(
        &mut self,
        operation: &'static str,
        kind: u8,
        number: u32,
        body: &[u8],
    ) -> Result<(), OpenflowError> {
        let length = u16::try_from(HEADER + body.len())
            .map_err(|_| protocol(operation, "a message of more than 64 KiB"))?;
        let mut bytes = vec![VERSION, kind];
        bytes.extend(length.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend(body);
        let left = self.left(operation)?;
        self.stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(&bytes))
            .map_err(|source| self.broken(operation, source))
    }

    /// The next message that is not an `ECHO_REQUEST`.
    fn receive(&mut self, operation: &'static str) -> Result<Message, OpenflowError> {
        loop {
            let mut header = [0; HEADER];
            self.read(operation, &mut header)?;
            let [_, kind, l0, l1, n0, n1, n2, n3] = header;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let Some(length) = length.checked_sub(HEADER) else {
                return Err(protocol(operation, "a message shorter than its header"));
            };
            let mut body = vec![0; length];
            self.read(operation, &mut body)?;
            let number = u32::from_be_bytes([n0, n1, n2, n3]);
            if kind != ECHO_REQUEST {
                return Ok(Message { kind, number, body });
            }
            self.reply(operation, ECHO_REPLY, number, &body)?;
        }
    }

    fn read(&mut self, operation: &'static str, buffer: &mut [u8]) -> Result<(), OpenflowError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = self.left(operation)?;
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut buffer[filled..]));
            match read {
                Ok(0) => return Err(self.broken(operation, io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(operation, error)),
            }
        }
        Ok(())
    }

    fn left(&self, operation: &'static str) -> Result<std::time::Duration, OpenflowError> {
        let late = || OpenflowError::Late { operation, allowed: self.deadline.allowed() };
        self.deadline.remaining().ok_or_else(late)
    }

    fn broken(&self, operation: &'static str, source: io::Error) -> OpenflowError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                OpenflowError::Late { operation, allowed: self.deadline.allowed() }
            }
            _ => OpenflowError::Broken { operation, source },
        }
    }
}

fn protocol(operation: &'static str, what: impl Into<String>) -> OpenflowError {
    OpenflowError::Protocol { operation, what: what.into() }
}

/// Section 7.5.4: the type and the code stand first.
fn refused(operation: &'static str, message: &Message) -> OpenflowError {
    let at = |at: usize| {
        let bytes = message.body.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(u16::MAX, u16::from_be_bytes)
    };
    OpenflowError::Refused { operation, kind: at(0), code: at(2) }
}

#[cfg(test)]
mod tests;
