use std::path::Path;

use super::{Units, slice_path};
use crate::id::ContainerId;

#[test]
fn a_slice_is_inside_those_that_its_name_begins_with() {
    let table = [
        ("berth.slice", "berth.slice"),
        ("berth-db1.slice", "berth.slice/berth-db1.slice"),
        ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"),
    ];
    for (name, path) in table {
        assert_eq!(slice_path(name), Path::new(path), "{name}");
    }
}

#[test]
fn a_container_is_one_level_below_the_parent_however_many_dashes_it_has() {
    let id = ContainerId::new("dbhost01-orders-us1-db4").unwrap();
    let units = Units::new("berth", &id);
    let slice = "berth.slice/berth-dbhost01:orders:us1:db4.slice";
    assert_eq!(units.slice_path(), Path::new(slice));
    let scope = "berth-dbhost01-orders-us1-db4.scope";
    assert_eq!(units.payload_path(), Path::new(slice).join(scope).join("payload"));
    assert_eq!(units.start_path(), Path::new(slice).join(scope).join("start"));
}

#[test]
fn the_longest_id_has_names_that_systemd_takes() {
    // Unit names have at most 255 characters (systemd.unit(5)).
    let id = ContainerId::new("a-".repeat(100)).unwrap();
    let units = Units::new("berth", &id);
    assert!(units.slice.len() < 256 && units.scope.len() < 256);
}
