//! One question to generic netlink: does the kernel have a family of this name?
//!
//! Asking makes the kernel load the family's module if it can (MODULE_ALIAS_GENL_FAMILY).

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NetlinkDeserializable, NetlinkHeader, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::{Channel, NetlinkError};

// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NLA_HEADER: usize = 4;

/// A message of the controller; the content of an answer doesn't matter here.
struct Controller(Vec<u8>);

impl NetlinkSerializable for Controller {
    fn message_type(&self) -> u16 {
        GENL_ID_CTRL
    }

    fn buffer_len(&self) -> usize {
        self.0.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

impl NetlinkDeserializable for Controller {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(payload.to_vec()))
    }
}

impl From<Controller> for NetlinkPayload<Controller> {
    fn from(message: Controller) -> Self {
        Self::InnerMessage(message)
    }
}

/// Whether the kernel has the generic netlink family `name`.
pub(crate) fn has_family(name: &str) -> Result<bool, NetlinkError> {
    let value_len = name.len() + 1;
    let length = u16::try_from(NLA_HEADER + value_len).expect("a family's name is short");
    let mut bytes = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    bytes.extend(length.to_ne_bytes());
    bytes.extend(CTRL_ATTR_FAMILY_NAME.to_ne_bytes());
    bytes.extend(name.as_bytes());
    bytes.resize(4 + usize::from(length).next_multiple_of(4), 0);
    let mut channel = Channel::open(NETLINK_GENERIC)?;
    match channel.exchange(format!("look up the family {name}"), Controller(bytes), NLM_F_ACK) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
