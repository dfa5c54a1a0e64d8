//! A master and two minions from goal files alone: what runs then, as who, and what shows.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use berth_agent::mysql::credentials::{FleetKey, Purpose};
use berth_integration::{Bed, Entry, Options, client, proc};
use berth_model::{
    EntryKey,
    goal::Role,
    status::{InstanceState, InstanceStatus, Phase, StatusDocument},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{keys, pids};

#[test]
fn a_master_and_two_minions_converge() {
    // The usual interval: nothing here may wait for it.
    let mut bed = Bed::with(&Options { interval: "30s", template: false, ..Options::default() });
    let entries = bed.cluster("shop", 0, 3);
    bed.goal("shop.json", &entries);
    bed.start_agent();
    let status = bed.await_converged(&entries);
    eprintln!("figure: an empty host has a master and two minions after {:?}", bed.age());

    roles_are_as_the_goal_says(&bed, &status);
    rows_arrive(&bed);
    minions_refuse_writes(&bed);
    each_is_a_server_of_its_own(&bed);
    for key in keys() {
        is_confined(&bed, &key);
    }
    no_password_shows(&bed);
    operators_commands_work(&bed);
}

fn roles_are_as_the_goal_says(bed: &Bed, status: &StatusDocument) {
    const HELD: &str = "SELECT @@super_read_only, @@offline_mode, @@sync_binlog, \
                        @@innodb_flush_log_at_trx_commit";
    let [master, minions @ ..] = keys();
    assert_eq!(status.instances[&master].role, Some(Role::Master));
    assert_eq!(status.instances[&master].state, InstanceState::Master);
    assert_eq!(bed.sql(&master, HELD), "0\t0\t1\t1");
    assert_eq!(bed.sql(&master, "SHOW REPLICA STATUS"), "");
    let source = format!("127.0.0.1\t{}\tYES\tON\tON", bed.port(0));
    for minion in &minions {
        assert_eq!(status.instances[minion].role, Some(Role::Minion));
        assert_eq!(bed.sql(minion, HELD), "1\t0\t0\t2");
        let threads = "SELECT c.HOST, c.PORT, c.SSL_ALLOWED, s.SERVICE_STATE, a.SERVICE_STATE \
             FROM performance_schema.replication_connection_configuration c \
             JOIN performance_schema.replication_connection_status s USING (CHANNEL_NAME) \
             JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)";
        assert_eq!(bed.sql(minion, threads), source);
    }
}

fn rows_arrive(bed: &Bed) {
    let [master, minions @ ..] = keys();
    bed.sql(
        &master,
        "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY, v TEXT); \
         INSERT INTO app.t VALUES (1, 'written on the master')",
    );
    for minion in &minions {
        let end = bed.sql(&master, "SELECT @@gtid_executed");
        bed.await_answer(minion, "SELECT v FROM app.t", "written on the master");
        bed.await_answer(minion, "SELECT @@gtid_executed", &end);
    }
    let all: BTreeSet<String> =
        keys().iter().map(|key| bed.sql(key, "SELECT @@gtid_executed")).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    // Accounts and schemas come by replication too: no server has a transaction of its own.
    let uuid = bed.sql(&master, "SELECT @@server_uuid");
    assert!(all.iter().all(|set| set.starts_with(&uuid) && !set.contains(',')), "{all:?}");
}

fn minions_refuse_writes(bed: &Bed) {
    for minion in &keys()[1..] {
        let error = bed.ask(minion, "INSERT INTO app.t VALUES (2, 'astray')").unwrap_err();
        assert!(error.contains("super-read-only"), "{error}");
    }
}

fn each_is_a_server_of_its_own(bed: &Bed) {
    let all = |what: &dyn Fn(&EntryKey) -> String| -> BTreeSet<String> {
        keys().iter().map(what).collect()
    };
    assert_eq!(all(&|key| bed.sql(key, "SELECT @@server_uuid")).len(), 3);
    assert_eq!(all(&|key| bed.sql(key, "SELECT @@server_id")).len(), 3);
    for file in ["server-cert.pem", "server-key.pem", "ca.pem"] {
        let text = |key: &EntryKey| {
            fs::read_to_string(bed.instance_dir(key).join("mysql").join(file)).unwrap()
        };
        assert_eq!(all(&text).len(), 3, "{file}");
    }
}

/// By what the kernel says of the server's process.
fn is_confined(bed: &Bed, key: &EntryKey) {
    let pid = bed.pid(key);
    let field = |name: &str| proc::status(pid, name);
    assert_eq!(field("Name"), "mysqld");
    for id in field("Uid").split_ascii_whitespace().chain(field("Gid").split_ascii_whitespace()) {
        assert_ne!(id, "0", "{key}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 0, "{set} of {key}");
    }
    let mounts = proc::mounts(pid);
    let at = |path: &str| mounts.iter().rfind(|mount| mount.point == Path::new(path));
    let root = at("/").expect("a root");
    assert!(root.options.iter().any(|option| option == "ro"), "{root:?}");
    let data = at("/var/lib/mysql").expect("the data directory");
    assert_eq!(data.root, on_its_disk(&bed.instance_dir(key).join("mysql")));
    assert_ne!(data.kind, "overlay");
    assert!(data.options.iter().any(|option| option == "rw"), "{data:?}");
}

/// A path as mountinfo names it: from the root of its file system.
fn on_its_disk(path: &Path) -> PathBuf {
    let mounts = proc::mounts(std::process::id());
    let mount = mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
        .expect("every path is on a mount");
    mount.root.join(path.strip_prefix(&mount.point).unwrap())
}

fn no_password_shows(bed: &Bed) {
    let key_file = bed.dir().join("fleet.key");
    let fleet = FleetKey::read(&key_file).unwrap();
    let cluster = &bed.status().instances[&keys()[0]].goal.cluster;
    let mut secrets: Vec<String> = Purpose::ALL
        .iter()
        .map(|purpose| fleet.password(cluster.as_str(), *purpose).expose().to_owned())
        .collect();
    secrets.push(fs::read_to_string(&key_file).unwrap());
    // The passwords are the right ones: with them the search below means something.
    let logged_in = client::ask_as(
        Purpose::Check.user(),
        &secrets[Purpose::ALL.iter().position(|p| *p == Purpose::Check).unwrap()],
        bed.port(0),
        "SELECT CURRENT_USER()",
    );
    assert!(logged_in.unwrap().starts_with(Purpose::Check.user()));
    let clean = |place: &str, text: &str| {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret shows in {place}");
        }
    };
    for process in proc::all() {
        clean(&format!("arguments of {}", process.pid), &proc::command_line(process.pid));
        clean(&format!("environment of {}", process.pid), &proc::environment(process.pid));
    }
    clean("the agent's log", &bed.agent_log());
    clean("the status", &String::from_utf8_lossy(&bed.berth(&["status", "--json"]).stdout));
    for key in keys() {
        assert!(!bed.server_log(&key).is_empty());
        clean("a server's log", &bed.server_log(&key));
    }
    for dir in ["run", "state", "log"] {
        every_file(&bed.dir().join(dir), &|path, text| clean(&path.display().to_string(), text));
    }
}

fn every_file(dir: &Path, check: &dyn Fn(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            every_file(&entry.path(), check);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            check(&entry.path(), &String::from_utf8_lossy(&bytes));
        }
    }
}

