use super::{IoUsage, keyed, parse_blkio, parse_io_stat, pinned};
use crate::device::DeviceNumber;

const DISK: DeviceNumber = DeviceNumber { major: 254, minor: 0 };
const EXPECTED: IoUsage =
    IoUsage { device: DISK, read_bytes: 4096, write_bytes: 8192, read_ops: 1, write_ops: 2 };

#[test]
fn v2_io_stat() {
    let text = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0\nbroken\n";
    let disks = parse_io_stat(text);
    let idle = DeviceNumber { major: 8, minor: 0 };
    assert_eq!(disks, [IoUsage { device: idle, ..IoUsage::default() }, EXPECTED]);
}

#[test]
fn v1_blkio_files() {
    let bytes = "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\nTotal 12288\n";
    let operations = "254:0 Read 1\n254:0 Write 2\nTotal 3\n";
    assert_eq!(parse_blkio(bytes, operations), [EXPECTED]);
    assert_eq!(parse_blkio("", ""), []);
}

#[test]
fn a_key_is_matched_whole() {
    let text = "oom 5\noom_kill 2\noom_kill_disable 1\n";
    assert_eq!(keyed(text, "oom_kill"), Some(2));
    assert_eq!(keyed(text, "oom_kil"), None);
}

#[test]
fn memory_is_pinned_unless_it_is_known_to_be_reclaimable() {
    let v2 = "anon 300\nfile 150\nshmem 50\nactive_file 60\ninactive_file 40\nslab_reclaimable 7\n";
    assert_eq!(pinned(500, v2, ""), 393);
    let v1 =
        "cache 9\nactive_file 1\ntotal_rss 300\ntotal_active_file 60\ntotal_inactive_file 40\n";
    assert_eq!(pinned(500, v1, "total_"), 400);
    assert_eq!(pinned(500, "", ""), 500);
    // The two files are not read at one instant.
    assert_eq!(pinned(50, v2, ""), 0);
}
