use std::path::PathBuf;

use super::*;

fn of(name: &str, check_date: bool) -> Vec<String> {
    let recipe = Recipe::builtin(name).unwrap().unwrap();
    let work = Work {
        scratch: PathBuf::from("/s"),
        overlay: PathBuf::from("/it's/overlay.tar"),
        status: PathBuf::from("/s/status"),
        layer: PathBuf::from("/s/layer"),
        sbom: PathBuf::from("/s/sbom"),
    };
    arguments(&recipe, "http://m.invalid/debian", &work, check_date)
}

fn hook(arguments: &[String], part: &str) -> usize {
    let is_it =
        |argument: &&String| argument.starts_with("--customize-hook=") && argument.contains(part);
    let found = arguments.iter().find(is_it).unwrap_or_else(|| panic!("no hook with {part}"));
    arguments.iter().position(|argument| argument == found).unwrap()
}

#[test]
fn the_command_ends_with_suite_output_and_source() {
    let arguments = of("mysql", true);
    let end = &arguments[arguments.len() - 3..];
    assert_eq!(end[..2], ["sid", "-"]);
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    assert_eq!(end[2], format!("deb [signed-by={keyring}] http://m.invalid/debian sid main"));
    assert!(arguments.contains(&"--include=mysql-server-core,mysql-client-core,tzdata".to_owned()));
    let percona = of("percona", true);
    assert!(percona.last().unwrap().contains("percona-keyring.gpg"));
}

#[test]
fn the_date_is_checked_unless_told_otherwise() {
    let off = "--aptopt=Acquire::Check-Valid-Until \"false\"".to_owned();
    assert!(!of("mysql", true).contains(&off));
    assert!(of("mysql", false).contains(&off));
}

#[test]
fn files_are_laid_over_a_root_that_is_tidy_and_has_the_user() {
    let arguments = of("percona", true);
    let overlay = hook(&arguments, "tar-in");
    assert!(hook(&arguments, "etc/passwd") < overlay);
    assert!(hook(&arguments, "etc/resolv.conf") < overlay);
    assert!(hook(&arguments, "rm -rf \"$1\"/var/lib/mysql") < overlay);
    assert_eq!(arguments[overlay], r"--customize-hook=tar-in '/it'\''s/overlay.tar' /");
    assert!(
        arguments[hook(&arguments, "etc/passwd")]
            .contains("mysql:x:1001:1001:mysql:/var/lib/mysql:")
    );
}
