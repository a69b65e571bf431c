//! BIRD in a namespace, with every file and socket of its own.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};

use crate::{
    cloud::Host,
    config::BFD_KEY,
    lab::{Lab, PATIENCE, Resident},
    process::Process,
    routing::{LsaKey, MAX_AGE, RouterConfig},
    vty,
};

/// A running BIRD.
#[derive(Debug)]
pub struct Bird {
    name: String,
    dir: PathBuf,
    socket: PathBuf,
    process: Mutex<Process>,
}

impl Bird {
    /// Starts BIRD and waits until it can be asked.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not come up; its log is in the lab's folder.
    #[track_caller]
    pub fn start(lab: &Lab, host: &Host, config: &RouterConfig) -> Result<Arc<Self>> {
        let dir = lab.dir().join(format!("bird-{}", host.name));
        fs::create_dir_all(&dir)?;
        let log = dir.join("bird.log");
        fs::write(dir.join("bird.conf"), bird_conf(config, &log))?;
        let bird = lab.adopt(Self {
            name: host.name.clone(),
            socket: dir.join("bird.ctl"),
            process: Mutex::new(spawn(host, &dir, &[])?),
            dir,
        });
        bird.wait_answer()?;
        Ok(bird)
    }

    #[track_caller]
    fn wait_answer(&self) -> Result<()> {
        let process = self.process().clone();
        process.wait_for(&format!("BIRD of {}", self.name), || {
            self.ask("show status").map(|_| Some(()))
        })
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends BIRD for a graceful restart and starts it again.
    ///
    /// # Errors
    ///
    /// When it refuses, does not end or does not come back.
    #[track_caller]
    pub fn restart_gracefully(&self, host: &Host) -> Result<()> {
        self.ask("graceful restart")?;
        self.process().wait(PATIENCE)?;
        *self.process() = spawn(host, &self.dir, &["-R"])?;
        self.wait_answer()
    }

    /// Asks BIRD a command of `birdc`.
    ///
    /// # Errors
    ///
    /// When it does not answer or refuses.
    pub fn ask(&self, command: &str) -> Result<String> {
        vty::bird(&self.socket, command)
    }

    /// The router ids of the neighbours in state Full.
    ///
    /// # Errors
    ///
    /// When BIRD does not answer.
    pub fn full_neighbours(&self) -> Result<Vec<Ipv4Addr>> {
        self.full_neighbours_of("ospf6")
    }

    /// Those of the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn full_neighbours_ipv4(&self) -> Result<Vec<Ipv4Addr>> {
        self.full_neighbours_of("ospf4")
    }

    fn full_neighbours_of(&self, instance: &str) -> Result<Vec<Ipv4Addr>> {
        let text = self.ask(&format!("show ospf neighbors {instance}"))?;
        text.lines()
            .filter(|line| {
                line.split_whitespace()
                    .nth(2)
                    .is_some_and(|state| state.starts_with("Full"))
            })
            .map(|line| {
                let id = line.split_whitespace().next().context("an empty line")?;
                Ok(id.parse()?)
            })
            .collect()
    }

    /// The link state database.
    ///
    /// # Errors
    ///
    /// When BIRD does not answer or in an unknown form.
    pub fn database(&self) -> Result<Vec<LsaKey>> {
        parse_database(&self.ask("show ospf lsadb ospf6")?)
    }

    /// That of the instance that routes IPv4.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn database_ipv4(&self) -> Result<Vec<LsaKey>> {
        parse_database(&self.ask("show ospf lsadb ospf4")?)
    }

    /// Ends BIRD with SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end in time.
    pub fn stop(&self) -> Result<()> {
        self.process().terminate(PATIENCE).map(drop)
    }
}

impl Resident for Bird {
    fn places(&self) -> Vec<String> {
        vec![
            format!("{:<12} BIRD     {}", self.name, self.dir.display()),
            format!(
                "{:<12} ask      birdc -s {}",
                self.name,
                self.socket.display()
            ),
        ]
    }

    fn evidence(&self, into: &Path) -> Result<()> {
        let mut text = String::new();
        for command in [
            "show ospf neighbors ospf6",
            "show ospf interface ospf6",
            "show ospf lsadb ospf6",
            "show ospf state all ospf6",
            "show ospf neighbors ospf4",
            "show ospf interface ospf4",
            "show ospf lsadb ospf4",
            "show ospf state all ospf4",
            "show route all",
        ] {
            let answer = self.ask(command);
            let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("# {command}\n{answer}\n"));
        }
        fs::write(into.join(format!("{}.bird", self.name)), text)?;
        Ok(())
    }

    fn end(&self) {
        self.process().kill();
    }
}

fn spawn(host: &Host, dir: &Path, options: &[&str]) -> Result<Process> {
    let output = fs::File::create(dir.join("bird.out"))?;
    let mut command = Command::new("bird");
    command
        .args(options)
        .arg("-f")
        .arg("-c")
        .arg(dir.join("bird.conf"))
        .arg("-s")
        .arg(dir.join("bird.ctl"))
        .arg("-P")
        .arg(dir.join("bird.pid"))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    host.ns
        .spawn(command)
        .context("is BIRD installed? apt-get install bird2")
}

