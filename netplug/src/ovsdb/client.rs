//! JSON-RPC over a Unix socket, one call at a time, each with a deadline.
//!
//! Messages have no framing but JSON itself: bytes are gathered until they hold one
//! whole value. While an answer is awaited, the server's `echo` is answered and
//! `update` notifications are kept for the monitor that waits for them. A connection
//! that the server has closed is opened anew at the next call; a call that was
//! interrupted is not repeated, since it may have taken effect.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::OvsdbError;
use crate::deadline::Deadline;

const MESSAGE_MAX: usize = 64 << 20;
const UPDATES_MAX: usize = 10_000;

/// A client of one database server.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    connection: Option<Connection>,
    next_id: u64,
    updates: VecDeque<Value>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: None, next_id: 0, updates: VecDeque::new() }
    }

    /// Runs one transaction; the results of its operations in their order.
    pub(crate) fn transact(
        &mut self,
        operation: &str,
        operations: Vec<Value>,
        deadline: Deadline,
    ) -> Result<Vec<Value>, OvsdbError> {
        let mut params = vec![json!("Open_vSwitch")];
        params.extend(operations);
        let results = self.call(operation, "transact", Value::Array(params), deadline)?;
        let Value::Array(results) = results else {
            return Err(protocol(operation, "the result is no list"));
        };
        // RFC 7047 section 4.1.3: a failed operation's result holds `error`; one result
        // more than operations tells that the commit failed.
        for result in &results {
            if let Some(error) = result.get("error").and_then(Value::as_str) {
                let details = result.get("details").and_then(Value::as_str).unwrap_or_default();
                return Err(OvsdbError::Refused {
                    operation: operation.to_owned(),
                    error: error.to_owned(),
                    details: details.to_owned(),
                });
            }
        }
        Ok(results)
    }

    /// Watches one column of a table with one row until `done` says so of its value.
    pub(crate) fn watch(
        &mut self,
        operation: &str,
        (table, column): (&str, &str),
        deadline: Deadline,
        mut done: impl FnMut(&Value) -> bool,
    ) -> Result<(), OvsdbError> {
        self.updates.clear();
        let monitor = json!("berth-watch");
        let mut request = serde_json::Map::new();
        request.insert(table.to_owned(), json!({ "columns": [column] }));
        let params = json!(["Open_vSwitch", monitor, request]);
        let first = self.call(operation, "monitor", params, deadline)?;
        let mut seen = new_values(&first, table, column).any(&mut done);
        while !seen {
            let update = self.next_update(operation, deadline)?;
            let of_ours = update.get(0) == Some(&monitor);
            let tables = update.get(1).unwrap_or(&Value::Null);
            seen = of_ours && new_values(tables, table, column).any(&mut done);
        }
        self.call(operation, "monitor_cancel", json!([monitor]), deadline).map(drop)
    }

    fn call(
        &mut self,
        operation: &str,
        method: &str,
        params: Value,
        deadline: Deadline,
    ) -> Result<Value, OvsdbError> {
        let result = self.try_call(operation, method, params, deadline);
        // A late or broken answer leaves the stream in an unknown place.
        if !matches!(result, Ok(_) | Err(OvsdbError::Refused { .. })) {
            self.connection = None;
        }
        result
    }

    fn try_call(
        &mut self,
        operation: &str,
        method: &str,
        params: Value,
        deadline: Deadline,
    ) -> Result<Value, OvsdbError> {
        self.connect(deadline)?;
        self.next_id += 1;
        let id = json!(self.next_id);
        self.send(operation, &json!({ "method": method, "params": params, "id": id }), deadline)?;
        loop {
            let message = self.receive(operation, deadline)?;
            if message.get("method").is_some() {
                self.take_request(operation, message, deadline)?;
            } else if message.get("id") == Some(&id) {
                return answer(operation, message);
            }
        }
    }

    fn next_update(&mut self, operation: &str, deadline: Deadline) -> Result<Value, OvsdbError> {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(update);
            }
            let message = match self.receive(operation, deadline) {
                Ok(message) => message,
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            };
            if message.get("method").is_some() {
                self.take_request(operation, message, deadline)?;
            }
        }
    }

    /// What the server sends of its own accord.
    fn take_request(
        &mut self,
        operation: &str,
        mut message: Value,
        deadline: Deadline,
    ) -> Result<(), OvsdbError> {
        let params = message.get_mut("params").map_or(Value::Null, Value::take);
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => {
                let reply = json!({ "result": params, "error": null, "id": message["id"] });
                self.send(operation, &reply, deadline)
            }
            Some("update") if self.updates.len() < UPDATES_MAX => {
                self.updates.push_back(params);
                Ok(())
            }
            Some("update") => Err(protocol(operation, "more updates than anybody can want")),
            _ => Ok(()),
        }
    }

    fn connect(&mut self, deadline: Deadline) -> Result<(), OvsdbError> {
        if self.connection.as_mut().is_some_and(|connection| connection.is_dead()) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let failed = |source| OvsdbError::Connect { path: self.path.clone(), source };
            if deadline.remaining().is_none() {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            let stream = UnixStream::connect(&self.path).map_err(failed)?;
            self.connection = Some(Connection { stream, unread: Vec::new() });
        }
        Ok(())
    }

    fn send(
        &mut self,
        operation: &str,
        message: &Value,
        deadline: Deadline,
    ) -> Result<(), OvsdbError> {
        let connection = self.open(operation)?;
        let bytes = message.to_string();
        let left = deadline.remaining().ok_or_else(|| late(operation, deadline))?;
        connection
            .stream
            .set_write_timeout(Some(left))
            .and_then(|()| connection.stream.write_all(bytes.as_bytes()))
            .map_err(|source| broken_or_late(operation, deadline, source))
    }

    fn receive(&mut self, operation: &str, deadline: Deadline) -> Result<Value, OvsdbError> {
        let connection = self.open(operation)?;
        loop {
            if let Some(value) =
                connection.take_value().map_err(|error| protocol(operation, error))?
            {
                return Ok(value);
            }
            if connection.unread.len() > MESSAGE_MAX {
                return Err(protocol(operation, format!("more than {MESSAGE_MAX} bytes")));
            }
            let left = deadline.remaining().ok_or_else(|| late(operation, deadline))?;
            let mut buffer = [0; 64 << 10];
            let read = connection
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| connection.stream.read(&mut buffer));
            match read {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(OvsdbError::Broken { operation: operation.to_owned(), source });
                }
                Ok(length) => connection.unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken_or_late(operation, deadline, error)),
            }
        }
    }

    fn open(&mut self, operation: &str) -> Result<&mut Connection, OvsdbError> {
        self.connection.as_mut().ok_or_else(|| OvsdbError::Broken {
            operation: operation.to_owned(),
            source: io::ErrorKind::NotConnected.into(),
        })
    }
}

