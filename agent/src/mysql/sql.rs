//! Statement text: quoting, and keeping passwords out of errors.

use super::{Cause, credentials::Secret};

/// Statements to run in one round trip, and the passwords in them.
#[derive(Debug)]
pub(super) struct Sql {
    text: Text,
    secrets: Vec<Secret>,
}

/// The text, which `Debug` must not show: it can carry a password.
struct Text(String);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes of SQL>", self.0.len())
    }
}

/// `ER_PARSE_ERROR`, whose message quotes the statement, cut at any place.
const PARSE_ERROR: u16 = 1064;

impl Sql {
    /// Statements with no password in them.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: Text(text.into()), secrets: Vec::new() }
    }

    /// Says that the text carries `secret`.
    pub(super) fn with_secret(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.text.0
    }

    /// Takes out of a server's answer what it may quote of the statement's passwords.
    pub(super) fn clean(&self, cause: Cause) -> Cause {
        let Cause::Server { errno, state, mut message } = cause else {
            return cause;
        };
        if errno == PARSE_ERROR && !self.secrets.is_empty() {
            message = "syntax error in a statement that carries a password".to_owned();
        }
        for secret in &self.secrets {
            message = message.replace(secret.expose(), "[hidden]");
        }
        Cause::Server { errno, state, message }
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// `text` as a string literal, for the `sql_mode` that [`super::Server`] sets.
///
/// # Errors
/// Control characters are refused: no host, user or password has any.
pub(super) fn literal(text: &str) -> Result<String, Cause> {
    if text.chars().any(char::is_control) {
        return Err(Cause::Request("a control character in a value".to_owned()));
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_quote_what_would_end_them() {
        assert_eq!(literal(r"a'b\c").unwrap(), r"'a''b\\c'");
        assert_eq!(literal("").unwrap(), "''");
        assert!(literal("a\nb").unwrap_err().to_string().contains("control"));
    }

    #[test]
    fn passwords_leave_the_servers_answers() {
        let secret = Secret::new("hunter2".to_owned());
        let sql = Sql::new("SET x = 'hunter2'").with_secret(&secret);
        let clean = |errno| {
            let message = "near 'hunter2' and 'hunt".to_owned();
            sql.clean(Cause::Server { errno, state: "42000".into(), message }).to_string()
        };
        assert!(!clean(1064).contains("hunt"));
        assert_eq!(clean(3862), "server error 3862 (42000): near '[hidden]' and 'hunt");
        assert!(!format!("{sql:?}").contains("hunter2"));
    }
}
