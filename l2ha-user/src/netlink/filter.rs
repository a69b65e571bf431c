//! BPF programs on the tc hooks of an interface.

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};

use super::{Asked as _, Error, Netlink};

/// A tc hook of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcHook {
    /// Frames that arrive.
    Ingress,
    /// Frames that leave.
    Egress,
}

impl Netlink {
    /// The kernel's ids of the BPF programs on a hook; none where there is no clsact.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn filter_programs(&self, interface: u32, hook: TcHook) -> Result<Vec<u32>, Error> {
        let mut filters = self.handle.traffic_filter(interface.cast_signed());
        let request = match hook {
            TcHook::Ingress => filters.get().ingress(),
            TcHook::Egress => filters.get().egress(),
        };
        let answer = request
            .execute()
            .try_collect::<Vec<TcMessage>>()
            .await
            .asked(|| format!("cannot list the tc filters of interface {interface}"));
        match answer {
            Ok(messages) => Ok(messages.iter().filter_map(program_id).collect()),
            // No clsact on it (EINVAL), or the interface has just gone.
            Err(error) if matches!(error.errno(), Some(Errno::EINVAL | Errno::ENODEV)) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// The id of the program of a BPF filter.
fn program_id(message: &TcMessage) -> Option<u32> {
    let options = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        })?;
    options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    })
}
