//! The BPF toolchain: a nightly with rust-src and a bpf-linker built against that nightly's own
//! LLVM, both found below `target/toolchain`.
//!
//! Layout, relied on by the build script of dataplane:
//! `sysroot` (link to the nightly's sysroot), `bin/bpf-linker`, `ready` (what the others are).
//!
//! And beside them `bin/protoc`, which the client of etcd is built with (`.cargo/config.toml` names it).

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd::{self, cargo, output, root, say},
    packages,
};

/// The nightly the programs are known to build and verify with.
const NIGHTLY: &str = "nightly-2026-05-20";
/// The bpf-linker that supports that nightly's LLVM.
const BPF_LINKER: &str = "0.13.0";
/// LLVM major versions that this bpf-linker can be built against.
const LLVM: [u32; 3] = [21, 22, 23];

/// Options of `cargo xtask setup`.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Do everything again, also when it looks done
    #[arg(long, conflicts_with = "packages")]
    force: bool,
    /// Install the Debian packages that the tests need, and leave the toolchain alone
    #[arg(long)]
    packages: bool,
}

/// Sets the toolchain up unless that has been done.
///
/// # Errors
///
/// When no nightly with rust-src can be had, or bpf-linker does not build; the text has the remedy.
pub(crate) fn run_if_needed() -> Result<()> {
    run(&Options::default())
}

/// Sets the toolchain up.
///
/// # Errors
///
/// As for [`run_if_needed`].
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.packages {
        return packages::install();
    }
    let home = root().join("target/toolchain");
    let ready = home.join("ready");
    if options.force && home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    fs::create_dir_all(home.join("bin"))?;
    protoc(&home)?;
    if is_ready(&home) {
        return Ok(());
    }
    let _ = fs::remove_file(&ready);

    let sysroot = nightly(&home)?;
    let link = home.join("sysroot");
    let _ = fs::remove_file(&link);
    symlink(&sysroot, &link).with_context(|| format!("cannot create {}", link.display()))?;
    let version = output(Command::new(link.join("bin/rustc")).arg("-vV"))?;
    let llvm = llvm_major(&version)?;
    bpf_linker(&home, &sysroot, llvm)?;
    fs::write(&ready, want(&version))?;
    say("the BPF toolchain is ready");
    Ok(())
}

/// Whether everything is there and works, and was made for the versions wanted now.
fn is_ready(home: &Path) -> bool {
    let Ok(stamp) = fs::read_to_string(home.join("ready")) else {
        return false;
    };
    let Ok(version) = output(Command::new(home.join("sysroot/bin/rustc")).arg("-vV")) else {
        return false;
    };
    stamp == want(&version)
        && output(Command::new(home.join("bin/bpf-linker")).arg("--version")).is_ok()
}

/// What the stamp says when the toolchain is up to date.
fn want(rustc: &str) -> String {
    format!("wanted: {NIGHTLY}\nbpf-linker: {BPF_LINKER}\n{rustc}")
}

