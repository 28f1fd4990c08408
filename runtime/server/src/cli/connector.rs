//! `heddle connector`: services whose endpoints are tools, checked, loaded, and made out of OpenAPI documents and of what
//! MCP servers say.

mod remote;

use super::client::Ask;
use super::exit::{Exit, Fault};
use super::faults::{FileFault, of_file};
use super::paint::harmless;
use super::plugin::signed;
use super::{Context, out};
use crate::http::codes::Code;
use clap::Subcommand;
use heddle_core::connector::openapi::{Imported, import};
use heddle_core::connector::{Connector, Remote};
use heddle_core::document::print::printed;
use heddle_core::document::{Doc, Fault as DocFault, Order};
use heddle_core::egress::Egress;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outside::Url;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The JSON Schema of the language.
pub(crate) const SCHEMA: &str = include_str!("connector/schema.json");

#[derive(Subcommand, Debug)]
pub(super) enum ConnectorCommand {
    /// Say everything that is wrong with a connector, and what it needs to be granted. Loads nothing.
    Check {
        /// YAML or JSON.
        file: PathBuf,
    },
    /// Load a connector into a node; the next run may call its endpoints.
    Push {
        /// YAML or JSON.
        file: PathBuf,
    },
    /// Make a connector out of an OpenAPI document (3.0 or 3.1), the tools of an MCP server or the skills of an A2A agent,
    /// and print it.
    Import {
        /// JSON or YAML.
        #[arg(required_unless_present_any = ["mcp", "a2a"])]
        openapi: Option<PathBuf>,
        /// The address of a server that speaks the Model Context Protocol, instead of a document.
        #[arg(long, value_name = "URL", conflicts_with_all = ["openapi", "base_url", "a2a"])]
        mcp: Option<String>,
        /// The address of an agent that speaks the Agent2Agent protocol, instead of a document: its card says the rest.
        #[arg(long, value_name = "URL", conflicts_with_all = ["openapi", "base_url"])]
        a2a: Option<String>,
        /// What such a service is told with every request, such as "Authorization: Bearer …"; it is not written down.
        #[arg(long, value_name = "NAME: VALUE", conflicts_with = "openapi")]
        header: Vec<String>,
        /// What the service is called: its tools are `tool:NAME/endpoint`.
        #[arg(long)]
        name: String,
        /// Its address, where the document does not say it or it is another one.
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        /// A file instead of stdout.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the JSON Schema of connectors, for editors.
    Schema,
}

pub(super) async fn connector(command: &ConnectorCommand, context: &Context) -> Result<Exit, Fault> {
    match command {
        ConnectorCommand::Check { file } => check(file, context),
        ConnectorCommand::Push { file } => push(file, context).await,
        ConnectorCommand::Import { openapi, mcp, a2a, header, name, base_url, output } => {
            let found = match (openapi, mcp, a2a) {
                (_, Some(url), _) => remote::listed(url, name, header).await?,
                (_, None, Some(url)) => remote::of_card(url, name, header).await?,
                (Some(file), None, None) => of_openapi(file, name, base_url.as_deref())?,
                (None, None, None) => {
                    return Err(Fault::usage("a document, `--mcp URL` or `--a2a URL` is missing"));
                }
            };
            written(&found, output.as_deref(), context)
        }
        ConnectorCommand::Schema => {
            out::text(SCHEMA);
            Ok(Exit::Ok)
        }
    }
}

fn read(file: &Path) -> Result<(String, Connector), Fault> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", file.display())))?;
    let one = |fault: DocFault| FileFault {
        pointer: fault.path.clone(),
        message: fault.message.clone(),
        line: Some(fault.place.line).filter(|line| *line > 0),
        column: Some(fault.place.column).filter(|column| *column > 0),
        ..FileFault::default()
    };
    match Connector::read(&text, &Limits::default()) {
        Ok(connector) => Ok((text, connector)),
        Err(faults) => {
            let faults = faults.into_iter().map(one).collect();
            Err(of_file(file, &text, faults, Code::ConnectorInvalid.word())
                .with_hint("correct them and run `heddle connector check` again; `heddle connector schema` describes every key"))
        }
    }
}

