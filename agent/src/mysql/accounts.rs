//! The accounts of [`credentials`](super::credentials) on a writable master.
//!
//! They are written with the binary log on, so that replicas get them too, and only where
//! something is missing or wrong: a pass that finds all right creates no transaction.

use std::collections::BTreeMap;

use super::{
    Cause, Deadline, Error, Result, Server,
    credentials::{Purpose, Secret, sha_crypt},
    row::Row,
    sql::{Sql, literal},
};

/// What was done about one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChange {
    /// It was as it should be.
    Unchanged,
    /// It did not exist.
    Created,
    /// Its password, its TLS requirement, its lock or its privilege was wrong.
    Repaired,
}

/// What is wrong with an account that exists.
#[derive(Debug, Default, PartialEq, Eq)]
struct Faults {
    login: bool,
    privilege: bool,
}

impl Server {
    /// Makes the accounts of `passwords` what they should be: `'<user>'@'%'`, by
    /// `caching_sha2_password`, `REQUIRE SSL`, with the purpose's one privilege. Needs a
    /// writable server.
    ///
    /// # Errors
    /// [`Error::EnsureAccounts`]; 1290 on a read-only server that needs a change.
    pub fn ensure_accounts(
        &mut self,
        passwords: &BTreeMap<Purpose, Secret>,
        deadline: Deadline,
    ) -> Result<BTreeMap<Purpose, AccountChange>> {
        let changes = self.change_accounts(passwords, deadline);
        changes.map_err(|cause| Error::EnsureAccounts { server: self.name().to_owned(), cause })
    }

    fn change_accounts(
        &mut self,
        passwords: &BTreeMap<Purpose, Secret>,
        deadline: Deadline,
    ) -> std::result::Result<BTreeMap<Purpose, AccountChange>, Cause> {
        let found = self.query(EXISTING, deadline)?;
        let found = found.first().map(Vec::as_slice).unwrap_or_default();
        let mut changes = BTreeMap::new();
        for (&purpose, password) in passwords {
            let user = purpose.user();
            let row = found.iter().find(|row| row.text("user").is_ok_and(|name| name == user));
            let change = match row {
                None => {
                    self.create(purpose, password, deadline)?;
                    AccountChange::Created
                }
                Some(row) => {
                    let faults = faults(row, purpose, password)?;
                    self.repair(&faults, purpose, password, deadline)?
                }
            };
            changes.insert(purpose, change);
        }
        Ok(changes)
    }

    fn create(
        &mut self,
        purpose: Purpose,
        password: &Secret,
        deadline: Deadline,
    ) -> std::result::Result<(), Cause> {
        let text =
            format!("CREATE USER IF NOT EXISTS {}; {}", login(purpose, password)?, grant(purpose));
        self.query(Sql::new(text).with_secret(password), deadline).map(drop)
    }

    fn repair(
        &mut self,
        faults: &Faults,
        purpose: Purpose,
        password: &Secret,
        deadline: Deadline,
    ) -> std::result::Result<AccountChange, Cause> {
        if *faults == Faults::default() {
            return Ok(AccountChange::Unchanged);
        }
        if faults.login {
            let text = format!("ALTER USER {} ACCOUNT UNLOCK", login(purpose, password)?);
            self.query(Sql::new(text).with_secret(password), deadline)?;
        }
        if faults.privilege {
            self.query(grant(purpose), deadline)?;
        }
        Ok(AccountChange::Repaired)
    }
}

/// The accounts as they are. The stored hash goes out in hex: its salt is binary.
const EXISTING: &str = "SELECT u.User AS user, u.plugin AS plugin, \
     HEX(u.authentication_string) AS stored_hex, u.ssl_type AS ssl_type, \
     u.account_locked AS locked, u.Repl_slave_priv AS repl_slave, \
     u.Repl_client_priv AS repl_client, \
     EXISTS (SELECT 1 FROM mysql.global_grants g WHERE g.USER = u.User AND g.HOST = u.Host \
             AND g.PRIV = 'BACKUP_ADMIN') AS backup_admin \
     FROM mysql.user u WHERE u.Host = '%' AND u.User LIKE 'berth\\_%'";

fn faults(row: &Row, purpose: Purpose, password: &Secret) -> std::result::Result<Faults, Cause> {
    let privilege = match purpose {
        Purpose::Replication => "repl_slave",
        Purpose::Clone => "backup_admin",
        Purpose::Check => "repl_client",
    };
    let sha2 = row.text("plugin")? == "caching_sha2_password";
    let stored = unhex(row.optional("stored_hex")?.unwrap_or_default())?;
    // A stored form that is not known is not called wrong: it would be rewritten every pass.
    let password_differs = sha_crypt::verify(&stored, password.expose()) == Some(false);
    let login = !sha2
        || stored.is_empty()
        || password_differs
        || row.optional("ssl_type")?.unwrap_or_default().is_empty()
        || row.flag("locked")?;
    Ok(Faults { login, privilege: !row.flag(privilege)? })
}

fn login(purpose: Purpose, password: &Secret) -> std::result::Result<String, Cause> {
    let password = literal(password.expose())?;
    let user = purpose.user();
    Ok(format!(
        "'{user}'@'%' IDENTIFIED WITH caching_sha2_password BY {password} REQUIRE SSL \
         PASSWORD EXPIRE NEVER"
    ))
}

fn grant(purpose: Purpose) -> String {
    format!("GRANT {} ON *.* TO '{}'@'%'", purpose.privilege(), purpose.user())
}

fn unhex(text: &str) -> std::result::Result<Vec<u8>, Cause> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.ok_or_else(|| Cause::Answer("the stored password is no hex".to_owned()))
}
