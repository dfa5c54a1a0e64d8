//! Rates of io.max against what is achieved, on every kind of disk at the same time: asked for
//! by the goals, and changed by them while the load runs.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use crate::{
    host::{CONVERGE, Host, Packages},
    spare::{self, DATA_DEVICE, ON_MIRROR, ON_PARTITION, ON_VOLUME, SHARED},
};

const ALL: [&str; 4] = [SHARED, ON_PARTITION, ON_VOLUME, ON_MIRROR];
const MIB: u64 = 1 << 20;
/// How far what is achieved may be from what is asked. Wide, because emulation on a busy machine
/// stutters, and requests that end together fall on either side of a window's edge; but a change
/// to half or to twice the rate that comes to nothing is seen. The figures are printed.
const ACHIEVED_PERCENT: RangeInclusive<u64> = 55..=125;

/// Writers or readers on each disk, and the length of the file of each.
const JOBS: u64 = 4;
const FILE_MIB: u64 = 16;

/// What fio does, and which rate of io.max limits it.
struct Load {
    what: &'static str,
    arguments: &'static str,
    /// Its field in the goal, and in io.max.
    field: &'static str,
    rate: &'static str,
    /// Asked for first, and while the load runs: bytes or requests a second.
    asked: [u64; 2],
}

/// By several writers or readers at a time, each on a file of its own: while one waits for its
/// fsync(2), which takes the file system's journal some time that no limit counts, others write.
const LOADS: [Load; 6] = [
    Load {
        what: "direct write",
        arguments: "--rw=write --bs=64k --direct=1 --ioengine=libaio --iodepth=8",
        field: "write_bps",
        rate: "wbps",
        asked: [8 * MIB, 4 * MIB],
    },
    Load {
        what: "buffered write with fsync",
        arguments: "--rw=write --bs=64k --fsync=4",
        field: "write_bps",
        rate: "wbps",
        asked: [2 * MIB, 4 * MIB],
    },
    Load {
        what: "direct read",
        arguments: "--rw=read --bs=64k --direct=1 --ioengine=libaio --iodepth=8",
        field: "read_bps",
        rate: "rbps",
        asked: [8 * MIB, 4 * MIB],
    },
    Load {
        what: "direct random write",
        arguments: "--rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=8",
        field: "write_iops",
        rate: "wiops",
        asked: [100, 200],
    },
    Load {
        what: "buffered random write with fsync",
        arguments: "--rw=randwrite --bs=4k --fsync=16",
        field: "write_iops",
        rate: "wiops",
        asked: [200, 100],
    },
    Load {
        what: "direct random read",
        arguments: "--rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=8",
        field: "read_iops",
        rate: "riops",
        asked: [200, 100],
    },
];

/// See the module.
pub(crate) fn rates_are_achieved_on_every_kind_of_disk(packages: &Packages) {
    let mut host = Host::new(packages);
    spare::make(&mut host);
    spare::goal(&mut host, &[], &json!({}));
    host.await_converged("four masters, three on disks of their own", 4);
    let servers = host.servers();
    for name in ALL {
        // Blocks that are written, by the instance's own group.
        let (group, dir) = (Host::group(name), dir(name));
        let script = format!(
            "echo $$ > '{group}/cgroup.procs'\n\
             for job in $(seq 0 {}); do\n\
               dd if=/dev/zero of='{dir}'/fio-$job bs=1M count={FILE_MIB} oflag=direct \
                 status=none || exit\n\
             done\n",
            JOBS - 1
        );
        host.vm.write("/run/blocks", &script);
        host.vm.sh("sh /run/blocks");
    }
    for load in &LOADS {
        measure(&mut host, load);
    }
    assert_eq!(host.servers(), servers, "limits change without a restart");
}

/// Where fio's files are: on the instance's disk, and not in its data directory where that is
/// not a disk of its own.
fn dir(name: &str) -> String {
    if name == SHARED { "/var/lib/berth".to_owned() } else { spare::dir(name) }
}

/// One load on all disks, with the first rate and then, while it runs, with the second.
fn measure(host: &mut Host, load: &Load) {
    let [first, second] = load.asked;
    ask(host, load, first);
    host.vm.sh("rm -rf /run/fio && mkdir /run/fio");
    for name in ALL {
        let (group, dir) = (Host::group(name), dir(name));
        let script = format!(
            "echo $$ > '{group}/cgroup.procs'\n\
             exec fio --thread --numjobs={JOBS} --directory='{dir}' \
               --filename_format='fio-$jobnum' --size={FILE_MIB}M --time_based --runtime=600 \
               --write_lat_log=/run/fio/{name} --disable_slat=1 --disable_clat=1 \
               --log_unix_epoch=1 --name={name} {} > /run/fio/{name}.out 2>&1\n",
            load.arguments
        );
        host.beside(&format!("fio-{name}"), &script);
    }
    let before = window(host);
    ask(host, load, second);
    let after = window(host);
    host.vm.sh("pkill -INT -x fio");
    host.vm.await_sh("the end of fio", CONVERGE, "! pgrep -x fio");
    for (asked, window) in [(first, before), (second, after)] {
        for name in ALL {
            let achieved = achieved(host, name, load.rate, window);
            let percent = achieved * 100 / asked;
            let what = format!("{}, {} on {}", load.rate, load.what, kind(name));
            eprintln!("{what}: asked {asked}, achieved {achieved} ({percent} %)");
            assert!(ACHIEVED_PERCENT.contains(&percent), "{what}: {percent} % of what was asked");
        }
    }
}

fn kind(name: &str) -> String {
    spare::own(name)
        .map_or_else(|| "a whole disk".to_owned(), |disk| format!("a disk of kind {:?}", disk.kind))
}

/// Has all goals ask for this rate, and waits until the kernel has it on the right devices.
fn ask(host: &mut Host, load: &Load, rate: u64) {
    let value = if load.rate.ends_with("bps") {
        Value::from(format!("{}MiB/s", rate / MIB))
    } else {
        Value::from(rate)
    };
    let mut io = json!({});
    io[load.field] = value;
    spare::goal(host, &ALL, &io);
    for name in ALL {
        let device = spare::own(name).map_or(DATA_DEVICE, |disk| disk.limited);
        let number = spare::number(host, device);
        let set =
            format!("grep -q '^{number} .*{}={rate}' '{}/io.max'", load.rate, Host::group(name));
        host.vm.await_sh("the rate in the kernel", CONVERGE, &set);
    }
}

/// Lets what the last rate left behind pass, and fio start, and then some seconds: their
/// first and last instant, in milliseconds since 1970.
fn window(host: &mut Host) -> [u64; 2] {
    let text =
        host.vm.run_within("sleep 8; date +%s%3N; sleep 10; date +%s%3N", Duration::from_secs(120));
    let mut instants = text.stdout.lines().map(|line| line.parse().expect("milliseconds"));
    [(); 2].map(|()| instants.next().expect("an instant"))
}

/// What fio had done in this time, by its log of every request: bytes or requests a second.
fn achieved(host: &mut Host, name: &str, rate: &str, [from, to]: [u64; 2]) -> u64 {
    // time, latency, direction, bytes, ... (fio(1), "Log File Formats"); 2 is a trim, and a
    // synchronisation more than that.
    let count = if rate.ends_with("bps") { "$4" } else { "1" };
    let total = host.vm.sh(&format!(
        "awk -F, '$1 >= {from} && $1 < {to} && $3 < 2 {{ n += {count} }} END {{ printf \"%d\", n }}' \
         /run/fio/{name}_lat.*.log"
    ));
    total.parse::<u64>().expect("a number") * 1000 / (to - from)
}
