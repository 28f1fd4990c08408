//! What a node is told on the command line: the last layer of its configuration.

use super::exit::Fault;
use super::faults::FileFault;
use crate::config::said::process_env;
use crate::config::{Config, ConfigFault, Layers, Origin};
use crate::shell::quoted;
use clap::Args;
use std::path::PathBuf;

/// The flags of a command that reads the configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NodeArgs {
    /// The configuration file, else that of HEDDLE_CONFIG [default: heddle.toml, where there is one].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where the API listens.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Where data is kept.
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<String>,
    /// A folder whose `*.wasm` files are loaded at the start, and when they come or change.
    #[arg(long, value_name = "FOLDER")]
    pub(super) plugins: Option<String>,
    /// Any setting, such as `--set limits.fuel=1000000`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl NodeArgs {
    /// Reads the whole configuration.
    pub(crate) fn load(&self) -> Result<Config, Fault> {
        let mut flags = Vec::new();
        for (key, value) in [("listen", &self.listen), ("data", &self.data), ("plugins", &self.plugins)] {
            if let Some(value) = value {
                if value.is_empty() {
                    return Err(Fault::usage(format!("`--{key}` is empty"))
                        .with_hint(format!("give it a value, or leave `--{key}` out")));
                }
                flags.push((key.to_owned(), format!("--{key}"), value.clone()));
            }
        }
        for said in &self.set {
            let Some((key, value)) = said.split_once('=') else {
                return Err(Fault::usage(format!("`--set {said}` has no `=`"))
                    .with_hint("write it as `--set limits.fuel=1000000`"));
            };
            flags.push((key.to_owned(), format!("--set {key}"), value.to_owned()));
        }
        let variable = || std::env::var_os("HEDDLE_CONFIG").filter(|file| !file.is_empty());
        let file = self.config.clone().or_else(|| variable().map(PathBuf::from));
        Config::load(&Layers { file, env: process_env(), flags }).map_err(|faults| {
            let shown = faults.to_string();
            let message = match faults.0.len() {
                1 => "the configuration has a fault".to_owned(),
                more => format!("the configuration has {more} faults"),
            };
            Fault::usage(message)
                .with_errors(faults.0.into_iter().map(single).collect(), shown)
                .with_hint("`heddle config show --example` prints every setting")
        })
    }

    /// The flags that say which node is meant, as they were typed: a command that is told next has to say the same.
    pub(crate) fn typed(&self) -> String {
        let config = self.config.as_ref().map(|file| file.display().to_string());
        let flags = [("config", config), ("data", self.data.clone())];
        let typed =
            flags.into_iter().filter_map(|(name, value)| Some(format!(" --{name} {}", quoted(&value?))));
        let settings = self.set.iter().map(|set| format!(" --set {}", quoted(set)));
        typed.chain(settings).collect()
    }
}

/// Where a fault of the configuration is: a line of a file, or what was typed or set.
fn single(fault: ConfigFault) -> FileFault {
    match fault.origin {
        Origin::File { path, line } => FileFault {
            file: Some(path),
            line: u32::try_from(line).ok().filter(|line| *line > 0),
            message: fault.message,
            ..FileFault::default()
        },
        origin => FileFault { message: format!("{origin}: {}", fault.message), ..FileFault::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_told_names_the_same_node() {
        let args = NodeArgs {
            config: Some("a b.toml".into()),
            data: Some("it's".into()),
            listen: Some("127.0.0.1:1".into()),
            set: vec!["node=x".into()],
            ..NodeArgs::default()
        };
        assert_eq!(args.typed(), r" --config 'a b.toml' --data 'it'\''s' --set node=x");
        assert_eq!(NodeArgs::default().typed(), "");
    }
}
