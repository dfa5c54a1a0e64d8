use super::*;
use crate::build::builtin_recipes;

fn parse(change: impl Fn(String) -> String) -> Result<Recipe, BuildError> {
    let text = change(BUILTIN[0].recipe.to_owned());
    Recipe::parse(Path::new("r"), &text, Vec::new())
}

#[test]
fn the_built_in_recipes_are_valid() {
    let names: Vec<_> = builtin_recipes().collect();
    assert_eq!(names, ["mysql", "percona", "toolkit"]);
    for name in names {
        let recipe = Recipe::builtin(name).unwrap().unwrap();
        assert_eq!(recipe.name(), name);
        assert!(!recipe.description().is_empty());
    }
    assert!(Recipe::builtin("none").unwrap().is_none());
}

#[test]
fn a_recipe_that_was_never_built_says_so() {
    let percona = Recipe::builtin("percona").unwrap().unwrap();
    assert!(percona.description().starts_with("UNPROVEN"));
}

#[test]
fn the_servers_run_as_mysql_and_supervised() {
    for name in ["mysql", "percona"] {
        let recipe = Recipe::builtin(name).unwrap().unwrap();
        assert_eq!((recipe.account().name.as_str(), recipe.account().uid), ("mysql", 1001));
        assert!(recipe.env().contains(&"MYSQLD_PARENT_PID=0".to_owned()));
        assert_eq!(recipe.volumes(), ["/var/lib/mysql"]);
    }
}

#[test]
fn the_server_starts_read_only_and_by_gtid() {
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    let file = &recipe.files()[0];
    assert_eq!(file.path, Path::new("etc/mysql/my.cnf"));
    let text = std::str::from_utf8(&file.content).unwrap();
    let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for setting in [
        "super_read_only = ON",
        "skip_replica_start = ON",
        "gtid_mode = ON",
        "enforce_gtid_consistency = ON",
        "relay_log_recovery = ON",
        "innodb_flush_method = O_DIRECT",
        "secure_file_priv = NULL",
        "skip_name_resolve = ON",
    ] {
        assert!(settings.contains(&setting), "{setting}");
    }
    // The error log is standard error; plugins come by argument.
    for absent in ["log_error =", "plugin"] {
        assert!(!settings.iter().any(|line| line.starts_with(absent)), "{absent}");
    }
}

#[test]
fn values_that_a_shell_or_passwd_would_misread_are_refused() {
    for (from, to) in [
        ("name = \"mysql\"\n", "name = \"My\"\n"),
        ("name = \"mysql\", uid", "name = \"a:b\", uid"),
        ("home = \"/var/lib/mysql\"", "home = \"/a'b\""),
        ("suite = \"sid\"", "suite = \"--help\""),
        ("\"tzdata\"", "\"a b\""),
        ("\"tzdata\"", "\"$(reboot)\""),
        ("/usr/share/keyrings", "/usr/share/../keyrings"),
        ("mode = \"0750\"", "mode = \"888\""),
        ("volumes = [\"/var", "volumes = [\"var"),
        ("cmd = [\"/usr/sbin/mysqld\"]", "cmd = []"),
        ("volumes =", "remove = [\"/tmp\"]\nvolumes ="),
    ] {
        assert!(BUILTIN[0].recipe.contains(from), "{from}");
        let error = parse(|text| text.replace(from, to)).expect_err(to);
        assert!(matches!(error, BuildError::Value { .. }), "{to}: {error}");
    }
    let error = parse(|text| format!("unknown = 1\n{text}")).unwrap_err();
    assert!(matches!(error, BuildError::Parse { .. }), "{error}");
}

#[test]
fn a_directory_is_read_with_its_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("recipe.toml"), BUILTIN[0].recipe).unwrap();
    let files = directory.path().join("files/usr/bin");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("tool"), "x").unwrap();
    fs::set_permissions(files.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let recipe = Recipe::load(directory.path()).unwrap();
    assert_eq!(recipe.files().len(), 1);
    assert_eq!(recipe.files()[0].path, Path::new("usr/bin/tool"));
    assert!(recipe.files()[0].executable);

    std::os::unix::fs::symlink("/etc/shadow", files.join("link")).unwrap();
    let error = Recipe::load(directory.path()).unwrap_err();
    assert!(error.to_string().contains("files/usr/bin/link"), "{error}");
    let error = Recipe::load(&files).unwrap_err();
    assert!(matches!(error, BuildError::Read { .. }), "{error}");
}
