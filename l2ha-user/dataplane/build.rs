//! Builds the kernel programs with the BPF toolchain that `cargo xtask setup` put into
//! `target/toolchain`, so that the object can be embedded in the `l2ha` binary.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let root = manifest.ancestors().nth(2).expect("the workspace's root");
    let toolchain = root.join("target/toolchain");
    println!(
        "cargo::rerun-if-changed={}",
        root.join("l2ha-ebpf").display()
    );
    println!(
        "cargo::rerun-if-changed={}",
        toolchain.join("ready").display()
    );

    if !toolchain.join("ready").exists() {
        fail("the BPF toolchain is not set up: run `cargo xtask setup` once");
    }
    let object = build(root, &toolchain);
    fs::copy(&object, out.join("l2ha.bpf.o"))
        .unwrap_or_else(|error| fail(&format!("cannot copy {}: {error}", object.display())));
}

/// Compiles the programs and returns the path of the object.
fn build(root: &Path, toolchain: &Path) -> PathBuf {
    let bin = toolchain.join("sysroot/bin");
    let linker = toolchain.join("bin/bpf-linker");
    // One for all: clippy and each profile have an OUT_DIR of their own, and the programs are the same.
    let target_dir = root.join("target/bpf");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("set by cargo");
    let flags = [
        format!("-Clinker={}", linker.display()),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut command = Command::new(bin.join("cargo"));
    command
        .args([
            "build",
            "--package",
            "l2ha-ebpf",
            "--bin",
            "l2ha-ebpf",
            "--features",
            "bpf",
        ])
        .args([
            "--target",
            "bpfel-unknown-none",
            "-Zbuild-std=core",
            "--release",
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(root)
        .env("RUSTC", bin.join("rustc"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    match command.status() {
        Ok(status) if status.success() => target_dir.join("bpfel-unknown-none/release/l2ha-ebpf"),
        Ok(status) => fail(&format!("the kernel programs do not build ({status})")),
        Err(error) => fail(&format!(
            "cannot start {}: {error}; run `cargo xtask setup` again",
            bin.join("cargo").display()
        )),
    }
}

/// Ends the build with one sentence and no backtrace.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}
