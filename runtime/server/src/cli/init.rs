//! `heddle init`: a folder with a workflow to begin with, and what to type next.

use super::exit::{Exit, Fault};
use super::{Context, out};
use clap::Args;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A workflow to begin with.
struct Template {
    name: &'static str,
    what: &'static str,
    /// Plugins that it calls.
    plugins: &'static [&'static str],
    /// How it is run, behind `heddle run workflow.yaml`.
    run: &'static str,
    /// The files, by their names.
    files: &'static [(&'static str, &'static str)],
}

const TEMPLATES: &[Template] = &[
    Template {
        name: "hello",
        what: "an input, a condition, an output",
        plugins: &[],
        run: "--arg name=Ada --arg loud=true",
        files: &[("workflow.yaml", include_str!("init/hello.yaml"))],
    },
    Template {
        name: "approval",
        what: "what costs more than a limit waits for a person",
        plugins: &[],
        run: "--arg what=loom --arg amount=300",
        files: &[("workflow.yaml", include_str!("init/approval.yaml"))],
    },
    Template {
        name: "list",
        what: "each row of a table by itself, and a page of all",
        plugins: &["csv", "template"],
        run: "--arg table=@table.csv",
        files: &[
            ("workflow.yaml", include_str!("init/list.yaml")),
            ("table.csv", "name;price\nmilk;2\nbread;3\n"),
        ],
    },
    Template {
        name: "undo",
        what: "what was done is undone when the rest fails",
        plugins: &["echo", "fail"],
        run: "--arg works=true",
        files: &[("workflow.yaml", include_str!("init/undo.yaml"))],
    },
    Template {
        name: "service",
        what: "a service is asked by the clock, with a secret, retries and a circuit breaker",
        plugins: &["http-fetch"],
        run: "",
        files: &[
            ("workflow.yaml", include_str!("init/service.yaml")),
            ("heddle.toml", include_str!("init/service.toml")),
        ],
    },
];

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The folder; it is made where it is not there.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// What to begin with; without a name, the templates are listed.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    template: Option<String>,
}

pub(super) fn init(asked: &InitArgs, context: &Context) -> Result<Exit, Fault> {
    let name = match asked.template.as_deref() {
        Some("") => return Ok(list(context)),
        named => named.unwrap_or(TEMPLATES[0].name),
    };
    let Some(template) = TEMPLATES.iter().find(|template| template.name == name) else {
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
        return Err(Fault::usage(format!("there is no template `{name}`")).with_hint(format!(
            "there are {}; `heddle init --template` says what they are",
            known.join(", ")
        )));
    };
    let folder = &asked.folder;
    let unwritable = |path: &Path, error: std::io::Error| {
        Fault::usage(format!("`{}` cannot be written: {error}", path.display()))
            .with_hint("nothing is written over; name another folder: `heddle init FOLDER`")
    };
    // None is written where one of them cannot be.
    for (file, _) in template.files {
        let path = folder.join(file);
        if path.exists() {
            return Err(unwritable(&path, std::io::ErrorKind::AlreadyExists.into()));
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    let mut written = Vec::new();
    for (file, text) in template.files {
        let path = folder.join(file);
        let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        made.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| unwritable(&path, error))?;
        written.push(path);
    }
    let next = next(folder, template);
    match context.json {
        true => out::json(&json!({ "template": name, "files": written, "next": next })),
        false => {
            written.iter().for_each(|path| out::line(&path.display().to_string()));
            next.iter().for_each(|line| out::note(line));
        }
    }
    Ok(Exit::Ok)
}

/// What to type next.
fn next(folder: &Path, template: &Template) -> Vec<String> {
    let mut lines = Vec::new();
    if folder != Path::new(".") {
        lines.push(format!("cd {}", folder.display()));
    }
    if !template.plugins.is_empty() {
        lines.push(format!(
            "# it calls {}: put their components into the folder `plugins` (`cargo xtask plugins` builds the shelf)",
            template.plugins.join(" and ")
        ));
    }
    match template.run {
        "" => lines.push("heddle workflow validate workflow.yaml".to_owned()),
        run => {
            let plugins = if template.plugins.is_empty() { "" } else { " --plugins plugins" };
            lines.push(format!("heddle run workflow.yaml {run}{plugins}"));
        }
    }
    lines
}

fn list(context: &Context) -> Exit {
    let plugins = |template: &Template| template.plugins.join(", ");
    if context.json {
        let item = |template: &Template| json!({ "name": template.name, "what": template.what, "plugins": template.plugins });
        out::json(&TEMPLATES.iter().map(item).collect::<Vec<_>>());
        return Exit::Ok;
    }
    let row =
        |template: &Template| vec![template.name.to_owned(), plugins(template), template.what.to_owned()];
    out::table(&["TEMPLATE", "PLUGINS", "WHAT"], &TEMPLATES.iter().map(row).collect::<Vec<_>>());
    out::note("heddle init FOLDER --template NAME");
    Exit::Ok
}
