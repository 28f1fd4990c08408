//! The tour of the README, typed as it stands there: every command in its order, on a folder that looks like a clone.
//! Only the port is another one.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, binary, root};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A block of the tour: what is typed, and what must come, where the README shows it.
struct Block {
    typed: String,
    shown: Option<String>,
}

/// The blocks under the tour's heading.
fn tour() -> Vec<Block> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let from = readme.find("## A tour of five minutes").unwrap();
    let tour = &readme[from..];
    let tour = &tour[..tour.find("\n## What is promised").unwrap()];
    let mut blocks: Vec<Block> = Vec::new();
    for (index, part) in tour.split("\n```").enumerate().filter(|(index, _)| index % 2 == 1) {
        let (language, text) = part.split_once('\n').unwrap();
        match language {
            "sh" => blocks.push(Block { typed: text.to_owned(), shown: None }),
            "" => blocks.last_mut().unwrap().shown = Some(text.to_owned()),
            other => panic!("block {index} of the tour is `{other}`, and the test knows `sh` and nothing"),
        }
    }
    blocks
}

/// A folder with everything of the repository in it, and room for more.
fn clone_in(folder: &Path) -> std::path::PathBuf {
    let clone = folder.join("heddle");
    std::fs::create_dir(&clone).unwrap();
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), clone.join(entry.file_name())).unwrap();
    }
    clone
}

fn bash(clone: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    command
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", path)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(clone)
        .stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_tour_of_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let clone = clone_in(folder.path());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut server = Server::start(&data, &[]);
    let mut blocks = tour().into_iter();
    let node = blocks.next().unwrap();
    assert!(node.typed.trim().ends_with("heddle dev"), "the tour begins with a node: {}", node.typed);
    let mut typed = 0;
    for Block { typed: block, shown } in blocks {
        let script = format!("export HEDDLE_SERVER={}\n{block}", server.url)
            .replace("HEDDLE_SERVER=http://127.0.0.1:7878", &format!("HEDDLE_SERVER={}", server.url));
        let output = if block.contains("slow.yaml") {
            // What the text around it says: the node is killed under the run, and started again.
            let mut run = bash(&clone, &script);
            let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // Somebody follows it, and not only its way there: what is cut off before that has nothing to go on with.
            server.until(|| {
                let running = server.get("/v1/runs?status=running").body;
                let followed = server.get("/v1/node").body["executor"]["subscribers"].as_u64();
                let runs = running["items"].as_array().is_some_and(|items| !items.is_empty());
                (runs && followed > Some(0)).then_some(())
            });
            server.kill();
            server = Server::start_at(&data, &server.url, &[]);
            run.wait_with_output().unwrap()
        } else {
            bash(&clone, &script).output().unwrap()
        };
        match shown {
            None => assert!(output.status.success(), "$ {block}\n{}", text(&output)),
            Some(shown) => {
                assert_eq!(output.status.code(), Some(2), "$ {block}\n{}", text(&output));
                assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), shown.trim_end());
            }
        }
        typed += block.lines().count();
    }
    assert!(typed > 60, "only {typed} lines of the tour were found");
    let runs = server.get("/v1/runs").body;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(4), "two audits, one that was slow, one by curl");
    let greet = server.post_with(
        "/v1/runs",
        &serde_json::json!({"definition": {
            "document": {"dsl": "1.0", "namespace": "tour", "name": "own", "version": "1.0.0"},
            "steps": {"greet": {"call": "transform:greet@^0.1", "with": {"name": "Ada"}}},
        }}),
        &[("prefer", "wait=30")],
    );
    assert_eq!(greet.body["status"], "succeeded", "{greet:?}");
}
