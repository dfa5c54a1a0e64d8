//! Transmit checksum offload, read and set by ioctl (`SIOCETHTOOL`, netdevice(7)).
//!
//! Over veth the container's packets carry unfinished checksums, which only a kernel
//! data path completes: behind a userspace one, TCP hangs until this is off.

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

// include/uapi/linux/ethtool.h
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_STXCSUM: u32 = 0x17;

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

nix::ioctl_readwrite_bad!(siocethtool, 0x8946, libc::ifreq);

/// Whether the link completes no checksums itself but leaves them to offload.
pub(crate) fn tx_offload(link: &str) -> Result<bool, Errno> {
    command(link, ETHTOOL_GTXCSUM, 0).map(|data| data != 0)
}

/// Turns transmit checksum offload on or off.
pub(crate) fn set_tx_offload(link: &str, on: bool) -> Result<(), Errno> {
    command(link, ETHTOOL_STXCSUM, on.into()).map(drop)
}

fn command(link: &str, command: u32, data: u32) -> Result<u32, Errno> {
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command, data };
    // SAFETY: every field of `ifreq` is plain data, for which zero bytes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if link.len() >= request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` names a link and points to a `struct ethtool_value`, as both
    // commands expect; it and `value` live until the call returns.
    unsafe { siocethtool(fd.as_raw_fd(), &raw mut request) }?;
    Ok(value.data)
}
