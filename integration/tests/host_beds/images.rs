//! Images that the agent brings by itself, and what is kept of them.

use std::{fs, io::Write};

use berth_integration::{Bed, Entry, Options, image};
use berth_model::status::{InstanceState, Phase};
use serde_json::json;

use super::bad_host::tiny_image;

#[path = "../../../images/tests/registry/server.rs"]
mod registry;
use registry::Registry;

fn image_command(bed: &Bed, arguments: &[&str]) -> (bool, String) {
    let output = bed.berth(&[&["image"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_agent_pulls_what_a_goal_names() {
    let mut bed = Bed::with(&Options { own_images: true, ..Options::default() });
    let registry = Registry::start(bed.dir());
    let mut config = fs::File::options().append(true).open(bed.config()).unwrap();
    let host = registry.name("").trim_end_matches('/').to_owned();
    write!(config, "[registries]\nplain_http = [\"{host}\"]\ntries = 1\n").unwrap();
    bed.start_agent();
    let (first, second) = (registry.name("mysql:1"), registry.name("mysql:2"));
    let entry = |image: &str| Entry::master("far-db1", bed.port(0)).data("image", json!(image));
    let key = entry(&first).key();
    bed.goal("far.json", &[entry(&first)]);
    let missing = format!("image {first} to be pulled, which fails: cannot pull {first}");
    let told = bed.await_blocked(&key, &missing);
    assert!(told.blocked.unwrap().contains("has no manifest mysql:1"));
    let layout = bed.dir().join("mysql-layout");
    image::layout(&layout);
    registry.push(&layout, "mysql:1", &[]);
    let status = bed.await_converged(&[entry(&first)]);
    let pull = format!("pull image {first}");
    let pulled = |step: &&berth_model::status::RecentStep| step.step == pull;
    assert!(status.recent.iter().filter(pulled).any(|step| step.error.is_empty()));
    bed.await_status("what the images take is told", |status| {
        status.images.is_some_and(|images| images.trees == 1 && images.tree_bytes > 100 << 20)
    });
    // The next image is not there: the server runs on with its old one.
    let pid = bed.pid(&key);
    bed.goal("far.json", &[entry(&second)]);
    let told = bed.await_blocked(&key, "so the old one runs on: waiting for image");
    assert!(told.blocked.unwrap().contains("has no manifest mysql:2"));
    assert_eq!((bed.pid(&key), told.state), (pid, InstanceState::Master));
    let (removed, text) = image_command(&bed, &["rm", &first]);
    assert!(!removed && text.contains("is in use"), "{text}");
    registry.push(&layout, "mysql:2", &[]);
    bed.await_status("the server runs from the next image", |status| {
        let instance = &status.instances[&key];
        let new = instance.container.as_ref().is_some_and(|it| it.pid.is_some_and(|it| it != pid));
        new && instance.phase == Phase::Converged
    });
    what_ran_last_is_kept(&bed, entry(&second), &[&first, &second]);
}

/// All names of the image go, no container stands on it, and yet it stays: it ran last.
fn what_ran_last_is_kept(bed: &Bed, entry: Entry, names: &[&str]) {
    let key = entry.key();
    bed.goal("far.json", &[entry.clone().state("stopped")]);
    bed.await_instance(&key, "stopped", |it| {
        it.container.is_none() && it.phase == Phase::Converged
    });
    let tiny = tiny_image(bed.dir()).display().to_string();
    for name in names {
        let (imported, text) = image_command(bed, &["import", &tiny, "--tag", name]);
        assert!(imported, "{text}");
    }
    let (_, text) = image_command(bed, &["gc"]);
    assert_eq!(text, "nothing to remove\n");
    let (well, text) = image_command(bed, &["verify"]);
    assert!(well && text.contains("compared 1 tree: no damage"), "{text}");
    bed.goal("far.json", &[entry.state("removed")]);
    bed.await_state(&key, InstanceState::Removed);
    bed.remove_goal("far.json");
    bed.await_status("it is forgotten", |status| !status.instances.contains_key(&key));
    let (_, told) = image_command(bed, &["gc", "--dry-run"]);
    assert!(told.contains("tree of sha256:") && told.contains("would free"), "{told}");
    let (_, text) = image_command(bed, &["gc"]);
    assert_eq!(text.replace("freed", "would free"), told);
    bed.await_status("the room is free", |status| {
        status.images.is_some_and(|images| images.trees == 0)
    });
}
