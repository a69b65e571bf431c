//! The virtual machine's file system: an archive the kernel unpacks into memory, made of this
//! machine's own programs with the libraries they need, and the kernel's modules.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use super::{archive::Archive, debian::Series, kernel::Kernel};
use crate::{
    lab::{Lab, target_dir},
    ns::output,
};

/// In the order they are inserted in, each after what it depends on.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "vmxnet3",
    "l2tp_eth",
    "l2tp_ip",
    "l2tp_ip6",
    "vxlan",
    "veth",
    "sch_ingress",
    "cls_bpf",
];
const BUSYBOX: &str = "/bin/busybox";
/// Programs, and the Debian packages they come from.
const PROGRAMS: &[(&str, &str)] = &[
    (BUSYBOX, "busybox-static"),
    // Busybox's own shell prefers busybox's `ip`, which knows no L2TP; and busybox's `nc` sends in
    // small pieces, where bash has `/dev/tcp`.
    ("/bin/bash", "bash"),
    ("/sbin/ip", "iproute2"),
    ("/sbin/ethtool", "ethtool"),
    ("/usr/lib/frr/zebra", "frr"),
    ("/usr/lib/frr/ospf6d", "frr"),
    ("/usr/bin/vtysh", "frr"),
    // vtysh asks PAM whether root may.
    (
        "/lib/x86_64-linux-gnu/security/pam_permit.so",
        "libpam-modules",
    ),
];
const PAM: &str = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n";
/// FRR gives its privileges up to these.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nfrr:x:101:101::/run/frr:/bin/false\n";
const GROUP: &str = "root:x:0:\nfrr:x:101:\nfrrvty:x:102:frr,root\n";

/// What qemu boots.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) kernel: PathBuf,
    pub(super) files: PathBuf,
}

impl Image {
    /// The kernel is fetched and unpacked once; the archive takes a tenth of a second and is made
    /// each time into `files`, so that it is never older than what it is made of. `more` programs
    /// go into /usr/bin.
    pub(super) fn make(files: PathBuf, more: &[PathBuf]) -> Result<Self> {
        let folder = target_dir().join("vm");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let kernel = {
            let lock = fs::File::create(folder.join("lock"))?;
            let _lock = Flock::lock(lock, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .context("cannot lock target/vm")?;
            Kernel::get(&folder.join("cache"), &Series::wanted()?)?
        };
        let archive = contents(&kernel, more).with_context(|| {
            format!(
                "cannot make the file system of a virtual machine with {}",
                kernel.package
            )
        })?;
        fs::write(&files, archive).with_context(|| format!("cannot write {}", files.display()))?;
        Ok(Self {
            kernel: kernel.image,
            files,
        })
    }
}

/// Copies a program of this machine for [`Extras`](super::Extras), without what only debuggers
/// read: it goes into the machine's memory.
///
/// # Errors
///
/// When the program or strip(1) is not there.
pub fn stripped(lab: &Lab, program: &Path, name: &str) -> Result<PathBuf> {
    let folder = lab.dir().join("bin");
    fs::create_dir_all(&folder)?;
    let to = folder.join(name);
    output(Command::new("strip").arg("-o").arg(&to).arg(program))
        .context("is strip there? apt-get install binutils")?;
    Ok(to)
}

fn contents(kernel: &Kernel, more: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new());
    for folder in [
        "proc", "sys", "dev", "tmp", "run", "etc/frr", "usr/sbin", "usr/bin",
    ] {
        archive.folder(folder)?;
    }
    // As in Debian: programs are found under both names.
    archive.link("bin", "usr/bin")?;
    archive.link("sbin", "usr/sbin")?;
    archive.link("var/run", "/run")?;
    archive.device("dev/console", 5, 1)?;
    archive.file("etc/passwd", PASSWD.as_bytes())?;
    archive.file("etc/group", GROUP.as_bytes())?;
    archive.file("etc/pam.d/frr", PAM.as_bytes())?;
    // Without it vtysh complains with every answer.
    archive.file("etc/frr/vtysh.conf", b"")?;
    archive.program("init", include_bytes!("init.sh"))?;

    let mut libraries = BTreeSet::new();
    for (program, package) in PROGRAMS {
        let content = fs::read(program)
            .with_context(|| format!("no {program}: apt-get install {package}"))?;
        archive.program(&program_path(program), &content)?;
        libraries.extend(libraries_of(program)?);
    }
    for program in more {
        let content =
            fs::read(program).with_context(|| format!("no program {}", program.display()))?;
        archive.program(&format!("usr/bin/{}", file_name(program)?), &content)?;
        let path = program.to_str().context("a path that is not UTF-8")?;
        libraries.extend(libraries_of(path)?);
    }
    for library in libraries {
        let content = fs::read(&library).with_context(|| format!("no library {library}"))?;
        archive.program(library.trim_start_matches('/'), &content)?;
    }
    archive.link("usr/bin/sh", "bash")?;
    for applet in output(Command::new(BUSYBOX).arg("--list"))?.lines() {
        let ours = ["busybox", "bash", "sh", "ash", "ip"].contains(&applet);
        if !ours && !more.iter().any(|program| program.ends_with(applet)) {
            archive.link(&format!("usr/bin/{applet}"), "busybox")?;
        }
    }

    let mut order = String::new();
    for module in kernel.modules(MODULES)? {
        let name = file_name(&module)?;
        archive.file(&format!("modules/{name}"), &fs::read(&module)?)?;
        order.push_str(name);
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes())?;
    Ok(archive.finish()?)
}

/// Where a program lies in the archive, whose bin and sbin are links.
fn program_path(path: &str) -> String {
    let path = path.trim_start_matches('/');
    if path.starts_with("bin/") || path.starts_with("sbin/") {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

/// The libraries a program is linked with, and its loader.
fn libraries_of(program: &str) -> Result<Vec<String>> {
    if program == BUSYBOX {
        return Ok(Vec::new());
    }
    let said = output(Command::new("ldd").arg(program))?;
    said.lines()
        .filter(|line| !line.contains("linux-vdso"))
        .map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(str::to_owned)
                .with_context(|| format!("a library of {program} is missing: {}", line.trim()))
        })
        .collect()
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} has no name", path.display()))
}