fn check(file: &Path, context: &Context) -> Result<Exit, Fault> {
    let (_, connector) = read(file)?;
    let tools: Vec<String> = connector.tools.iter().map(|tool| tool.metadata.reference()).collect();
    let grant = grant(&connector);
    if context.json {
        out::json(
            &json!({ "name": connector.name, "version": connector.version.to_string(), "tools": tools, "grant": grant }),
        );
        return Ok(Exit::Ok);
    }
    for tool in &connector.tools {
        let title = harmless(&tool.metadata.title);
        let called = match &tool.endpoint.remote {
            Some(Remote::Mcp(tool)) => format!("MCP {}", harmless(&tool.name)),
            Some(Remote::A2a(skill)) => format!("A2A {}", harmless(skill.skill.as_deref().unwrap_or("-"))),
            None => format!("{} {}", tool.endpoint.method, tool.endpoint.path),
        };
        let mark = if tool.endpoint.destructive { "  (destructive)" } else { "" };
        out::line(&format!("{}  {called}  {title}{mark}", tool.metadata.reference()));
    }
    if let Some(range) = connector.tools.first().and_then(|tool| closed(&tool.endpoint.base)) {
        out::note(&format!(
            "its address is none of the open web's: `[egress]` in heddle.toml opens it with `allow_private = [\"{range}\"]`"
        ));
    }
    out::note(&format!(
        "to be granted in heddle.toml:\n{}",
        grant.lines().map(harmless).collect::<Vec<_>>().join("\n")
    ));
    Ok(Exit::Ok)
}

/// The lines of `heddle.toml` that let it do its work.
fn grant(connector: &Connector) -> String {
    let Some(first) = connector.tools.first() else { return String::new() };
    let origin = Url::parse(&first.endpoint.base).map(|url| url.origin().ascii_serialization());
    let origin = origin.unwrap_or_default();
    let mut methods: Vec<&str> = connector.tools.iter().map(|tool| tool.endpoint.method.as_str()).collect();
    // The session of a call ends with it.
    if matches!(&first.endpoint.remote, Some(Remote::Mcp(tool)) if tool.has_session()) {
        methods.push("DELETE");
    }
    methods.sort_unstable();
    methods.dedup();
    let mut lines = vec![
        format!("[grants.\"tool:{}/*\"]", connector.name),
        format!("http = [\"{} {origin}\"]", methods.join("|")),
    ];
    if let Some(auth) = &first.endpoint.auth {
        lines.push(format!("secrets = [\"{} {origin}\"]", auth.secret));
        lines.push(format!("[secrets]\n{} = \"env:VARIABLE\"", auth.secret));
    }
    lines.join("\n")
}

/// The ranges that must be open for an address that is none of the open web's.
fn closed(base: &str) -> Option<String> {
    let url = Url::parse(base).ok()?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let range = match (host.as_str(), host.parse::<std::net::IpAddr>()) {
        ("localhost", _) => "127.0.0.0/8".to_owned(),
        (_, Ok(address)) if address.is_loopback() && address.is_ipv4() => "127.0.0.0/8".to_owned(),
        (_, Ok(address)) if Egress::default().admits(address).is_err() => {
            format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
        }
        _ => return None,
    };
    Some(range)
}

async fn push(file: &Path, context: &Context) -> Result<Exit, Fault> {
    let (text, _) = read(file)?;
    let answer =
        context.client()?.json(signed(Ask::post("/v1/connectors", "application/yaml", text), file)).await?;
    if context.json {
        out::json(&answer);
        return Ok(Exit::Ok);
    }
    for tool in answer["tools"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out::line(&harmless(tool));
    }
    Ok(Exit::Ok)
}

fn of_openapi(openapi: &Path, name: &str, base_url: Option<&str>) -> Result<Imported, Fault> {
    let text = std::fs::read_to_string(openapi)
        .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", openapi.display())))?;
    let document: Value = match serde_json::from_str(&text) {
        Ok(document) => document,
        Err(_) => {
            let limits = Limits { document_bytes: 16 << 20, document_nodes: 1_000_000, ..Limits::default() };
            let doc = Doc::parse(&text, &limits)
                .map_err(|fault| Fault::usage(format!("`{}`: {fault}", openapi.display())))?;
            serde_json::from_str(Json::from_value(doc.value()).text()).unwrap_or_default()
        }
    };
    import(&document, name, base_url).map_err(Fault::usage)
}

/// Writes down what was made.
fn written(found: &Imported, output: Option<&Path>, context: &Context) -> Result<Exit, Fault> {
    let Imported { document, left_out } = found;
    let value = Json::parse(document.to_string().as_bytes())
        .map_err(|fault| Fault::failed(format!("the connector cannot be written: {fault}")))?;
    let order = Order::of_schema(SCHEMA).map_err(|fault| Fault::failed(fault.to_string()))?;
    let yaml = printed(&Doc::of_value(value.value()), &order);
    for why in left_out {
        out::note(&format!("left out: {}", harmless(why)));
    }
    match output {
        Some(file) => {
            std::fs::write(file, &yaml)
                .map_err(|error| Fault::usage(format!("`{}` cannot be written: {error}", file.display())))?;
            let next = format!("look it over, then: heddle connector check {}", file.display());
            out::note(&next);
        }
        None if context.json => out::json(document),
        None => out::text(&yaml),
    }
    Ok(Exit::Ok)
}
