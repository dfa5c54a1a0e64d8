//! Two masters on one disk: one whose goal changes, and one beside it.

use serde_json::Value;

use crate::host::{CONVERGE, Host, master};

/// The instance whose goal changes.
pub(crate) const LIMITED: &str = "orders-db1";
/// The one beside it.
pub(crate) const OTHER: &str = "stock-db1";

/// The goal of two masters, one of them with these fields.
pub(crate) fn goal(host: &mut Host, fields: &Value) {
    let mut limited = master(LIMITED, 7335);
    for (name, value) in fields.as_object().into_iter().flatten() {
        limited[name] = value.clone();
    }
    host.goal(&[(LIMITED, limited), (OTHER, master(OTHER, 7336))]);
}

/// Waits until the kernel's files of the limited instance have these texts.
pub(crate) fn await_files(host: &mut Host, files: &[(&str, String)]) {
    let group = Host::group(LIMITED);
    let tests: Vec<String> = files
        .iter()
        .map(|(file, text)| format!("test \"$(cat '{group}/{file}')\" = '{text}'"))
        .collect();
    host.vm.await_sh("the goal's limits in the kernel", CONVERGE, &tests.join(" && "));
}