fn operators_commands_work(bed: &Bed) {
    let stdout = |arguments: &[&str]| {
        let output = bed.berth(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(stdout(&["status", "--check"]).contains("bed-shop-db2"));
    assert!(stdout(&["wait", "--timeout", "60s"]).is_empty());
    let port = bed.port(1).to_string();
    let said = stdout(&["exec", "bed-shop-db2", "--", "mysql", "-Nse", "SELECT @@port"]);
    assert_eq!(said.trim(), port);
    assert!(stdout(&["logs", "bed-shop-db3"]).contains("ready for connections"));
}

/// All orders of three things.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn the_order_of_the_entries_does_not_matter() {
    let bed = Bed::new();
    // One cluster comes in one file that grows, the other in three files.
    let (one, three) = (bed.cluster("one", 0, 3), bed.cluster("three", 3, 3));
    let all: Vec<Entry> = one.iter().chain(&three).cloned().collect();
    let mut ends = BTreeSet::new();
    for order in ORDERS {
        let begun = std::time::Instant::now();
        let mut file = Vec::new();
        for at in order {
            file.push(one[at].clone());
            bed.goal("one.json", &file);
            bed.goal(&format!("three-{at}.json"), &three[at..=at]);
            // Each entry is acted upon before the next is there.
            bed.await_status("a pass with the entry", |status| {
                [&one[at], &three[at]]
                    .iter()
                    .all(|entry| status.instances.contains_key(&entry.key()))
            });
        }
        bed.await_converged(&all);
        ends.insert(the_end(&bed, &one));
        ends.insert(the_end(&bed, &three));
        eprintln!("figure: in the order {order:?}, two clusters of three: {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        clear_away(&bed, &all);
        eprintln!("figure: all six removed: {:?}", begun.elapsed());
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
}

/// All that a cluster is in the end, without what has to differ.
fn the_end(bed: &Bed, entries: &[Entry]) -> String {
    let master = entries[0].key();
    let cluster = master.as_str().trim_end_matches("1");
    let name = format!("row_of_{}", fastrand::u32(..));
    bed.sql(&master, &format!("CREATE DATABASE {name}"));
    let executed = bed.sql(&master, "SELECT @@gtid_executed");
    let mut end = String::new();
    for entry in entries {
        let key = entry.key();
        bed.await_answer(&key, "SELECT @@gtid_executed", &executed);
        // On a busy machine a server may be silent for a second, which is told as it is.
        let converged = |instance: &InstanceStatus| instance.phase == Phase::Converged;
        let instance = bed.await_instance(&key, "as its goal says", converged);
        let source = instance.replication.as_ref().map(|replication| &replication.source);
        end.push_str(&format!(
            "{} {} {:?} {} {:?} {} {}\n",
            key.as_str().trim_start_matches(cluster),
            instance.state,
            instance.role,
            instance.phase,
            source.map(|source| source.ends_with(&port_of(bed, &master))),
            bed.sql(&key, "SELECT @@super_read_only, @@offline_mode, @@sync_binlog"),
            bed.sql(&key, &format!("SHOW DATABASES LIKE '{name}'")).replace(&name, "row"),
        ));
    }
    end
}

fn port_of(bed: &Bed, key: &EntryKey) -> String {
    format!(":{}", bed.sql(key, "SELECT @@port"))
}

/// Removes all instances, so that the next order finds an empty host.
fn clear_away(bed: &Bed, entries: &[Entry]) {
    for entry in fs::read_dir(bed.goal_dir()).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    let removed: Vec<Entry> = entries.iter().map(|entry| entry.clone().state("removed")).collect();
    let servers = pids(bed, entries);
    bed.goal("removed.json", &removed);
    // A master takes its time to end, which is not what is tested here.
    for pid in servers {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    bed.await_status("all removed", |status| {
        status.instances.len() == entries.len()
            && status.instances.values().all(|instance| instance.state == InstanceState::Removed)
    });
    bed.remove_goal("removed.json");
    bed.await_status("all forgotten", |status| status.instances.is_empty());
    for path in bed.trash() {
        fs::remove_dir_all(path).unwrap();
    }
}
