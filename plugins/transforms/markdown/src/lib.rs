//! Markdown as HTML that may be put into a page: what a text brings as HTML is shown as text, and no link runs anything.

use heddle_sdk::prelude::*;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// What is rendered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The text, in CommonMark with tables, footnotes, task lists and strikethrough.
    markdown: String,
    /// Whether HTML in the text stays HTML. Only for texts of people whom you trust.
    #[serde(default)]
    keep_html: bool,
}

/// What it is.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The HTML.
    html: String,
    /// Without any marks: for search, and for those who count words.
    text: String,
    /// The headings, in their order.
    headings: Vec<Heading>,
    /// Where it links to, in their order; images are no links.
    links: Vec<String>,
    /// Words of the text.
    words: usize,
}

/// A heading.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Heading {
    /// 1 to 6.
    level: u8,
    /// Its text.
    text: String,
}

/// Markdown.
///
/// Renders Markdown as HTML that is safe to show, and tells its headings, links and plain text.
#[heddle_sdk::transform(provides = ["markdown.render"])]
fn markdown(input: Input) -> Result<Output, Failure> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_STRIKETHROUGH;
    let mut seen = Seen::default();
    let events = Parser::new_ext(&input.markdown, options).map(|event| seen.take(event, input.keep_html));
    let mut out = String::new();
    html::push_html(&mut out, events);
    let text = seen.text.split_whitespace().collect::<Vec<_>>();
    Ok(Output {
        html: out,
        words: text.len(),
        text: text.join(" "),
        headings: seen.headings,
        links: seen.links,
    })
}

/// What has been seen of a text.
#[derive(Default)]
struct Seen {
    text: String,
    headings: Vec<Heading>,
    links: Vec<String>,
    /// The level of the heading that is being read.
    within: Option<u8>,
}

impl Seen {
    fn take<'a>(&mut self, event: Event<'a>, keep_html: bool) -> Event<'a> {
        match event {
            Event::Start(Tag::Heading { level, id, classes, attrs }) => {
                let number = number(level);
                self.within = Some(number);
                self.headings.push(Heading { level: number, text: String::new() });
                Event::Start(Tag::Heading { level, id, classes, attrs })
            }
            Event::End(end) => {
                if matches!(end, TagEnd::Heading(_)) {
                    self.within = None;
                }
                // Blocks are words apart.
                if !matches!(end, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link) {
                    self.text.push(' ');
                }
                Event::End(end)
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = harmless(dest_url);
                self.links.push(dest_url.to_string());
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                Event::Start(Tag::Image { link_type, dest_url: harmless(dest_url), title, id })
            }
            Event::Text(text) => {
                self.read(&text);
                Event::Text(text)
            }
            Event::Code(text) => {
                self.read(&text);
                Event::Code(text)
            }
            Event::SoftBreak | Event::HardBreak => {
                self.read(" ");
                event
            }
            Event::Html(text) | Event::InlineHtml(text) if !keep_html => Event::Text(text),
            other => other,
        }
    }
    fn read(&mut self, text: &str) {
        self.text.push_str(text);
        if let (Some(_), Some(heading)) = (self.within, self.headings.last_mut()) {
            heading.text.push_str(text);
        }
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// An address that runs nothing: relative ones, and those of the web and of mail. Another one leads nowhere.
fn harmless(address: CowStr<'_>) -> CowStr<'_> {
    // Browsers pass over these in front of and within a scheme.
    let plain: String = address.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let scheme = plain.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    // A `:` behind a `/`, `?` or `#` is no end of a scheme.
    let scheme = scheme.filter(|scheme| !scheme.contains(['/', '?', '#']));
    match scheme.as_deref() {
        None | Some("http" | "https" | "mailto" | "tel") => address,
        Some(_) => "#".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(markdown_text: &str) -> Output {
        markdown(Input { markdown: markdown_text.to_owned(), keep_html: false }).expect("html")
    }

    #[test]
    fn what_is_in_a_text() {
        let output = run(
            "# A *title*\n\nSome `code`, [a link](https://a.example/x?y:z).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        );
        assert!(
            output.html.contains("<h1>A <em>title</em></h1>") && output.html.contains("<table>"),
            "{}",
            output.html
        );
        assert_eq!(output.headings, [Heading { level: 1, text: "A title".into() }]);
        assert_eq!(
            (output.links.as_slice(), output.words),
            (["https://a.example/x?y:z".to_owned()].as_slice(), 10)
        );
        assert_eq!(output.text, "A title Some code, a link. a b 1 2");
    }

    #[test]
    fn nothing_runs() {
        let output = run("<script>alert(1)</script>\n\nx <b onclick=\"f()\">y</b>");
        assert!(!output.html.contains("<script") && !output.html.contains("<b "), "{}", output.html);
        for address in ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"] {
            let output = run(&format!("[x](<{address}>) ![y](<{address}>)"));
            assert_eq!(output.links, ["#"], "{}", output.html);
            assert!(!output.html.contains("script:") && !output.html.contains("data:"), "{}", output.html);
        }
        let entity = run("[x](<java&#x0A;script:alert(1)>) [y](/a:b) [z](mailto:a@b.example)");
        assert_eq!(entity.links, ["#", "/a:b", "mailto:a@b.example"], "{}", entity.html);
        let kept = markdown(Input { markdown: "<b>y</b>".to_owned(), keep_html: true }).expect("html");
        assert!(kept.html.contains("<b>y</b>"));
    }
}
