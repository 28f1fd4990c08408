//! `heddle runs artifacts`: the files that a run has kept, listed or written into a folder.

use super::client::{Ask, Client};
use super::exit::{Exit, Fault};
use super::paint::harmless;
use super::runs::path;
use super::{Context, out};
use heddle_core::run::artifact::fault;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(super) async fn artifacts(run: &str, save: Option<&Path>, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let items = client.pages(&path(run, "/artifacts")).await?;
    let mut files = Vec::new();
    if let Some(folder) = save {
        std::fs::create_dir_all(folder)
            .map_err(|error| Fault::usage(format!("`{}` cannot be made: {error}", folder.display())))?;
        for item in &items {
            files.push(write(&client, run, (folder, item)).await?);
        }
    }
    if context.json {
        out::json(&serde_json::json!({ "items": items, "files": files }));
        return Ok(Exit::Ok);
    }
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let rows = items.iter().map(|item| {
        let index = item["item"].as_u64().map(|index| format!("[{index}]")).unwrap_or_default();
        vec![
            text(&item["name"]),
            text(&item["mediaType"]),
            item["sizeBytes"].to_string(),
            format!("{}{index}#{}", text(&item["step"]), item["attempt"]),
            text(&item["digest"]),
        ]
    });
    out::table(&["NAME", "TYPE", "BYTES", "STEP", "DIGEST"], &rows.collect::<Vec<_>>());
    files.iter().for_each(|file| out::note(&format!("{}", file.display())));
    Ok(Exit::Ok)
}

/// Writes one into the folder; where its name is taken by another one, the digest says which it is.
async fn write(client: &Client, run: &str, (folder, item): (&Path, &Value)) -> Result<PathBuf, Fault> {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let (name, digest) = (text("name"), text("digest"));
    // A node says what it likes; a name with a path in it goes nowhere.
    if fault(&name, "text/plain").is_some() {
        return Err(Fault::failed(format!("the node names a file `{}`, which is no name", harmless(&name))));
    }
    let bytes = client
        .bytes(Ask::get(&format!(
            "/v1/runs/{}/artifacts/{}",
            super::runs::encode(run),
            super::runs::encode(&digest)
        )))
        .await?;
    let mut file = folder.join(&name);
    if std::fs::read(&file).is_ok_and(|other| other != *bytes) {
        let short: String = digest.chars().skip("sha256:".len()).take(12).collect();
        file = folder.join(format!("{short}-{name}"));
    }
    std::fs::write(&file, &bytes)
        .map_err(|error| Fault::usage(format!("`{}` cannot be written: {error}", file.display())))?;
    Ok(file)
}
