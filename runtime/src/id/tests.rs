use super::ContainerId;

#[test]
fn accepts_names_that_are_one_safe_component() {
    for id in ["a", "db-1.2_x", "0orders"] {
        assert_eq!(ContainerId::new(id).unwrap().as_str(), id);
    }
}

#[test]
fn refuses_what_could_leave_its_directory() {
    let long = "a".repeat(201);
    for id in ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a b", "ü", "a\0b", &long] {
        assert!(ContainerId::new(id).is_err(), "{id:?}");
    }
}
