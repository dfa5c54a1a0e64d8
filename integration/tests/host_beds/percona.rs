//! An image of the form that Percona publishes runs unchanged: its user, its VOLUMEs, its
//! my.cnf and conf.d; its entrypoint stays out of it.
//!
//! The form is that of Percona's Dockerfiles (percona/percona-docker, percona-server-8.4):
//! user mysql 1001:1001, VOLUME /var/lib/mysql and /var/log/mysql, /etc/my.cnf with
//! /etc/my.cnf.d, ENTRYPOINT /docker-entrypoint.sh, CMD mysqld. The server is that of the test
//! image; umoci makes the image, as any other builder would.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use berth_integration::{Bed, Entry, Options, image, proc};
use serde_json::json;

const NAME: &str = "percona/percona-server:8.4";
const UID: u32 = 1001;
const MY_CNF: &str = "# Percona Server template configuration\n\n[mysqld]\n\
    datadir=/var/lib/mysql\nsocket=/var/lib/mysql/mysql.sock\n\
    #log-error=/var/log/mysqld.log\npid-file=/var/run/mysqld/mysqld.pid\n\n\
    !includedir /etc/my.cnf.d\n";
const DOCKER_CNF: &str = "[mysqld]\nhost_cache_size=0\nskip-name-resolve\n";
/// Would show in the data directory.
const ENTRYPOINT: &str = "#!/bin/bash\ntouch /var/lib/mysql/entrypoint-ran\nexec \"$@\"\n";

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

/// The layer that turns the test image into one of Percona's form, as a tar.
fn layer(dir: &Path) -> PathBuf {
    let root = dir.join("layer");
    for part in ["etc/my.cnf.d", "var/log/mysql", "docker-entrypoint-initdb.d"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    // Where Debian has its configuration, Percona's image has none.
    fs::write(root.join("etc/.wh.mysql"), "").unwrap();
    fs::write(root.join("etc/my.cnf"), MY_CNF).unwrap();
    fs::write(root.join("etc/my.cnf.d/docker.cnf"), DOCKER_CNF).unwrap();
    let entrypoint = root.join("docker-entrypoint.sh");
    fs::write(&entrypoint, ENTRYPOINT).unwrap();
    fs::set_permissions(&entrypoint, fs::Permissions::from_mode(0o755)).unwrap();
    chown(root.join("var/log/mysql"), Some(UID), Some(UID)).unwrap();
    let tar = dir.join("layer.tar");
    let parts = ["etc", "var/log/mysql", "docker-entrypoint.sh", "docker-entrypoint-initdb.d"];
    run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).args(parts));
    tar
}

fn layout(dir: &Path) -> PathBuf {
    let (base, made) = (dir.join("base"), dir.join("layout"));
    image::layout(&base);
    let copy = [&base, &made].map(|layout| format!("oci:{}:1", layout.display()));
    run(Command::new("skopeo").arg("copy").args(copy));
    let name = format!("{}:1", made.display());
    let layer = layer(dir);
    run(Command::new("umoci").args(["raw", "add-layer", "--image", &name]).arg(layer));
    run(Command::new("umoci").args(["config", "--image", &name]).args([
        "--config.user=mysql",
        "--config.volume=/var/lib/mysql",
        "--config.volume=/var/log/mysql",
        "--config.entrypoint=/docker-entrypoint.sh",
        "--config.cmd=mysqld",
        "--config.exposedports=3306",
        "--config.exposedports=33060",
        "--config.env=PS_VERSION=8.4.6-6.1",
    ]));
    made
}

#[test]
fn an_image_as_percona_publishes_them_runs_unchanged() {
    let mut bed = Bed::with(&Options { template: false, own_images: true, ..Options::default() });
    let layout = layout(bed.dir());
    let import = ["image", "import", &layout.display().to_string(), "--tag", NAME];
    let output = bed.berth(&import);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entry = Entry::master("percona-db1", bed.port(0)).data("image", json!(NAME));
    bed.goal("percona.json", std::slice::from_ref(&entry));
    bed.start_agent();
    bed.await_converged(std::slice::from_ref(&entry));
    let key = entry.key();

    // Its own configuration holds, both files of it.
    assert_eq!(bed.sql(&key, "SELECT @@host_cache_size, @@skip_name_resolve"), "0\t1");
    // The server runs as the image's user, and nothing went before it.
    let pid = bed.pid(&key);
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), UID);
    assert!(proc::command_line(pid).starts_with("/usr/sbin/mysqld"), "{}", proc::command_line(pid));
    // What it writes is in the data directory on the host.
    bed.sql(
        &key,
        "CREATE DATABASE app; CREATE TABLE app.t (v TEXT); INSERT INTO app.t VALUES ('x')",
    );
    assert_eq!(bed.sql(&key, "SELECT v FROM app.t"), "x");
    let data = bed.instance_dir(&key).join("mysql");
    assert_eq!(fs::metadata(data.join("app/t.ibd")).unwrap().uid(), UID);
    assert!(!data.join("entrypoint-ran").exists());
    // Both VOLUMEs can be written to.
    for volume in ["/var/lib/mysql", "/var/log/mysql"] {
        let file = format!("{volume}/written");
        let touch = ["exec", "-u", "1001:1001", key.as_str(), "--", "touch", &file];
        let output = bed.berth(&touch);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(data.join("written").exists());
}
