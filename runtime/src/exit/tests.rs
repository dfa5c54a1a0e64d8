use super::ExitStatus;

#[test]
fn wait_statuses_translate() {
    let table = [
        (0, ExitStatus::Code(0), 0),
        (16 << 8, ExitStatus::Code(16), 16),
        (255 << 8, ExitStatus::Code(255), 255),
        (9, ExitStatus::Signal(9), 137),
        (0x80 | 11, ExitStatus::Signal(11), 139),
    ];
    for (raw, status, shell) in table {
        assert_eq!(ExitStatus::from_wait(raw), status);
        assert_eq!(status.shell_code(), shell);
    }
}
