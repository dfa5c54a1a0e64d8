//! The server's version, and which ones are spoken to.

use std::fmt;

/// A server's release number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 8 of 8.0.23.
    pub major: u16,
    /// 0 of 8.0.23.
    pub minor: u16,
    /// 23 of 8.0.23.
    pub patch: u16,
}

impl Version {
    /// The oldest release with `CHANGE REPLICATION SOURCE TO`, in whose dialect all is said.
    pub const OLDEST: Self = Self { major: 8, minor: 0, patch: 23 };

    /// Reads what `SELECT VERSION()` answered, such as `8.4.10-10.1` or `9.7.4-2`. MariaDB's
    /// answers, and what is no version at all, are `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.to_ascii_lowercase().contains("mariadb") {
            return None;
        }
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        Some(version)
    }

    /// Whether this module speaks its dialect.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self >= Self::OLDEST
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_servers_answer() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        assert_eq!(Version::parse("9.7.4-2"), version(9, 7, 4));
        assert_eq!(Version::parse("8.0.46-37.1"), version(8, 0, 46));
        assert_eq!(Version::parse("8.4.0"), version(8, 4, 0));
        assert_eq!(Version::parse("26.10.1-labs"), version(26, 10, 1));
        assert_eq!(Version::parse("5.5.5-10.11.6-MariaDB-0+deb12u1"), None);
        assert_eq!(Version::parse("8.0"), None);
        assert_eq!(Version::parse(""), None);
    }

    #[test]
    fn supports_from_8_0_23_on() {
        let supported = |text| Version::parse(text).unwrap().is_supported();
        assert!(!supported("5.7.44-48.1"));
        assert!(!supported("8.0.22"));
        assert!(supported("8.0.23"));
        assert!(supported("8.1.0"));
        assert!(supported("26.7.0"));
    }
}
