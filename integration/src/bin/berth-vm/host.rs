//! A machine on which the package is installed, as an operator sees it.

use std::{path::PathBuf, time::Duration};

use berth_integration::vm::{DiskRate, Options, Vm, image};
use berth_model::status::{Phase, StatusDocument};
use serde_json::{Value, json};

/// The packages' names in the machine's `/mnt/share`.
pub(crate) const FIRST: &str = "berth.deb";
pub(crate) const NEWER: &str = "berth-newer.deb";
/// Time to converge, under emulation on a busy machine.
pub(crate) const CONVERGE: Duration = Duration::from_secs(900);
/// Time for a statement.
const STATEMENT: Duration = Duration::from_secs(180);
/// The memory of each server.
const SIZE: &str = "600MiB";
/// A port for entries that need one and don't use it.
const REMOVED_PORT: u16 = 7999;
/// Room for the answers of servers under emulation.
const CONFIGURATION: &str = "probe_timeout = \"20s\"\ninterval = \"5s\"\n";

/// What one server can fill under emulation.
const SLOW: DiskRate = DiskRate { bytes: 24 << 20, requests: 600 };

/// The packages under test.
#[derive(Debug)]
pub(crate) struct Packages {
    /// That which is installed first.
    pub(crate) first: PathBuf,
    /// The same program with a higher version.
    pub(crate) newer: PathBuf,
}

/// A machine with berth.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) vm: Vm,
}

impl Host {
    /// Boots a machine, and installs the package there.
    pub(crate) fn new(packages: &Packages) -> Self {
        Self::with(packages, Options::default())
    }

    /// The same with a data disk that one server can keep busy.
    pub(crate) fn on_a_slow_disk(packages: &Packages) -> Self {
        Self::with(packages, Options { data_rate: Some(SLOW), ..Options::default() })
    }

    fn with(packages: &Packages, options: Options) -> Self {
        let share = vec![
            (FIRST.to_owned(), packages.first.clone()),
            (NEWER.to_owned(), packages.newer.clone()),
        ];
        let mut vm = Vm::new(Options { share, ..options });
        let took = vm.boot();
        eprintln!("booted in {} s ({:?})", took.as_secs(), vm.accel());
        let mut host = Self { vm };
        host.install(FIRST);
        host.vm.sh("umask 077; head -c 48 /dev/urandom | base64 -w0 > /etc/berth/fleet.key");
        // In front: what follows in the file may be a table.
        host.vm.sh(&format!(
            "printf '%s' '{CONFIGURATION}' | cat - /etc/berth/berth.toml > /etc/berth/new && \
             mv /etc/berth/new /etc/berth/berth.toml && systemctl restart berth-agent"
        ));
        // What an operator has written long ago is on the disk when the power is cut.
        host.vm.sh("sync");
        host
    }

    /// Installs a package as `apt` would, keeping the configuration.
    pub(crate) fn install(&mut self, package: &str) {
        install(&mut self.vm, package);
    }

    /// Replaces the goal file.
    pub(crate) fn goal(&mut self, entries: &[(&str, Value)]) {
        self.goal_with_removed(entries, None);
    }

    /// The same, with another entry that says that its instance is to be removed.
    pub(crate) fn goal_with_removed(&mut self, entries: &[(&str, Value)], removed: Option<&str>) {
        let started = entries.iter().map(|(name, data)| {
            let entry = json!({ "app_id": name, "state": "started", "data": data });
            (key(name), entry)
        });
        let removed = removed.map(|name| {
            let data = master(name, REMOVED_PORT);
            (key(name), json!({ "app_id": name, "state": "removed", "data": data }))
        });
        let text = Value::Object(started.chain(removed).collect()).to_string();
        self.vm.write("/etc/berth/goal.d/all.json", &text);
    }

