//! `berth preflight`: what this host can and can't do, what follows, and the remedy.

mod network;

use std::{process::ExitCode, time::Duration};

use anstyle::AnsiColor;
use berth_runtime::{CgroupManager, CgroupVersion, Facts, device_of};
use serde::Serialize;

use super::{Failure, args, output};
use crate::{bounded, config::Config, files, mysql::credentials::FleetKey};

/// How long the disk of the data directory may take to answer.
const DISK_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Good,
    Limited,
    Missing,
}

/// One fact about the host.
#[derive(Debug, Serialize)]
struct Line {
    what: String,
    verdict: Verdict,
    consequence: String,
    remedy: String,
}

impl Line {
    fn new(what: impl Into<String>, verdict: Verdict, consequence: &str, remedy: &str) -> Self {
        Self {
            what: what.into(),
            verdict,
            consequence: consequence.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    fn good(what: impl Into<String>) -> Self {
        Self::new(what, Verdict::Good, "", "")
    }
}

pub(super) fn run(config: &Config, what: &args::Json) -> Result<ExitCode, Failure> {
    let facts = berth_runtime::preflight()?;
    let mut lines = privileges(&facts);
    lines.extend(cgroups(&facts));
    lines.extend(kernel(&facts));
    lines.extend(host(config));
    lines.extend(network::lines(config));
    if what.json {
        output::json(&lines)?;
    } else {
        let colours = output::colours(&std::io::stdout());
        output::print(&lines.iter().map(|line| words(line, colours)).collect::<String>())?;
    }
    let missing = lines.iter().any(|line| line.verdict == Verdict::Missing);
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn words(line: &Line, colours: bool) -> String {
    let (mark, colour) = match line.verdict {
        Verdict::Good => ("good   ", AnsiColor::Green),
        Verdict::Limited => ("limited", AnsiColor::Yellow),
        Verdict::Missing => ("missing", AnsiColor::Red),
    };
    let mut text = format!("{}  {}\n", output::paint(mark, colour, colours), line.what);
    for (name, value) in [("so", &line.consequence), ("remedy", &line.remedy)] {
        if !value.is_empty() {
            text.push_str(&format!("           {name}: {value}\n"));
        }
    }
    text
}

fn privileges(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        lines.push(Line::new(
            "not run as root",
            Verdict::Missing,
            "containers can't be started",
            "sudo",
        ));
    }
    for capability in &facts.missing_capabilities {
        lines.push(if capability == "CAP_SYS_RESOURCE" {
            Line::new(
                format!("no {capability}"),
                Verdict::Limited,
                &format!(
                    "limits of open files stop at {}, and servers can't be protected from the \
                     kernel's choice when memory runs out",
                    facts.nofile_hard
                ),
                "run the agent with full privileges",
            )
        } else {
            Line::new(
                format!("no {capability}"),
                Verdict::Missing,
                "containers can't be started",
                "run the agent with full privileges",
            )
        });
    }
    if lines.is_empty() {
        lines.push(Line::good("root with all capabilities"));
    }
    lines
}

fn cgroups(facts: &Facts) -> Vec<Line> {
    const UNIFIED: &str = "boot with unified cgroups (under systemd: \
                           systemd.unified_cgroup_hierarchy=1 on the kernel's command line)";
    let Some(layout) = &facts.cgroup else {
        return vec![Line::new("no cgroups", Verdict::Missing, "nothing can be limited", UNIFIED)];
    };
    let mut lines = vec![match layout.version {
        CgroupVersion::Unified => Line::good("unified cgroup v2"),
        CgroupVersion::Legacy => Line::new(
            "cgroup v1 or hybrid, not unified v2",
            Verdict::Limited,
            "limits go through the v1 files",
            UNIFIED,
        ),
    }];
    if facts.manager == Some(CgroupManager::Systemd) {
        lines.push(Line::good("systemd, which delegates a scope for each container"));
    }
    lines.push(if facts.buffered_writes_throttled {
        Line::good("disk limits hold for buffered writes")
    } else {
        Line::new(
            "disk limits hold for direct I/O only",
            Verdict::Limited,
            "InnoDB's data files are limited (O_DIRECT), redo and binary logs are not",
            UNIFIED,
        )
    });
    for (controller, there) in &facts.controllers {
        if !there {
            lines.push(Line::new(
                format!("no {controller} controller"),
                Verdict::Limited,
                &format!("{controller} limits of goals have no effect, and the status says so"),
                "enable it in the kernel's command line or configuration",
            ));
        }
    }
    lines
}

fn kernel(facts: &Facts) -> Vec<Line> {
    let line = |there: bool, good: &str, bad: Line| if there { Line::good(good) } else { bad };
    let mut lines = vec![
        line(
            facts.seccomp,
            "seccomp filters",
            Line::new(
                "no seccomp",
                Verdict::Missing,
                "containers can't be started",
                "CONFIG_SECCOMP_FILTER",
            ),
        ),
        line(
            facts.memfd_exec,
            "executable memory files",
            Line::new(
                "memory files can't be executed",
                Verdict::Missing,
                "helpers can't be started",
                "sysctl vm.memfd_noexec=0",
            ),
        ),
        line(
            facts.cgroup_kill,
            "whole groups can be killed at once",
            Line::new(
                "no cgroup.kill",
                Verdict::Limited,
                "a container's processes are killed one by one",
                "Linux 5.14 with cgroup v2",
            ),
        ),
        line(
            facts.pidfd_exit_info,
            "exit codes of adopted containers",
            Line::new(
                "exit codes of adopted containers may be lost",
                Verdict::Limited,
                "how a server ended while no agent ran can be unknown; a seed is then begun afresh",
                "Linux 6.15",
            ),
        ),
    ];
    for (namespace, there) in &facts.namespaces {
        if !there {
            lines.push(Line::new(
                format!("no {namespace} namespaces"),
                Verdict::Missing,
                "containers can't be started",
                "a kernel with them",
            ));
        }
    }
    lines
}

fn host(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.push(match FleetKey::read(&config.fleet_key) {
        Ok(_) => Line::good(format!("fleet key {}", config.fleet_key.display())),
        Err(error) => Line::new(
            files::chain(&error).join(": "),
            Verdict::Missing,
            "minions can't log in to their master",
            "the same file on every host, mode 0600: openssl rand -base64 48",
        ),
    });
    let dir = config.data_dir.clone();
    let disk = move || Some(device_of(dir.ancestors().find(|dir| dir.exists())?));
    lines.push(match bounded::within(DISK_WAIT, disk) {
        Some(Some(Ok(device))) => Line::good(format!(
            "{} is on {} ({})",
            config.data_dir.display(),
            device.name,
            device.number
        )),
        Some(Some(Err(error))) => Line::new(
            files::chain(&error).join(": "),
            Verdict::Limited,
            "goals with disk limits can't be met",
            "put the data directories on a disk of their own",
        ),
        Some(None) => {
            Line::new("no data directory", Verdict::Missing, "nothing can be kept", "make it")
        }
        None => Line::new(
            format!("the disk of {} does not answer", config.data_dir.display()),
            Verdict::Missing,
            "no instance on it can be started or looked after",
            "look for it in `dmesg`, `multipath -ll` and `dmsetup info`",
        ),
    });
    lines.push(Line::good(format!(
        "{} of memory for instances",
        output::bytes(config.memory_bytes)
    )));
    lines
}