fn bird_conf(config: &RouterConfig, log: &Path) -> String {
    let RouterConfig {
        router_id,
        links,
        stubs,
        stubs4,
        home,
        stub_areas,
        external,
        learns,
        hello,
        dead,
        key,
        key_algorithm,
        bfd,
        bfd_algorithm,
    } = config;
    let key = key.as_ref().map_or_else(String::new, |(id, secret)| {
        let algorithm = key_algorithm.replace("hmac-sha-", "hmac sha");
        format!(
            " authentication cryptographic; password \"{secret}\" {{ id {id}; algorithm {algorithm}; }};"
        )
    });
    let (watched, bfd) = match bfd {
        Some((ms, multiplier)) => {
            let us = (ms * 1000.0).round();
            let signed = bfd_algorithm.map_or_else(String::new, |algorithm| {
                let (id, secret) = BFD_KEY;
                let algorithm = algorithm.replace('-', " ");
                format!(" authentication {algorithm}; password \"{secret}\" {{ id {id}; }};")
            });
            let times = format!(
                "min rx interval {us} us; min tx interval {us} us; idle tx interval 1 s; \
                 multiplier {multiplier};{signed}"
            );
            (
                " bfd yes;",
                format!("protocol bfd {{ interface \"*\" {{ {times} }}; }}\n"),
            )
        }
        None => ("", String::new()),
    };
    let mut areas: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    for area in stub_areas {
        areas.entry(*area).or_default().push_str("    stub;\n");
    }
    for link in links {
        let kind = match link.priority {
            Some(priority) => format!("type broadcast; priority {priority}"),
            None => "type ptp".to_owned(),
        };
        areas.entry(link.area).or_default().push_str(&format!(
            "    interface \"{}\" {{ {kind}; hello {hello}; dead {dead}; cost {};{key}{watched} }};\n",
            link.interface, link.cost
        ));
    }
    let mut areas4 = areas.clone();
    for stub in stubs {
        let area = areas.entry(*home).or_default();
        area.push_str(&format!("    stubnet {stub}/128;\n"));
    }
    let written = |areas: &BTreeMap<Ipv4Addr, String>| -> String {
        let areas = areas.iter();
        areas
            .map(|(area, text)| format!("  area {area} {{\n{text}  }};\n"))
            .collect()
    };
    let areas = written(&areas);
    let options = "ecmp yes;\n  graceful restart yes;\n  debug { states, events };";
    let ipv4 = if stubs4.is_empty() {
        String::new()
    } else {
        for stub in stubs4 {
            let area = areas4.entry(*home).or_default();
            area.push_str(&format!("    stubnet {stub}/32;\n"));
        }
        format!(
            "protocol kernel {{ ipv4 {{ export all; import none; }}; merge paths on; \
             graceful restart yes; }}\n\
             protocol ospf v3 ospf4 {{\n  ipv4 {{ import all; export none; }};\n  {options}\n{}}}\n",
            written(&areas4)
        )
    };
    let (outside, export) = match external {
        Some(external) => (
            format!(
                "protocol static {{ ipv6; route {} blackhole; }}\n",
                external.prefix
            ),
            format!(
                "filter {{ if source = RTS_STATIC then {{ ospf_metric{} = {}; accept; }} reject; }}",
                if external.type1 { 1 } else { 2 },
                external.metric
            ),
        ),
        None if *learns => (String::new(), "where source = RTS_INHERIT".to_owned()),
        None => (String::new(), "none".to_owned()),
    };
    let kernel = match learns {
        // What it learns from another gateway must not win over what it learns here: it would not be told further.
        true => "ipv6 { preference 200; import where krt_source = 188; export none; }; learn",
        false => "ipv6 { export all; import none; }; merge paths on",
    };
    format!(
        "log \"{}\" all;\n\
         router id {router_id};\n\
         protocol device {{ scan time 1; }}\n\
         protocol kernel {{ {kernel}; graceful restart yes; }}\n\
         {bfd}{outside}{ipv4}protocol ospf v3 ospf6 {{\n  \
         ipv6 {{ import all; export {export}; }};\n  {options}\n{areas}}}\n",
        log.display()
    )
}

/// Reads the tables of `show ospf lsadb`: type, LS ID, router, sequence number, age, checksum. Dead
/// LSAs are left out.
fn parse_database(text: &str) -> Result<Vec<LsaKey>> {
    let mut lsas = Vec::new();
    let mut area = None;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["Area", name] => area = Some(name.parse()?),
            ["Global"] | ["Link", _] => area = None,
            _ => {}
        }
        let [ls_type, id, router, sequence, age, checksum] = words[..] else {
            continue;
        };
        let Ok(ls_type) = u16::from_str_radix(ls_type, 16) else {
            continue;
        };
        if age.parse() == Ok(MAX_AGE) {
            continue;
        }
        lsas.push(LsaKey {
            area,
            ls_type,
            id: u32::from(id.parse::<Ipv4Addr>()?),
            router: router.parse()?,
            sequence: u32::from_str_radix(sequence, 16)?,
            checksum: u16::from_str_radix(checksum, 16)?,
            length: None,
        });
    }
    lsas.sort();
    Ok(lsas)
}
