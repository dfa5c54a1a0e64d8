//! One host.

mod look;
pub(crate) mod network;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use berth_model::EntryKey;
use nix::sys::signal::Signal;

pub use network::Site;

use crate::{
    Entry,
    agent::Agent,
    goal, image,
    lease::{Place, Ports},
    namespace::{Namespace, command_in},
    program, reaper, sweep,
    switch::Switch,
};

/// What is done once per test program, before the first bed.
pub(crate) fn prepare() {
    static SWEPT: Once = Once::new();
    sweep::require();
    SWEPT.call_once(sweep::leftovers);
    reaper::start();
}

/// A new fleet key.
pub(crate) fn new_key() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

/// What differs between beds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time between passes when nothing happens. Short, because tests change things behind
    /// the agent's back, which only the next pass sees.
    pub interval: &'static str,
    /// Memory for instances; otherwise the host's.
    pub memory: Option<&'static str>,
    /// Whether the bed begins with an initialised template.
    pub template: bool,
    /// An image store of its own, empty, instead of that with the image.
    pub own_images: bool,
    /// A network namespace and an Open vSwitch of its own, for instances in mode vlan.
    pub switch: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval: "2s", memory: None, template: true, own_images: false, switch: false }
    }
}

/// One host: everything that berth has on one, under a name of its own. What it started ends
/// with it, and all it made is removed.
#[derive(Debug)]
pub struct Bed {
    name: String,
    dir: PathBuf,
    images: PathBuf,
    /// The program that is started as agent.
    pub program: PathBuf,
    agent: Option<Agent>,
    site: Option<Site>,
    switch: Option<Switch>,
    namespace: Option<Namespace>,
    /// Of 127.0.0.1; a host of a fleet needs none.
    ports: Option<Ports>,
    begun: Instant,
    _place: Option<Place>,
}

/// The first port in a network namespace, where no other bed is.
const FIRST_PORT: u16 = 3306;

impl Bed {
    /// A host whose agent runs, without any goal.
    #[must_use]
    pub fn new() -> Self {
        let mut bed = Self::with(&Options::default());
        bed.start_agent();
        bed
    }

    /// A host whose agent does not run yet.
    ///
    /// # Panics
    /// It can't be made, or these tests can't run here.
    #[must_use]
    pub fn with(options: &Options) -> Self {
        prepare();
        let mut bed = Self::bare(image::store());
        bed._place = Some(Place::wait());
        if !options.switch {
            bed.ports = Some(Ports::take());
        }
        if options.own_images {
            bed.images = bed.dir.join("images");
        }
        bed.make(options);
        bed
    }

    /// A host of a fleet, which has the right to have beds; its agent does not run yet.
    ///
    /// # Panics
    /// It can't be made, or these tests can't run here.
    #[must_use]
    pub(crate) fn in_fleet(options: &Options, site: Site) -> Self {
        prepare();
        let mut bed = Self::bare(image::store());
        bed.site = Some(site);
        bed.make(options);
        bed
    }

    /// A name and a directory that isn't made yet, and nothing else.
    fn bare(images: PathBuf) -> Self {
        let name = sweep::next_name();
        Self {
            dir: Path::new(sweep::PLACE).join(&name),
            name,
            images,
            program: program::berth().to_owned(),
            agent: None,
            site: None,
            switch: None,
            namespace: None,
            ports: None,
            begun: Instant::now(),
            _place: None,
        }
    }

    fn make(&mut self, options: &Options) {
        for dir in [self.goal_dir(), self.data_dir(), self.pools_dir()] {
            fs::create_dir_all(dir).unwrap();
        }
        let key = self.site.as_ref().map_or_else(new_key, |site| site.fleet_key.clone());
        self.write_secret("fleet.key", &key);
        fs::write(self.config(), self.configuration(options)).unwrap();
        if options.template {
            image::lend_template(&self.data_dir());
        }
        if options.switch || self.site.is_some() {
            self.namespace = Some(Namespace::make(&self.dir.join("netns")));
        }
        if let (true, Some(namespace)) = (options.switch, &self.namespace) {
            self.switch = Some(Switch::start(&self.switch_dir(), namespace.path()));
        }
    }

