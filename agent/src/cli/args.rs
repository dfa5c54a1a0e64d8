//! The commands and their options.

use std::path::PathBuf;

use berth_model::{ByteSize, EntryKey, HostName};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::DEFAULT_PATH;

/// Many MySQL servers on one host, each in its own container, as the goal files say.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    after_help = "\
Examples:
  berth preflight                    what this host can and can't do
  berth goal check /etc/berth/goal.d/*.json
  berth status --watch               every instance, live
  berth exec -it db1-orders-db1 -- mysql
  berth logs -f db1-orders-db1

Exit codes: 0 all is well, 1 bad news or a failure, 2 a wrong command line."
)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, global = true, env = "BERTH_CONFIG", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent in the foreground: converge every 30 seconds, and when something changes
    #[command(after_help = "\
Examples:
  berth agent                        until SIGTERM; the containers run on after it
  BERTH_LOG=debug berth agent --log-format json

Only one agent works on a host; a second one ends with an error.")]
    Agent(Agent),
    /// Show what every instance is, does and uses; needs no agent
    #[command(after_help = "\
Examples:
  berth status                       a table
  berth status db1-orders-db1        everything about one instance
  berth status --json | jq '.instances[].state'
  berth status --watch               again every second, until Ctrl-C
  berth status --check >/dev/null || echo 'something is not as it should be'")]
    Status(Status),
    /// Wait until every instance is as its goal says
    #[command(after_help = "\
Examples:
  berth wait --timeout 60s && echo converged
  berth wait --timeline              and say which step took how long

Exit code 1 when the time is up, and at once when an entry is refused.")]
    Wait(Wait),
    /// Show the log of an instance's server
    #[command(after_help = "\
Examples:
  berth logs db1-orders-db1          its last 200 lines
  berth logs -n 0 -f db1-orders-db1  what comes from now on")]
    Logs(Logs),
    /// Run a command in an instance's container
    #[command(after_help = "\
Examples:
  berth exec -it db1-orders-db1 -- mysql
  berth exec db1-orders-db1 -- mysql -e 'SHOW REPLICA STATUS\\G'

The exit code is the command's own; 126 or 127 if it can't be run.")]
    Exec(Exec),
    /// Work with goal files
    Goal {
        #[command(subcommand)]
        command: Goal,
    },
    /// Tell what this host can and can't do, what follows from it, and the remedy
    Preflight(Json),
    /// Work with images
    Image {
        #[command(subcommand)]
        command: Image,
    },
    /// Look at pools, leases and the network of instances with addresses of their own
    Net {
        #[command(subcommand)]
        command: Net,
    },
    /// Print the completion script of a shell
    #[command(after_help = "\
Example:
  berth completion bash > /etc/bash_completion.d/berth")]
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Write manual pages into a directory, for packages
    #[command(hide = true)]
    Manual {
        /// The directory; it must be there.
        directory: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Agent {
    /// The form of the agent's own log, on standard error.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

impl Agent {
    pub(super) fn log_format(&self) -> crate::reconcile::LogFormat {
        match self.log_format {
            LogFormat::Text => crate::reconcile::LogFormat::Text,
            LogFormat::Json => crate::reconcile::LogFormat::Json,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Json {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    /// Only this instance, with everything that is known of it.
    pub(super) instance: Option<EntryKey>,
    /// Show it again every second, until interrupted.
    #[arg(long, short)]
    pub(super) watch: bool,
    /// Print the status document as JSON (docs/schema/status-v1.json).
    #[arg(long)]
    pub(super) json: bool,
    /// Exit with 1 if an instance is not converged, an entry is refused, or no agent is at
    /// work.
    #[arg(long, conflicts_with = "watch")]
    pub(super) check: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Wait {
    /// Give up after this time.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub(super) timeout: std::time::Duration,
    /// At least this many instances must be there.
    #[arg(long, default_value_t = 1)]
    pub(super) instances: usize,
    /// Print which step took how long.
    #[arg(long)]
    pub(super) timeline: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Logs {
    /// The instance.
    pub(super) instance: EntryKey,
    /// Go on as the log grows, until interrupted.
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Begin this many lines before the end.
    #[arg(long, short = 'n', default_value_t = 200)]
    pub(super) lines: usize,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Exec {
    /// Keep standard input open.
    #[arg(long, short)]
    pub(super) interactive: bool,
    /// Give the command a terminal.
    #[arg(long, short)]
    pub(super) tty: bool,
    /// The user in the container, as uid or uid:gid; root by default, as which the `mysql`
    /// client logs in without a password.
    #[arg(long, short)]
    pub(super) user: Option<String>,
    /// The instance.
    pub(super) instance: EntryKey,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Goal {
    /// Check goal files as the agent would, anywhere, without root
    #[command(after_help = "\
Examples:
  berth goal check /etc/berth/goal.d/*.json
  berth goal check --host db1 --memory 256GiB goals/*.json

Exit code 1 if anything is refused.")]
    Check(GoalCheck),
    /// Print the JSON Schema of goal files
    Schema,
}

#[derive(Debug, ClapArgs)]
pub(super) struct GoalCheck {
    /// Check as this host would; otherwise as every host that the entries name.
    #[arg(long)]
    pub(super) host: Option<HostName>,
    /// The memory for instances of each host; without it only shares are added up.
    #[arg(long)]
    pub(super) memory: Option<ByteSize>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// The goal files.
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Net {
    /// List the pools, and what is free in them; needs neither root nor an agent
    #[command(after_help = "\
Examples:
  berth net pools
  berth net pools --json | jq '.pools[] | select(.free < 10) | .name'

Exit code 1 if a pool is refused.")]
    Pools(Json),
    /// List the leases: which address belongs to whom; needs no agent
    #[command(after_help = "\
Examples:
  berth net leases
  berth net leases --json | jq -r '.leases[].address'

Exit code 1 if a lease can't be read.")]
    Leases(Json),
    /// Compare pools and leases with Open vSwitch, links and namespaces; changes nothing
    #[command(after_help = "\
Examples:
  berth net check                    every difference, with what helps
  berth net check --json | jq '.findings | length'

Needs root where there are leases. Exit code 1 if anything is not as it should be.")]
    Check(Json),
}

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Build an image from Debian packages by a recipe
    #[command(after_help = "\
Examples:
  berth image build mysql
  berth image build ./recipes/mine --tag mine/mysql:1")]
    Build {
        /// A built-in recipe (mysql, toolkit, percona) or a recipe's directory.
        recipe: String,
        /// The name of the image; otherwise the recipe's.
        #[arg(long)]
        tag: Option<String>,
    },
    /// Pull an image from a registry, and unpack it
    #[command(after_help = "\
Examples:
  berth image pull percona/percona-server:8.4
  berth image pull registry.lan:5000/percona/percona-server:8.4@sha256:4f6a...
  berth image pull --no-unpack mysql:8.4

What broke off is gone on with by the next pull. Registries, mirrors and logins are set in
the configuration, under [registries].")]
    Pull(ImagePull),
    /// Import an OCI layout (directory or tar) or a docker archive
    #[command(after_help = "\
Examples:
  berth image import mysql.tar --tag mine/mysql:8.4.6
  berth image import ./layout --tag mine/mysql:8.4.6")]
    Import {
        /// The file or directory.
        path: PathBuf,
        /// The name that the image gets.
        #[arg(long)]
        tag: String,
    },
    /// Unpack an image now, so that the first start needn't
    #[command(after_help = "\
Example:
  berth image unpack berth/mysql:9.7")]
    Unpack {
        /// The image.
        reference: String,
    },
    /// List the images
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  berth image list
  berth image list --json | jq -r '.[].manifest_digest'"
    )]
    List(Json),
    /// Show everything about an image
    #[command(after_help = "\
Examples:
  berth image inspect berth/mysql:9.7
  berth image inspect --json berth/mysql:9.7 | jq .config.config.Env")]
    Inspect {
        /// The image.
        reference: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove what no name, goal, container or last image that ran needs
    #[command(after_help = "\
Examples:
  berth image gc --dry-run           what would go, and how much room it makes
  berth image gc

Safe beside pulls, unpacks and a running agent. Names are never removed: see image rm.")]
    Gc(ImageGc),
    /// Check every blob and every unpacked tree again
    #[command(after_help = "\
Examples:
  berth image verify && echo all is well
  berth image verify --json | jq '.damages[].path'

Takes some seconds for each image, and room for one unpacked image. Changes nothing.")]
    Verify(Json),
    /// Print an image's bill of materials: an SPDX document
    #[command(after_help = "\
Example:
  berth image sbom berth/mysql:9.7 | jq -r '.packages[] | [.name, .versionInfo] | @tsv'")]
    Sbom {
        /// An image that was built here.
        reference: String,
    },
    /// Remove an image's name, and what no other name needs
    #[command(after_help = "\
Example:
  berth image rm percona/percona-server:8.4.5")]
    Rm {
        /// The image.
        reference: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct ImagePull {
    /// The image, as `[host[:port]/]path[:tag][@sha256:...]`.
    pub(super) reference: String,
    /// Leave it packed.
    #[arg(long)]
    pub(super) no_unpack: bool,
    /// Print what was pulled as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct ImageGc {
    /// Remove nothing, only say what would go.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print what went as JSON.
    #[arg(long)]
    pub(super) json: bool,
}