    /// What `berth status --json` says.
    pub(crate) fn status(&mut self) -> StatusDocument {
        let ran = self.vm.run("berth status --json");
        serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error} in the status: {ran:?}"))
    }

    /// Waits until this many instances are as their goals say, by a pass that is made from
    /// now on.
    pub(crate) fn await_converged(&mut self, what: &str, count: usize) -> StatusDocument {
        // The last pass may be older than what is waited for.
        let since = self.vm.sh("date +%s");
        self.vm.await_sh(
            what,
            CONVERGE,
            &format!(
                "test $(stat -c %Y /run/berth/status.json) -gt {since} && \
                 berth wait --timeout 30s --instances {count} >&2"
            ),
        );
        let status = self.status();
        let all = status.instances.values().filter(|one| one.phase == Phase::Converged).count();
        assert!(all >= count, "{what}: {status:?}");
        status
    }

    /// The process ids of all servers, in order.
    pub(crate) fn servers(&mut self) -> Vec<u32> {
        let text = self.vm.run("pgrep -x mysqld").stdout;
        let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        pids.sort_unstable();
        pids
    }

    /// The control group of an instance's container.
    pub(crate) fn group(name: &str) -> String {
        let key = key(name);
        let slice = format!("berth-{}.slice", key.replace('-', ":"));
        format!("/sys/fs/cgroup/berth.slice/{slice}/berth-{key}.scope/payload")
    }

    /// A file of an instance's control group.
    pub(crate) fn limit(&mut self, name: &str, file: &str) -> String {
        self.vm.sh(&format!("cat '{}/{file}'", Self::group(name)))
    }

    /// What a server answers to SQL as root.
    pub(crate) fn sql(&mut self, name: &str, sql: &str) -> String {
        self.sql_within(name, sql, STATEMENT)
    }

    /// The same for what takes longer.
    pub(crate) fn sql_within(&mut self, name: &str, sql: &str, within: Duration) -> String {
        let ran = self.vm.run_within(&format!("{} -e \"{sql}\"", client(name)), within);
        assert!(ran.code == 0, "{sql}: {ran:?}");
        ran.stdout.trim_end().to_owned()
    }

    /// Runs a shell script beside the scenario, as a unit of this name.
    pub(crate) fn beside(&mut self, unit: &str, script: &str) {
        self.vm.write(&format!("/run/{unit}.sh"), script);
        self.vm.sh(&format!("systemd-run --quiet --collect --unit={unit} sh /run/{unit}.sh"));
    }

    /// Has a server run a script.
    pub(crate) fn script(&mut self, name: &str, sql: &str) {
        self.vm.write("/run/script.sql", sql);
        self.vm.sh(&format!("{} < /run/script.sql", client(name)));
    }

    /// Begins a statement that goes on beside the scenario, until it is ended.
    pub(crate) fn begin(&mut self, name: &str, sql: &str) {
        let client = client(name);
        // The lock is what its connection is found by.
        let statements = format!("DO GET_LOCK(\"begun\", 0); {sql}");
        self.beside("begun", &format!("exec {client} -e '{statements}' > /run/begun.log 2>&1\n"));
    }

    /// Fails, with its last words, if the statement that was begun has ended.
    pub(crate) fn assert_begun(&mut self) {
        let ran =
            self.vm.run("systemctl is-active --quiet begun || { cat /run/begun.log; false; }");
        assert!(ran.code == 0, "what was begun has ended: {ran:?}");
    }

    /// Ends the statement that was begun on this server.
    pub(crate) fn end_begun(&mut self, name: &str) {
        self.sql(name, "SELECT IS_USED_LOCK('begun') INTO @begun; KILL @begun");
        let ended = "! systemctl is-active --quiet begun";
        self.vm.await_sh("the end of a statement", CONVERGE, ended);
    }

    /// Starts a client of the first server that commits a row at a time until told to end, and
    /// writes down the number of each row once its commit was acknowledged.
    pub(crate) fn start_writer(&mut self, name: &str) {
        self.start_writer_through(name, &client(name));
    }

    /// The same with this client, which may be one over TCP.
    pub(crate) fn start_writer_through(&mut self, name: &str, client: &str) {
        self.sql(name, "CREATE DATABASE IF NOT EXISTS shop");
        self.sql(name, "CREATE TABLE IF NOT EXISTS shop.orders (id BIGINT PRIMARY KEY)");
        self.vm.sh("rm -rf /run/writer && mkdir /run/writer && touch /run/writer/acknowledged");
        let first = self.sql(name, "SELECT COALESCE(MAX(id), 0) + 1 FROM shop.orders");
        let script = format!(
            "#!/bin/sh\ni={first}\n\
             while [ ! -e /run/writer/stop ]; do\n\
               echo \"INSERT INTO shop.orders VALUES ($i); SELECT $i;\"\n\
               i=$((i+1)); sleep 0.2\n\
             done | {client} --unbuffered > /run/writer/acknowledged 2> /run/writer/errors\n\
             echo $? > /run/writer/code\n"
        );
        self.beside("writer", &script);
        self.await_commits(3);
    }

    /// The number of the last row whose commit was acknowledged; 0 before the first.
    pub(crate) fn acknowledged(&mut self) -> u64 {
        self.vm.sh("tail -n 1 /run/writer/acknowledged").parse().unwrap_or_default()
    }

    /// Waits until the writer has had this many more commits acknowledged.
    pub(crate) fn await_commits(&mut self, more: u64) {
        let goal = self.acknowledged() + more;
        self.vm.await_sh(
            "commits of the writer",
            Duration::from_secs(180),
            &format!("test \"$(tail -n 1 /run/writer/acknowledged)\" -ge {goal}"),
        );
    }

    /// Ends the writer, which must have seen no error, and tells the last acknowledged row.
    pub(crate) fn end_writer(&mut self) -> u64 {
        self.vm.sh("touch /run/writer/stop");
        let within = Duration::from_secs(120);
        self.vm.await_sh("the writer's end", within, "test -s /run/writer/code");
        let (code, errors) =
            (self.vm.sh("cat /run/writer/code"), self.vm.sh("cat /run/writer/errors"));
        assert_eq!((code.as_str(), errors.as_str()), ("0", ""), "the writer saw an error");
        self.acknowledged()
    }

    /// Asserts that all rows up to this one are on a server.
    pub(crate) fn assert_rows(&mut self, name: &str, last: u64) {
        assert_eq!(self.sql(name, &rows_up_to(last)), last.to_string(), "rows on {name}");
    }

    /// Waits until all rows up to this one are on a server, which may have to fetch them.
    pub(crate) fn await_rows(&mut self, name: &str, last: u64) {
        if last == 0 {
            return;
        }
        let script = format!("test \"$({} -e '{}')\" = {last}", client(name), rows_up_to(last));
        self.vm.await_sh(&format!("{last} rows on {name}"), CONVERGE, &script);
    }
}

