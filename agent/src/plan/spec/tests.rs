use super::*;

fn tree(volumes: &[&str]) -> TreeFacts {
    TreeFacts {
        root: "/tree".into(),
        mysqld: None,
        owner: None,
        env: Vec::new(),
        volumes: volumes.iter().map(PathBuf::from).collect(),
        template: false,
    }
}

#[test]
fn volumes_beside_the_data_get_directories_of_the_instance() {
    let found = volumes(Path::new("/data/key"), &tree(&["/var/lib/mysql", "/var/log/mysql"]));
    assert_eq!(found, [("/data/key/volume-var-log-mysql".into(), "/var/log/mysql".into())]);
}

#[test]
fn volumes_that_would_cover_or_be_covered_are_left() {
    let clashing =
        ["/", "/var", "/var/lib/mysql/x", "/run/mysqld", "/tmp", "/var/run/x", "/a/../tmp", "a"];
    assert_eq!(volumes(Path::new("/data/key"), &tree(&clashing)), []);
}
