//! Answers to the control socket.

use anyhow::Result;
use control::{Answer, Command};
use routing::View;
use serde::Serialize;
use serde_json::json;

use crate::node::Node;

/// Answers one question.
pub(crate) async fn answer(node: &mut Node, command: Command) -> Answer {
    match command {
        Command::Status => answer_of(node.status().await),
        Command::Sessions => answer_of(node.sessions()),
        Command::OspfInterfaces => answer_of(node.show(View::Interfaces).await),
        Command::OspfNeighbors => answer_of(node.show(View::Neighbors).await),
        Command::OspfDatabase => answer_of(node.show(View::Database).await),
        Command::OspfRoutes => answer_of(node.show(View::Routes).await),
        Command::Bfd => answer_of(node.show(View::Bfd).await),
        Command::Drain { on } => answer_of(node.drain(on).map(|changed| {
            json!({
                "node": node.name(),
                "drained": on,
                "changed": changed,
            })
        })),
        Command::Monitor { .. } | Command::Capture { .. } => {
            Answer::error("packets come as a stream only")
        }
    }
}

fn answer_of<T: Serialize>(result: Result<T>) -> Answer {
    match result {
        Ok(data) => Answer::data(&data),
        Err(error) => Answer::error(format!("{error:#}")),
    }
}
