//! Printing: colours only on a terminal, a closed pipe is no error, errors without a
//! stack trace.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

/// Prints to standard output. A reader that has gone away (`| head`) ends the program
/// quietly, as other tools end.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what need not be UTF-8.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}

/// Prints a value as indented JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Prints an error and its causes to standard error.
pub(super) fn error(error: &(dyn std::error::Error + 'static)) {
    let chain = crate::files::chain(error);
    let style = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    let head =
        if colours(&io::stderr()) { format!("{style}error{style:#}") } else { "error".to_owned() };
    let mut text = format!("{head}: {}\n", chain.first().map_or("", String::as_str));
    for cause in chain.iter().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    // Nothing can be done if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints a warning to standard error.
pub(super) fn warning(text: &str) {
    // Nothing can be done if standard error is closed.
    let _ = writeln!(io::stderr(), "warning: {text}");
}

/// Whether to write colours there (https://no-color.org).
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` in `colour` if colours are on.
pub(super) fn paint(text: &str, colour: AnsiColor, on: bool) -> String {
    if !on {
        return text.to_owned();
    }
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

/// A table with a heading, columns two spaces apart and no lines: easy on the eye and on
/// `awk`.
pub(super) fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(heading.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Bytes in the unit that keeps the number short.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..UNITS.len()).rev().find(|step| count >> (10 * step) > 0).unwrap_or(0);
    let whole = count >> (10 * step);
    if step == 0 || whole >= 100 {
        return format!("{whole}{}", UNITS[step]);
    }
    let tenths = (u128::from(count) * 10) >> (10 * step);
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[step])
}

/// `1 entry`, `2 entries`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Seconds as `5s`, `3m20s`, `2h5m`, `4d3h`.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
