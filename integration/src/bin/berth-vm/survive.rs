//! Nothing that is done to the agent or to the package reaches a server.

use std::time::Duration;

use crate::host::{FIRST, Host, NEWER, Packages, master, minion};

const MASTER: &str = "orders-db1";
const MINION: &str = "orders-db2";

/// What an operator does to the agent, by name.
const ACTIONS: [(&str, &str); 4] = [
    ("systemctl restart", "systemctl restart berth-agent"),
    ("kill -9", "systemctl kill --signal=KILL berth-agent"),
    ("daemon-reload", "systemctl daemon-reload"),
    ("daemon-reexec", "systemctl daemon-reexec"),
];

/// Installs, converges, and then does all that an operator may do, while a client commits.
pub(crate) fn agents_come_and_go_and_servers_stay(packages: &Packages) {
    let mut host = Host::new(packages);
    host.goal(&[(MASTER, master(MASTER, 7335)), (MINION, minion(MINION, 7336, 7335))]);
    host.await_converged("master and minion", 2);
    show(&mut host);
    let servers = host.servers();
    assert_eq!(servers.len(), 2);
    let memory = host.limit(MASTER, "memory.max");
    host.start_writer(MASTER);

    let same = |host: &mut Host, what: &str| {
        host.await_commits(2);
        assert_eq!(host.servers(), servers, "after {what}");
        assert_eq!(host.limit(MASTER, "memory.max"), memory, "after {what}");
        eprintln!("{what}: the servers' processes and limits are the same");
    };
    for (what, script) in ACTIONS {
        host.vm.sh(script);
        host.await_converged(what, 2);
        same(&mut host, what);
    }
    a_stuck_agent_is_started_anew(&mut host);
    same(&mut host, "the watchdog's restart");
    for (what, package, is_newer) in [("upgrade", NEWER, true), ("downgrade", FIRST, false)] {
        let before = agent(&mut host);
        host.install(package);
        let installed = host.vm.sh("dpkg-query -W -f '${Version}' berth");
        assert_eq!(installed.ends_with("+newer"), is_newer, "{installed} after the {what}");
        assert_ne!(agent(&mut host), before, "the agent after the {what}");
        host.await_converged(what, 2);
        same(&mut host, what);
    }
    host.vm.sh("systemctl stop berth-agent");
    same(&mut host, "systemctl stop");
    let removed = host.vm.run_within("dpkg --remove berth", Duration::from_secs(300));
    assert!(removed.code == 0 && removed.stdout.contains("run on"), "{removed:?}");
    same(&mut host, "removing the package");
    host.install(FIRST);
    host.await_converged("the package is back", 2);
    same(&mut host, "installing it again");

    let last = host.end_writer();
    host.assert_rows(MASTER, last);
    eprintln!("the writer committed {last} rows and saw no error");
}

/// The loop feeds systemd's watchdog; an agent that stands still doesn't.
fn a_stuck_agent_is_started_anew(host: &mut Host) {
    let dir = "/etc/systemd/system/berth-agent.service.d";
    host.vm.sh(&format!("mkdir -p {dir}"));
    let shorter = "[Service]\nWatchdogSec=20s\nTimeoutAbortSec=5s\n";
    host.vm.write(&format!("{dir}/watchdog.conf"), shorter);
    host.vm.sh("systemctl daemon-reload && systemctl restart berth-agent");
    host.await_converged("with a short watchdog", 2);
    let before = agent(host);
    host.vm.sh("systemctl kill --signal=STOP berth-agent");
    host.vm.await_sh(
        "the watchdog",
        Duration::from_secs(120),
        "test $(systemctl show --property NRestarts --value berth-agent) -ge 1",
    );
    host.await_converged("after the watchdog", 2);
    assert_ne!(agent(host), before, "the agent that stood still is gone");
    let log =
        host.vm.sh("journalctl --no-pager --quiet --unit berth-agent --grep 'Watchdog timeout'");
    assert_eq!(log.lines().count(), 1, "one restart by the watchdog: {log}");
    host.vm.sh(&format!("rm -r {dir} && systemctl daemon-reload"));
}

fn agent(host: &mut Host) -> String {
    host.vm.sh("systemctl show --property MainPID --value berth-agent")
}

/// Prints what an operator looks at, and asserts what must stand there.
fn show(host: &mut Host) {
    let status = host.vm.sh("systemctl status --no-pager --lines=0 berth-agent");
    assert!(status.contains("2 instances, 2 converged"), "{status}");
    let groups = host.vm.sh("systemd-cgls --no-pager --unit berth.slice");
    assert_eq!(groups.matches("/usr/sbin/mysqld").count(), 2, "{groups}");
    let own = host.vm.sh("systemd-cgls --no-pager --unit berth-agent.service");
    assert!(!own.contains("mysqld"), "{own}");
    let log =
        host.vm.sh("journalctl --no-pager --quiet --unit berth-agent --grep 'start container'");
    assert!(log.lines().count() >= 2, "{log}");
    let security = host.vm.sh("systemd-analyze security --no-pager berth-agent | tail -n 1");
    let analysis = host.vm.sh("systemd-analyze --no-pager time | head -n 1");
    eprintln!("{status}\n{groups}\n{security}\n{analysis}");
}
