use super::*;

fn mirror_of(files: &[(&str, &str)]) -> Result<String, BuildError> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sources.list.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let options =
        BuildOptions { apt_directory: directory.path().to_owned(), ..BuildOptions::default() };
    mirror(&Recipe::builtin("mysql").unwrap().unwrap(), &options)
}

#[test]
fn both_styles_are_read() {
    for (name, text) in [
        ("sources.list", "deb http://m.invalid/debian bookworm main\n"),
        (
            "sources.list",
            "# deb http://x/debian a main\n deb [arch=amd64 signed-by=/k] http://m.invalid/debian trixie main contrib # it\n",
        ),
        (
            "sources.list.d/a.list",
            "deb-src http://x/debian a main\ndeb\thttp://m.invalid/debian a main",
        ),
        (
            "sources.list.d/a.sources",
            "Types: deb\nURIs: http://m.invalid/debian\nSuites: a a-updates\nComponents: main\n",
        ),
        (
            "sources.list.d/a.sources",
            "# c\nEnabled: no\nTypes: deb\nURIs: http://x/debian\nSuites: a\nComponents: main\n\n\nTypes: deb-src deb\nuris:\n http://m.invalid/debian\nSuites: a\nComponents: main\nSigned-By:\n -----BEGIN\n .\n",
        ),
    ] {
        assert_eq!(mirror_of(&[(name, text)]).unwrap(), "http://m.invalid/debian", "{text}");
    }
}

#[test]
fn other_archives_are_passed_over() {
    let others = "deb http://m.invalid/debian-security a-security main\n\
        deb http://m.invalid/debian a-backports main\n\
        deb http://vendor.invalid/apt stable main\n\
        deb cdrom:[x]/debian a main\n\
        deb http://m.invalid/debian ./\n";
    let error = mirror_of(&[("sources.list", others)]).unwrap_err();
    assert!(matches!(error, BuildError::NoMirror { .. }), "{error}");
    assert!(error.to_string().contains("name one in the options"), "{error}");
    let drop_in = ("sources.list.d/b.list", "deb https://n.invalid/debian/ a main\n");
    assert_eq!(
        mirror_of(&[("sources.list", others), drop_in]).unwrap(),
        "https://n.invalid/debian/"
    );
}

#[test]
fn options_outrank_the_machine() {
    let options = BuildOptions { mirror: Some("file:/m".into()), ..BuildOptions::default() };
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    assert_eq!(mirror(&recipe, &options).unwrap(), "file:/m");
}
