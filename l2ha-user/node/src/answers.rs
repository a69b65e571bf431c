//! Answers to the control socket.

use control::{Answer, Command, Drained};
use routing::View;

use crate::node::Node;

/// Answers one question.
pub(crate) async fn answer(node: &mut Node, command: Command) -> Answer {
    match command {
        Command::Status(returns) => Answer::to(returns, node.status().await),
        Command::Sessions(returns) => Answer::to(returns, node.sessions()),
        Command::OspfInterfaces(returns) => Answer::to(returns, node.show(View::Interfaces).await),
        Command::OspfNeighbors(returns) => Answer::to(returns, node.show(View::Neighbors).await),
        Command::OspfDatabase(returns) => Answer::to(returns, node.show(View::Database).await),
        Command::OspfRoutes(returns) => Answer::to(returns, node.show(View::Routes).await),
        Command::Bfd(returns) => Answer::to(returns, node.show(View::Bfd).await),
        Command::Members(returns) => Answer::to(returns, Ok(node.members())),
        Command::Explain { what, returns } => Answer::to(returns, node.explain(&what).await),
        Command::Drain {
            on,
            service,
            returns,
        } => {
            let drained = node.drain(service.as_deref(), on).map(|changed| Drained {
                node: node.name().to_owned(),
                service,
                drained: on,
                changed,
            });
            Answer::to(returns, drained)
        }
        // It is answered later: `Question::answer`.
        Command::Reload { .. } => Answer::error("a reload is under way"),
        Command::Monitor { .. } | Command::Capture { .. } => {
            Answer::error("packets come as a stream only")
        }
    }
}
