//! `heddle run` of a workflow that waits for people: it says for what, and what to type.

use crate::program::{Node, Place, until};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};

const ASKS: &str = "document: {dsl: \"1.0\", namespace: t, name: asks, version: 1.0.0}\nsteps:\n  ask: {approval: {assignees: [bo], timeout: 30m}}\n  then: {set: done, dependsOn: [ask]}\n";

/// A command that runs, and what it has said on stderr.
struct Running {
    child: Child,
    said: Vec<String>,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    fn of(place: &Place, args: &[&str]) -> Running {
        let mut child = place.start(args);
        let stderr = child.stderr.take().unwrap();
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Running { child, said: Vec::new(), lines }
    }
    /// Waits until a line has this in it, and gives everything so far.
    #[track_caller]
    fn says(&mut self, part: &str) -> String {
        until(|| {
            self.said.extend(self.lines.try_iter());
            self.said.iter().any(|line| line.contains(part)).then(|| self.said.join("\n"))
        })
    }
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
    fn ends(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands between backticks in the line that begins with this command.
fn typed(said: &str, command: &str) -> Vec<String> {
    let begin = said.find(&format!("`{command}")).unwrap_or_else(|| panic!("no `{command}` in {said}")) + 1;
    let end = begin + said[begin..].find('`').unwrap();
    said[begin..end].split(' ').skip(1).map(str::to_owned).collect()
}

fn type_it(place: &Place, words: &[String], node: Option<&Node>) -> crate::program::Said {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(node) = node {
        words.extend(["--server", &node.url]);
    }
    place.heddle(&words)
}

#[test]
fn a_run_at_a_node_says_what_it_waits_for_and_what_to_type() {
    let place = Place::new();
    place.write("asks.yaml", ASKS);
    let node = place.node("d");
    let mut run = Running::of(&place, &["run", "asks.yaml", "--server", &node.url]);
    let said = run.says("heddle runs approve");
    assert!(said.contains("`ask` waits for the approval of `bo`"), "{said}");
    // Typed as it stands there, it does what it says.
    let approve = typed(&said, "heddle runs approve");
    assert!(approve.contains(&"--server".to_owned()), "{said}");
    let approved = type_it(&place, &approve, None);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn a_run_in_this_process_says_how_to_answer_it_and_can_be_left() {
    let place = Place::new();
    place.write("asks.yaml", ASKS);
    let mut run = Running::of(&place, &["run", "asks.yaml", "--data", "d"]);
    let said = run.says("heddle runs watch");
    assert!(said.contains("`ask` waits for the approval of `bo`") && said.contains("press Ctrl-C"), "{said}");
    assert_eq!(typed(&said, "heddle serve"), ["serve", "--data", "d"]);
    run.interrupt();
    let left = run.says("is left as it is");
    assert_eq!(run.ends(), Some(1), "{left}");
    let node = place.node("d");
    let approve = typed(&said, "heddle runs approve");
    let approved = type_it(&place, &approve, Some(&node));
    assert_eq!(approved.code, Some(0), "{approved:?}");
    // What is acknowledged is kept; what comes of it comes a moment later, and until then the run still asks.
    let get = ["runs", "get", &approve[2], "--json"].map(str::to_owned);
    until(|| {
        let run: serde_json::Value = serde_json::from_str(&type_it(&place, &get, Some(&node)).out).ok()?;
        (run["status"] == "succeeded").then_some(())
    });
    let watched = type_it(&place, &typed(&said, "heddle runs watch"), Some(&node));
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(
        watched.err.contains("succeeded") && !watched.err.contains("waits for the approval"),
        "{watched:?}"
    );
}

#[test]
fn a_signal_is_asked_for_and_what_is_kept_nowhere_says_so() {
    let place = Place::new();
    let node = place.node("d");
    let mut run = Running::of(&place, &["run", "waits.yaml", "--server", &node.url]);
    let said = run.says("heddle runs signal");
    assert!(said.contains("`a` waits for the signal `go`"), "{said}");
    assert_eq!(type_it(&place, &typed(&said, "heddle runs signal"), None).code, Some(0));
    assert_eq!(run.ends(), Some(0));
    let mut nowhere = Running::of(&place, &["run", "waits.yaml", "--ephemeral"]);
    let said = nowhere.says("kept nowhere");
    assert!(said.contains("`--server URL`"), "{said}");
    nowhere.interrupt();
    nowhere.says("cancelling");
    assert_eq!(nowhere.ends(), Some(1));
}

/// Passes on what comes for a node, until an answer with this in it has gone by.
fn relay(listener: &TcpListener, node: SocketAddr, last: &str) {
    for client in listener.incoming() {
        let (mut client, mut upstream) = (client.unwrap(), TcpStream::connect(node).unwrap());
        let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let mut chunk = vec![0; 64 << 10];
        while let Ok(read @ 1..) = upstream.read(&mut chunk) {
            client.write_all(&chunk[..read]).unwrap();
            if String::from_utf8_lossy(&chunk[..read]).contains(last) {
                // The thread of this connection ends with it.
                for one in [&client, &upstream] {
                    let _ = one.shutdown(Shutdown::Both);
                }
                return;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_node_that_goes_away_right_after_it_has_accepted_a_run_is_waited_for() {
    let place = Place::new();
    place.write(
        "short.yaml",
        "document: {dsl: \"1.0\", namespace: t, name: short, version: 1.0.0}\nsteps:\n  a: {set: done}\n",
    );
    let node = place.node("d");
    let upstream: SocketAddr = node.url.trim_start_matches("http://").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap();
    let url = format!("http://{between}");
    let mut run = Running::of(&place, &["run", "short.yaml", "--server", &url]);
    relay(&listener, upstream, "HTTP/1.1 202");
    drop(listener);
    run.says("trying again for a while");
    let listener = TcpListener::bind(between).unwrap();
    std::thread::spawn(move || relay(&listener, upstream, "never"));
    assert_eq!(run.ends(), Some(0));
    // One that was never there is told at once.
    let nobody = place.heddle(&[
        "runs",
        "watch",
        "00000000-0000-7000-8000-000000000000",
        "--server",
        "http://127.0.0.1:1",
    ]);
    assert_ne!(nobody.code, Some(0));
}
