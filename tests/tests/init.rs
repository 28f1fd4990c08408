//! `heddle init`: each template is written, and what it says to type next is typed.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{binary, root};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn typed(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(words).current_dir(folder).env_remove("HEDDLE_SERVER").output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn every_template_is_good_and_runs_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (code, listed) = typed(folder.path(), &["init", "--template", "--json"]);
    let templates: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert!(code == Some(0) && templates.len() >= 5, "{listed}");
    for template in &templates {
        let name = template["name"].as_str().unwrap();
        let (code, made) = typed(folder.path(), &["init", name, "--template", name, "--json"]);
        assert_eq!(code, Some(0), "{made}");
        let made: Value = serde_json::from_str(&made).unwrap();
        let lines: Vec<&str> = made["next"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let shelf = root().join("plugins/target/wasm32-wasip2/release");
        std::os::unix::fs::symlink(shelf, folder.path().join(name).join("plugins")).unwrap();
        let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let script = lines.join("\n");
        let output = Command::new("bash")
            .args(["-euc", &script])
            .current_dir(folder.path())
            .env("PATH", path)
            .env_remove("HEDDLE_SERVER")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("workflow.yaml"), "mine").unwrap();
    let (code, said) = typed(folder.path(), &["init"]);
    assert!(code == Some(2) && said.contains("nothing is written over"), "{said}");
    // None of the files, where one of them is there.
    let (code, _) = typed(folder.path(), &["init", "--template", "list"]);
    assert!(code == Some(2) && !folder.path().join("table.csv").exists());
    assert_eq!(std::fs::read_to_string(folder.path().join("workflow.yaml")).unwrap(), "mine");
    let (code, said) = typed(folder.path(), &["init", "x", "--template", "helo"]);
    assert!(code == Some(2) && said.contains("there are hello, approval"), "{said}");
}
