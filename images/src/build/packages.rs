//! Installed packages, from dpkg's status file. Pure.
//!
//! Format: deb822(5); fields: deb-control(5), dpkg(1).

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    /// The source package, and its version where that differs: `mysql-9.7 (1)`.
    pub(super) source: Option<String>,
}

/// The packages that a status file says are installed, by name.
pub(super) fn installed(status: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = status.split("\n\n").filter_map(package).collect();
    packages.sort();
    packages
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
    field("Status: ").filter(|status| status.ends_with(" installed"))?;
    Some(Package {
        name: field("Package: ")?.to_owned(),
        version: field("Version: ")?.to_owned(),
        architecture: field("Architecture: ").unwrap_or("all").to_owned(),
        source: field("Source: ").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