/// Puts protoc there, which a crate brings along, and what it includes where it looks for that.
fn protoc(home: &Path) -> Result<()> {
    let own = home.join("bin/protoc");
    let theirs = protoc_bin::protoc_bin_path();
    let length = |path: &Path| fs::metadata(path).map(|it| it.len()).ok();
    if length(&own) == length(&theirs) {
        return Ok(());
    }
    let cannot = || format!("cannot write {}", own.display());
    copy(&protoc_bin::include_path(), &home.join("include")).with_context(cannot)?;
    // Under its name only when it is whole.
    let new = home.join("bin/protoc.new");
    fs::copy(&theirs, &new).with_context(cannot)?;
    fs::rename(&new, &own).with_context(cannot)
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// Finds or fetches a nightly with rust-src and returns its sysroot.
///
/// First choice is the pinned one, in a rustup home of this project's own, so that nothing of the
/// user's is changed. Without a network an installed nightly does, if its LLVM can be linked to.
fn nightly(home: &Path) -> Result<PathBuf> {
    let rustup_home = home.join("rustup");
    say(format!(
        "fetching {NIGHTLY} with rust-src into {}",
        rustup_home.display()
    ));
    let pinned = cmd::run(
        Command::new("rustup")
            .env("RUSTUP_HOME", &rustup_home)
            .env_remove("RUSTUP_TOOLCHAIN")
            .args([
                "toolchain",
                "install",
                NIGHTLY,
                "--profile",
                "minimal",
                "--no-self-update",
            ])
            .args(["--component", "rust-src", "--component", "clippy"]),
    );
    let reason = match pinned {
        Ok(()) => {
            let found = sysroots(&rustup_home.join("toolchains"), NIGHTLY);
            return found
                .into_iter()
                .next()
                .context("rustup installed no toolchain");
        }
        Err(error) => error,
    };
    say(format!(
        "{reason:#}; looking for an installed nightly instead"
    ));

    let toolchains = output(Command::new("rustup").args(["toolchain", "list"]))
        .context("rustup is needed: install it from your distribution (package rustup)")?;
    let names = toolchains.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with("nightly")) {
        let Ok(version) = output(Command::new("rustc").arg(format!("+{name}")).arg("-vV")) else {
            continue;
        };
        if llvm_major(&version).is_err() {
            say(format!(
                "{name}: its LLVM is not supported by bpf-linker {BPF_LINKER}"
            ));
            continue;
        }
        let sysroot = output(
            Command::new("rustc")
                .arg(format!("+{name}"))
                .args(["--print", "sysroot"]),
        )?;
        let sysroot = PathBuf::from(sysroot.trim());
        if !has_rust_src(&sysroot) {
            say(format!("adding rust-src to {name}"));
            let add = [
                "component",
                "add",
                "rust-src",
                "clippy",
                "--toolchain",
                name,
            ];
            if let Err(error) = cmd::run(Command::new("rustup").args(add)) {
                say(format!("{error:#}"));
                continue;
            }
        }
        if has_rust_src(&sysroot) {
            return Ok(sysroot);
        }
    }
    bail!(
        "no nightly toolchain with rust-src could be had: connect this machine to rustup's server \
         and run `cargo xtask setup` again, or install one by hand with `rustup toolchain install \
         {NIGHTLY} --component rust-src`"
    )
}

/// The toolchains below `folder` whose name starts with `prefix` and which have rust-src.
fn sysroots(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|sysroot| has_rust_src(sysroot))
        .collect()
}

fn has_rust_src(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

/// The LLVM major version named in `rustc -vV`, if bpf-linker can use it.
fn llvm_major(version: &str) -> Result<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "));
    let major = line.and_then(|text| text.split('.').next()?.parse().ok());
    let major: u32 = major.context("rustc does not name its LLVM version")?;
    if !LLVM.contains(&major) {
        bail!("bpf-linker {BPF_LINKER} supports LLVM {LLVM:?}, this rustc has {major}");
    }
    Ok(major)
}

/// Builds bpf-linker against the nightly's own libLLVM.
fn bpf_linker(home: &Path, sysroot: &Path, llvm: u32) -> Result<()> {
    say(format!(
        "building bpf-linker {BPF_LINKER} for LLVM {llvm} (about a minute)"
    ));
    let lib = sysroot.join("lib");
    let prefix = home.join("llvm");
    let _ = fs::remove_dir_all(&prefix);
    fs::create_dir_all(prefix.join("lib"))?;
    let library = fs::read_dir(&lib)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so"))
        })
        .with_context(|| format!("no libLLVM.so.* in {}", lib.display()))?;
    symlink(library, prefix.join("lib/libLLVM.so"))?;
    cmd::run(
        cargo()
            .args([
                "install",
                "bpf-linker",
                "--version",
                BPF_LINKER,
                "--locked",
                "--quiet",
                "--force",
            ])
            .args([
                "--no-default-features",
                "--features",
                &format!("llvm-{llvm}"),
            ])
            .arg("--root")
            .arg(home)
            .arg("--target-dir")
            .arg(home.join("build"))
            .env("LLVM_PREFIX", &prefix)
            .env(
                "RUSTFLAGS",
                format!("-Clink-arg=-Wl,-rpath,{}", lib.display()),
            ),
    )
    .context(
        "bpf-linker does not build: a C compiler is needed (Debian: apt-get install gcc libc6-dev)",
    )?;
    let _ = fs::remove_dir_all(home.join("build"));
    Ok(())
}
