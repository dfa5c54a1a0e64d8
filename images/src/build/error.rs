//! Why an image could not be built.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A recipe's file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A recipe is not valid.
    #[error("{}: invalid recipe", path.display())]
    Parse {
        /// The recipe's file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A value of a recipe is not usable.
    #[error("{field}: found {found:?}, expected {expected}")]
    Value {
        /// The recipe's field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// Neither options, recipe nor machine say where packages are.
    #[error("no Debian mirror found in {}; name one in the options", looked_in.display())]
    NoMirror {
        /// The directory of apt's sources.
        looked_in: PathBuf,
    },
    /// A program is missing.
    #[error("{} is not installed: apt-get install {package}", program.display())]
    MissingProgram {
        /// The program.
        program: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The program could not be started or watched.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program failed.
    #[error("{} failed ({status}); its last words: {output}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// Its exit.
        status: String,
        /// The end of its standard error.
        output: String,
    },
    /// The package index is past its date, and the options refuse that.
    #[error("the mirror's Release file is past its Valid-Until date: {output}")]
    Expired {
        /// What apt said.
        output: String,
    },
    /// The program took too long and was killed.
    #[error("{} was killed after {} s; its last words: {output}", program.display(), after.as_secs())]
    Deadline {
        /// The program.
        program: PathBuf,
        /// The time it had.
        after: Duration,
        /// The end of its standard error.
        output: String,
    },
    /// The layer could not be written.
    #[error("cannot write the layer {}", path.display())]
    Layer {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
