//! What libcontainer says while it fails.
//!
//! Its processes hand their parent only the outermost text of an error ("failed
//! to prepare rootfs"); the cause goes to the log through `tracing`. So the helper
//! listens to that: each error event is appended to a memory file, which the
//! forked processes share, and the first ones join the answer.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;

use nix::sys::memfd::{MFdFlags, memfd_create};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::error::{Result, RuntimeError};

/// Complaints that are passed on: the first two come from where it happened, and
/// those after them repeat them.
const MAX_CAUSES: usize = 2;
/// Most bytes that are read back.
const MAX_BYTES: u64 = 16 << 10;

/// The listener's memory.
#[derive(Debug, Clone)]
pub(super) struct Complaints {
    file: Arc<File>,
}

impl Complaints {
    /// Listens from now on, in this process and those it forks.
    pub(super) fn listen() -> Result<Self> {
        let file = memfd_create(c"berth-complaints", MFdFlags::MFD_CLOEXEC)
            .map_err(RuntimeError::syscall("create a memfd"))?;
        let complaints = Self { file: Arc::new(file.into()) };
        // It fails only where a listener exists, which a helper has not.
        let _ = tracing::subscriber::set_global_default(complaints.clone());
        Ok(complaints)
    }

    /// What was said so far, deepest cause first.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut text = String::new();
        let mut file = &*self.file;
        let read = file.rewind().and_then(|()| file.take(MAX_BYTES).read_to_string(&mut text));
        match read {
            Ok(_) => text.lines().take(MAX_CAUSES).map(str::to_owned).collect(),
            // The answer goes without the causes then.
            Err(_) => Vec::new(),
        }
    }
}

impl Subscriber for Complaints {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.text();
        let mut file = &*self.file;
        // Nobody can be told that a complaint was lost.
        let _ = file.write_all(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One event on one line: the message, then the other fields.
#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn text(self) -> String {
        let text = format!("{}{}", self.message, self.fields).replace('\n', " ");
        text + "\n"
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string can't fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " ({}: {value:?})", field.name())
        };
    }
}
