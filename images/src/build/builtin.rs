//! The recipes that are part of the program.

/// A recipe's directory, embedded.
pub(super) struct Builtin {
    pub(super) name: &'static str,
    pub(super) recipe: &'static str,
    pub(super) files: &'static [(&'static str, &'static [u8])],
}

pub(super) const BUILTIN: [Builtin; 3] = [
    Builtin {
        name: "mysql",
        recipe: include_str!("../../recipes/mysql/recipe.toml"),
        files: &[(
            "etc/mysql/my.cnf",
            include_bytes!("../../recipes/mysql/files/etc/mysql/my.cnf"),
        )],
    },
    Builtin {
        name: "percona",
        recipe: include_str!("../../recipes/percona/recipe.toml"),
        // The same server configuration: Percona Server takes all of it.
        files: &[(
            "etc/mysql/my.cnf",
            include_bytes!("../../recipes/mysql/files/etc/mysql/my.cnf"),
        )],
    },
    Builtin {
        name: "toolkit",
        recipe: include_str!("../../recipes/toolkit/recipe.toml"),
        files: &[],
    },
];

/// The names of the recipes in this program.
pub fn builtin_recipes() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|builtin| builtin.name)
}
