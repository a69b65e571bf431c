//! Which process has a UDP port: by the sockets that the kernel lists, and the files that processes have open.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Place of a socket's inode number in a line of /proc/net/udp (proc(5)).
const INODE: usize = 9;

/// The process that keeps an address and port from being bound, for people; nothing if that cannot be told, as of a
/// socket of the kernel's own.
pub(crate) fn find(address: SocketAddr) -> Option<String> {
    let sockets = match address {
        SocketAddr::V4(_) => ["udp", "udp6"].as_slice(),
        SocketAddr::V6(_) => &["udp6"],
    };
    let inode = sockets.iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        holder(&text, address).map(str::to_owned)
    })?;
    let process = process_with(&format!("socket:[{inode}]"))?;
    let name = fs::read_to_string(process.join("comm")).ok()?;
    let pid = process.file_name()?.to_string_lossy().into_owned();
    Some(format!("{} (process {pid})", name.trim()))
}

/// The inode number of the socket that has the port on this address, or on all.
fn holder(table: &str, address: SocketAddr) -> Option<&str> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (local, port) = words.nth(1)?.split_once(':')?;
        let local = parse(local)?;
        let same = local == address.ip() || local.is_unspecified();
        let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
        (same && same_port).then(|| words.nth(INODE - 2)).flatten()
    })
}

/// An address as the kernel writes it: words of 32 bits in the host's byte order, in hexadecimal digits.
fn parse(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The folder in /proc of a process that has a file open, by what its link says.
fn process_with(file: &str) -> Option<PathBuf> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit())
    });
    processes.find(|process| has_open(process, file))
}

fn has_open(process: &Path, file: &str) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    let mut links = open
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.as_os_str() == file)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_process_that_has_a_port_is_named() {
        let own = std::process::id().to_string();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address).unwrap();
            let mut bound = socket.local_addr().unwrap();
            if bound.ip().is_unspecified() {
                // It has the port on every address.
                bound.set_ip([127, 0, 0, 1].into());
            }
            let found = find(bound).unwrap();
            assert!(found.ends_with(&format!("(process {own})")), "{found}");
            drop(socket);
            assert_eq!(find(bound), None);
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_nobody() {
        let address = "10.0.0.1:1701".parse().unwrap();
        for table in [
            "",
            "x",
            "0: :",
            "0: 0100000A:06A5",
            "0: 0A:06A5 1 2 3 4 5 6 7 8 9",
        ] {
            assert_eq!(holder(table, address), None, "{table}");
        }
    }
}
