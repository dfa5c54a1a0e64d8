use super::super::limits::{Content, Expect};
use super::{check_cpu_list, cpu_list, matches, write_one};
use crate::device::DeviceNumber;

const DISK: DeviceNumber = DeviceNumber { major: 254, minor: 0 };

fn device(words: &[&str]) -> Expect {
    Expect::Device { device: DISK, words: words.iter().map(|word| (*word).to_owned()).collect() }
}

#[test]
fn read_back_is_compared_by_meaning() {
    let table = [
        (Expect::Text("max 100000".into()), "max 100000\n", true),
        (Expect::Text("100".into()), "200\n", false),
        (Expect::Bytes(None), "max\n", true),
        (Expect::Bytes(None), "9223372036854771712\n", true),
        (Expect::Bytes(None), "4096\n", false),
        (Expect::Bytes(Some(4096)), "4096\n", true),
        (Expect::Bytes(Some(4096)), "max\n", false),
        (Expect::Cpus("0,1,2".into()), "0-2\n", true),
        (Expect::Cpus("0-1".into()), "0\n", false),
        (device(&["wbps=1", "rbps=max"]), "8:0 wbps=9\n254:0 rbps=max wbps=1 riops=max\n", true),
        (device(&["wbps=1"]), "254:0 rbps=max wbps=11\n", false),
        (device(&["1"]), "", false),
        (device(&[]), "", true),
        (device(&[]), "254:0 rbps=max wbps=max\n", true),
        (device(&[]), "254:0 10485760\n", false),
    ];
    for (expect, actual, wanted) in table {
        assert_eq!(matches(&expect, actual), wanted, "{expect:?} {actual:?}");
    }
}

#[test]
fn cpu_lists() {
    assert_eq!(cpu_list("0-2,5\n"), Some([0, 1, 2, 5].into()));
    assert_eq!(cpu_list(""), Some([].into()));
    for bad in ["2-1", "x", "0-", "0-99999999"] {
        assert_eq!(cpu_list(bad), None, "{bad:?}");
        assert!(check_cpu_list(bad).is_err());
    }
    assert!(check_cpu_list("").is_err());
    check_cpu_list("3").unwrap();
}

#[test]
fn a_group_that_had_cpus_of_its_own_gets_all_and_another_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let group = parent.path().join("payload");
    std::fs::create_dir(&group).unwrap();
    std::fs::write(parent.path().join("cpuset.cpus.effective"), "0-7\n").unwrap();
    let own = group.join("cpuset.cpus");
    for (before, after) in [("\n", ""), ("0-3\n", "0-7")] {
        std::fs::write(&own, before).unwrap();
        write_one(&group, "cpuset.cpus", &Content::AllCpus, &Expect::Anything).unwrap();
        assert_eq!(std::fs::read_to_string(&own).unwrap().trim(), after);
    }
}
