//! Goal files that are wrong: each is refused with its place, in the status and by
//! `berth goal check`, what was in force stays, and the rest goes on.

use std::{fs, io::Write, os::unix::fs::symlink, path::Path};

use berth_integration::{Bed, Entry, Options, goal};
use berth_model::{
    goal::Refusal,
    status::{GoalStanding, InstanceState, Phase, StatusDocument},
};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

const BAD: &str = "bad.json";

/// What has to go on whatever the other files hold.
struct Rest {
    bed: Bed,
    entry: Entry,
    pid: u32,
}

#[test]
fn bad_files_are_refused_and_the_rest_goes_on() {
    let mut bed = Bed::with(&Options { memory: Some("1GiB"), ..Options::default() });
    bed.start_agent();
    let entry = Entry::master("keep-db1", bed.port(0));
    bed.goal("keep.json", std::slice::from_ref(&entry));
    bed.await_converged(std::slice::from_ref(&entry));
    let pid = bed.pid(&entry.key());
    let rest = Rest { bed, entry, pid };

    files_that_are_no_goal_files(&rest);
    drop_ins_that_are_no_files(&rest);
    entries_that_are_wrong_by_themselves(&rest);
    entries_that_can_not_all_be_true(&rest);
    a_bad_edit_keeps_the_last_good_goal(&rest);
}

impl Rest {
    /// The refusals of a file, once they are in the status. Everything else goes on, and
    /// `berth goal check` finds the same.
    fn refused(&self, file: &str, count: usize) -> Vec<Refusal> {
        let path = self.bed.goal_dir().join(file).display().to_string();
        let of_file = |status: &StatusDocument| -> Vec<Refusal> {
            let all = status.refusals.iter();
            all.filter(|refusal| refusal.location.file == path).cloned().collect()
        };
        let what = format!("{count} refusals of {file}, and nothing else wrong");
        let status = self.bed.await_status(&what, |status| {
            let kept = &status.instances[&self.entry.key()];
            let goes_on = (kept.phase, kept.goal.standing);
            of_file(status).len() == count && goes_on == (Phase::Converged, GoalStanding::Current)
        });
        let refusals = of_file(&status);
        self.is_unharmed();
        let shown = String::from_utf8_lossy(&self.bed.berth(&["status"]).stdout).into_owned();
        for refusal in &refusals {
            assert!(shown.contains(&refusal.to_string()), "{refusal} is not in {shown}");
            assert!(!refusal.remedy.is_empty(), "{refusal}");
        }
        refusals
    }

    fn is_unharmed(&self) {
        assert_eq!(self.bed.sql(&self.entry.key(), "SELECT 1"), "1");
        assert_eq!(self.bed.pid(&self.entry.key()), self.pid);
    }

