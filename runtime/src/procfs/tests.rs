use super::{ProcStat, children_of, is_alive, stat};

const LINE: &str = "77 (odd) name) S 1 77 77 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 12 0 4242 \
    1000 200 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 9";

#[test]
fn parses_a_command_name_with_brackets() {
    let parsed = ProcStat::parse(LINE).unwrap();
    assert_eq!(
        parsed,
        ProcStat {
            state: 'S',
            ppid: 1,
            exiting: false,
            num_threads: 12,
            start_time: 4242,
            exit_code: 9
        }
    );
}

#[test]
fn refuses_a_short_line() {
    assert_eq!(ProcStat::parse("77 (x) S 1"), None);
    assert_eq!(ProcStat::parse(""), None);
}

#[test]
fn a_dead_leader_with_living_threads_is_not_dead() {
    let mut parsed = ProcStat::parse(LINE).unwrap();
    parsed.state = 'Z';
    assert!(!parsed.is_dead());
    parsed.num_threads = 1;
    assert!(parsed.is_dead());
    parsed.state = 'D';
    assert!(!parsed.is_dead());
}

#[test]
fn the_test_itself_is_alive_and_is_nobody_else() {
    let me = i32::try_from(std::process::id()).unwrap();
    let mine = stat(me).unwrap().unwrap();
    assert!(is_alive(me, mine.start_time).unwrap());
    assert!(!is_alive(me, mine.start_time + 1).unwrap());
}

#[test]
fn sees_its_own_child() {
    let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
    let me = i32::try_from(std::process::id()).unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let seen = children_of(me).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.contains(&pid), "{pid} in {seen:?}");
}
