//! What the agent tells a service manager: a socket of the test takes its place.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    time::Duration,
};

use berth_integration::{Bed, Options, PATIENCE};
use nix::sys::signal::Signal;

#[test]
fn a_service_manager_hears_of_the_agent() {
    let mut bed = Bed::with(&Options { interval: "10m", ..Options::default() });
    let path = bed.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Two seconds: the loop must not sleep longer than one, whatever its interval is.
    let watchdog = Duration::from_secs(2);
    let unit = bed.dir().join("unit");
    let text = format!(
        "#!/bin/sh\nNOTIFY_SOCKET={} WATCHDOG_USEC={} exec {} \"$@\"\n",
        path.display(),
        watchdog.as_micros(),
        bed.program.display()
    );
    fs::write(&unit, text).unwrap();
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o755)).unwrap();
    bed.program = unit;

    bed.start_agent();
    assert_eq!(hear(&socket), "READY=1\nWATCHDOG=1\nSTATUS=0 instances\n");
    for _ in 0..3 {
        assert_eq!(hear(&socket), "WATCHDOG=1\n");
    }
    assert!(bed.end_agent(Signal::SIGTERM).success());
    let last = std::iter::repeat_with(|| hear(&socket)).find(|told| told != "WATCHDOG=1\n");
    assert_eq!(last.as_deref(), Some("STOPPING=1\n"));
}

fn hear(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).expect("a word to the service manager");
    String::from_utf8_lossy(&message[..length]).into_owned()
}
