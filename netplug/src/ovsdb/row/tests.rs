use super::*;

#[test]
fn sets_of_one_are_written_bare() {
    let row = json!({"none": ["set", []], "one": 5, "two": ["set", [5, 6]], "tag": ["set", [7]]});
    assert_eq!(integers(&row, "none"), [0_i64; 0]);
    assert_eq!(integers(&row, "one"), [5]);
    assert_eq!(integers(&row, "two"), [5, 6]);
    assert_eq!(optional(&row, "none"), None);
    assert_eq!(optional(&row, "one"), Some(&json!(5)));
    assert_eq!(optional(&row, "tag"), Some(&json!(7)));
    assert_eq!(optional(&row, "absent"), None);
}

#[test]
fn a_map_is_read_as_it_is_written() {
    let row = json!({"ids": map([("a", "1"), ("b", "2")]), "other": "x"});
    let found = strings(&row, "ids");
    assert_eq!(found.get("a").map(String::as_str), Some("1"));
    assert_eq!(found.len(), 2);
    assert!(strings(&row, "other").is_empty() && strings(&row, "absent").is_empty());
}

#[test]
fn identifiers_and_texts() {
    let row = json!({"_uuid": ["uuid", "u-1"], "name": "br0", "error": ["set", []]});
    assert_eq!(uuid(&row).as_deref(), Some("u-1"));
    assert_eq!(text(&row, "name"), "br0");
    assert_eq!(text(&row, "error"), "");
}
