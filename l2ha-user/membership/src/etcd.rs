//! A connection to one member of etcd, and what is asked of it.

use std::{error::Error as _, fmt, fs, path::Path, time::Duration};

use config::Membership;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions,
    Identity, LeaseKeepAliveStream, LeaseKeeper, PutOptions, TlsOptions, Txn, TxnOp,
    WatchFilterType, WatchOptions, WatchStream,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::{
    record::{Accepted, Key, LONGEST, Record},
    roster::Item,
};

/// How long anything that etcd is asked may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a member of etcd may be silent, between this and twice this, before another one is asked.
const SILENCE: Duration = Duration::from_secs(6);
/// More keys below the prefix than this are not ours.
const MOST_KEYS: i64 = 10_000;
/// How many keys are asked for at once: an answer has 4 MiB at most.
const PAGE: i64 = 500;

/// Why etcd could not be asked.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    /// Whether the next attempt would fail likewise.
    pub(crate) is_final: bool,
    /// Whether there was no answer at all.
    pub(crate) is_silence: bool,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_final: false,
            is_silence: false,
        }
    }

    pub(crate) fn last(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_final: true,
            is_silence: false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::GRpcStatus(status) => status,
            Error::TransportError(error) => return Self::new(cause(&error)),
            error => return Self::new(error.to_string()),
        };
        // Its own text has every field of the answer.
        let text = match (status.source(), status.message()) {
            (Some(source), _) => cause(source),
            (None, "") => format!("{:?}", status.code()),
            (None, message) => message.to_owned(),
        };
        // "etcdserver: permission denied" and the like (api/v3rpc/rpctypes/error.go).
        let is_final = [
            "permission denied",
            "user name is empty",
            "authentication failed",
            "authentication is not enabled",
            "invalid user",
            "role name not found",
        ]
        .iter()
        .any(|word| text.contains(word));
        Self {
            text,
            is_final,
            is_silence: false,
        }
    }
}

/// What is behind an error, without what each layer in between says of it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(error) = last.source() {
        last = error;
    }
    let mut text = last.to_string();
    if let Some(end) = text.find(" (os error ") {
        text.truncate(end);
    }
    let closed = [
        "broken pipe",
        "connection closed",
        "Connection reset by peer",
    ];
    if closed.iter().any(|word| text.contains(word)) {
        // Of TLS 1.3 that is all that is left of an alert about our certificate.
        return "etcd has closed the connection; where it asks for certificates, see `cert_file`"
            .to_owned();
    }
    // Alerts of RFC 8446 6.2, in rustls' words.
    let refuses = [
        "CertificateRequired",
        "BadCertificate",
        "CertificateUnknown",
        "CertificateExpired",
        "UnknownCA",
    ];
    if text.contains("UnknownIssuer") {
        text.push_str(": no authority of `ca_file` has certified etcd");
    } else if refuses.iter().any(|alert| text.ends_with(alert)) {
        text.push_str(": etcd does not take this node's certificate, see `cert_file`");
    }
    text
}

/// Waits for an answer, but not for ever.
async fn answer<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure {
            is_silence: true,
            ..Failure::new(format!("no answer within {} s", PATIENCE.as_secs()))
        }),
    }
}

/// All that is below the prefix.
pub(crate) struct Snapshot {
    pub(crate) cluster_id: u64,
    pub(crate) revision: i64,
    pub(crate) items: Vec<Item>,
}

/// What the watch tells.
pub(crate) struct Changes {
    pub(crate) revision: i64,
    pub(crate) items: Vec<Item>,
}

/// What became of a record that was to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there, made by this revision.
    Done(i64),
    /// Another one was there meanwhile.
    Overtaken,
}

/// A connection.
pub(crate) struct Etcd {
    client: Client,
    prefix: String,
}

