use super::*;

#[test]
fn only_installed_packages_are_listed() {
    let status = "Package: c\nStatus: hold ok installed\nVersion: 4\nSource: s (3)\n\n\
        Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\n\
        Description: x\n Package: y\n\n\
        Package: b\nStatus: deinstall ok config-files\nVersion: 1\n";
    let package = |name: &str, version: &str, architecture: &str, source: Option<&str>| Package {
        name: name.into(),
        version: version.into(),
        architecture: architecture.into(),
        source: source.map(str::to_owned),
    };
    let expected = [package("a", "1:2-3", "amd64", None), package("c", "4", "all", Some("s (3)"))];
    assert_eq!(installed(status), expected);
}
