use std::{os::unix::net::UnixListener, thread};

use serde_json::json;

use super::*;
use crate::ospf::{InFamily, OspfRoute};

type Routes = Vec<InFamily<OspfRoute>>;

/// A socket at which one question is answered with this text, and what was asked.
fn answered(answer: &'static str) -> (Result<Reply<Routes>>, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut question = String::new();
        BufReader::new(&client).read_line(&mut question).unwrap();
        client.write_all(answer.as_bytes()).unwrap();
        question
    });
    let result = ask(&socket, Command::OspfRoutes);
    (result, server.join().unwrap())
}

fn refused(answer: &'static str) -> String {
    let (result, _) = answered(answer);
    format!("{:#}", result.err().unwrap())
}

#[test]
fn data_comes_back() {
    let (result, question) = answered("{\"version\":1,\"ok\":true,\"data\":[1,2]}\n");
    assert_eq!(result.unwrap().json, json!([1, 2]));
    assert_eq!(question, "{\"command\":\"ospf-routes\"}\n");
}

#[test]
fn fields_of_later_daemons_are_passed_over() {
    let (result, _) = answered("{\"version\":1,\"ok\":true,\"data\":{},\"took_us\":7}\n");
    assert_eq!(result.unwrap().json, json!({}));
}

#[test]
fn data_that_is_not_known_says_what_to_do() {
    let (result, _) = answered("{\"version\":1,\"ok\":true,\"data\":[{\"family\":\"ipv6\"}]}\n");
    let said = format!("{:#}", result.unwrap().data().unwrap_err());
    assert!(said.contains("another version"), "{said}");
    assert!(said.contains("restart the daemon"), "{said}");
    assert!(said.contains("missing field `prefix`"), "{said}");
}

#[test]
fn what_is_wrong_is_said() {
    let said = refused("{\"version\":1,\"ok\":false,\"error\":\"OSPF is not configured\"}\n");
    assert!(said.contains("OSPF is not configured"), "{said}");
    let said = refused("{\"version\":2,\"ok\":true,\"data\":1}\n");
    assert!(said.contains("answers in version 2"), "{said}");
    let said = refused("hello\n");
    assert!(said.contains("does not answer as l2ha does"), "{said}");
    let said = refused("{\"version\":1,\"ok\":true}\n");
    assert!(said.contains("answers nothing"), "{said}");
    let said = refused("");
    assert!(said.contains("closed the connection"), "{said}");
}

#[test]
fn without_a_daemon_it_is_said_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.sock");
    let said = format!("{:#}", ask(&gone, Command::Status).err().unwrap());
    assert!(
        said.contains("gone.sock") && said.contains("l2ha run --config FILE"),
        "{said}"
    );

    let dead = folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let said = format!("{:#}", ask(&dead, Command::Status).err().unwrap());
    assert!(said.contains("ended without cleaning up"), "{said}");
}

#[test]
fn a_silent_daemon_is_not_waited_for_for_ever() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let patience = Duration::from_millis(50);
    let error = converse(&mut client, Command::Status(PhantomData), patience).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(server);
}