/// A lease that is kept.
pub(crate) struct Lease {
    id: i64,
    /// The one that made the alive key.
    pub(crate) revision: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Etcd {
    /// Connects to one member.
    pub(crate) async fn open(membership: &Membership, endpoint: &str) -> Result<Self, Failure> {
        let options = options(membership, endpoint)?;
        let client = answer(Client::connect([endpoint], Some(options))).await?;
        Ok(Self {
            client,
            prefix: membership.prefix.clone(),
        })
    }

    /// Reads all that is below the prefix, as of one revision.
    pub(crate) async fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        let mut items = Vec::new();
        let mut from = self.prefix.clone().into_bytes();
        let end = after(&self.prefix);
        let mut at: Option<(u64, i64)> = None;
        let mut page = PAGE;
        loop {
            let mut options = GetOptions::new().with_range(end.clone()).with_limit(page);
            if let Some((_, revision)) = at {
                options = options.with_revision(revision);
            }
            let got = match answer(self.client.get(from.clone(), Some(options))).await {
                // Somebody has written values much longer than ours.
                Err(why) if page > 1 && why.text.contains("message length too large") => {
                    page = (page / 8).max(1);
                    continue;
                }
                got => got?,
            };
            let header = got
                .header()
                .ok_or_else(|| Failure::new("an answer has no header"))?;
            let (cluster_id, revision) =
                *at.get_or_insert((header.cluster_id(), header.revision()));
            for kv in got.kvs() {
                items.extend(self.item(kv.key(), Some(kv.value()), kv.mod_revision()));
            }
            if got.count() > MOST_KEYS {
                return Err(Failure::new(format!(
                    "{} keys begin with {}",
                    got.count(),
                    self.prefix
                )));
            }
            match got.kvs().last() {
                Some(last) if got.more() => {
                    // The next possible key.
                    from = [last.key(), &[0]].concat();
                }
                _ => {
                    return Ok(Snapshot {
                        cluster_id,
                        revision,
                        items,
                    });
                }
            }
        }
    }

    fn item(&self, key: &[u8], value: Option<&[u8]>, revision: i64) -> Option<Item> {
        Some(Item {
            key: Key::parse(&self.prefix, key)?,
            value: value.map(shortened),
            revision,
        })
    }

    /// Watches what is below the prefix from a revision on.
    pub(crate) async fn watch(&mut self, from: i64) -> Result<Watch, Failure> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from)
            .with_progress_notify()
            .with_filters(Vec::<WatchFilterType>::new());
        let stream = answer(self.client.watch(self.prefix.clone(), Some(options))).await?;
        Ok(Watch {
            stream,
            prefix: self.prefix.clone(),
        })
    }

    /// What is at a record's place, or what is wrong with it, and the revision that made it.
    pub(crate) async fn place(
        &mut self,
        name: &str,
    ) -> Result<Option<(Result<Record, String>, i64)>, Failure> {
        let key = Key::Member(name.to_owned()).below(&self.prefix);
        let got = answer(self.client.get(key, None)).await?;
        let kv = got.kvs().first();
        Ok(kv.map(|kv| (Record::parse(name, kv.value()), kv.mod_revision())))
    }

    /// The record of a name, and the revision that made it.
    pub(crate) async fn record(&mut self, name: &str) -> Result<Option<(Record, i64)>, Failure> {
        match self.place(name).await? {
            None => Ok(None),
            Some((Ok(record), revision)) => Ok(Some((record, revision))),
            Some((Err(why), _)) => {
                let key = Key::Member(name.to_owned()).below(&self.prefix);
                Err(Failure::last(format!(
                    "what etcd has of `{name}` is of no use, {why}: `etcdctl del {key}` frees the name"
                )))
            }
        }
    }

    /// Writes a record in place of the one that a revision made, or of none (0). It stays for ever, or for so long.
    pub(crate) async fn write(
        &mut self,
        name: &str,
        record: &Record,
        instead_of: i64,
        keep: Option<Duration>,
    ) -> Result<Written, Failure> {
        let key = Key::Member(name.to_owned()).below(&self.prefix);
        let mut options = PutOptions::new();
        if let Some(keep) = keep {
            let seconds = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
            let lease = answer(self.client.lease_grant(seconds, None)).await?;
            options = options.with_lease(lease.id());
        }
        let mut then = vec![TxnOp::put(key.clone(), record.to_value(), Some(options))];
        if matches!(record.what, crate::record::What::Gone(_)) {
            let alive = Key::Alive(name.to_owned()).below(&self.prefix);
            then.push(TxnOp::delete(alive, None));
        }
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, instead_of);
        let txn = Txn::new().when([unchanged]).and_then(then);
        let done = answer(self.client.txn(txn)).await?;
        Ok(match done.succeeded() {
            true => Written::Done(done.header().map_or(0, |header| header.revision())),
            false => Written::Overtaken,
        })
    }

    /// Lets nodes go that wait.
    pub(crate) async fn accept(&mut self, accepted: &Accepted) -> Result<(), Failure> {
        let value = serde_json::to_string(accepted).unwrap_or_default();
        let key = Key::Accept.below(&self.prefix);
        answer(self.client.put(key, value, None)).await?;
        Ok(())
    }

    /// Says that this node is there, for as long as a lease of this length is kept.
    pub(crate) async fn live(
        &mut self,
        identity: &crate::identity::Identity,
        length: Duration,
    ) -> Result<Lease, Failure> {
        let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
        let id = answer(self.client.lease_grant(seconds, None)).await?.id();
        let key = Key::Alive(identity.name.clone()).below(&self.prefix);
        let options = PutOptions::new().with_lease(id);
        let put = answer(self.client.put(key, identity.id.to_string(), Some(options))).await?;
        let revision = put.header().map_or(0, |header| header.revision());
        let (keeper, answers) = answer(self.client.lease_keep_alive(id)).await?;
        Ok(Lease {
            id,
            revision,
            keeper,
            answers,
        })
    }

    /// Ends a lease: this node stops.
    pub(crate) async fn end(&mut self, lease: Lease) -> Result<(), Failure> {
        answer(self.client.lease_revoke(lease.id)).await?;
        Ok(())
    }
}

