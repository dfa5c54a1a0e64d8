//! Reading single global variables, and whether the accounts are there.

use std::collections::BTreeMap;

use super::{Deadline, Error, Result, Server, credentials::Purpose};

impl Server {
    /// The values of global variables, by name; one that the server lacks is left out.
    /// Only variables of a goal are read so: long values are cut at 1024 characters.
    ///
    /// # Errors
    /// [`Error::Globals`].
    pub fn globals(
        &mut self,
        names: &[&str],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, String>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let text = format!(
            "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value \
             FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({})",
            quoted.join(", ")
        );
        let read = self.query(text, deadline).and_then(|answer| {
            let rows = answer.first().map(Vec::as_slice).unwrap_or_default();
            rows.iter()
                .map(|row| Ok((row.text("name")?.to_owned(), row.text("value")?.to_owned())))
                .collect()
        });
        read.map_err(|cause| Error::Globals { server: self.name().to_owned(), cause })
    }

    /// Whether all accounts of [`Purpose`] exist. Cheap enough for every pass; whether they
    /// are as they should be is for [`Server::ensure_accounts`].
    ///
    /// # Errors
    /// [`Error::Globals`].
    pub fn has_accounts(&mut self, deadline: Deadline) -> Result<bool> {
        let users: Vec<String> =
            Purpose::ALL.iter().map(|purpose| format!("'{}'", purpose.user())).collect();
        let text = format!(
            "SELECT COUNT(*) AS number FROM mysql.user WHERE Host = '%' AND User IN ({})",
            users.join(", ")
        );
        let read = self.query(text, deadline).and_then(|answer| {
            let row = answer.first().and_then(|rows| rows.first());
            row.map_or(Ok(0usize), |row| row.parse("number"))
        });
        let number =
            read.map_err(|cause| Error::Globals { server: self.name().to_owned(), cause })?;
        Ok(number == Purpose::ALL.len())
    }
}
