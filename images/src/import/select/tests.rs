use serde_json::{Value, json};

use super::*;

fn descriptor(digit: char, platform: Option<(&str, &str)>, name: Option<&str>) -> Value {
    let mut value = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", digit.to_string().repeat(64)),
        "size": 1,
    });
    if let Some((os, architecture)) = platform {
        value["platform"] = json!({"os": os, "architecture": architecture});
    }
    if let Some(name) = name {
        value["annotations"] = json!({ ANNOTATION_REF_NAME: name });
    }
    value
}

fn chosen(manifests: Vec<Value>, reference: &str) -> Result<char> {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    let index: ImageIndex = serde_json::from_value(index).unwrap();
    let reference = reference.parse().unwrap();
    let descriptor = choose("here", index.manifests(), &reference)?;
    Ok(descriptor.digest().digest().chars().next().unwrap())
}

fn ours() -> Option<(&'static str, &'static str)> {
    Some((
        "linux",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    ))
}

#[test]
fn the_only_image_is_taken_whatever_its_name() {
    assert_eq!(chosen(vec![descriptor('1', None, Some("other"))], "x:1").unwrap(), '1');
}

#[test]
fn platforms_rule_out_and_names_decide() {
    let manifests = || {
        vec![
            descriptor('1', Some(("linux", "s390x")), Some("1")),
            descriptor('2', Some(("unknown", "unknown")), None),
            descriptor('3', ours(), Some("1")),
            descriptor('4', ours(), Some("docker.io/library/x:2")),
        ]
    };
    assert_eq!(chosen(manifests(), "x:1").unwrap(), '3');
    assert_eq!(chosen(manifests(), "x:2").unwrap(), '4');
    let pinned = format!("y@sha256:{}", "4".repeat(64));
    assert_eq!(chosen(manifests(), &pinned).unwrap(), '4');
    let error = chosen(manifests(), "x:3").unwrap_err().to_string();
    assert!(error.contains("one image for x:3") && error.contains("s390x"), "{error}");
}

#[test]
fn none_and_two_are_refused() {
    let error = chosen(Vec::new(), "x").unwrap_err().to_string();
    assert!(error.ends_with("found none"), "{error}");
    let twins = vec![descriptor('1', None, Some("1")), descriptor('2', None, Some("1"))];
    chosen(twins, "x:1").unwrap_err();
}
