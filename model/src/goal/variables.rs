//! The global variables that a goal may hold, and what values each takes.
//!
//! Only variables that can be changed while the server runs and that no role, size or
//! safety rule of berth decides are listed (MySQL 8.4 Reference Manual, 7.1.8).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value as the goal writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VariableValue {
    /// `true` or `false`, which MySQL calls ON and OFF.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// A word.
    Word(String),
}

impl fmt::Display for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(true) => f.write_str("ON"),
            Self::Switch(false) => f.write_str("OFF"),
            Self::Integer(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// What values a variable takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// ON or OFF.
    Switch,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A number from the first to the second, in seconds or per cent.
    Number(f64, f64),
    /// One of these words.
    Word(&'static [&'static str]),
}

const U32: i64 = u32::MAX as i64;

/// Every variable that a goal may hold.
pub const ALLOWED: &[(&str, Kind)] = &[
    ("binlog_expire_logs_seconds", Kind::Integer(3600, U32)),
    ("binlog_row_image", Kind::Word(&["FULL", "MINIMAL", "NOBLOB"])),
    ("binlog_rows_query_log_events", Kind::Switch),
    ("connect_timeout", Kind::Integer(2, 31_536_000)),
    ("event_scheduler", Kind::Switch),
    ("innodb_adaptive_hash_index", Kind::Switch),
    ("innodb_io_capacity", Kind::Integer(100, U32)),
    ("innodb_io_capacity_max", Kind::Integer(100, U32)),
    ("innodb_lock_wait_timeout", Kind::Integer(1, 1_073_741_824)),
    ("innodb_max_dirty_pages_pct", Kind::Number(0.0, 99.999)),
    ("innodb_print_all_deadlocks", Kind::Switch),
    ("innodb_thread_concurrency", Kind::Integer(0, 1000)),
    ("interactive_timeout", Kind::Integer(1, 31_536_000)),
    ("join_buffer_size", Kind::Integer(128, U32)),
    ("local_infile", Kind::Switch),
    ("lock_wait_timeout", Kind::Integer(1, 31_536_000)),
    ("long_query_time", Kind::Number(0.0, 31_536_000.0)),
    ("max_allowed_packet", Kind::Integer(1024, 1_073_741_824)),
    ("max_connect_errors", Kind::Integer(1, U32)),
    ("max_connections", Kind::Integer(1, 100_000)),
    ("max_execution_time", Kind::Integer(0, U32)),
    ("max_heap_table_size", Kind::Integer(16_384, U32)),
    ("max_user_connections", Kind::Integer(0, U32)),
    ("net_read_timeout", Kind::Integer(1, 31_536_000)),
    ("net_write_timeout", Kind::Integer(1, 31_536_000)),
    ("read_rnd_buffer_size", Kind::Integer(1, 2_147_483_647)),
    ("rpl_semi_sync_source_timeout", Kind::Integer(1, U32)),
    ("rpl_semi_sync_source_wait_for_replica_count", Kind::Integer(1, 65_535)),
    ("slow_query_log", Kind::Switch),
    ("sort_buffer_size", Kind::Integer(32_768, U32)),
    ("table_definition_cache", Kind::Integer(400, 524_288)),
    ("table_open_cache", Kind::Integer(1, 524_288)),
    ("thread_cache_size", Kind::Integer(0, 16_384)),
    ("tmp_table_size", Kind::Integer(1024, U32)),
    ("wait_timeout", Kind::Integer(1, 31_536_000)),
];

/// Says what is wrong with a variable's name or value, as `found …, expected …`.
///
/// # Errors
/// The text of what is wrong.
pub fn check(name: &str, value: &VariableValue) -> Result<(), String> {
    let Some((_, kind)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        let names: Vec<_> = ALLOWED.iter().map(|(allowed, _)| *allowed).collect();
        return Err(format!("found the variable {name:?}, expected one of {}", names.join(", ")));
    };
    let fits = match (kind, value) {
        (Kind::Switch, VariableValue::Switch(_)) => true,
        (Kind::Switch, VariableValue::Word(word)) => matches!(word.as_str(), "ON" | "OFF"),
        (Kind::Integer(low, high), VariableValue::Integer(number)) => {
            (low..=high).contains(&number)
        }
        (Kind::Number(low, high), VariableValue::Number(number)) => (low..=high).contains(&number),
        #[expect(clippy::cast_precision_loss, reason = "the bounds are far below 2^52")]
        (Kind::Number(low, high), VariableValue::Integer(number)) => {
            (*low..=*high).contains(&(*number as f64))
        }
        (Kind::Word(words), VariableValue::Word(word)) => words.contains(&word.as_str()),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let expected = match kind {
        Kind::Switch => "true or false".to_owned(),
        Kind::Integer(low, high) => format!("a whole number from {low} to {high}"),
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
    };
    Err(format!("found {value} for the variable {name:?}, expected {expected}"))
}