    fn write_secret(&self, name: &str, text: &str) {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let mut options = fs::File::options();
        let mut file =
            options.create(true).write(true).mode(0o600).open(self.dir.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Its name, which is that of its cgroup too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, for files that a test needs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The agent's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("berth.toml")
    }

    /// Where goal files are.
    #[must_use]
    pub fn goal_dir(&self) -> PathBuf {
        self.dir.join("goal.d")
    }

    /// Where instances' directories are.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// An instance's directory.
    #[must_use]
    pub fn instance_dir(&self, key: &EntryKey) -> PathBuf {
        self.data_dir().join(key.as_str())
    }

    /// The marker of an instance's directory, as text; `None` if there is none.
    #[must_use]
    pub fn marker(&self, key: &EntryKey) -> Option<String> {
        fs::read_to_string(self.instance_dir(key).join("marker.json")).ok()
    }

    /// What was moved to the trash folder.
    #[must_use]
    pub fn trash(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data_dir().join(".trash")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// One of its ports, by a number from 0.
    #[must_use]
    pub fn port(&self, number: u16) -> u16 {
        self.ports.as_ref().map_or(FIRST_PORT + number, |ports| ports.get(number))
    }

    /// Entries of a cluster: a master, and minions of it, on ports from number `first` on.
    #[must_use]
    pub fn cluster(&self, name: &str, first: u16, count: u16) -> Vec<Entry> {
        let port = |number| self.port(first + number - 1);
        let member = |number| {
            let name = format!("{name}-db{number}");
            match number {
                1 => Entry::master(&name, port(1)),
                _ => Entry::minion(&name, port(number), port(1)),
            }
        };
        (1..=count).map(member).collect()
    }

    /// The agent's log.
    #[must_use]
    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// The log of an instance's server.
    #[must_use]
    pub fn server_log(&self, key: &EntryKey) -> String {
        fs::read_to_string(self.dir.join(format!("log/{key}.log"))).unwrap_or_default()
    }

    /// Time since the bed was made.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Starts the agent, and waits for its first pass.
    ///
    /// # Panics
    /// It runs already, or makes no pass.
    pub fn start_agent(&mut self) {
        let pid = self.launch_agent();
        self.await_status("the agent's first pass", |status| status.agent.pid == pid);
    }

    /// Starts the agent and doesn't wait; tells its process id.
    ///
    /// # Panics
    /// It runs already.
    pub fn launch_agent(&mut self) -> u32 {
        self.launch_agent_with(&[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Panics
    /// It runs already.
    pub fn launch_agent_with(&mut self, environment: &[(&str, &str)]) -> u32 {
        assert!(self.agent.is_none(), "the agent runs already");
        let mut command = command_in(self.namespace(), "setsid");
        command.arg(&self.program).arg("--config").arg(self.config()).arg("agent");
        command.envs(environment.iter().copied());
        let agent = Agent::start(command, &self.dir.join("agent.log"));
        let pid = agent.pid();
        self.agent = Some(agent);
        pid
    }

    /// The agent that runs.
    ///
    /// # Panics
    /// None does.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("an agent that runs")
    }

    /// Ends the agent by a signal, and waits for its end.
    ///
    /// # Panics
    /// None runs.
    pub fn end_agent(&mut self, signal: Signal) -> ExitStatus {
        self.agent.take().expect("an agent that runs").end(signal)
    }

    /// Replaces a goal file by one with these entries.
    pub fn goal(&self, file: &str, entries: &[Entry]) {
        self.goal_text(file, &goal::text(entries));
    }

    /// Replaces a goal file: written beside and renamed, so that nobody reads half of it.
    ///
    /// # Panics
    /// It can't be written.
    pub fn goal_text(&self, file: &str, text: &str) {
        let new = self.goal_dir().join(format!(".{file}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.goal_dir().join(file)).unwrap();
    }

    /// Takes a goal file away.
    ///
    /// # Panics
    /// There is none.
    pub fn remove_goal(&self, file: &str) {
        fs::remove_file(self.goal_dir().join(file)).unwrap();
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
        } else {
            image::keep_template(&self.data_dir());
        }
        self.agent = None;
        sweep::remove(&self.name);
    }
}
