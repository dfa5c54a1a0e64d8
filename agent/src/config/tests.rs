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
        ("probe_timeout = \"2m\"", "1s to 59s"),
        ("cgroup = \"../x\"", "cgroup"),
        ("run_dir = \"run\"", "run_dir"),
        ("memory = 5", "bare number 5"),
        ("host = \"a b\"", "host name"),
        ("host = ", "TOML"),
        ("[network]\nbridge = \"a/b\"", "network.bridge"),
        ("[network]\nbridge = \"abcdefghijklmnop\"", "at most 15 characters"),
        ("[network]\nuplink = \"br-berth\"", "another link"),
        ("[network]\ntrunks = [10]", "`uplink` beside it"),
        ("[network]\nuplink = \"eth1\"\ntrunks = [4095]", "a VLAN id from 1 to 4094"),
        ("[network]\ndatapath = \"fast\"", "expected one of `auto`, `kernel`, `userspace`"),
        ("[network]\npools_dir = \"pools\"", "network.pools_dir"),
        ("[network]\nprobe_wait = \"1h\"", "1ms to 5s"),
        ("[network]\nprobe_count = 11", "0 to 10"),
        ("[network]\npool = 1", "pool"),
        ("[registries]\nplain_http = [\"http://x\"]", "without a path"),
        ("[registries]\nplain_http = [\"host\"]", "without a path"),
        ("[registries.mirrors]\n\"docker.io\" = [\"mirror\"]", "host:port[/prefix]"),
        ("[registries]\nauth_file = \"auth.json\"", "registries.auth_file"),
        ("[registries]\nstall_wait = \"0s\"", "registries.stall_wait"),
        ("[registries]\ntries = 0", "1 to 100"),
        ("[registries]\nparallel = 17", "1 to 16"),
    ] {
        let error = load(text).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", cause.unwrap_or_default());
        assert!(message.contains(part) || message.contains("1 |"), "{text:?}: {message}");
    }
}

#[test]
fn the_network_s_places_follow_from_the_host_s() {
    let text = "host = \"db1\"\nstate_dir = \"/srv/berth\"\nrun_dir = \"/run/b\"\n[network]\n\
                bridge = \"br1\"\nuplink = \"eth1\"\ntrunks = [10, 20]\ndatapath = \"userspace\"\n\
                ovsdb_socket = \"/run/b/db.sock\"\nprobe_count = 1\nprobe_wait = \"20ms\"";
    let plug = load(text).unwrap().netplug().unwrap();
    assert_eq!(plug.host.as_str(), "db1");
    assert_eq!(plug.state_dir, Path::new("/srv/berth/net"));
    assert_eq!(plug.run_dir, Path::new("/run/b/net"));
    assert_eq!(plug.ovsdb_socket, Path::new("/run/b/db.sock"));
    assert_eq!(plug.bridge.name, "br1");
    assert_eq!(plug.bridge.datapath, berth_netplug::DatapathChoice::Userspace);
    let uplink = plug.bridge.uplink.unwrap();
    assert_eq!((uplink.interface.as_str(), uplink.trunks.len()), ("eth1", 2));
    assert_eq!((plug.probing.count, plug.probing.wait), (1, Duration::from_millis(20)));

    let plain = load("host = \"db1\"").unwrap();
    assert_eq!(plain.network.pools_dir, Path::new("/etc/berth/pools.d"));
    let usual = berth_netplug::Config::new(
        berth_netplug::HostName::new("db1").unwrap(),
        plain.network.bridge.clone(),
    );
    assert_eq!(format!("{:?}", plain.netplug().unwrap()), format!("{usual:?}"));
}

#[test]
fn registries_are_reached_as_configured() {
    let text = "host = \"db1\"\n[registries]\npull = false\nplain_http = [\"r.lan:5000\", \
                \"localhost\"]\nauth_file = \"/srv/auth.json\"\nstall_wait = \"5s\"\n\
                [registries.mirrors]\n\"docker.io\" = [\"m.lan:5000/hub\", \"m2.lan\"]";
    let found = load(text).unwrap().registries;
    assert!(!found.by_agent);
    assert!(found.reach.plain_http.contains("r.lan:5000"));
    assert_eq!(found.reach.mirrors["docker.io"].len(), 2);
    assert_eq!(found.reach.auth_files[0], Path::new("/srv/auth.json"));
    assert_eq!(found.reach.stall_wait, Duration::from_secs(5));
    assert!(load("host = \"db1\"").unwrap().registries.by_agent);
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    assert!(matches!(
        Config::load(Path::new("/nonexistent/berth.toml")),
        Err(ConfigError::Read { .. })
    ));
}