impl Lease {
    /// Keeps it for another length of it. Whether it was still there.
    pub(crate) async fn keep(&mut self) -> Result<bool, Failure> {
        answer(self.keeper.keep_alive()).await?;
        let kept = answer(self.answers.message()).await?;
        let kept = kept.ok_or_else(|| Failure::new("etcd has closed the connection"))?;
        Ok(kept.ttl() > 0)
    }
}

/// A watch of all that is below the prefix.
pub(crate) struct Watch {
    stream: WatchStream,
    prefix: String,
}

impl Watch {
    /// Waits for the next changes.
    pub(crate) async fn next(&mut self) -> Result<Changes, Failure> {
        let message = self.stream.message().await?;
        let message = message.ok_or_else(|| Failure::new("etcd has closed the watch"))?;
        if message.canceled() {
            let reason = match (message.compact_revision(), message.cancel_reason()) {
                (0, "") => "etcd has ended the watch".to_owned(),
                (0, reason) => reason.to_owned(),
                (revision, _) => format!("etcd has forgotten what was before revision {revision}"),
            };
            return Err(Failure::new(reason));
        }
        let items = message.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let value = match event.event_type() {
                EventType::Put => Some(shortened(kv.value())),
                EventType::Delete => None,
            };
            Some(Item {
                key: Key::parse(&self.prefix, kv.key())?,
                value,
                revision: kv.mod_revision(),
            })
        });
        Ok(Changes {
            items: items.collect(),
            revision: message.header().map_or(0, |header| header.revision()),
        })
    }
}

/// A value, or as much of it as tells that it is too long to be one of ours: etcd takes more than a MiB.
fn shortened(value: &[u8]) -> Vec<u8> {
    value[..value.len().min(LONGEST + 1)].to_vec()
}

/// The end of the range of all keys that begin with a prefix, which ends with `/`.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn options(membership: &Membership, endpoint: &str) -> Result<ConnectOptions, Failure> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(PATIENCE)
        .with_keep_alive(SILENCE, SILENCE)
        .with_keep_alive_while_idle(true)
        // A member that is cut off from the others is no use.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if endpoint.starts_with("https://") {
        let mut tls = TlsOptions::new();
        tls = match &membership.ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &membership.certificate {
            tls = tls.identity(Identity::from_pem(read(certificate)?, &*secret(key)?));
        }
        options = options.with_tls(tls);
    }
    if let Some((user, password)) = &membership.user {
        let password = secret(password)?;
        let password = std::str::from_utf8(&password)
            .map_err(|_| Failure::last("the password is not UTF-8"))?;
        options = options.with_user(user, password.trim_end_matches(['\r', '\n']));
    }
    Ok(options)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::last(format!("cannot read {}: {error}", path.display())))
}

/// A file that nobody but its owner can use.
fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    config::secret_file(path).map_err(Failure::last)
}
