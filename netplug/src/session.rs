//! What one operation works with: its connections and the owner's lock.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::deadline::Deadline;
use crate::error::PlugError;
use crate::lock::Lock;
use crate::name::Owner;
use crate::netlink::RouteSocket;
use crate::ovsdb::{Client, Switch};
use crate::plug::Netplug;

/// The connections of one operation.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) route: RouteSocket,
    /// Links that were seen to carry the owner's tag, besides those that its lease and
    /// its ports name.
    pub(crate) hints: BTreeSet<String>,
}

impl Netplug {
    /// The switch, for calls that take as long as an answer from its database may.
    pub(crate) fn switch<'a>(&'a self, client: &'a mut Client) -> Switch<'a> {
        let deadline = Deadline::after(self.config.timeouts.database);
        Switch { client, host: &self.config.host, deadline }
    }

    /// Keeps everybody else from working on this owner.
    pub(crate) fn lock(&self, owner: &Owner) -> Result<Lock, PlugError> {
        let path = self.config.run_dir.join("owners.lock");
        let deadline = Deadline::after(self.config.timeouts.lock);
        Lock::acquire(&path, owner.as_str(), deadline)
            .map_err(|source| PlugError::Lock { owner: owner.clone(), source })
    }

    /// A session with an idle connection, or a new one.
    pub(crate) fn session(&self) -> Result<Session, PlugError> {
        let idle = self.clients.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let client = idle.unwrap_or_else(|| Client::new(&self.config.ovsdb_socket));
        let route = RouteSocket::open().map_err(PlugError::Netlink)?;
        Ok(Session { client, route, hints: BTreeSet::new() })
    }

    /// Keeps the connection for the next session.
    pub(crate) fn give_back(&self, session: Session) {
        let mut idle = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.config.parallel {
            idle.push(session.client);
        }
    }
}
