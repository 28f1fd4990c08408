//! Whoever comes to the project needs two commands. The README says these and no others where it tells how to set up.

use super::{Fault, Tree};
use anyhow::Result;

const FILE: &str = "README.md";
const COMMANDS: &[&str] = &["cargo xtask demo", "cargo xtask test"];

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let fault = |message: String| Fault {
        rule: "readme",
        path: FILE.to_owned(),
        line: 0,
        item: "*".to_owned(),
        message,
    };
    let Some(readme) = tree.find(FILE) else { return Ok(vec![fault("there is no README".to_owned())]) };
    Ok(match commands(&readme.text) {
        None => vec![fault("there is no section whose heading says `set up`".to_owned())],
        Some(found) if found == COMMANDS => vec![],
        Some(found) => vec![fault(format!(
            "the set-up section has the commands {found:?}, and should have {COMMANDS:?}"
        ))],
    })
}

/// The commands in the fenced blocks of the set-up section, without what is said about them.
fn commands(text: &str) -> Option<Vec<&str>> {
    let is_heading = |line: &&str| line.starts_with('#') && line.contains(' ');
    let is_set_up = |line: &str| line.to_lowercase().replace('-', " ").contains("set up");
    let mut inside = false;
    let mut section = None;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside && is_heading(&line) {
            if section.is_some() {
                break;
            }
            section = is_set_up(line).then(Vec::new);
        } else if let Some(commands) = section.as_mut().filter(|_| inside) {
            let command = line.split(" #").next().unwrap_or_default().trim().trim_start_matches("$ ");
            commands.extend((!command.is_empty() && !command.starts_with('#')).then_some(command));
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_the_section_are_read() {
        let text = "# It\n```sh\ncargo run\n```\n## Set-up\nDo:\n```sh\n# first\ncargo xtask demo   # shows\n$ cargo xtask test\n```\n## More\n```\nls\n```\n";
        assert_eq!(commands(text).unwrap(), COMMANDS);
        assert_eq!(commands("# It\n"), None);
    }
}
