//! What the two ends of a tunnel share, while it is replaced by something else.

use l2ha_ebpf::plan::Cookie;
use ospfv3::{AuthKey, Credential, Rotation};

use crate::types::Tunnel;

/// A key of a tunnel, and the one before it while the two are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotating<T> {
    /// The present one.
    pub present: T,
    /// The former one, with another id: accepted as well, and signs until the neighbour accepts the present one.
    pub former: Option<T>,
}

impl<T: Clone> Rotating<T> {
    /// All that are accepted, the present one first.
    pub(crate) fn all(&self) -> Vec<T> {
        let present = std::iter::once(&self.present);
        present.chain(&self.former).cloned().collect()
    }
}

impl Tunnel {
    /// What its ends rotate, if they do: what OSPF tells the neighbour, and what it has to hear from it before the
    /// present keys and the present cookie are used. It goes with a former key of OSPF.
    pub fn rotation(&self) -> Option<Rotation> {
        let key = self.ospf_key.as_ref()?;
        let former = key.former.as_ref()?.sa_id;
        let ospf = |key: &AuthKey| Credential::ospf_key(key.sa_id);
        let bfd = |key: &bfd::Key| Credential::bfd_key(key.id);
        let cookie = |cookie: &Cookie| Credential::cookie(cookie.bytes());
        let mut accepts = vec![ospf(&key.present), Credential::ospf_key(former)];
        let mut present = vec![ospf(&key.present), cookie(&self.send_cookie)];
        if let Some(key) = &self.bfd_key {
            accepts.extend(key.all().iter().map(bfd));
            present.push(bfd(&key.present));
        }
        accepts.push(cookie(&self.receive_cookie));
        accepts.extend(self.previous_cookie.iter().map(cookie));
        Some(Rotation {
            former,
            accepts,
            present,
        })
    }
}
