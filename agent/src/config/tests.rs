//! What a configuration file may say.

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("berth.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

#[test]
fn defaults_fill_what_is_left_out() {
    let config = load("host = \"db1\"\nstate_dir = \"/srv/berth\"").unwrap();
    assert_eq!(config.host.as_str(), "db1");
    assert_eq!(config.data_dir, Path::new("/srv/berth/data"));
    assert_eq!(config.interval, Duration::from_secs(30));
    assert!(config.memory_bytes > 0);
}

#[test]
fn mistakes_name_the_field() {
    for (text, part) in [
        ("hots = \"x\"", "hots"),
        ("interval = \"soon\"", "\"soon\""),
        ("interval = \"0s\"", "1s to 1h"),
        ("cgroup = \"../x\"", "cgroup"),
        ("run_dir = \"run\"", "run_dir"),
        ("memory = 5", "bare number 5"),
        ("host = \"a b\"", "host name"),
        ("host = ", "TOML"),
    ] {
        let error = load(text).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", cause.unwrap_or_default());
        assert!(message.contains(part) || message.contains("1 |"), "{text:?}: {message}");
    }
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    assert!(matches!(
        Config::load(Path::new("/nonexistent/berth.toml")),
        Err(ConfigError::Read { .. })
    ));
}