/// Installs a package from `/mnt/share` as `apt` would, keeping the configuration.
pub(crate) fn install(vm: &mut Vm, package: &str) {
    let script =
        format!("DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i /mnt/share/{package}");
    let ran = vm.run_within(&script, Duration::from_secs(300));
    assert!(ran.code == 0, "installing {package}: {ran:?}");
}

fn rows_up_to(last: u64) -> String {
    format!("SELECT COUNT(*) FROM shop.orders WHERE id BETWEEN 1 AND {last}")
}

/// The `mysql` client of another vendor, on a server's socket.
pub(crate) fn client(name: &str) -> String {
    let socket = format!("/run/berth/sockets/{}/mysqld.sock", key(name));
    format!("mariadb --no-defaults -uroot -N -B -S {socket}")
}

/// The key of the entry of this name on this host.
pub(crate) fn key(name: &str) -> String {
    format!("{}-{name}", image::HOST)
}

/// A master.
pub(crate) fn master(name: &str, port: u16) -> Value {
    json!({ "name": name, "role": "master", "disabled": false, "port": port, "size": SIZE })
}

/// A minion of the server on this port of the same host.
pub(crate) fn minion(name: &str, port: u16, master_port: u16) -> Value {
    json!({
        "name": name, "role": "minion", "disabled": false, "port": port, "size": SIZE,
        "master_host": image::HOST, "master_port": master_port,
    })
}
