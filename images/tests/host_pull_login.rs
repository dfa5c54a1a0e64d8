//! Logins: basic, tokens with and without a login, helpers, tokens that expire meanwhile;
//! and that a login goes nowhere else.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;
mod registry;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_images::{NoProgress, Registries, Store};
use common::{chain, scratch};
use registry::proxy::{Act, Proxy, Request};
use registry::{Registry, assert_no_tag, layout, parse, plain};

/// "user:secret" in base64.
const LOGIN: &str = "dXNlcjpzZWNyZXQ=";

fn pushed(scratch: &tempfile::TempDir) -> Registry {
    common::require_root();
    let registry = Registry::start(scratch.path());
    registry.push(&layout(&scratch.path().join("layout")).path, "app:1", &[]);
    registry
}

fn with_login(directory: &Path, port: u16, login: &str) -> Registries {
    let file = directory.join(format!("auth-{port}.json"));
    let text = format!(r#"{{"auths": {{"127.0.0.1:{port}": {{"auth": "{login}"}}}}}}"#);
    write_private(&file, &text, 0o600);
    Registries { auth_files: vec![file], ..plain(&[port]) }
}

fn write_private(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn challenge(scheme: &str) -> Act {
    Act::Answer(401, format!("WWW-Authenticate: {scheme}\r\n"), String::new())
}

#[test]
fn basic_logins_are_sent_when_asked_for() {
    let scratch = scratch();
    let registry = pushed(&scratch);
    let store = common::store(&scratch);
    let proxy = Proxy::start(registry.port, |request| match request.authorization.as_deref() {
        Some(login) if login == format!("Basic {LOGIN}") => Act::Pass,
        _ => challenge("Basic realm=\"test\""),
    });
    let reference = parse(&proxy.name("app:1"));
    let error = store.pull(&reference, &plain(&[proxy.port]), &NoProgress).unwrap_err();
    assert!(chain(&error).contains("without a login"), "{}", chain(&error));
    let wrong = with_login(scratch.path(), proxy.port, "dXNlcjp3cm9uZw==");
    let text = chain(&store.pull(&reference, &wrong, &NoProgress).unwrap_err());
    assert!(text.contains("as \"user\"") && !text.contains("wrong"), "{text}");
    assert_no_tag(&store);
    let right = with_login(scratch.path(), proxy.port, LOGIN);
    store.pull(&reference, &right, &NoProgress).unwrap();
}

/// A registry that wants tokens, each good for so many requests; its token service is the
/// proxy itself.
fn token_proxy(registry: &Registry, uses: usize, allowed: fn(&Request) -> bool) -> Proxy {
    let (issued, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Proxy::start(registry.port, move |request| {
        if request.path.starts_with("/token") {
            if !allowed(request) {
                return Act::Answer(401, String::new(), "no such user".to_owned());
            }
            assert!(request.path.contains("service=test"), "{}", request.path);
            assert!(request.path.contains("repository%3Aapp%3Apull"), "{}", request.path);
            used.store(0, Ordering::SeqCst);
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!(r#"{{"token": "opaque-{number}"}}"#);
            return Act::Answer(200, "Content-Type: application/json\r\n".into(), body);
        }
        let good = format!("Bearer opaque-{}", issued.load(Ordering::SeqCst));
        let known = request.authorization.as_deref() == Some(&good);
        if known && used.fetch_add(1, Ordering::SeqCst) < uses {
            return Act::Pass;
        }
        let host = request.host.clone();
        challenge(&format!("Bearer realm=\"http://{host}/token\",service=\"test\""))
    })
}

#[test]
fn tokens_are_fetched_and_renewed() {
    let scratch = scratch();
    let registry = pushed(&scratch);
    // Anonymous, and each token expires after two requests.
    let proxy = token_proxy(&registry, 2, |request| request.authorization.is_none());
    let one_by_one = Registries { parallel: 1, ..plain(&[proxy.port]) };
    let store = common::store(&scratch);
    store.pull(&parse(&proxy.name("app:1")), &one_by_one, &NoProgress).unwrap();
    assert_eq!(proxy.requests("/token").len(), 3, "five requests, two a token");
    // With a login, which only the token service sees.
    let basic =
        |request: &Request| request.authorization.as_deref() == Some(&*format!("Basic {LOGIN}"));
    let proxy = token_proxy(&registry, 100, basic);
    let right = with_login(scratch.path(), proxy.port, LOGIN);
    let store = Store::open(scratch.path().join("second")).unwrap();
    store.pull(&parse(&proxy.name("app:1")), &right, &NoProgress).unwrap();
    let sent = proxy.requests("/v2/app");
    assert!(sent.iter().all(|it| it.authorization.as_ref().is_none_or(|it| it.starts_with("Be"))));
    let proxy = token_proxy(&registry, 100, basic);
    let store = Store::open(scratch.path().join("third")).unwrap();
    let wrong = with_login(scratch.path(), proxy.port, "dXNlcjp3cm9uZw==");
    let error = store.pull(&parse(&proxy.name("app:1")), &wrong, &NoProgress).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("cannot log in to") && text.contains("no such user"), "{text}");
}

#[test]
fn a_login_does_not_follow_to_another_host() {
    let scratch = scratch();
    let registry = pushed(&scratch);
    let elsewhere = Proxy::start(registry.port, |_| Act::Pass);
    let port = elsewhere.port;
    // Blobs are kept elsewhere, as clouds do; `localhost` is another host than 127.0.0.1.
    let proxy = Proxy::start(registry.port, move |request| {
        if request.authorization.is_none() {
            return challenge("Basic realm=\"test\"");
        }
        match request.path.contains("/blobs/") {
            true => {
                let to = format!("Location: http://localhost:{port}{}\r\n", request.path);
                Act::Answer(307, to, String::new())
            }
            false => Act::Pass,
        }
    });
    let login = with_login(scratch.path(), proxy.port, LOGIN);
    let store = common::store(&scratch);
    store.pull(&parse(&proxy.name("app:1")), &login, &NoProgress).unwrap();
    let requests = elsewhere.requests("/blobs/");
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.authorization.is_none()));
}

const STORE: &str = "BERTH_TEST_LOGIN_STORE";
const NAME: &str = "BERTH_TEST_LOGIN_NAME";
const FILE: &str = "BERTH_TEST_LOGIN_FILE";

#[test]
#[ignore = "run by the test below, in an environment of its own"]
fn pull_with_helper() {
    let var = |name| std::env::var(name).unwrap();
    let reference = parse(&var(NAME));
    let port = reference.host().rsplit(':').next().unwrap().parse().unwrap();
    let auth_files = vec![PathBuf::from(var(FILE))];
    let registries = Registries { auth_files, ..plain(&[port]) };
    Store::open(var(STORE)).unwrap().pull(&reference, &registries, &NoProgress).unwrap();
}

#[test]
fn a_credential_helper_is_asked() {
    let scratch = scratch();
    let registry = pushed(&scratch);
    let proxy = Proxy::start(registry.port, |request| match request.authorization.as_deref() {
        Some(login) if login == format!("Basic {LOGIN}") => Act::Pass,
        _ => challenge("Basic realm=\"test\""),
    });
    let helper = scratch.path().join("docker-credential-berth-test");
    let script = format!(
        "#!/bin/sh\nread server\n[ \"$1 $server\" = \"get 127.0.0.1:{}\" ] || exit 1\n\
         echo '{{\"ServerURL\": \"x\", \"Username\": \"user\", \"Secret\": \"secret\"}}'\n",
        proxy.port
    );
    write_private(&helper, &script, 0o755);
    let file = scratch.path().join("config.json");
    write_private(&file, r#"{"credsStore": "berth-test"}"#, 0o600);
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "pull_with_helper"]).stdout(Stdio::null());
    command.env("PATH", path).env(NAME, proxy.name("app:1")).env(FILE, file);
    common::run(command.env(STORE, scratch.path().join("store")));
}