    /// What `berth goal check` says of a file, as this host would.
    fn check(&self, file: &str) -> Vec<Refusal> {
        let keep = self.bed.goal_dir().join("keep.json").display().to_string();
        let path = self.bed.goal_dir().join(file).display().to_string();
        let output = self.bed.berth(&[
            "goal",
            "check",
            "--json",
            "--host",
            goal::HOST,
            "--memory",
            "1GiB",
            &keep,
            &path,
        ]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all: Vec<Refusal> = serde_json::from_value(found["refusals"].clone()).unwrap();
        all.into_iter().filter(|refusal| refusal.location.file == path).collect()
    }

    /// Puts a file there, and expects one refusal in it, at this line, with these words.
    fn refuses(&self, text: &str, line: usize, words: &[&str]) {
        self.bed.goal_text(BAD, text);
        let refusals = self.refused(BAD, 1);
        assert_eq!(self.check(BAD), refusals);
        let refusal = &refusals[0];
        assert_eq!(refusal.location.line, line, "{refusal}");
        for word in words {
            assert!(refusal.to_string().contains(word), "{word:?} is not in: {refusal}");
        }
        self.clear(BAD);
    }

    fn clear(&self, file: &str) {
        self.bed.remove_goal(file);
        self.bed.await_status("no refusal", |status| {
            status.refusals.is_empty() && status.instances.len() == 1
        });
        self.is_unharmed();
    }
}

fn files_that_are_no_goal_files(rest: &Rest) {
    rest.refuses("this is no JSON\n", 1, &["one JSON object"]);
    rest.refuses("", 1, &["EOF"]);
    rest.refuses("[1, 2]", 1, &["sequence", "one JSON object"]);
    let whole = goal::text(&[Entry::master("cut-db1", rest.bed.port(1))]);
    let cut = &whole[..whole.len() / 2];
    rest.refuses(cut, cut.lines().count(), &["EOF"]);
    rest.refuses(&format!("{whole}}}"), whole.lines().count() + 1, &["trailing"]);

    let path = rest.bed.goal_dir().join(BAD);
    let new = rest.bed.goal_dir().join(".new");
    fs::write(&new, b"{\"bed-x\": \"\xff\"}").unwrap();
    fs::rename(&new, &path).unwrap();
    assert!(rest.refused(BAD, 1)[0].to_string().contains("UTF-8"));
    rest.clear(BAD);

    let mut large = fs::File::create(&new).unwrap();
    large.write_all(b"{").unwrap();
    for _ in 0..100 {
        large.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    fs::rename(new, &path).unwrap();
    let refusals = rest.refused(BAD, 1);
    assert_eq!(rest.check(BAD), refusals);
    assert!(refusals[0].to_string().contains("16 MiB"), "{}", refusals[0]);
    rest.clear(BAD);
}

fn drop_ins_that_are_no_files(rest: &Rest) {
    let path = |name: &str| rest.bed.goal_dir().join(name);
    fs::create_dir(path("dir.json")).unwrap();
    nix::unistd::mkfifo(&path("fifo.json"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    symlink("/nothing/is/here", path("link.json")).unwrap();
    for (file, word) in [("dir.json", "directory"), ("fifo.json", "fifo"), ("link.json", "link")] {
        let refusals = rest.refused(file, 1);
        assert_eq!(rest.check(file), refusals);
        assert!(refusals[0].to_string().contains(word), "{}", refusals[0]);
    }
    fs::remove_dir(path("dir.json")).unwrap();
    fs::remove_file(path("fifo.json")).unwrap();
    rest.clear("link.json");
    // A link to a file is as good as the file; what doesn't end in .json is nobody's business.
    fs::write(path("notes.txt"), "not JSON").unwrap();
    let elsewhere = rest.bed.dir().join("elsewhere");
    fs::write(&elsewhere, goal::text(&[Entry::master("else-db1", 0)])).unwrap();
    symlink(&elsewhere, path(BAD)).unwrap();
    assert!(rest.refused(BAD, 1)[0].to_string().contains("found 0"));
    rest.clear(BAD);
}

fn entries_that_are_wrong_by_themselves(rest: &Rest) {
    let port = rest.bed.port(1);
    let good = || Entry::master("bad-db1", port);
    let of = |entry: Entry| goal::text(&[entry]);
    // serde_json writes the fields in their order, one a line.
    let line_of =
        |text: &str, word: &str| text.lines().position(|line| line.contains(word)).unwrap() + 1;
    let cases: [(Entry, &str, &[&str]); 8] = [
        (good().data("sise", json!("1GiB")), "sise", &["data.sise", "unknown field"]),
        (good().data("port", json!("3306")), "\"port\"", &["data.port", "string", "u16"]),
        (good().data("port", json!(70000)), "\"port\"", &["data.port", "70000"]),
        (good().data("role", json!("boss")), "\"role\"", &["data.role", "boss", "minion"]),
        (good().state("paused"), "\"state\"", &["state", "paused", "started"]),
        (good().data("size", json!(1_000_000)), "\"size\"", &["data.size", "1000000"]),
        (good().data("size", json!("huge")), "\"size\"", &["data.size", "huge"]),
        (good().data("disabled", json!("no")), "\"disabled\"", &["data.disabled", "boolean"]),
    ];
    for (entry, place, words) in cases {
        let text = of(entry);
        rest.refuses(&text, line_of(&text, place), words);
    }
    let entry_line = line_of(&of(good()), "bad-db1");
    rest.refuses(
        &of(good().data("role", json!("minion"))),
        entry_line,
        &["master_host", "minion without"],
    );
    rest.refuses(
        &of(good().data("variables", json!({"read_only": false}))),
        entry_line,
        &["data.variables", "read_only"],
    );
    rest.refuses(&of(good()).replace("bed-bad", "bed/bad"), entry_line, &["bed/bad", "'/'"]);
}

fn entries_that_can_not_all_be_true(rest: &Rest) {
    let port = |number| rest.bed.port(number);
    let taken = goal::text(&[Entry::master("taken-db1", port(0))]);
    rest.refuses(&taken, 2, &["data.port", &port(0).to_string(), "bed-keep-db1"]);
    let second = goal::text(&[Entry::master("keep-db2", port(1))]);
    rest.refuses(&second, 2, &["masters of cluster keep", "bed-keep-db1"]);
    // 1 GiB, of which 448 MiB are given already.
    let large = goal::text(&[Entry::master("large-db1", port(1)).data("size", json!("640MiB"))]);
    rest.refuses(
        &large,
        2,
        &["data.size", "1024 MiB", "bed-keep-db1 (448MiB)", "bed-large-db1 (640MiB)"],
    );

    // The same key twice, in one file and in two.
    let text = goal::text(&[Entry::master("twice-db1", port(1))]);
    let member = text.trim().trim_start_matches('{').trim_end_matches('}').trim().to_owned();
    rest.bed.goal_text(BAD, &format!("{{\n{member},\n{member}\n}}"));
    let twice = rest.refused(BAD, 2);
    assert_eq!(rest.check(BAD), twice);
    assert_ne!(twice[0].location.line, twice[1].location.line);
    rest.clear(BAD);
    // Alone each is right, so that each by itself may do no harm: it asks for nothing.
    let text = goal::text(&[Entry::master("twice-db1", port(1)).state("removed")]);
    rest.bed.goal_text(BAD, &text);
    rest.bed.goal_text("other.json", &text);
    for file in [BAD, "other.json"] {
        let refusal = rest.refused(file, 1).remove(0).to_string();
        assert!(refusal.contains("bad.json:2:") && refusal.contains("other.json:2:"), "{refusal}");
    }
    rest.bed.remove_goal("other.json");
    rest.bed.await_state(&goal::key("twice-db1"), InstanceState::Removed);
    rest.clear(BAD);
}

fn a_bad_edit_keeps_the_last_good_goal(rest: &Rest) {
    let file = rest.bed.goal_dir().join("keep.json");
    let good = fs::read_to_string(&file).unwrap();
    let held = |text: &str| {
        rest.bed.goal_text("keep.json", text);
        let status = rest.bed.await_status("the last good goal", |status| {
            let kept = status.instances.get(&rest.entry.key());
            kept.is_some_and(|kept| kept.goal.standing == GoalStanding::LastGood)
        });
        assert!(!status.refusals.is_empty());
        rest.is_unharmed();
        rest.bed.goal_text("keep.json", &good);
        rest.bed.await_converged(std::slice::from_ref(&rest.entry));
    };
    held("{");
    held(&good.replace("\"master\"", "\"boss\""));
    held(&good.replace(&rest.bed.port(0).to_string(), "0"));
    assert!(Path::new(&file).exists());
    rest.is_unharmed();
}
