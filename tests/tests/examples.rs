//! The page of examples, typed at the real binary: what it shows is what is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, bash, guide, root};
use serde_json::Value;

const PLUGINS: [&str; 5] = ["actor", "select_analyses", "document_get", "summarize_text", "analyze_text"];

#[test]
fn the_page_of_examples_does_what_it_says() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["plugins", "docs"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let server = Server::with_plugins(data.path(), &PLUGINS);
    let blocks = guide("examples");
    let (mut typed, mut shown, mut last) = (0, 0, String::new());
    for (language, block) in &blocks {
        match language.as_str() {
            // The plugins that the page needs are loaded.
            "sh" if block.starts_with("heddle plugin push") => {}
            "sh" => {
                let done = bash(&server, folder.path(), block);
                assert!(done.status.success(), "$ {block}\n{}{}", text(&done.stdout), text(&done.stderr));
                last = text(&done.stdout);
                typed += 1;
                if block.contains("on holiday") {
                    rolled_back(&server, &last);
                }
            }
            "json" => {
                let [wanted, found] = [block, &last].map(|text| serde_json::from_str::<Value>(text).unwrap());
                assert_eq!(wanted, found);
                shown += 1;
            }
            "yaml" | "text" => {
                assert_eq!(block.trim_end(), last.trim_end());
                shown += 1;
            }
            _ => {}
        }
    }
    assert_eq!((typed, shown), (4, 3), "{blocks:?}");
}

/// Both steps are undone, the last first.
fn rolled_back(server: &Server, printed: &str) {
    assert!(printed.contains("rolled back") && printed.contains("compensated"), "{printed}");
    let runs = server.get("/v1/runs?limit=1").body;
    let events = server.events(runs["items"][0]["id"].as_str().unwrap(), None);
    let undone = events.iter().filter(|(_, kind, _)| kind == "step.succeeded");
    let undone = undone.filter_map(|(.., event)| event["data"]["step"].as_str());
    let undone: Vec<&str> = undone.filter(|step| step.ends_with(".compensate")).collect();
    assert_eq!(undone, ["assign.compensate", "annotate.compensate"], "{events:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
