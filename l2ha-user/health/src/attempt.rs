//! One attempt of a check, within its timeout.

use std::{io, time::Duration};

use config::{Check, CheckKind};
use tokio::{net::TcpStream, time::timeout};

use crate::{exec, http, unit::UnitWatch};

/// Makes an attempt; why it failed, if it did, with what was asked.
pub(crate) async fn attempt(check: &Check, unit: &mut UnitWatch) -> Result<(), String> {
    let limit = check.timeout;
    let late = || Err(format!("no answer within {}", shown(limit)));
    let outcome = match &check.kind {
        CheckKind::Tcp(address) => match timeout(limit, TcpStream::connect(address)).await {
            Ok(connected) => connected.map(drop).map_err(|error| plain(&error)),
            Err(_) => late(),
        },
        CheckKind::Http(http) => timeout(limit, http::ask(http))
            .await
            .unwrap_or_else(|_| late()),
        CheckKind::Exec(command) => exec::run(command.clone(), Vec::new(), limit).await,
        CheckKind::Unit(name) => unit.ask(name, limit).await,
    };
    outcome.map_err(|why| format!("{} {why}", asked(&check.kind)))
}

/// What a check asks, in a few words.
pub(crate) fn asked(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Tcp(address) => format!("TCP {address}"),
        CheckKind::Http(http) => format!("GET {}", http.url),
        CheckKind::Exec(command) => command.first().cloned().unwrap_or_default(),
        CheckKind::Unit(name) => name.clone(),
    }
}

/// An error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::NotFound => "not found".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// A duration as it is written in the file.
pub(crate) fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms >= 1000 && ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
