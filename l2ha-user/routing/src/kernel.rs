//! The kernel as routing uses it: routes, nexthop objects, forwarding.

use std::{fs, io, pin::Pin};

use linux::{Batch, Error, ForeignRoute, Found, HostRoutes, KernelRoute, Netlink, Order};
use ospfv3::Family;

/// An answer of the kernel's that is waited for.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// The kernel of this node.
pub(crate) trait Kernel {
    /// The routes of protocol `ospf` in a table.
    fn ospf_routes(&self, table: u32) -> Answer<'_, Vec<KernelRoute>>;

    /// The unicast routes in a table that are the kernel's or people's.
    fn foreign_routes(&self, table: u32) -> Answer<'_, Vec<ForeignRoute>>;

    /// What the host has of its own in the main table and in this one.
    fn host_routes(&self, table: u32) -> Answer<'_, HostRoutes>;

    /// All nexthop objects; an error where the kernel has none.
    fn nexthops(&mut self) -> io::Result<Vec<Found>>;

    /// Whether the kernel has resilient groups; an error if not.
    fn resilience(&mut self) -> io::Result<()>;

    /// Carries out requests in their order, whatever becomes of those before. Gives those refused, by
    /// their place in `orders`; an error if that is not known.
    fn carry_out(&mut self, orders: &[Order]) -> io::Result<Vec<(usize, Error)>>;

    /// Whether packets of a family are forwarded.
    fn forwards(&self, family: Family) -> bool;
}

/// The real one, in the network namespace of the thread that opened it.
pub(crate) struct Rtnetlink {
    netlink: Netlink,
    batch: Batch,
}

impl Rtnetlink {
    /// Opens the connections.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            batch: Batch::open()?,
        })
    }
}

impl Kernel for Rtnetlink {
    fn ospf_routes(&self, table: u32) -> Answer<'_, Vec<KernelRoute>> {
        Box::pin(self.netlink.ospf_routes(table))
    }

    fn foreign_routes(&self, table: u32) -> Answer<'_, Vec<ForeignRoute>> {
        Box::pin(self.netlink.foreign_routes(table))
    }

    fn host_routes(&self, table: u32) -> Answer<'_, HostRoutes> {
        Box::pin(self.netlink.host_routes(table))
    }

    fn nexthops(&mut self) -> io::Result<Vec<Found>> {
        self.batch.nexthops()
    }

    fn resilience(&mut self) -> io::Result<()> {
        self.batch.resilience()
    }

    fn carry_out(&mut self, orders: &[Order]) -> io::Result<Vec<(usize, Error)>> {
        self.batch.carry_out(orders)
    }

    fn forwards(&self, family: Family) -> bool {
        let name = forwarding_sysctl(family).replace('.', "/");
        let value = fs::read_to_string(format!("/proc/sys/{name}"));
        value.is_ok_and(|value| value.trim() != "0")
    }
}

/// What says whether packets of a family are forwarded.
pub(crate) fn forwarding_sysctl(family: Family) -> &'static str {
    match family {
        Family::Ipv6 => "net.ipv6.conf.all.forwarding",
        Family::Ipv4 => "net.ipv4.ip_forward",
    }
}
