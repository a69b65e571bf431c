//! Whether a unit of systemd is active, asked over D-Bus (org.freedesktop.systemd1(5)).

use std::{future::pending, num::NonZeroUsize, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{sleep, timeout};
use zbus::{
    Connection, Error, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant,
    connection::Builder, fdo::Error as BusError, message::Type,
};

use crate::attempt::{plain, shown};

/// Where the system's bus listens (D-Bus specification, "System message bus").
pub(crate) const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The states of a unit that works, as `systemctl is-active` has them.
const GOOD: [&str; 3] = ["active", "reloading", "refreshing"];
/// Least time between two looks because of changes that are told.
const PAUSE: Duration = Duration::from_millis(10);
/// Changes that may wait to be looked at.
const WAITING: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");

/// Asks for a unit, and hears of its changes from the first answer on.
pub(crate) struct UnitWatch {
    /// Address of the bus.
    address: &'static str,
    bus: Option<Bus>,
}

/// A connection to the bus, and the unit there.
struct Bus {
    connection: Connection,
    /// The unit's object.
    path: OwnedObjectPath,
    /// Signals that one of its properties has changed.
    changes: MessageStream,
    /// Whether one has come since the state was read.
    unread: bool,
}

impl UnitWatch {
    /// Asks on the bus at this address.
    pub(crate) fn new(address: &'static str) -> Self {
        Self { address, bus: None }
    }

    /// Asks within a time; why the unit is not active, if it is not.
    pub(crate) async fn ask(&mut self, name: &str, limit: Duration) -> Result<(), String> {
        let outcome = match timeout(limit, self.state(name)).await {
            Ok(Ok(state)) => return state,
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(format!("no answer within {}", shown(limit))),
        };
        // The next attempt connects again.
        self.bus = None;
        outcome
    }

    /// Waits until a change has left the unit other than active, and tells how; for ever where no attempt has
    /// reached it.
    pub(crate) async fn failed(&mut self) -> String {
        while let Some(bus) = &mut self.bus {
            match bus.change().await {
                Ok(Err(why)) => return why,
                Ok(Ok(())) => sleep(PAUSE).await,
                Err(_) => self.bus = None,
            }
        }
        pending().await
    }

    async fn state(&mut self, name: &str) -> Result<Result<(), String>, Error> {
        let bus = match &mut self.bus {
            Some(bus) => bus,
            none => none.insert(Bus::open(self.address, name).await?),
        };
        bus.read().await
    }

    /// What an error of the bus means, and what can be done.
    fn explain(&self, error: &Error) -> String {
        let other = "check it by tcp, http or exec instead";
        let why = match error {
            Error::Connection(error, _) => {
                let address = self.address;
                format!(
                    "D-Bus at {address}: {}; start dbus, or {other}",
                    plain(error)
                )
            }
            Error::InputOutput(error) => format!("the connection to D-Bus: {}", plain(error)),
            Error::FDO(error) => match &**error {
                BusError::ServiceUnknown(_) | BusError::NameHasNoOwner(_) => {
                    format!("systemd is not on D-Bus; {other}")
                }
                error => error.to_string(),
            },
            error => error.to_string(),
        };
        format!("cannot be asked for: {why}")
    }
}

impl Bus {
    async fn open(address: &str, name: &str) -> Result<Self, Error> {
        let connection = Builder::address(address).build().await?;
        // It tells of changes only while somebody has subscribed.
        connection
            .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &())
            .await?;
        // What is not active may not be loaded.
        let loaded = connection
            .call_method(
                Some(SYSTEMD),
                MANAGER_PATH,
                Some(MANAGER),
                "LoadUnit",
                &name,
            )
            .await?;
        let path: OwnedObjectPath = loaded.body().deserialize()?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .path(path.clone())
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .build()?;
        let changes = MessageStream::for_match_rule(rule, &connection, Some(WAITING)).await?;
        Ok(Self {
            connection,
            path,
            changes,
            unread: false,
        })
    }

    /// Waits for a change, and reads the state after it.
    async fn change(&mut self) -> Result<Result<(), String>, Error> {
        if !self.unread {
            // Its end is that of the connection.
            self.changes.next().await.ok_or(Error::InvalidReply)??;
        }
        self.read().await
    }

    /// Reads the state; why it is not good, if it is not.
    async fn read(&mut self) -> Result<Result<(), String>, Error> {
        while self.changes.next().now_or_never().flatten().is_some() {}
        self.unread = false;
        let Self {
            connection,
            path,
            changes,
            unread,
        } = self;
        // Who does not take what has been told blocks what is asked.
        let mut told = async || {
            while changes.next().await.is_some() {
                *unread = true;
            }
            pending().await
        };
        let state = async {
            let state = property(connection, path, "ActiveState").await?;
            if GOOD.contains(&state.as_str()) {
                return Ok(Ok(()));
            }
            let known = property(connection, path, "LoadState").await? != "not-found";
            Ok(Err(match known {
                true => format!("is {state}"),
                false => "is not known to systemd".to_owned(),
            }))
        };
        tokio::select! {
            state = state => state,
            never = told() => never,
        }
    }
}

/// A property of a unit that is a text.
async fn property(
    connection: &Connection,
    path: &OwnedObjectPath,
    name: &str,
) -> Result<String, Error> {
    let answer = connection
        .call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(UNIT, name))
        .await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    String::try_from(value)
}

#[cfg(test)]
mod tests;
