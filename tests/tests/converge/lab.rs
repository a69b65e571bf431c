//! The lab itself: what it makes, what crosses its cloud, and that nothing of it stays.

use std::{
    io::{Read as _, Write as _},
    net::{
        IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
    },
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{CloudOptions, Host, Lab, Namespace, PATIENCE, UNDERLAY};
use socket2::{Domain, Protocol, Socket, Type};

/// How long what must not arrive is waited for.
const SILENCE: Duration = Duration::from_millis(300);
/// Groups that a router could forward: organisation-wide and global scope.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 7, 7, 7);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 0x777);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_namespace_ends_with_what_runs_in_it() -> Result<()> {
    let namespace = Namespace::new("alone")?;
    let path = namespace.path();
    let mut command = Command::new("sleep");
    command.arg("60");
    let process = namespace.spawn(command)?;
    assert!(process.is_running());

    // A socket made inside is not seen from outside, and the machine's own /sys is still there.
    let socket = namespace.enter(|| UdpSocket::bind("127.0.0.1:1701"))?;
    let socket = socket.context("the loopback is up")?;
    assert!(namespace.run(["ss", "-Hlun"])?.contains("127.0.0.1:1701"));
    assert_eq!(
        namespace.run(["readlink", "/proc/self/ns/mnt"])?.trim(),
        std::fs::read_link("/proc/self/ns/mnt")?.to_string_lossy()
    );

    let stray: u32 = namespace
        .run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])?
        .trim()
        .parse()?;
    drop(socket);
    drop(namespace);
    assert!(!process.is_running());
    assert!(!path.exists(), "{} is still there", path.display());
    assert!(std::fs::read_link(format!("/proc/{stray}/ns/net")).is_err());
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn unicast_udp_tcp_and_icmp_cross_and_nothing_else() -> Result<()> {
    Lab::run("lab-crossing", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["a", "b"])?;
        let [a, b] = &hosts[..] else { unreachable!() };
        for (from, to) in [(a, b), (b, a)] {
            for to_address in [IpAddr::from(to.v4), to.v6.into()] {
                ensure!(
                    udp_crosses(from, to, to_address, PATIENCE)?,
                    "UDP to {to_address}"
                );
                ensure!(tcp_crosses(from, to, to_address)?, "TCP to {to_address}");
                ensure!(ping(from, to_address)?, "ICMP to {to_address}");
                for protocol in [115, 47, 89, 4] {
                    ensure!(
                        !protocol_crosses(from, to, to_address, protocol, SILENCE / 4)?,
                        "protocol {protocol} reached {to_address}"
                    );
                }
            }
            for group in [IpAddr::from(GROUP_V4), GROUP_V6.into()] {
                ensure!(
                    !multicast_crosses(from, to, group)?,
                    "multicast to {group} crossed"
                );
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn protocol_115_crosses_where_asked() -> Result<()> {
    Lab::run("lab-115", |lab| {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (_cloud, hosts) = lab.cloud(options, &["a", "b"])?;
        let [a, b] = &hosts[..] else { unreachable!() };
        for address in [IpAddr::from(b.v4), b.v6.into()] {
            ensure!(
                protocol_crosses(a, b, address, 115, PATIENCE)?,
                "115 to {address}"
            );
            ensure!(
                !protocol_crosses(a, b, address, 47, SILENCE)?,
                "GRE to {address}"
            );
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_cut_is_silent_and_heals() -> Result<()> {
    Lab::run("lab-cut", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["a", "b", "c"])?;
        let [a, b, c] = &hosts[..] else {
            unreachable!()
        };
        for round in 0..2 {
            let started = Instant::now();
            cloud.cut(b)?;
            lab.say(format_args!("cut in {:?}", started.elapsed()));
            for (from, to) in [(a, b), (b, a)] {
                for to_address in [IpAddr::from(to.v4), to.v6.into()] {
                    ensure!(
                        !udp_crosses(from, to, to_address, SILENCE)?,
                        "round {round}: cut"
                    );
                    // No error is sent: a connect attempt runs into its timeout, not into an error.
                    let target = SocketAddr::new(to_address, 9);
                    let error = from
                        .ns
                        .enter(|| TcpStream::connect_timeout(&target, SILENCE))?
                        .err()
                        .context("connected over a cut")?;
                    ensure!(error.kind() == std::io::ErrorKind::TimedOut, "{error}");
                }
            }
            let carrier = b.ns.ip_json(&["link", "show", UNDERLAY])?;
            ensure!(carrier[0]["operstate"] == "UP", "{carrier}");
            ensure!(
                udp_crosses(a, c, c.v4.into(), PATIENCE)?,
                "the others are not cut"
            );
            cloud.heal(b)?;
            for address in [IpAddr::from(b.v4), b.v6.into()] {
                ensure!(
                    udp_crosses(a, b, address, PATIENCE)?,
                    "round {round}: healed"
                );
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn labs_side_by_side_do_not_meet_and_leave_nothing() -> Result<()> {
    let mut dirs = Vec::new();
    let mut namespaces = Vec::new();
    {
        let labs = [Lab::new("left")?, Lab::new("right")?];
        let worlds = labs
            .iter()
            .map(|lab| lab.cloud(CloudOptions::default(), &["a", "b"]))
            .collect::<Result<Vec<_>>>()?;
        // The same addresses in both; a cut in one is none in the other.
        let (cloud, hosts) = &worlds[0];
        cloud.cut(&hosts[1])?;
        assert!(!udp_crosses(
            &hosts[0],
            &hosts[1],
            hosts[1].v4.into(),
            SILENCE
        )?);
        let (_, hosts) = &worlds[1];
        assert!(udp_crosses(
            &hosts[0],
            &hosts[1],
            hosts[1].v4.into(),
            PATIENCE
        )?);
        for (lab, (cloud, hosts)) in labs.iter().zip(&worlds) {
            dirs.push(lab.dir().to_owned());
            namespaces.push(cloud.router().path());
            namespaces.extend(hosts.iter().map(|host| host.ns.path()));
        }
    }
    for path in dirs.iter().chain(&namespaces) {
        assert!(!path.exists(), "{} is still there", path.display());
    }
    Ok(())
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn udp_crosses(from: &Host, to: &Host, address: IpAddr, patience: Duration) -> Result<bool> {
    let any = SocketAddr::new(unspecified(address), 0);
    let receiver = to.ns.enter(|| UdpSocket::bind(any))??;
    receiver.set_read_timeout(Some(patience))?;
    let target = SocketAddr::new(address, receiver.local_addr()?.port());
    let sender = from.ns.enter(|| UdpSocket::bind(any))??;
    sender.send_to(b"crossing", target)?;
    let mut buffer = [0; 16];
    Ok(matches!(receiver.recv(&mut buffer), Ok(8) if &buffer[..8] == b"crossing"))
}

fn tcp_crosses(from: &Host, to: &Host, address: IpAddr) -> Result<bool> {
    let listener = to
        .ns
        .enter(|| TcpListener::bind(SocketAddr::new(unspecified(address), 0)))??;
    let target = SocketAddr::new(address, listener.local_addr()?.port());
    let Ok(mut stream) = from
        .ns
        .enter(|| TcpStream::connect_timeout(&target, PATIENCE))?
    else {
        return Ok(false);
    };
    stream.write_all(b"crossing")?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 8];
    accepted.read_exact(&mut buffer)?;
    Ok(&buffer == b"crossing")
}

/// An echo request and its answer, by a raw socket.
#[track_caller]
fn ping(from: &Host, address: IpAddr) -> Result<bool> {
    let (domain, protocol, request, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let mut socket = from
        .ns
        .enter(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Type, code, checksum, identifier, sequence number. The kernel sums ICMPv6 only.
    let mut packet = [request, 0, 0, 0, 0x12, 0x34, 0, 1];
    if address.is_ipv4() {
        let sum = u32::from(request) * 0x100 + 0x1234 + 1;
        packet[2..4].copy_from_slice(&(!u16::try_from(sum)?).to_be_bytes());
    }
    socket.connect(&SocketAddr::new(address, 0).into())?;
    socket.write_all(&packet)?;
    // Connected, so only what comes from there is heard.
    let until = Instant::now() + PATIENCE;
    let offset = if address.is_ipv4() { 20 } else { 0 };
    let mut buffer = [0; 128];
    while Instant::now() < until {
        match socket.read(&mut buffer) {
            Ok(length) if length > offset && buffer[offset] == reply => return Ok(true),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(false)
}

fn protocol_crosses(
    from: &Host,
    to: &Host,
    address: IpAddr,
    protocol: i32,
    patience: Duration,
) -> Result<bool> {
    let domain = Domain::for_address(SocketAddr::new(address, 0));
    let open = || Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)));
    let mut receiver = to.ns.enter(open)??;
    receiver.set_read_timeout(Some(patience))?;
    let sender = from.ns.enter(open)??;
    sender.send_to(&[0x55; 64], &SocketAddr::new(address, 0).into())?;
    Ok(receiver.read(&mut [0; 128]).is_ok())
}

fn multicast_crosses(from: &Host, to: &Host, group: IpAddr) -> Result<bool> {
    const PORT: u16 = 7777;
    let index = |host: &Host| host.ns.ifindex(UNDERLAY)?.context("no underlay");
    let bind = SocketAddr::new(unspecified(group), PORT);
    let receiver = to.ns.enter(|| UdpSocket::bind(bind))??;
    receiver.set_read_timeout(Some(SILENCE / 2))?;
    match group {
        IpAddr::V4(group) => receiver.join_multicast_v4(&group, &to.v4)?,
        IpAddr::V6(group) => receiver.join_multicast_v6(&group, index(to)?)?,
    }
    let sender = from
        .ns
        .enter(|| UdpSocket::bind((unspecified(group), 0)))??;
    let sender = Socket::from(sender);
    let target = match group {
        IpAddr::V4(group) => {
            sender.set_multicast_ttl_v4(16)?;
            sender.set_multicast_if_v4(&from.v4)?;
            SocketAddr::new(group.into(), PORT)
        }
        IpAddr::V6(group) => {
            sender.set_multicast_hops_v6(16)?;
            SocketAddrV6::new(group, PORT, 0, index(from)?).into()
        }
    };
    sender.send_to(b"to all", &target.into())?;
    let heard = receiver.recv(&mut [0; 16]).is_ok();
    // The same socket hears unicast: silence was not deafness.
    let unicast = match group {
        IpAddr::V4(_) => IpAddr::from(to.v4),
        IpAddr::V6(_) => to.v6.into(),
    };
    sender.send_to(b"to one", &SocketAddr::new(unicast, PORT).into())?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    receiver
        .recv(&mut [0; 16])
        .context("the receiver does not hear unicast either")?;
    Ok(heard)
}
