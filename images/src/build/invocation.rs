//! mmdebstrap's command line for a recipe. Pure. Source: mmdebstrap(1).

use super::{Recipe, Work};

/// Not wanted in an image; licences are.
const EXCLUDED: [&str; 8] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/linda/*",
    "/usr/share/bash-completion/*",
    "/usr/share/bug/*",
];

/// What installation leaves behind: caches, logs, and what mmdebstrap copied
/// from this machine. The empty files are where a runtime may mount its own;
/// a read-only root can't be given them later. Not touched here: `tmp`, where
/// mmdebstrap keeps the apt configuration without which its own clean-up would
/// clean this machine's package lists, and what that clean-up removes.
const TIDY: &str = r#"cd "$1" && rm -rf var/cache/debconf var/cache/ldconfig var/log/* run/* var/lib/dpkg/*-old etc/apt/sources.list etc/apt/sources.list.d/* etc/*- && for file in etc/resolv.conf etc/hostname etc/hosts etc/machine-id; do rm -f "$file" && : > "$file" && chmod 644 "$file"; done"#;

/// The arguments, without the program's own name.
pub(super) fn arguments(
    recipe: &Recipe,
    mirror: &str,
    work: &Work,
    check_date: bool,
) -> Vec<String> {
    let mut arguments = vec![
        "--variant=essential".to_owned(),
        "--mode=root".to_owned(),
        "--format=tar".to_owned(),
        // A recipe may have directories there; the hooks tidy up instead.
        "--skip=cleanup/run".to_owned(),
        format!("--include={}", recipe.packages().join(",")),
        format!("--keyring={}", recipe.keyring().display()),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        "--aptopt=Acquire::Retries \"3\"".to_owned(),
    ];
    if !check_date {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".to_owned());
    }
    arguments.extend(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    arguments.push("--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned());
    let hooks = [
        account(recipe),
        TIDY.to_owned(),
        removal(recipe),
        format!("tar-in {} /", quoted(&work.overlay.display().to_string())),
        format!("download /var/lib/dpkg/status {}", quoted(&work.status.display().to_string())),
    ];
    arguments.extend(hooks.into_iter().map(|hook| format!("--customize-hook={hook}")));
    arguments.push(recipe.suite().to_owned());
    arguments.push("-".to_owned());
    let signed_by = format!("[signed-by={}]", recipe.keyring().display());
    let components = recipe.components().join(" ");
    arguments.push(format!("deb {signed_by} {mirror} {} {components}", recipe.suite()));
    arguments.extend(recipe.extra_sources().iter().cloned());
    arguments
}

/// Makes the recipe's user. The names were checked to be plain.
fn account(recipe: &Recipe) -> String {
    let super::recipe::Account { name, uid, gid, home } = recipe.account();
    format!(
        "cd \"$1\" && \
         for file in passwd group shadow gshadow; do \
         if [ -e etc/$file ]; then sed -i '/^{name}:/d' etc/$file; fi; done && \
         echo '{name}:x:{gid}:' >> etc/group && \
         echo '{name}:x:{uid}:{gid}:{name}:{home}:/usr/sbin/nologin' >> etc/passwd && \
         if [ -e etc/shadow ]; then echo '{name}:!:1::::::' >> etc/shadow; fi && \
         if [ -e etc/gshadow ]; then echo '{name}:!::' >> etc/gshadow; fi"
    )
}

fn removal(recipe: &Recipe) -> String {
    // `true` keeps the hook a command when there is nothing to remove.
    let paths = recipe.remove().iter().map(|path| format!(" && rm -rf \"$1\"{path}"));
    format!("true{}", paths.collect::<String>())
}

/// For a POSIX shell: the store's path is the operator's and may hold anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