impl Connection {
    /// Whether the server has closed it, or it holds something nobody waits for.
    fn is_dead(&mut self) -> bool {
        let mut buffer = [0; 4096];
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let idle = match self.stream.read(&mut buffer) {
            // An echo or an update that was sent meanwhile: read with the next answer.
            Ok(length) if length > 0 => {
                self.unread.extend_from_slice(&buffer[..length]);
                true
            }
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        !idle || self.stream.set_nonblocking(false).is_err()
    }

    /// The first whole value of what was read, if there is one.
    fn take_value(&mut self) -> Result<Option<Value>, serde_json::Error> {
        let mut values = serde_json::Deserializer::from_slice(&self.unread).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let used = values.byte_offset();
                self.unread.drain(..used);
                Ok(Some(value))
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

/// The values of a column in the `new` rows of RFC 7047's table updates.
fn new_values<'a>(
    updates: &'a Value,
    table: &str,
    column: &str,
) -> impl Iterator<Item = &'a Value> {
    let rows = updates.get(table).and_then(Value::as_object);
    let column = column.to_owned();
    rows.into_iter()
        .flat_map(|rows| rows.values())
        .filter_map(move |row| row.get("new")?.get(&column))
}

fn answer(operation: &str, mut message: Value) -> Result<Value, OvsdbError> {
    match message.get("error") {
        None | Some(Value::Null) => Ok(message["result"].take()),
        Some(error) => Err(protocol(operation, error)),
    }
}

fn protocol(operation: &str, what: impl ToString) -> OvsdbError {
    OvsdbError::Protocol { operation: operation.to_owned(), what: what.to_string() }
}

fn late(operation: &str, deadline: Deadline) -> OvsdbError {
    OvsdbError::Late { operation: operation.to_owned(), allowed: deadline.allowed() }
}

fn broken_or_late(operation: &str, deadline: Deadline, source: io::Error) -> OvsdbError {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(operation, deadline),
        _ => OvsdbError::Broken { operation: operation.to_owned(), source },
    }
}

#[cfg(test)]
mod tests;
